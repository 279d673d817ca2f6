"""Accuracy, robustness and image quality, measured."""
