"""Splits by hash and class-balanced subsets, both deterministic."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Literal

import torch
from torch import Tensor

from attacks.errors import RefusedInput

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


def hash_split(names: Sequence[str], split: Split, *, test: float = 0.0) -> list[int]:
    """List the positions of the names of a split; adding a file moves no other file.

    Args:
        names: One unique name per sample.
        split: The split wanted.
        test: Share of the test split; a tenth goes to `val`, the rest to `train`.

    Returns:
        Ascending positions; the three splits are disjoint and cover all names.
    """

    def side(name: str) -> Split:
        hashed = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8)
        u = int.from_bytes(hashed.digest()) / 2**64
        return "test" if u < test else "val" if u < test + 0.1 else "train"

    return [i for i, name in enumerate(names) if side(name) == split]


def source_split(
    split: Split, present: Collection[str], *, origin: str
) -> tuple[str | None, float | None]:
    """Choose the part of the data that holds a split, and whether that part is cut by hash.

    Without a test part, `val` is the test split. A validation split without a part of its own is
    a tenth of `train`. Data without parts are cut 80 : 10 : 10.

    Args:
        split: The split wanted.
        present: The parts there are, among train, val and test.
        origin: Name of the data, for messages.

    Returns:
        The part, None for data without parts, and the test share of `hash_split`, None for a
        part that is taken whole.

    Raises:
        RefusedInput: The split is neither there nor can be cut from what is.
    """
    if not present:
        return None, 0.1
    has_val = {"val", "test"} <= set(present)
    homes = {"train": "train", "val": "val" if has_val else "train"}
    home = homes.get(split, "test" if "test" in present else "val")
    if home not in present:
        raise RefusedInput(
            f"{origin}: no {split} split, there is only {', '.join(sorted(present))}; "
            f"add {'test (or val)' if split == 'test' else home} to the data, or use a split that "
            "exists"
        )
    return home, 0.0 if home == "train" and not has_val else None


def choose_balanced(labels: Tensor, count: int, *, seed: int) -> Tensor:
    """Choose the positions of a class-balanced subset.

    Every class gives the same number (to within one) until it has no more; a larger count with
    the same seed contains the smaller subset.

    Args:
        labels: `(N,)` int64.
        count: Size of the subset; N or more takes all.
        seed: Seed of the choice.

    Returns:
        `(min(count, N),)` int64, ascending.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    turn = torch.empty_like(order)  # (N,) how many of the same class come earlier in the order
    for label in torch.bincount(labels + 1).nonzero()[:, 0] - 1:  # -1 is unlabelled
        members = labels[order] == label
        turn[members] = torch.arange(int(members.sum()))
    chosen = order[turn.argsort(stable=True)[:count]]  # (count,)
    return chosen.sort().values
