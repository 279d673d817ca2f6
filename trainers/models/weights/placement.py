"""Which tensors of a file are which of a model's, whatever their names begin with."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

State = Mapping[str, Tensor]

# Parts of a name that DataParallel, torch.compile, FSDP, activation checkpointing and Fabric add.
_WRAPPERS = {
    *("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
    "_forward_module",
}
_MOST_PARTS = 16  # of a prefix


@dataclass(frozen=True)
class Placement:
    """Where each tensor of a file goes in the model.

    Attributes:
        prefix: what the names of the model's tensors begin with in the file; "" for nothing.
        tensors: by the model's own names.
        extra: what lies under the prefix and is none of the model's, by the file's names.
        beside: what lies elsewhere, by the file's names.
        rival: another prefix that as much speaks for, with other values; None for none.
    """

    prefix: str
    tensors: dict[str, Tensor]
    extra: dict[str, Tensor]
    beside: dict[str, Tensor]
    rival: str | None = None


def place(state: State, own: State) -> Placement:
    """Tell which tensors of a file are a model's, by the prefix that lets most of them fit.

    Parts that wrappers such as DataParallel leave within a name count for nothing.

    Args:
        state: names and tensors of the file.
        own: those of the model.

    >>> import torch
    >>> one = torch.zeros(1)
    >>> place({"module.fc.bias": one, "n_averaged": one}, {"fc.bias": one}).prefix
    'module.'
    """
    bare = {_bare(name): name for name in own}
    bare = bare if len(bare) == len(own) else {}
    prefix, *rivals = _best_prefixes(state, own, bare)
    tensors: dict[str, Tensor] = {}
    extra: dict[str, Tensor] = {}
    beside: dict[str, Tensor] = {}
    for key in sorted(state, key=lambda key: key.removeprefix(prefix) not in own):
        name = _find(key.removeprefix(prefix), own, bare) if key.startswith(prefix) else None
        if name is not None and name not in tensors:
            tensors[name] = state[key]
        else:
            (extra if key.startswith(prefix) else beside)[key] = state[key]
    rival = next((other for other in rivals if _differ(state, prefix, other)), None)
    return Placement(prefix, tensors, extra, beside, rival)


def _find(name: str, own: State, bare: Mapping[str, str]) -> str | None:
    """Return the model's name for what a file calls by a name, if it has one.

    Args:
        name: which wrappers may have added to, or which lacks their parts.
        own: the model's tensors.
        bare: the model's names by what is left of them without wrappers.
    """
    return name if name in own else bare.get(_bare(name))


def _bare(name: str) -> str:
    """Leave out what wrappers add.

    >>> _bare("features.module.0.weight")
    'features.0.weight'
    """
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _best_prefixes(state: State, own: State, bare: Mapping[str, str]) -> list[str]:
    """Return the prefix under which most tensors have a name and a shape of the model's.

    Of several it is the one with names that are exactly the model's, then that of no moving
    average, then the shortest path, not counting wrappers, and the first in the file. Behind it
    come those that only their place in the file tells from it.
    """
    fits: Counter[str] = Counter()
    named: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    for key, value in state.items():
        for prefix in _prefixes(key):
            rest = key[len(prefix) :]
            name = _find(rest, own, bare)
            if name is not None:
                named[prefix] += 1
                fits[prefix] += own[name].shape == value.shape
                exact[prefix] += rest == name

    def merit(prefix: str) -> tuple[int, int, int, bool, int, int]:
        parts, words = _bare(prefix).count("."), re.split("[._]", prefix.lower())
        average = any(word.startswith("ema") or word.endswith("ema") for word in words)
        return fits[prefix], named[prefix], exact[prefix], not average, -parts, len(prefix)

    best = max(named, key=merit, default="")
    equals = [p for p in named if p != best and merit(p)[:-1] == merit(best)[:-1]]
    return [best, *(p for p in equals if not p.startswith(best) and not best.startswith(p))]


def _differ(state: State, prefix: str, other: str) -> bool:
    """Tell whether two prefixes have other tensors behind them."""
    pairs = (
        (value, state.get(other + key.removeprefix(prefix)))
        for key, value in state.items()
        if key.startswith(prefix)
    )
    return any(twin is None or not torch.equal(value, twin) for value, twin in pairs)


def _prefixes(key: str) -> list[str]:
    """Return "" and what ends with each dot of a name, up to a number of parts."""
    ends = [place + 1 for place, letter in enumerate(key) if letter == "."]
    return ["", *(key[:end] for end in ends[:_MOST_PARTS])]
