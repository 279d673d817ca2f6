"""Signs that an attack failed for want of a gradient: comparisons of attacks, and probes."""
