"""Find the state dict in what a training script saved, and say what is left beside it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from attacks.errors import RefusedInput

# What training scripts call it; where there are several, the first of these. Averages of the
# weights come last: who wants them names a file that holds them alone.
_NAMES = (
    *("state_dict", "model_state_dict", "model", "net"),
    *("network", "module", "model_state", "params", "weights", "state"),
    *("state_dict_ema", "model_ema", "ema", "ema_state_dict", "model_ema_state_dict", "ema_model"),
    *("swa_model", "swa_state_dict", "averaged_model", "shadow"),
)
_DEPTH = 8  # such names that lie within each other


@dataclass(frozen=True)
class Checkpoint:
    """The state dict of a file.

    Attributes:
        state: parameter and buffer names with their tensors.
        place: the names it lay under, outermost first; none when it was all there was.
        left: what lay beside it.
    """

    state: dict[str, Tensor]
    place: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def find_state_dict(content: Any, path: Path, *, advice: str) -> Checkpoint:
    """Return the state dict in what a file holds.

    Args:
        content: what was read; a mapping may hold itself.
        path: the file, for messages.
        advice: what to do with a file that has none.

    Raises:
        RefusedInput: when there is none.
    """
    if not isinstance(content, Mapping) or not content:
        raise RefusedInput(f"{path} holds {_kind(content)}, not a state dict; {advice}")
    found = _descend(content, (), set())
    if found is not None:
        return found
    key, value = next(iter(content.items()))
    raise RefusedInput(
        f"{path}: {str(key)[:100]!r} is {_kind(value)}, a state dict holds named tensors, by "
        f"itself or under a name such as {', '.join(_NAMES[:4])}; {advice}"
    )


def _descend(
    content: Mapping[Any, Any], place: tuple[str, ...], seen: set[int]
) -> Checkpoint | None:
    """Return the first state dict at or below a mapping, None where there is none."""
    seen.add(id(content))
    for name, inner in _inner(content):
        if id(inner) not in seen and len(place) < _DEPTH:
            found = _descend(inner, (*place, name), seen)
            if found is not None:
                return _with_left(found, content, name)
    state = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not state:
        return None
    return Checkpoint(state, place, _listed(content, state))


def _inner(content: Mapping[Any, Any]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield the mappings that may be or hold a state dict, the likeliest first."""
    for name in _NAMES:
        if isinstance(content.get(name), Mapping):
            yield name, content[name]
    for name, value in content.items():
        other = isinstance(name, str) and name not in _NAMES and name.endswith("_state_dict")
        if other and isinstance(value, Mapping):
            yield name, value


def _with_left(found: Checkpoint, content: Mapping[Any, Any], name: str) -> Checkpoint:
    left = (*_listed(content, [name]), *found.left)
    return Checkpoint(found.state, found.place, left)


def _listed(
    content: Mapping[Any, Any], taken: Sequence[str] | Mapping[str, Any]
) -> tuple[str, ...]:
    return tuple(str(key)[:60] for key in content if key not in taken)


def _kind(value: object) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"a {type(value).__name__}"
