"""Where classifiers come from that are not ours: packages, and the code of the user."""
