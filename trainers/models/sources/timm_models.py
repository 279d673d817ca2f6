"""timm's classifiers by name, with its published weights where asked."""

from contextlib import nullcontext
from difflib import get_close_matches
from types import ModuleType

from torch import nn

from trainers.models.normalize import Normalize
from trainers.models.sources.named_model import (
    NamedModel,
    check_class_count,
    import_package,
    published_weights,
)

PRETRAINED = "pretrained"


def import_timm(needed_by: str) -> ModuleType:
    """Import timm, or refuse with the command that installs it."""
    return import_package("timm", needed_by=needed_by, install="timm")


def build_timm(name: str, *, num_classes: int | None, in_channels: int) -> NamedModel:
    """Build a classifier of timm, behind the normalisation that its configuration names.

    Args:
        name: ``timm:NAME``, ``timm:NAME@pretrained`` or, of several weights,
            ``timm:NAME.TAG@pretrained``.
        num_classes: K; None takes that of the weights or timm's default.
        in_channels: C; where it is not 3, timm adapts the first layer.

    Raises:
        ValueError: for a name or weights that timm does not have.
        RefusedInput: when timm is missing, the classes are no match, or the weights cannot be had.
    """
    timm = import_timm(name)
    base, mark, chosen = name.removeprefix("timm:").partition("@")
    if mark and chosen != PRETRAINED:
        raise ValueError(
            f"timm has no weights {chosen!r}; allowed: timm:{base}@{PRETRAINED}, with a tag behind "
            f"the name for one of several, as in timm:resnet50.a1_in1k@{PRETRAINED}"
        )
    known = timm.list_pretrained() if "." in base else timm.list_models()
    if base not in known:
        near = get_close_matches(base, known, n=3)
        hint = f"did you mean {', '.join(f'timm:{each}' for each in near)}? " if near else ""
        raise ValueError(f"timm has no model {base!r}; {hint}`models timm:` lists its names")
    config = timm.get_pretrained_cfg(base)
    if mark and not config.has_weights:
        raise ValueError(f"timm publishes no weights of {base}; take timm:{base} and fit it")
    if mark:
        check_class_count(name, config.num_classes, num_classes)
    options = {} if num_classes is None else {"num_classes": num_classes}
    options["in_chans"] = in_channels
    place = f"huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
    advice = f"fetch it from {place} where there is a network, and give it by --weights without @"
    with published_weights(f"the weights of {name}", advice) if mark else nullcontext():
        network: nn.Module = timm.create_model(base, pretrained=bool(mark), **options)
    mean, std = (_of_channels(values, in_channels) for values in (config.mean, config.std))
    size = config.input_size[1:] if mark else ()
    return NamedModel(network, Normalize(mean, std), trained=bool(mark), size=size)


def _of_channels(values: tuple[float, ...], in_channels: int) -> tuple[float, ...]:
    """Return the statistics of each channel, or the one of all where these are not RGB."""
    return values if len(values) == in_channels else (sum(values) / len(values),)
