"""Attacks that read scores alone."""
