"""Attacks within a budget along the gradient: FGSM, its iterations, APGD."""
