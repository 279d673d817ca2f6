"""From coefficients to whole numbers and back: steps, thresholds, rates."""
