"""Fitting of classifiers."""
