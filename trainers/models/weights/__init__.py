"""From a file of weights to a classifier that has them."""
