"""substitute."""
