"""wavelet."""
