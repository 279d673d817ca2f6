"""Put weights that were read from a file into a model, after checking that they fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Tensor, nn

from attacks.errors import RefusedInput
from trainers.models.networks.wide_resnet import WideResNet
from trainers.models.normalize import Normalize, Normalized
from trainers.models.weights.placement import Placement, place
from trainers.models.weights.statistics import find_statistics

State = Mapping[str, Tensor]

_COUNTER = "num_batches_tracked"
_NAMED = 3  # names that a message lists
_LONGEST, _TRIED = 200, 2000  # names that are compared: their length, and how many


@dataclass(frozen=True)
class Filled:
    """How the tensors of a file were used.

    Attributes:
        count: how many the model took.
        prefix: what their names begin with in the file.
        normalize: the normalisation that the file holds beside them, if it does.
        left: names in the file of what was not taken.
    """

    count: int
    prefix: str
    normalize: Normalize | None
    left: tuple[str, ...]


def fill(model: nn.Module, state: State, *, source: object) -> Filled:
    """Load ``state`` into ``model``; nothing is changed unless all of it fits.

    What lies under another prefix than the model's tensors, such as a criterion, is left, and so
    is what a WideResNet names as ``unused`` in the checkpoints of others.

    Args:
        model: what to fill.
        state: parameter and buffer names with their tensors.
        source: the file, for messages.

    Raises:
        RefusedInput: for missing or unexpected names, other shapes or kinds of number, NaN or
            infinity, or two networks that it could be.
    """
    own = model.state_dict()
    placed = place(state, own)
    if placed.rival is not None:
        raise RefusedInput(
            f"{source} holds {_name(model)} twice, under {short(placed.prefix)!r} and "
            f"{short(placed.rival)!r}, with other values; save the state dict of the one that is "
            "meant alone"
        )
    others = placed.extra | placed.beside
    normalize, used = find_statistics(others, placed.prefix, source=source)
    # Files of before this counter existed lack it; it starts at 0 then. I3D goes without.
    counters = {k: torch.zeros_like(v) for k, v in own.items() if k.endswith(_COUNTER)}
    tensors = counters | placed.tensors
    unused = [key for key in placed.extra if _is_unused(model, key.removeprefix(placed.prefix))]
    known = {*used, *unused}
    extra = [key for key in placed.extra if key not in known and not key.endswith(_COUNTER)]
    if extra or len(tensors) < len(own):
        raise _unfit(model, own, placed, extra, source)
    _check_shapes(model, own, tensors, source)
    _check_values(model, own, tensors, source)
    model.load_state_dict(tensors)
    left = tuple(key for key in (*placed.beside, *unused) if key not in used)
    return Filled(len(placed.tensors), placed.prefix, normalize, left)


def _is_unused(model: nn.Module, name: str) -> bool:
    """Tell whether a tensor is of a part that others keep beside such a network, and do not run."""
    return isinstance(model, WideResNet) and name.startswith(model.unused)


def _unfit(
    model: nn.Module, own: State, placed: Placement, extra: Sequence[str], source: object
) -> RefusedInput:
    missing = [k for k in own if k not in placed.tensors and not k.endswith(_COUNTER)]
    return RefusedInput(
        f"{source} does not fit {_name(model)}: {_list('missing', missing)}, "
        f"{_list('unexpected', extra)}{_nearest(missing, own, placed)}; give the model these "
        "weights were trained for"
    )


def _nearest(missing: Sequence[str], own: State, placed: Placement) -> str:
    """Say which tensor of the file is nearest to the first that is missing, by shape and name."""
    if not missing:
        return ""
    name, shape = missing[0], own[missing[0]].shape
    others = {k: v.shape for k, v in (placed.extra | placed.beside).items() if len(k) < _LONGEST}
    alike = [key for key, other in others.items() if other == shape]
    near = get_close_matches(name, (alike or list(others))[:_TRIED], n=1, cutoff=0.4)
    if not near:
        return ""
    return (
        f"; nearest to {name} {tuple(shape)} in the file is {short(near[0])} "
        f"{tuple(others[near[0]])}"
    )


def _check_shapes(model: nn.Module, own: State, state: State, source: object) -> None:
    other = [k for k, v in state.items() if v.shape != own[k].shape or v.is_complex()]
    if not other:
        return
    seen = ", ".join(
        f"{key} has shape {tuple(state[key].shape)} where {_name(model)} has "
        f"{tuple(own[key].shape)}"
        for key in other[:_NAMED]
    )
    more = f", and {len(other) - _NAMED} more" if len(other) > _NAMED else ""
    head = _head(model)
    last = head is not None and all(key.rpartition(".")[0] == head for key in other)
    count = len(state[other[0]]) if last and state[other[0]].ndim else 0
    advice = f"it tells {count} classes apart: give --num-classes {count}"
    if count < 2:
        advice = "check the model's name and --num-classes"
        advice = "it has a single logit: give --binary" if count else advice
    raise RefusedInput(f"{source}: {seen}{more}; {advice}")


def _check_values(model: nn.Module, own: State, state: State, source: object) -> None:
    for key, value in state.items():
        if value.is_floating_point() != own[key].is_floating_point():
            raise RefusedInput(
                f"{source}: {key} is {value.dtype} where {_name(model)} has {own[key].dtype}; "
                "give weights in floating point"
            )
        # As the model will hold them: half precision has no room for 1e6, float32 none for 1e300.
        if not bool(torch.isfinite(value.to(own[key].dtype)).all()):
            raise RefusedInput(
                f"{source}: {key} holds NaN or infinity; give weights of a training run that "
                "did not diverge"
            )


def class_count(model: nn.Module, state: State) -> int | None:
    """Number of classes in ``state``, read where ``model`` has its last layer; None if unclear.

    Args:
        model: the network with any number of classes.
        state: weights for the same network, perhaps with another number.
    """
    head = _head(model)
    weight = place(state, model.state_dict()).tensors.get(f"{head}.weight") if head else None
    return None if weight is None or weight.ndim < 2 else len(weight)


def _head(model: nn.Module) -> str | None:
    layers = (nn.Linear, nn.Conv2d, nn.Conv3d)
    names = [name for name, module in model.named_modules() if isinstance(module, layers)]
    return names[-1] if names else None


def wrap(model: nn.Module, normalize: Normalize | None) -> nn.Module:
    """Put ``normalize``, if there is one, in front of ``model``, in the place of its own."""
    if normalize is None:
        return model
    if isinstance(getattr(model, "normalize", None), Normalize):
        model.normalize = nn.Identity()
    return Normalized(normalize, model)


def _name(model: nn.Module) -> str:
    return type(model).__name__


def _list(kind: str, names: Sequence[str]) -> str:
    """Name the first three.

    >>> _list("missing", ["a", "b", "c", "d"])
    '4 missing (a, b, c, ...)'
    """
    if not names:
        return f"0 {kind}"
    more = ", ..." if len(names) > _NAMED else ""
    return f"{len(names)} {kind} ({', '.join(map(short, names[:_NAMED]))}{more})"


def short(name: str) -> str:
    """Cut a name of a file's to what a message has room for, on one line."""
    return name[:80].encode("unicode_escape").decode()
