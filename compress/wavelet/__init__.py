"""Wavelet transforms: lifting, periodized matrices, bands."""
