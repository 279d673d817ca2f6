"""Feature adversaries, which lead to the representation of a guide, and their peers."""
