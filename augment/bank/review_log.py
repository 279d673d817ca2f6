"""The bank's log of review verdicts: append-only, so a kill can cost only the last line."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from attacks.errors import RefusedInput
from attacks.files import sync_folder
from augment.bank.samples import STATUSES, Entry, Status

LOG = "status-rank000.jsonl"


@dataclass(frozen=True)
class ReviewLog:
    """Statuses that reviews gave, by `(sample id, hash)`, and how many reviews there were."""

    given: dict[tuple[str, str], Status]
    reviews: int

    def on(self, entry: Entry) -> Status:
        """Look up the latest verdict; a sample with new pixels is pending again."""
        return self.given.get((entry.id, entry.hash), "pending")


def read_review_log(folder: Path) -> ReviewLog:
    """Read the log; a later review of a sample wins.

    Raises:
        RefusedInput: A whole line of a log cannot be read.
    """
    path = folder / LOG
    lines = sorted(_read_lines(path) if path.exists() else (), key=lambda line: line[0])
    given = {sample: status for _, status, samples in lines for sample in samples}
    return ReviewLog(given, lines[-1][0] if lines else 0)


def reviewed_keys(folder: Path) -> set[str]:
    """List the keys of a bank that have at least one reviewed sample."""
    return {name.rsplit(".", 2)[0] for name, _ in read_review_log(folder).given}  # key.000.row


def append_review(
    folder: Path, known: ReviewLog, status: Status, entries: Iterable[Entry]
) -> ReviewLog:
    """Add one line to the log, down to the disk.

    Args:
        folder: Folder of the bank.
        known: The verdicts so far.
        status: The new verdict.
        entries: The reviewed samples.

    Returns:
        The verdicts including this one.

    Raises:
        OSError: The disk is full or the folder cannot be written; a line torn so is ignored.
    """
    samples = [(entry.id, entry.hash) for entry in entries]
    number = known.reviews + 1
    line = json.dumps({"number": number, "status": status, "samples": samples}) + "\n"
    path = folder / LOG
    with open(path, "a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)  # a torn line would spoil the one after it
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
    return ReviewLog(known.given | dict.fromkeys(samples, status), number)


def _read_lines(path: Path) -> Iterator[tuple[int, Status, list[tuple[str, str]]]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RefusedInput(
            f"{path}: {error.strerror}; delete this file and review its samples again"
        ) from error
    bad: dict[int, Exception] = {}
    for place, text in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            line = json.loads(text)
            samples = [(str(name), str(hashed)) for name, hashed in line["samples"]]
            found = int(line["number"]), STATUSES[STATUSES.index(line["status"])], samples
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            bad[place] = error
        else:
            yield found
    if bad:
        named = f"line{'s' * (len(bad) > 1)} {', '.join(map(str, bad))}"
        raise RefusedInput(
            f"{path}: {named} cannot be read ({next(iter(bad.values()))}); delete "
            f"{'these lines' if len(bad) > 1 else 'that line'} and review its samples again"
        )
