"""A stand-in for a classifier of which labels alone are known."""
