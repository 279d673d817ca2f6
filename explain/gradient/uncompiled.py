"""Run a compiled model eagerly, for compiled code knows no hook and no changed backward rule."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from attacks.common.forward import is_compiled


def uncompiled(model: nn.Module) -> AbstractContextManager[object]:
    """Return a context in which what torch.compile made of the model runs as it was before."""
    if any(map(is_compiled, model.modules())):
        stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
        return stance
    return nullcontext()
