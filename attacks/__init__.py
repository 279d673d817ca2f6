"""Perturbed samples: the threat model, the losses and every attack."""
