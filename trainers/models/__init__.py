"""Classifiers, one file each, and ``load_classifier`` (in ``trainers.models.load``)."""

from trainers.models.binary_logits import BinaryLogits
from trainers.models.normalize import Normalize, Normalized

__all__ = ["BinaryLogits", "Normalize", "Normalized"]
