"""Attacks on videos: flicker, keyframes, sparse universal perturbations."""
