"""Classifiers, one file each, and ``load_classifier`` (in ``trainers.models.load``)."""
