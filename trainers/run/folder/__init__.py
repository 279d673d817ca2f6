"""The run folder: claims, items of work, what a run reads."""
