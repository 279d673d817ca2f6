"""The normalisation that a checkpoint holds beside the weights it belongs to."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from attacks.errors import RefusedInput
from trainers.models.normalize import Normalize

# What layers that normalise call their buffers: ours and most, MadryLab's, RobustBench's.
_PAIRS = (("mean", "std"), ("new_mean", "new_std"), ("mu", "sigma"), ("_mean", "_std"))
_MOST = 64  # channels
_LEVELS = 255.0


def find_statistics(
    state: Mapping[str, Tensor], prefix: str, *, source: object
) -> tuple[Normalize | None, Collection[str]]:
    """Find mean and standard deviation beside a model, or in a layer beside it.

    Args:
        state: what the file holds beyond the model's own tensors.
        prefix: where the model lies in the file; its normalisation lies on the way there.
        source: the file, for messages.

    Returns:
        The normalisation, if there is one, and the names in the file that it was made of.

    Raises:
        RefusedInput: when there are two that differ.
    """
    found: dict[str, tuple[list[float], list[float]]] = {}
    names: list[str] = []
    for key in state:
        for mean, std in _PAIRS:
            where = key.removesuffix(mean)
            other = f"{where}{std}"
            whole = not where or where.endswith(".")
            if not key.endswith(mean) or not whole or other not in state:
                continue
            if _on_the_way(where, prefix) and _fit(state[key], state[other]):
                found[where] = _values(state[key], state[other])
                names += [key, other]
    if not found:
        return None, ()
    first = next(iter(found.values()))
    if any(values != first for values in found.values()):
        raise RefusedInput(
            f"{source} holds several normalisations ({', '.join(found)}) that differ; save the "
            "state dict of the classifier alone, with the one it is to have"
        )
    return Normalize(*first), names


def _on_the_way(where: str, prefix: str) -> bool:
    """Tell whether a layer's parent is the model, or holds it.

    >>> _on_the_way("module.normalizer.", "module.model."), _on_the_way("", "")
    (True, True)
    >>> _on_the_way("module.attacker.normalize.", "module.model.")
    False
    """
    parent = where[: where.rstrip(".").rfind(".") + 1]
    return prefix.startswith(where) or prefix.startswith(parent)


def _fit(mean: Tensor, std: Tensor) -> bool:
    """Tell whether two tensors can be a mean and a deviation for each channel."""
    alike = mean.shape == std.shape and 1 <= mean.numel() <= _MOST
    flat = alike and mean.numel() == max(mean.shape, default=1)
    return flat and bool(torch.isfinite(mean).all() and (std > 0).all() and (std < torch.inf).all())


def _values(mean: Tensor, std: Tensor) -> tuple[list[float], list[float]]:
    """Return both in units of [0, 1]; pixels of 0 to 255 have a mean above 1."""
    scale = _LEVELS if float(mean.max()) > 1 else 1.0
    return (mean.flatten().float() / scale).tolist(), (std.flatten().float() / scale).tolist()
