"""Where a run's other files are, and what is in them."""

from pathlib import Path

FILES = {
    "summary.json": "all numbers of this page and more, for programs",
    "scores.csv": "scores of every sample",
    "samples": "the perturbed or decoded samples, a file each",
    "gifs": "the same clips as GIFs, to look at",
    "samples.npz": "the same samples as arrays of floats, with labels",
    "samples.csv": "what is in which code",
    "codes": "coded samples",
    "codec.sprt": "the codec",
    "codec-delta.sprt": "the codec of differences",
    "points.csv": "all points measured",
    "not_kept.csv": "what the codes lost of the files",
    "boxes.csv": "boxes around what an attack has to change",
    "patches.csv": "the samples behind each unit's highest activations",
    "neighbours.csv": "the nearest samples by a layer's outputs",
    "embedding.csv": "the points of the t-SNE map",
    "dissection.csv": "units and the concepts that they detect",
    "representations.csv": "a row a pair, attack and layer",
    "checkpoints/best.safetensors": "the classifier that the run hands over",
    "detector.safetensors": "the detector",
    "generators.safetensors": "the generators, a network a sample",
    "checkpoints": "weights and finished work, from which the run goes on",
    "bank": "the perturbed samples that the classifier was fitted to",
    "review": "what reviewers decided",
    "figures": "the pictures of this page and more",
    "metrics.jsonl": "everything measured, a line each, as it came",
    "config.toml": "all options",
    "command.txt": "the commands that began it and went on with it",
    "environment.json": "where it ran, and the versions of packages",
    "inputs.json": "digests of what it read",
    "log.txt": "what was said on the terminal, and more",
    "tensorboard": "the same for TensorBoard",
}


def files_in(path: Path) -> dict[str, str]:
    """Return the names of those that there are in a run folder, with what they hold."""
    return {name: what for name, what in FILES.items() if (path / name).exists()}
