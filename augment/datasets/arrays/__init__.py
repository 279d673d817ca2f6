"""Samples that come as arrays: digits, CIFAR-10, npz, torchvision."""
