"""What a classifier looked at: maps of samples, boxes, representations, and scores of the maps.

`METHODS` has the explanation methods by the names of the command line; each is a frozen dataclass
of options, called as `method(model, x, y)`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explain.method import ExplanationMethod as ExplanationMethod
    from explain.registry import METHODS as METHODS

_HOMES = {
    "ExplanationMethod": "explain.method",
    "METHODS": "explain.registry",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
