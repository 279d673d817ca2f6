"""Classic augmentation: moves, colours, lenses."""
