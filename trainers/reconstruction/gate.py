"""The gate: how much of R's correction to use at each step, measured on held-out samples."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from compress import BlendWeight, RestorationNet
from trainers.evaluate.quality import psnr
from trainers.reconstruction.terms import Terms

SHARES = tuple(i / 10 for i in range(11))
ALLOWED = 0.03  # dB that a share may lose, where another term of the loss gains by it
CERTAINTY = 2.0  # standard errors that its measured gain may be too high by
Record = dict[str, float]


def knots(steps: Sequence[float]) -> tuple[float, ...]:
    """Return the steps that the gate is measured at: those given, and one between any two.

    >>> knots((0.1, 0.4))
    (0.1, 0.2, 0.4)
    """
    rising = sorted(steps)
    between = [round(math.sqrt(a * b), 9) for a, b in pairwise(rising)]
    return tuple(sorted([*rising, *between]))


def measure_gate(
    network: RestorationNet,
    decoded: Sequence[Tensor],
    x: Tensor,
    *,
    steps: Sequence[float],
    terms: Terms,
    groups: Tensor,
    certain: bool,
) -> tuple[BlendWeight, list[Record]]:
    """Choose at each step the share of R with the least loss that surely costs no PSNR.

    Args:
        network: R.
        decoded: at each step, what was decoded of the samples, (N, C, ...).
        x: the samples, (N, C, ...).
        steps: rising; those of `knots`.
        terms: the loss; its rates are the steps.
        groups: the number of each sample's group, int64 (N,); clips of one video, say, gain alike,
            and it is groups whose gains differ by chance.
        certain: whether the samples are all that R will be used on, so that no chance is left.

    Returns:
        The gate, and for each step its "share", "plain_psnr" and "psnr" on the samples.
    """
    records = []
    for rate, (step, part) in enumerate(zip(steps, decoded, strict=True)):
        table = _table(network, part, x, step=step, rate=rate, terms=terms)  # (N, shares, 2)
        gain = _means(table[..., 1] - table[:, :1, 1], groups)  # dB, (G, shares)
        doubt = 0.0 if certain else CERTAINTY * gain.std(0) / math.sqrt(len(gain))
        kept = gain.mean(0) - doubt >= -ALLOWED  # (shares,)
        kept[0] = True
        best = int(table[..., 0].mean(0).where(kept, table.new_tensor(math.inf)).argmin())
        before, after = table[:, [0, best], 1].mean(0).tolist()
        records.append({"step": step, "share": SHARES[best], "plain_psnr": before, "psnr": after})
    gate = BlendWeight(tuple(steps), tuple(record["share"] for record in records))
    return gate, records


def _means(values: Tensor, groups: Tensor) -> Tensor:
    """Return the mean of each group's rows, (G, ...)."""
    return torch.stack([values[groups == group].mean(0) for group in set(groups.tolist())])


@torch.no_grad()
def _table(
    network: RestorationNet, decoded: Tensor, x: Tensor, *, step: float, rate: int, terms: Terms
) -> Tensor:
    """Return loss and PSNR of each sample with each share of R, on the CPU, (N, shares, 2)."""
    device = next(network.parameters()).device
    rows = []
    size = terms.options.batch_size
    for some, wanted in zip(torch.split(decoded, size), torch.split(x, size), strict=True):
        part, target = some.to(device), wanted.to(device)
        base = network.base(part).clamp(0, 1)
        answer = network(part, torch.full((len(part),), step, device=device)).clamp(0, 1)
        rates = torch.full((len(part),), rate, device=device)
        columns = []
        for share in SHARES:
            blend = base + share * (answer - base)
            loss = terms(blend, target, rates)["loss"]
            columns.append(torch.stack([loss, psnr(blend, target)], -1))  # (B, 2)
        rows.append(torch.stack(columns, 1).cpu())  # (B, shares, 2)
    return torch.cat(rows)
