"""black_box."""
