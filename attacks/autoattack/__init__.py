"""autoattack."""
