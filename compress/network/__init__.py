"""The network R that restores what a code lost."""
