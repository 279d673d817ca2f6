"""The attribution classes of captum as explanation methods."""

from dataclasses import dataclass
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor

from attacks.common.frozen import seed_generators
from attacks.common.options import Text
from attacks.common.randomness import derive_seed, ids_of
from attacks.errors import RefusedInput
from explain.method import ExplanationCall, ExplanationMethod

_OF_BATCHES = ("FeaturePermutation",)  # mix the samples of a batch, and ours come one by one


@dataclass(frozen=True)
class CaptumMethod(ExplanationMethod):
    """The absolute sum over channels of what a class of captum.attr attributes to each value.

    It may be any class that needs a model, samples, classes and a baseline, which is 0: DeepLift,
    DeepLiftShap, InputXGradient, GradientShap, LRP, ShapleyValueSampling, ... Samples come one by
    one, so that none depends on its batch. What captum's hooks do not see, as functional ReLUs,
    is as captum has it.

    Args:
        name: of the class.

    Source: Kokhlikyan et al. 2020, "Captum: A unified and generic model interpretability library".
    """

    name: Text = "DeepLift"

    def explain(self, call: ExplanationCall) -> Tensor:
        """Return |sum over channels of the attributions|, (B, H, W) or (B, T, H, W).

        Raises:
            RefusedInput: when captum is not installed.
            ValueError: for a class that captum does not have, or that needs more.
        """
        attribution = _attribution_class(self.name)(call.model)
        baseline = signature(attribution.attribute).parameters.get("baselines")
        cuda = [call.x.device.index or 0] if call.x.is_cuda else []
        maps = []
        for row, sample in enumerate(ids_of(call.x, call.sample_ids)):
            seed_generators(derive_seed(call.seed, sample) % 2**32, cuda)  # captum's are global
            x = call.x[row : row + 1].clone().requires_grad_()  # (1, C, ...)
            # Where there is no default it is a distribution, of two at least.
            blank = torch.zeros_like(x).expand(2 if _is_required(baseline) else 1, *x.shape[1:])
            options = {"baselines": blank} if baseline else {}
            found = attribution.attribute(x, target=call.y[row : row + 1], **options)
            maps.append(found.detach().sum(1).abs())  # (1, ...)
            call.progress(row + 1, len(call.x))
        return torch.cat(maps).to(call.x)


def _attribution_class(name: str) -> Any:
    """Return a class of captum.attr by name, one that needs nothing that we do not have."""
    try:
        captum = import_module("captum.attr")
    except ImportError as error:
        raise RefusedInput(
            f"the explanation captum:{name} needs the package captum, which cannot be imported "
            f"({error}); install it: python -m pip install captum (or the extra: explain)"
        ) from error
    classes = {each: getattr(captum, each) for each in captum.__all__}
    usable = [
        each for each, kind in classes.items() if each not in _OF_BATCHES and _is_usable(kind)
    ]
    if name not in usable:
        more = "needs more than a model, samples and classes one by one"
        raise ValueError(
            f"name is {name!r}, which {more if name in classes else 'captum does not have'}; give "
            f"one of {', '.join(usable)}"
        )
    return classes[name]


def _is_usable(kind: Any) -> bool:
    """Tell whether a class attributes the logit of a class to samples, and needs no more."""
    if not hasattr(kind, "attribute"):
        return False
    made, asked = signature(kind).parameters, signature(kind.attribute).parameters
    needs = [name for name, parameter in (*made.items(), *asked.items()) if _is_required(parameter)]
    known = {"model", "forward_func", "self", "inputs", "baselines"}
    return "target" in asked and set(needs) <= known


def _is_required(parameter: Parameter | None) -> bool:
    """Tell whether a function's parameter is there and has no default."""
    if parameter is None or parameter.kind is not Parameter.POSITIONAL_OR_KEYWORD:
        return False
    return parameter.default is Parameter.empty
