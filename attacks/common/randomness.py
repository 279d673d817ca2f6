"""Random numbers that belong to a sample, not to a process, a batch or a moment."""

import zlib
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from operator import index

import torch
from torch import Tensor


def derive_seed(*parts: int | str) -> int:
    """Hash any mix of integers and names, such as (seed, round, sample id), into one seed.

    Returns:
        An integer in [0, 2**63), the same on every machine.

    >>> derive_seed(0, "round", 1) == derive_seed(0, "round", 1)
    True
    >>> derive_seed(1, 23) == derive_seed(12, 3)
    False
    """
    tagged = (f"str:{p}" if isinstance(p, str) else f"int:{index(p)}" for p in parts)
    text = "\x1f".join(tagged).encode(errors="surrogatepass")  # any file name
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big") >> 1


def generator_for(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded by `derive_seed`, so that every device sees one stream."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def ids_of(x: Tensor, sample_ids: Sequence[int] | Tensor | None) -> list[int]:
    """Return an id for each sample of x (B, ...).

    Args:
        x: the batch.
        sample_ids: B integers; None derives an id from each sample's content, so that two
            samples share a stream only where they are equal.

    Raises:
        ValueError: when they are no integers, or not B of them.
    """
    if sample_ids is None:
        return [zlib.crc32(row.numpy().tobytes()) for row in x.detach().cpu()]
    if isinstance(sample_ids, Iterator):
        name = type(sample_ids).__name__
        raise ValueError(f"sample_ids is a {name}, which ends with the first look; give a list")
    try:
        ids = [index(i) for i in sample_ids]
        if any(isinstance(i, bool) or getattr(i, "dtype", None) == torch.bool for i in sample_ids):
            raise TypeError("True and False are no numbers of samples")
    except TypeError as error:
        kind = sample_ids.dtype if isinstance(sample_ids, Tensor) else type(sample_ids).__name__
        raise ValueError(
            f"sample_ids are not whole numbers ({kind}: {error}); give B integers, or None"
        ) from error
    if len(ids) != len(x):
        raise ValueError(f"sample_ids has {len(ids)} entries for {len(x)} samples; give one each")
    return ids


def unit(x: Tensor, generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Return U[0, 1) numbers of x's kind, (B, *shape), row i drawn from generator i."""
    return torch.stack([torch.rand(*shape, generator=g) for g in generators]).to(x)


def uniform(x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Return U(-1, 1) noise shaped like x, row i drawn from generator i."""
    return unit(x, generators, x.shape[1:]).mul_(2).sub_(1)


def normal(x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Return N(0, 1) noise shaped like x, row i drawn from generator i."""
    rows = [torch.randn(x.shape[1:], generator=g) for g in generators]
    return torch.stack(rows).to(x)  # (B, ...)


def laplace(x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Return noise of density exp(-|v|) / 2 shaped like x, row i drawn from generator i."""
    noise = uniform(x, generators)
    return -noise.sign() * torch.log1p(-noise.abs().clamp_max(1 - 1e-7))  # finite at -1 and 1
