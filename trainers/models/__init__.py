"""Classifiers by name: ``load_classifier`` is in ``trainers.models.load``."""

from trainers.models.binary_logits import BinaryLogits
from trainers.models.normalize import Normalize, Normalized

__all__ = ["BinaryLogits", "Normalize", "Normalized"]
