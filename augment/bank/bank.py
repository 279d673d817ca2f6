"""The sample bank: perturbed samples on disk, safe against a kill at any moment."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.errors import RefusedInput
from attacks.files import sweep
from augment.bank.attack_entries import attack_entries
from augment.bank.reviews import Review, append_reviews, read_reviews, statuses
from augment.bank.samples import (
    ENCODINGS,
    STATUSES,
    Encoding,
    Entry,
    Status,
    encode,
    exact_encodings,
)
from augment.bank.shards import (
    RANK,
    Shard,
    ShardName,
    StoredPixels,
    open_shards,
    write_shards,
)
from augment.dataset import Rows, row_numbers

_NEEDED = "labels, sources and attack"
_KEY = re.compile(r"[A-Za-z0-9_=,+-][A-Za-z0-9_=,+.-]{0,149}")


class SampleBank:
    """Perturbed samples in bounded safetensors shards, one or more files a key.

    A key, such as `round001-pgd-0-00003`, is the unit of resume: it is in the bank wholly or
    not at all. Samples are numbered by key, then place in their batch, whatever the order of
    writing: an `append` may move numbers, while ids never change. Opening a bank only reads; the
    next `append` removes half-written files of a killed process. All samples have one shape:
    `(C, H, W)`, which stands below, or `(C, T, H, W)` for clips.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        shard_bytes: int = 32 * 2**20,
        until: int | None = None,
        reviews: int | None = None,
    ) -> None:
        """Open a bank; a folder that does not exist yet is an empty bank.

        Args:
            folder: Where the shards are.
            shard_bytes: Largest size of a shard; a sample that is larger has one to itself.
            until: The last round whose samples are looked at; None looks at all.
            reviews: How many reviews count, of the first that were made; None counts all.

        Raises:
            RefusedInput: A shard or a log is truncated, altered or not ours.
        """
        self.folder, self.shard_bytes = Path(folder), shard_bytes
        if self.folder.exists() and not self.folder.is_dir():
            raise RefusedInput(f"{folder}: a file, but a bank is a folder; name another place")
        self._shards: dict[str, list[Shard]] = {}
        for names in _list_complete(self.folder):
            shards = open_shards(self.folder, names)
            rounds = {entry.round for shard in shards for entry in shard.entries}
            if until is None or max(rounds, default=0) <= until:
                self._shards[names[0].key] = shards
        self.reviews = read_reviews(self.folder)[:reviews]
        self._swept = False

    @cached_property
    def _table(self) -> list[tuple[Shard, int, Entry]]:
        """Every sample in order: its shard, its row there, and its entry with the status."""
        given = statuses(self.reviews)
        return [
            (shard, row, replace(entry, status=given.get(entry.hash, "pending")))
            for _, shards in sorted(self._shards.items())
            for shard in shards
            for row, entry in enumerate(shard.entries)
        ]

    def __repr__(self) -> str:
        """Return one line: the folder, how many samples of which shape, and their statuses."""
        counts = Counter(entry.status for entry in self.entries())
        said = [f"{counts[status]} {status}" for status in STATUSES if counts[status]]
        size = f"{len(self)} samples" + (f" of {self.shape}" if self.shape else "")
        return f"{type(self).__name__}({self.folder}: {', '.join([size, *said])})"

    def __len__(self) -> int:
        """Count the samples of every status."""
        return sum(len(s.entries) for shards in self._shards.values() for s in shards)

    def __contains__(self, key: str) -> bool:
        """Tell whether a key has been appended."""
        return key in self._shards

    def __getitem__(self, index: int) -> tuple[Tensor, Entry]:
        """Read sample `(C, H, W)` float32 in [0, 1] and its entry."""
        shard, row, entry = self._table[index]
        return shard.pixels(row), entry

    def __iter__(self) -> Iterator[tuple[Tensor, Entry]]:
        """Iterate over all samples in order."""
        return (self[i] for i in range(len(self)))

    def keys(self) -> list[str]:
        """List the keys whose shards are complete, sorted."""
        return sorted(self._shards)

    def entries(self) -> list[Entry]:
        """List the entry of every sample, in order."""
        return [entry for *_, entry in self._table]

    def indices(
        self, *, status: Status | None = None, round: int | None = None, attack: str | None = None
    ) -> list[int]:
        """List the numbers of the samples that have all given properties; None means any."""
        return [
            i
            for i, entry in enumerate(self.entries())
            if status in (None, entry.status)
            and round in (None, entry.round)
            and attack in (None, entry.attack)
        ]

    def stack(self, indices: Rows) -> tuple[Tensor, Tensor]:
        """Read samples `(N, C, H, W)` float32 in [0, 1] and their correct labels `(N,)` int64."""
        chosen = row_numbers(indices)
        labels = torch.tensor([self._table[i][2].label for i in chosen.tolist()])
        return self.pixels(chosen)[torch.arange(len(chosen))], labels.long()

    def pixels(self, indices: Rows) -> StoredPixels:
        """Select samples `(N, C, H, W)` to read later; a growing bank does not change them."""
        chosen = row_numbers(indices).tolist()
        return StoredPixels([self._table[i][:2] for i in chosen], self.shape or (0, 0, 0))

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of one sample, or None while the bank is empty."""
        return next((s.shape for shards in self._shards.values() for s in shards if s.shape), None)

    def append(
        self,
        key: str,
        samples: AttackResult | Tensor,
        entries: Sequence[Mapping[str, Any]] | None = None,
        *,
        labels: Tensor | Sequence[int] | None = None,
        sources: Sequence[str] | None = None,
        attack: str | None = None,
        round: int = 0,
        seed: int = 0,
        encodings: Sequence[Encoding] | None = None,
    ) -> int:
        """Store perturbed samples under a new key, down to the disk, wholly or not at all.

        Args:
            key: Letters, digits and `_ - = , + .`, at most 150.
            samples: What an attack returned of B samples; then labels, sources and attack are
                given. Or `(B, C, H, W)` float32 in [0, 1], on any device; then entries are.
            entries: B mappings with the fields source, label, round, attack, seed, loss, linf,
                l2 and l1 of `Entry`.
            labels: Correct classes, `(B,)`.
            sources: B ids of the originals in their dataset.
            attack: Name of the attack.
            round: Round that the samples are of.
            seed: Seed that the attack was given.
            encodings: How each sample is stored, see `smallest_encodings`; None takes bytes
                where they are exact, else half floats.

        Returns:
            B.

        Raises:
            ValueError: The key is taken or badly formed, or samples and what is said of them do
                not fit.
            OSError: The disk is full or the folder cannot be written; nothing is left behind.
        """
        if isinstance(samples, AttackResult) and entries is None:
            if labels is None or sources is None or attack is None:
                raise ValueError(f"a result without {_NEEDED}; give all three with it")
            made = {"attack": attack, "round": round, "seed": seed}
            entries = attack_entries(samples, made, labels=labels, sources=sources)
            samples = samples.x_adv
        elif entries is None or isinstance(samples, AttackResult) or labels is not None:
            raise ValueError(f"give entries with a tensor, and {_NEEDED} with an attack's result")
        self._check(key, samples, entries, encodings)
        x = samples.detach().float()
        pairs = encode(x, entries, exact_encodings(x) if encodings is None else encodings)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._swept:
            self._sweep()
        self._shards[key] = write_shards(self.folder, key, pairs, limit=self.shard_bytes)
        self.__dict__.pop("_table", None)
        return len(pairs)

    def set_status(
        self, indices: Rows, status: Status, *, reviewer: str = "", automatic: bool = False
    ) -> None:
        """Record a decision on samples, down to the disk.

        Args:
            indices: Numbers of the samples.
            status: The decision; "pending" takes this reviewer's own one back.
            reviewer: Who decided.
            automatic: Whether that is a program: what a person decides stands above it.

        Raises:
            ValueError: Unknown status, or indices that are no numbers of samples.
            OSError: The disk is full or the folder cannot be written.
        """
        if status not in STATUSES:
            raise ValueError(f"status {status!r}; choose one of {', '.join(STATUSES)}")
        chosen = row_numbers(indices).tolist()
        if not chosen:
            return
        hashes = tuple(self._table[i][2].hash for i in chosen)
        review = Review(hashes, status, reviewer, automatic)
        append_reviews(self.folder, [review])
        self.reviews.append(review)
        self.__dict__.pop("_table", None)

    def _check(
        self,
        key: str,
        x: Tensor,
        entries: Sequence[Mapping[str, Any]],
        encodings: Sequence[Encoding] | None,
    ) -> None:
        if not _KEY.fullmatch(key):
            raise ValueError(f"key {key!r}: use letters, digits and _ - = , + . (at most 150)")
        if key in self:
            raise ValueError(f"key {key!r} is in the bank already; test `key in bank` first")
        if len(x) != len(entries):
            raise ValueError(f"{len(x)} samples but {len(entries)} entries; give one per sample")
        if encodings is not None and (len(encodings) != len(x) or not {*encodings} <= {*ENCODINGS}):
            raise ValueError(
                f"encodings {', '.join(map(str, encodings))}: give one of {', '.join(ENCODINGS)} "
                f"for each of the {len(x)} samples"
            )
        if self.shape not in (None, tuple(x.shape[1:])):
            raise ValueError(
                f"samples of shape {tuple(x.shape[1:])} in a bank of {self.shape}; use a new bank"
            )
        if len(x) and not (float(x.min()) >= 0 and float(x.max()) <= 1):  # NaN fails both
            raise ValueError(
                f"samples reach from {x.min():.4g} to {x.max():.4g}; a bank holds finite values "
                "in [0, 1]: clamp them"
            )

    def _sweep(self) -> None:
        """Remove the half-written files of a killed process."""
        sweep(self.folder, f"*.{RANK}.*")
        for names in _group_files(self.folder):
            if len(names) < names[0].parts:
                for name in names:
                    (self.folder / str(name)).unlink()
        self._swept = True


def stored_keys(folder: Path) -> set[str]:
    """List the keys whose shards are complete, by the names of the files alone."""
    return {names[0].key for names in _list_complete(folder)}


def _list_complete(folder: Path) -> list[list[ShardName]]:
    """List the groups of shard files of which none is missing."""
    return [names for names in _group_files(folder) if len(names) == names[0].parts]


def _group_files(folder: Path) -> list[list[ShardName]]:
    """Group the shard files of a folder by key, all in order."""
    found = [ShardName.parse(path.name) for path in folder.glob("*.safetensors")]
    names = sorted(name for name in found if name is not None)
    return [list(group) for _, group in groupby(names, key=lambda n: (n.key, n.parts))]
