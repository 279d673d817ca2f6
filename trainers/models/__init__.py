"""Classifiers, one file each, and ``load_classifier`` (in ``trainers.models.load``)."""

from trainers.models.normalize import Normalize, Normalized

__all__ = ["Normalize", "Normalized"]
