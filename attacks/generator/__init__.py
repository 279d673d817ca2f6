"""The learned perturbation generator P, one network a sample."""
