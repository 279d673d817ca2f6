"""Figures of what jobs found, as matplotlib draws them."""
