"""The sample bank: perturbed samples on disk, reviewed, mixed into training."""
