"""Images from representations: what a layer has kept of a sample."""
