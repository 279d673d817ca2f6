"""What the layers of a network respond to: filters, activations, patches, neighbours, concepts."""
