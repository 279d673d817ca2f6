"""From a perturbation that fools the classifier to a map, to boxes, and to a course over time."""
