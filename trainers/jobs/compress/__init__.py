"""The jobs of `compress`: fit, encode, decode, evaluate."""
