"""Black box: how a classifier's answer changes as parts of a sample are hidden."""
