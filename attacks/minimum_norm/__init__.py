"""minimum_norm."""
