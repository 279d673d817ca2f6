"""Put weights that were read from a file into a model, after checking that they fit."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from attacks.errors import RefusedInput
from trainers.models.normalize import Normalize, Normalized

State = dict[str, Tensor]

# Left by DataParallel, torch.compile, Lightning and our own Normalized, in this order.
_PREFIXES = ("module.", "_orig_mod.", "model.")

_COUNTER = "num_batches_tracked"


def split_normalize(state: State) -> tuple[State, Normalize | None]:
    """Take the statistics that our own checkpoints carry out of a state dict.

    Returns:
        The state dict without them, and the layer they make (None where there were none).
    """
    names = ("normalize.mean", "normalize.std")
    if not all(name in state for name in names):
        return state, None
    mean, std = (state[name].flatten().tolist() for name in names)
    return {k: v for k, v in state.items() if k not in names}, Normalize(mean, std)


def strip_prefixes(state: State, own: Iterable[str]) -> State:
    """Remove a prefix that every key has and no name of the model (``own``) begins with.

    >>> strip_prefixes({"module.fc.weight": torch.zeros(1)}, ["fc.weight"])
    {'fc.weight': tensor([0.])}
    """
    own = tuple(own)
    for prefix in _PREFIXES:
        everywhere = all(key.startswith(prefix) for key in state)
        if everywhere and not any(key.startswith(prefix) for key in own):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def fill(model: nn.Module, state: State, *, source: object) -> None:
    """Load ``state`` into ``model``; nothing is changed unless all of it fits.

    Args:
        model: what to fill.
        state: parameter and buffer names with their tensors.
        source: the file, for messages.

    Raises:
        RefusedInput: for missing or unexpected names, other shapes or kinds of number, NaN or
            infinity.
    """
    own = model.state_dict()
    state = strip_prefixes(state, own)
    # Files of before this counter existed lack it; it starts at 0 then. I3D goes without.
    counters = {k: torch.zeros_like(v) for k, v in own.items() if k.endswith(_COUNTER)}
    state = counters | {k: v for k, v in state.items() if k in own or not k.endswith(_COUNTER)}
    missing = [k for k in own if k not in state]
    unexpected = [k for k in state if k not in own]
    if missing or unexpected:
        raise RefusedInput(
            f"{source} does not fit {_name(model)}: {_list('missing', missing)}, "
            f"{_list('unexpected', unexpected)}; give the model these weights were trained for"
        )
    _check_values(model, own, state, source)
    model.load_state_dict(state)


def _check_values(model: nn.Module, own: State, state: State, source: object) -> None:
    for key, value in state.items():
        if value.shape != own[key].shape or value.is_complex():
            raise RefusedInput(
                f"{source}: {key} has shape {tuple(value.shape)} where {_name(model)} has "
                f"{tuple(own[key].shape)}; check the model's name and --num-classes"
            )
        if value.is_floating_point() != own[key].is_floating_point():
            raise RefusedInput(
                f"{source}: {key} is {value.dtype} where {_name(model)} has {own[key].dtype}; "
                "give weights in floating point"
            )
        if not bool(torch.isfinite(value).all()):
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
    weight = strip_prefixes(state, model.state_dict()).get(f"{head}.weight") if head else None
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
    more = ", ..." if len(names) > 3 else ""
    return f"{len(names)} {kind} ({', '.join(names[:3])}{more})"
