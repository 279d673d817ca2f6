"""fooling."""
