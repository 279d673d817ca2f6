"""What is reviewed and in which order: the samples of a bank, and controls among them."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from attacks.common.randomness import derive_seed
from augment import Dataset, SampleBank
from trainers.evaluate.per_class import class_name


@dataclass(frozen=True)
class ReviewItem:
    """A sample of the bank to review, or an original shown as a control.

    Attributes:
        id: 32 hex digits: the content hash of a sample; a hash of the name of a control.
        row: its number in the bank, of a control in the originals.
        source: id of the original.
        label: the correct class.
        attack: that made it; of a control, that of some sample, so that filters show it too.
        round: likewise.
        control: whether it is one.
    """

    id: str
    row: int
    source: str
    label: int
    attack: str
    round: int
    control: bool = False


@dataclass(frozen=True)
class ReviewQueue:
    """The items in the order of their review, and where their pixels are.

    Attributes:
        bank: the perturbed samples.
        originals: the training samples; None where they cannot be read any more.
        items: every item by its id.
    """

    bank: SampleBank
    originals: Dataset | None
    items: dict[str, ReviewItem]

    @cached_property
    def classes(self) -> list[str]:
        """The name of each class, or its number."""
        names = self.originals.classes if self.originals else []
        most = max((item.label for item in self.items.values()), default=0)
        return [class_name(names, number) for number in range(max(len(names), most + 1))]

    def pixels(self, item: ReviewItem) -> Tensor:
        """Read an item, (C, H, W) or (C, T, H, W) in [0, 1]."""
        if item.control and self.originals is not None:
            return self.originals[item.row][0]
        return self.bank[item.row][0]

    def original(self, item: ReviewItem) -> Tensor | None:
        """Read the original of an item, shaped like it; None where there is none."""
        row = self._rows.get(item.source)
        if self.originals is None or row is None or self.originals.shape != self.bank.shape:
            return None
        return self.originals[row][0]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self.originals.ids)} if self.originals else {}


def build_queue(
    bank: SampleBank, originals: Dataset | None, *, controls: float, seed: int
) -> ReviewQueue:
    """List what is reviewed, in an order that stays as it is when the bank grows.

    Args:
        bank: the perturbed samples; of several with the same bytes the first is shown.
        originals: the training samples; None for no controls.
        controls: share of originals among all items, in [0, 1).
        seed: of the order, and of the choice of controls.
    """
    items: dict[str, ReviewItem] = {}
    for row, entry in enumerate(bank.entries()):
        item = ReviewItem(entry.hash, row, entry.source, entry.label, entry.attack, entry.round)
        items.setdefault(item.id, item)
    samples = list(items.values())
    if originals is not None and originals.shape == bank.shape:
        count = math.ceil(len(samples) * controls / (1 - controls))
        items |= {item.id: item for item in choose_controls(originals, samples, count, seed=seed)}
    order = sorted(items, key=lambda id: derive_seed(seed, "review", id))
    return ReviewQueue(bank, originals, {id: items[id] for id in order})


def choose_controls(
    originals: Dataset, samples: Sequence[ReviewItem], count: int, *, seed: int
) -> list[ReviewItem]:
    """Choose originals to show as controls; a larger count adds to those of a smaller one.

    Args:
        originals: the training samples.
        samples: the perturbed samples among which they are shown, at least one.
        count: how many; there may be fewer originals.
        seed: of the choice.
    """
    ids, labels = originals.ids, originals.labels.tolist()
    drawn = sorted(range(len(ids)), key=lambda row: derive_seed(seed, "control", ids[row]))
    chosen = []
    for row in drawn[:count]:
        name = f"original {ids[row]}".encode(errors="surrogatepass")
        id = hashlib.blake2b(name, digest_size=16).hexdigest()  # which looks like a sample's
        alike = samples[derive_seed(seed, "alike", ids[row]) % len(samples)]
        chosen.append(
            ReviewItem(id, row, ids[row], labels[row], alike.attack, alike.round, control=True)
        )
    return chosen
