"""Attacks that look for the smallest change: DeepFool, FMN, CW, FAB, L-BFGS."""
