"""TensorBoard's projector: vectors to turn around in space, each with its sample's picture."""

import math
from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

LARGEST = 8192  # pixels along a side of all pictures together, which TensorBoard accepts
SIDE = 64  # of one picture


def write_embedding(
    writer: SummaryWriter,
    vectors: Tensor,
    *,
    labels: Sequence[str],
    x: Tensor,
    tag: str,
    step: int = 0,
    further: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write vectors with the names and pictures of their samples for TensorBoard's projector.

    Args:
        writer: to the folder that TensorBoard shows.
        vectors: (N, D).
        labels: N names, shown beside the points and for colours.
        x: samples (N, C, H, W) or (N, C, T, H, W) in [0, 1]; of videos the middle frame is shown.
        tag: name of the embedding.
        step: of training.
        further: N texts each by what they say, to colour the points and to search for.

    Raises:
        ValueError: when the numbers of vectors, labels and samples differ.
    """
    if not len(vectors) == len(labels) == len(x):
        raise ValueError(
            f"{len(vectors)} vectors, {len(labels)} labels and {len(x)} samples; give one for each"
        )
    columns = {"label": labels, **(further or {})}
    rows = [[" ".join(text.split()) for text in row] for row in zip(*columns.values(), strict=True)]
    writer.add_embedding(
        vectors,
        metadata=rows if further else [row[0] for row in rows],  # a line each
        metadata_header=list(columns) if further else None,
        label_img=sprites(x),
        tag=tag,
        global_step=step,
    )


def sprites(x: Tensor, *, count: int | None = None) -> Tensor:
    """Return small square pictures in colour of samples, (N, 3, S, S) in [0, 1].

    Torch lays them out in a square, and fails on pictures that are higher than wide.

    Args:
        x: (N, C, H, W) or (N, C, T, H, W) in [0, 1].
        count: samples of the whole square, of which these are some; None: these are all.
    """
    pictures = x[:, :, x.shape[2] // 2] if x.ndim == 5 else x  # (N, C, H, W)
    if pictures.shape[1] != 3:
        pictures = pictures.mean(1, keepdim=True)
    height, width = pictures.shape[2:]
    longest = max(height, width)
    side = max(1, min(longest, SIDE, LARGEST // math.ceil(math.sqrt(count or len(x)))))
    size = [max(1, round(each * side / longest)) for each in (height, width)]
    small = F.interpolate(pictures.float(), size, mode="area")
    above, before = ((side - each) // 2 for each in size)
    border = (before, side - size[1] - before, above, side - size[0] - above)
    return F.pad(small, border).expand(-1, 3, -1, -1)
