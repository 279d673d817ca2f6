"""Options with which an attack looks behind defences."""

import math
from collections.abc import Sequence
from typing import Any

from trainers.defences.defence import Defence

DRAWS = 10  # of a random defence, that an attack takes the mean gradient of


def adaptive_options(defences: Sequence[Defence]) -> dict[str, Any]:
    """Return the options of a gradient attack that knows some defences.

    Surrogates take the place of what has no gradient (BPDA), and gradients are means over draws of
    what is random (EOT); a defence that averages by itself takes fewer.

    >>> from trainers.defences import DEFENCES
    >>> adaptive_options([DEFENCES["jpeg"](), DEFENCES["resize-pad"]()])
    {'bpda': 'surrogate', 'eot': 10}

    Source: Athalye, Carlini & Wagner 2018.
    """
    options: dict[str, Any] = {}
    if any(defence.masks_gradient for defence in defences):
        options["bpda"] = "surrogate"
    if any(defence.random for defence in defences):
        draws = math.prod(defence.draws for defence in defences)
        options["eot"] = math.ceil(DRAWS / draws)
    return options
