"""Adversarial transformation networks: one network perturbs all samples."""
