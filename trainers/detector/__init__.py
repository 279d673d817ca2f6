"""A detector of attacked samples, by a classifier's late activations."""
