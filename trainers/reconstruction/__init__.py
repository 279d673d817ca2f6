"""Training of R."""
