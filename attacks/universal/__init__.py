"""One perturbation for all samples; fitting and saving of fitted attacks; transfer tables."""
