"""Samples that come as image files."""
