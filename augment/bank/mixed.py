"""The training set of a round: the originals and accepted perturbed samples."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from augment.bank.bank import SampleBank
from augment.bank.samples import Entry
from augment.bank.shards import StoredPixels
from augment.dataset import Dataset


class MixedDataset(Dataset):
    """Originals followed by accepted perturbed samples, both with the correct labels."""

    def __init__(
        self,
        originals: Dataset,
        bank: SampleBank,
        *,
        chosen: Sequence[int] | None = None,
        ratio: float | None = None,
        seed: int = 0,
    ) -> None:
        """Join the originals and perturbed samples; without a ratio, each of these once.

        Args:
            originals: The clean samples, all of them taken.
            bank: Perturbed samples.
            chosen: Numbers of those that are used; None takes all that were accepted.
            ratio: Perturbed samples per original on the whole; too few are repeated.
            seed: Seed of the choice that `ratio` makes.

        Raises:
            ValueError: The ratio is negative, or the bank was made from other data.
        """
        if ratio is not None and not 0 <= ratio < float("inf"):
            raise ValueError(f"ratio={ratio}: must be finite and at least 0")
        entries = bank.entries()
        chosen = bank.indices(status="accepted") if chosen is None else chosen
        if ratio is not None:
            chosen = _resample(chosen, round(ratio * len(originals)), seed)
        taken = [entries[i] for i in chosen]
        _check_origin(originals, bank, taken)
        super().__init__(
            _OriginalsThenPerturbed(originals, bank.pixels(chosen)),
            torch.cat([originals.labels, torch.tensor([entry.label for entry in taken]).long()]),
            originals.ids + _make_ids(taken),
            name=f"{originals.name}+bank",
            classes=originals.classes,
            skipped=originals.skipped,
        )
        self._originals = len(originals)

    @property
    def perturbed(self) -> Tensor:
        """`(N,)` bool, which samples come from the bank."""
        return torch.arange(len(self)) >= self._originals


class _OriginalsThenPerturbed:
    """Pixels of the originals, then of the chosen samples of a bank."""

    def __init__(self, originals: Dataset, perturbed: StoredPixels) -> None:
        self._originals, self._perturbed = originals, perturbed
        self.shape = (len(originals) + perturbed.shape[0], *originals.shape)

    def __getitem__(self, rows: Tensor) -> Tensor:
        clean = rows < len(self._originals)
        x = torch.empty(len(rows), *self.shape[1:])  # (B, C, H, W)
        x[clean], _ = self._originals.stack(rows[clean])
        if not clean.all():
            x[~clean] = self._perturbed[rows[~clean] - len(self._originals)]
        return x


def choose_of_each(
    bank: SampleBank, candidates: Sequence[int], count: int, *, value: Sequence[float]
) -> list[int]:
    """Choose the samples of the highest values among those that an attack made of an original.

    Args:
        bank: The bank.
        candidates: Numbers of the samples to choose from.
        count: How many of each original by each attack; there may be fewer.
        value: Value of each candidate; of equal ones the later comes first.

    Returns:
        Their numbers, ascending.
    """
    entries, taken = bank.entries(), Counter[tuple[str, str]]()
    ranked = sorted(zip(value, candidates, strict=True), reverse=True)
    kept = []
    for _, number in ranked:
        made = entries[number].source, entries[number].attack
        taken[made] += 1
        if taken[made] <= count:
            kept.append(number)
    return sorted(kept)


def _resample(chosen: Sequence[int], count: int, seed: int) -> list[int]:
    """Draw exactly `count` of the samples, each as often as the others to within one."""
    if not chosen:
        return []
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(seed)).tolist()
    return [chosen[order[i % len(chosen)]] for i in range(count)]


def _check_origin(originals: Dataset, bank: SampleBank, entries: Sequence[Entry]) -> None:
    advice = "the bank was made from other data: use its own data or a new bank"
    if entries and bank.shape != originals.shape:
        raise ValueError(f"bank of {bank.shape} beside data of {originals.shape}; {advice}")
    labels = dict(zip(originals.ids, originals.labels.tolist(), strict=True))
    for entry in entries:
        if entry.label != labels.get(entry.source, entry.label):
            raise ValueError(
                f"bank sample {entry.id} has label {entry.label}, its original "
                f"{entry.source} has {labels[entry.source]}; {advice}"
            )


def _make_ids(entries: Sequence[Entry]) -> list[str]:
    """Make a unique id for each entry: the bank's, numbered from the second occurrence on."""
    seen: Counter[str] = Counter()
    ids = []
    for entry in entries:
        seen[entry.id] += 1
        ids.append(f"bank:{entry.id}" + (f"#{seen[entry.id]}" if seen[entry.id] > 1 else ""))
    return ids
