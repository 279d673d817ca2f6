"""The representations of samples in a layer, for the analyses."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from attacks.common.frozen import frozen
from explain.network.vectors import collect_vectors, outputs_by_batch
from explain.representation.samples import GuidedSamples, ReferenceSet


def collect_references(
    model: nn.Module, layer: str, batches: Iterable[Sequence[Tensor]], *, chunk: int = 64
) -> ReferenceSet:
    """Collect the representations and labels of a data set, on the CPU.

    Args:
        model: the classifier; left exactly as it was.
        layer: its name, as `named_modules()` has it.
        batches: (x, y) each, samples in [0, 1] and labels int64.
        chunk: samples in a pass, which bounds the memory.

    Raises:
        ValueError: for a layer that the model does not have or call, or no samples at all.
    """
    vectors, labels = [], []
    with frozen(model):
        for part, output in outputs_by_batch(model, layer, batches, chunk=chunk):
            vectors.append(output.flatten(1).cpu())
            labels.append(part[1].cpu())
    return ReferenceSet(torch.cat(vectors), torch.cat(labels))


def collect_guided(
    model: nn.Module,
    layer: str,
    *,
    source: Tensor,
    guide: Tensor,
    adversary: Tensor,
    source_labels: Tensor,
    guide_labels: Tensor,
    chunk: int = 64,
) -> GuidedSamples:
    """Collect the representations of adversaries, and of their sources and guides, on the CPU.

    Args:
        model: the classifier; left exactly as it was.
        layer: its name, as `named_modules()` has it.
        source: samples (N, C, ...) in [0, 1].
        guide: a sample for each source, like them.
        adversary: what an attack made of each source.
        source_labels: int64 (N,).
        guide_labels: int64 (N,).
        chunk: samples in a pass, which bounds the memory.

    Raises:
        ValueError: for a layer that the model does not have or call.
    """
    return GuidedSamples(
        source=collect_vectors(model, layer, [[source]], chunk=chunk),
        guide=collect_vectors(model, layer, [[guide]], chunk=chunk),
        adversary=collect_vectors(model, layer, [[adversary]], chunk=chunk),
        source_labels=source_labels.cpu(),
        guide_labels=guide_labels.cpu(),
    )
