"""Samples as a layer sees them, batch by batch."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from attacks.common.activations import Representation, find_layers
from attacks.common.batch_attack import check_samples
from attacks.common.frozen import frozen


def outputs_by_batch(
    model: nn.Module, layer: str, batches: Iterable[Sequence[Tensor]], *, chunk: int
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Yield a data set in batches of at most `chunk` samples with a layer's outputs, (B, ...).

    Args:
        model: the classifier, `frozen` for as long as the batches are read.
        layer: its name, as `named_modules()` has it.
        batches: each begins with samples (B, C, H, W) or (B, C, T, H, W) in [0, 1]; the rest has a
            row for each. They move to the device of the model.
        chunk: samples in a pass, which bounds the memory.

    Raises:
        ValueError: for a layer that the model does not have or call, or no samples at all.
    """
    representation: Representation | None = None
    device = next((t.device for t in chain(model.parameters(), model.buffers())), None)
    for batch in batches:
        check_samples(batch[0])
        for rows in zip(*(torch.split(part, chunk) for part in batch), strict=True):
            part = [each.to(device) for each in rows]
            with torch.no_grad():
                if representation is None:
                    representation = Representation(model, find_layers(model, layer), part[0])
                (output,) = representation(part[0])
            yield part, output
    if representation is None:
        raise ValueError("the data set has no samples; give batches (x, y)")


def collect_vectors(
    model: nn.Module, layer: str, batches: Iterable[Sequence[Tensor]], *, chunk: int = 64
) -> Tensor:
    """Return the outputs of a layer for all samples of a data set as vectors, on the CPU, (N, D).

    Args:
        model: the classifier; left exactly as it was.
        layer: its name, as `named_modules()` has it.
        batches: (x, y) each.
        chunk: samples in a pass, which bounds the memory.

    Raises:
        ValueError: for a layer that the model does not have or call, or no samples at all.
    """
    with frozen(model):
        pairs = outputs_by_batch(model, layer, batches, chunk=chunk)
        return torch.cat([output.flatten(1).cpu() for _, output in pairs])
