"""Damage a file of a run folder, resume, and do what each message says until the run is whole."""

import argparse
import json
import os
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.soak.folders import differences
from tests.soak.jobs import FEW, SMALL
from tests.soak.kills import ended, loaded, start, told

TINY = [*SMALL, "--test-samples", "12", "--train-samples", "40"]
ADVICE = (
    "delete it and resume: it is made again", "delete this file and run again",
    "delete this file and review",
)  # fmt: skip
LINES = re.compile(r"train\.py: (/[^\n:]+): lines? ([\d, ]+) cannot be read")
SENTENCE = re.compile(r"train\.py: (?:checkpoint )?(/[^\n:;(]+?)(?: is damaged| was changed|:| )")
SLOWEST, LARGEST = 120.0, 2**21  # seconds, and KiB of memory, of one start
PARTS = 3  # moments at which a run is interrupted
Maker = Callable[[Path, random.Random], None]


def jobs(given: Path) -> dict[str, list[str]]:
    """Return command lines by name."""
    weights = ["--weights", str(given / "weights/checkpoints/round-000.safetensors")]
    return {
        "rounds": [
            "rounds", *TINY, "--rounds", "2", "--patience", "0", "--epochs", "2",
            "--retrain-epochs", "1", "--attacks", "pgd:steps=2", "--attack-samples", "pgd=16",
            "--augmentation", "none", "--test-attacks", "fgsm",
        ],
        "attack": ["attack", *TINY, *weights, "--attack", "pgd:steps=2"],
        "attack universal": ["attack", *TINY, *weights, "--attack", "universal:passes=2"],
        "evaluate": ["evaluate", *TINY, "--attacks", "fgsm", "pgd:steps=2"],
        "compress fit": ["compress", "fit", *SMALL, "--network", "unet:width=4,epochs=2"],
        "compress encode": ["compress", "encode", *TINY],
        "compress encode delta": ["compress", "encode", *TINY, *weights, "--kind", "delta"],
        "compress decode": [
            "compress", "decode", "--code", str(given / "codes/codes"), "--codec",
            str(given / "codes/codec.sprt"), "--threads", "1",
        ],
        "compress evaluate": [
            "compress", "evaluate", *TINY, *weights, "--judge-weights", weights[1], "--rates", "10",
            "--peers", "jpeg",
        ],
    }  # fmt: skip


def flipped(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes() or b"\0")
    for _ in range(rng.choice((1, 1, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def cut(file: Path, rng: random.Random) -> None:
    os.truncate(file, rng.randrange(max(1, file.stat().st_size)))


def emptied(file: Path, rng: random.Random) -> None:
    file.write_bytes(b"")


def deleted(file: Path, rng: random.Random) -> None:
    file.unlink()


def a_folder(file: Path, rng: random.Random) -> None:
    file.unlink()
    file.mkdir()


def noise(file: Path, rng: random.Random) -> None:
    file.write_bytes(rng.randbytes(rng.choice((1, 100, 5000))))


def longer(file: Path, rng: random.Random) -> None:
    file.write_bytes(file.read_bytes() + rng.choice((b"\n", b"{}\n", b"\xff\xfe", b"[" * 5000)))


def swapped(file: Path, rng: random.Random) -> None:
    root = next(folder for folder in file.parents if (folder / ".lock").exists())
    others = [f for f in root.rglob(f"*{file.suffix}") if f.is_file() and f != file]
    if others:
        other = rng.choice(sorted(others))
        data = file.read_bytes()
        file.write_bytes(other.read_bytes())
        other.write_bytes(data)


def other_json(file: Path, rng: random.Random) -> None:
    file.write_text(
        rng.choice(
            ("{}", "[]", "null", "0", '"x"', "NaN", "1e999", "-1", "9" * 4000, "true", "[" * 9999)
        )
    )


def edited(file: Path, rng: random.Random) -> None:
    """Change, drop or add a value somewhere in JSON; flip bits where it is none."""
    try:
        value = json.loads(file.read_bytes())
    except ValueError:
        flipped(file, rng)
        return
    at = value
    while isinstance(at, dict | list) and at:
        key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
        if not isinstance(at[key], dict | list) or rng.random() < 0.3:
            if rng.random() < 0.3:
                del at[key]
            else:
                at[key] = rng.choice((None, -1, "x", [], {}, 1e300, True, float("nan"), 10**30))
            break
        at = at[key]
    file.write_text(json.dumps(value))


MAKERS: tuple[Maker, ...] = (
    flipped, cut, emptied, deleted, a_folder, noise, longer, swapped, other_json, edited, edited,
)  # fmt: skip


def damaged(folder: Path, rng: random.Random) -> str:
    """Damage one file of a folder; say how."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != ".lock")
    state = [
        f for f in files if f.suffix in (".json", ".jsonl", ".toml") or "checkpoints" in f.parts
    ]
    file, maker = rng.choice(rng.choice((files, state))), rng.choice(MAKERS)
    maker(file, rng)
    return f"{file.relative_to(folder)} {maker.__name__}"


def remove(file: Path) -> None:
    """Do what a message says: delete what it names."""
    shutil.rmtree(file) if file.is_dir() and not file.is_symlink() else file.unlink()


def remove_lines(file: Path, numbers: list[int]) -> None:
    """Delete lines, counted from 1."""
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join(line for i, line in enumerate(lines, 1) if i not in numbers))


def resumed(words: list[str], folder: Path, heard: Path) -> tuple[int, str]:
    """Start a run again; return its exit code and its sentence.

    Raises:
        AssertionError: for one that took too long or too much.
    """
    began = time.monotonic()
    code = ended(start([*words, "--run-dir", str(folder)], said=heard))
    seconds, memory = time.monotonic() - began, told()["memory"]
    assert code is not None
    assert seconds < SLOWEST, f"{seconds:.0f} seconds"
    assert memory < LARGEST, f"{memory} KiB"
    lines = [line for line in heard.read_text().splitlines() if line.startswith("train.py: ")]
    return code, lines[-1] if lines else ""


def mend(words: list[str], folder: Path, whole: Path, heard: Path) -> str:
    """Resume a damaged run, following the advice of each message; return how it went.

    Raises:
        AssertionError: for an exit code or a sentence that is not as documented, or a run that
            does not end as an undisturbed one.
    """
    advised = 0
    while True:
        code, sentence = resumed(words, folder, heard)
        if code == 0:
            break
        advised += 1
        assert code in (2, 3), f"exit code {code}: {sentence}"
        assert str(folder) in sentence, sentence
        assert advised < 4, f"the fourth refusal: {sentence}"
        if any(advice in sentence for advice in ADVICE):
            assert code == 3, sentence
            named = SENTENCE.match(sentence)
            assert named, sentence
            remove(Path(named[1]))
        elif lines := LINES.match(sentence):
            remove_lines(Path(lines[1]), [int(number) for number in lines[2].split(",")])
        elif "--run-dir" in sentence or "--print-config" in sentence:  # its options are unknown
            return "another --run-dir"
        else:
            raise AssertionError(f"no advice: {sentence}")
    found = differences(whole, folder) if advised else []
    assert not found, f"differs in {found}"
    return f"mended by {advised} deletions" if advised else "taken or made again at once"


def folders_of(name: str, words: list[str], place: Path, rng: random.Random) -> list[Path]:
    """Return a finished folder of a job, then interrupted ones."""
    whole = place / f"run-of-{name.replace(' ', '-')}"
    assert ended(start([*words, "--run-dir", str(whole)])) == 0, name
    writes, found = told()["writes"], [whole]
    for part in range(PARTS):
        found.append(whole.with_name(f"{whole.name}-{part}"))
        number = int(writes * (part + rng.random()) / PARTS)
        ended(start([*words, "--run-dir", str(found[-1])], number + 1))
    return [folder for folder in found if (folder / "config.toml").exists()]


def play(place: Path, count: int, seed: int, log: Callable[[str], object]) -> Counter[str]:
    """Damage so many files; return how often it went how."""
    os.environ["SOAK_TOLD"], rng = str(place / "told.json"), random.Random(seed)
    given = place / "given"
    loaded(
        [
            [
                "rounds",
                *TINY,
                "--rounds",
                "0",
                "--epochs",
                "6",
                "--run-dir",
                str(given / "weights"),
            ],
            ["compress", "encode", *FEW, "--run-dir", str(given / "codes")],
        ]
    )
    table = jobs(given)
    folders = {name: folders_of(name, words, place, rng) for name, words in table.items()}
    ways: Counter[str] = Counter()
    for number in range(count):
        name = rng.choice(list(table))
        victim, heard = place / f"victim-{number}", place / "heard"
        source = rng.choice(folders[name])
        shutil.copytree(source, victim, symlinks=True)
        how = damaged(victim, rng)
        try:
            ways[mend(table[name], victim, folders[name][0], heard)] += 1
            shutil.rmtree(victim)
        except AssertionError as error:
            ways["WRONG"] += 1
            log(f"WRONG {number}: {source.name}: {how}: {error}")
    return ways


def summary(ways: Counter[str], **more: Any) -> str:
    """Return a line on how it went."""
    return ", ".join(f"{way}: {count}" for way, count in ways.most_common()) + f" {more or ''}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("folder", type=Path, help="where to; must not exist")
    asked = parser.parse_args()
    asked.folder.mkdir()
    found = play(asked.folder, asked.count, asked.seed, lambda line: print(line, flush=True))
    print(summary(found), flush=True)
    sys.exit(bool(found["WRONG"]))
