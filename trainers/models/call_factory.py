"""Call what builds a classifier, ours or the user's, with what it takes."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn


def call_factory(
    factory: Callable[..., Any],
    *,
    num_classes: int | None,
    in_channels: int,
    image_size: Sequence[int] | None = None,
) -> Any:
    """Call a factory with those of the arguments that it takes and that are known.

    Args:
        factory: a function or class.
        num_classes: K, as an option of that name.
        in_channels: C, likewise.
        image_size: (H, W), likewise.
    """
    parameters = inspect.signature(factory).parameters
    # A module without a constructor of its own shows nn.Module's **kwargs, which takes nothing.
    takes_all = getattr(factory, "__init__", None) is not nn.Module.__init__ and any(
        p.kind is p.VAR_KEYWORD for p in parameters.values()
    )
    options: dict[str, Any] = {}
    if num_classes is not None and ("num_classes" in parameters or takes_all):
        options["num_classes"] = num_classes
    if "in_channels" in parameters:
        options["in_channels"] = in_channels
    if image_size is not None and "image_size" in parameters:
        options["image_size"] = image_size
    return factory(**options)
