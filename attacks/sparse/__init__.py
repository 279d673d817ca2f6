"""Attacks that change few values."""
