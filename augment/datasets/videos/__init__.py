"""Samples that come as video files."""
