"""Kill runs at random, start them again, and compare what they leave with an undisturbed run.

A kill comes at a random moment, or at a random write: before or after a file is flushed, renamed or
removed, so that those between the writes of one item of work are met as well.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.soak.folders import differences
from tests.soak.jobs import jobs, preparations
from trainers.run.main import main

CHAIN = 4  # kills of one run, at most, before it is left to end
Work = Callable[[], int]


def strike(number: int, *, after: bool) -> Callable[[], int]:
    """Make this process kill itself at its write of some number; return what counts its writes."""
    writes = 0

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def write(*args: object, **more: object) -> object:
            nonlocal writes
            writes += 1
            if writes == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **more)
            if writes == number and after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return write

    os.fsync = counted(os.fsync)  # type: ignore[assignment]
    for name in ("replace", "unlink", "mkdir"):
        setattr(Path, name, counted(getattr(Path, name)))
    return lambda: writes


def start(
    words: list[str], number: int = 0, *, after: bool = False, said: Path = Path(os.devnull)
) -> int:
    """Run a command line in a child, which kills itself at its write of some number.

    Args:
        words: the command line.
        number: of the write; 0 for none.
        after: whether after it rather than before.
        said: where its error messages go.
    """
    child = os.fork()
    if child == 0:
        writes = strike(number, after=after)
        with open(os.devnull, "w") as nowhere, said.open("w") as errors:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(errors.fileno(), 2)
            code = main(words)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told = {"writes": writes(), "memory": memory, "modules": sorted(sys.modules)}
        Path(os.environ["SOAK_TOLD"]).write_text(json.dumps(told))
        os._exit(code)
    return child


def ended(child: int) -> int | None:
    """Wait for a child; return its exit code, None for one that was killed."""
    status = os.waitpid(child, 0)[1]
    return None if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def hunted(words: list[str], rng: random.Random, kills: int, seconds: float, writes: int) -> int:
    """Kill a run so often or less, then let it end; return how often it was killed.

    Raises:
        AssertionError: when a start ended in another way.
    """
    struck = 0
    for _ in range(kills):
        part = 1.5 * rng.random() / kills
        if rng.random() < 0.5:
            child = start(words, 1 + int(part * writes), after=rng.random() < 0.5)
        else:
            child = start(words)
            time.sleep(part * seconds)
            os.kill(child, signal.SIGKILL)
        code = ended(child)
        assert code in (None, 0), f"exit code {code} after {struck} kills"
        struck += code is None
    code = ended(start(words))
    assert code == 0, f"exit code {code} after {struck} kills"
    return struck


def hunt(name: str, words: list[str], folder: Path, kills: int, rng: random.Random) -> str:
    """Kill a job so often; return a line on it.

    Raises:
        AssertionError: when a killed run left something else than an undisturbed one.
    """
    plain, began = folder / "plain", time.monotonic()
    assert ended(start([*words, "--run-dir", str(plain)])) == 0, name
    seconds, writes = time.monotonic() - began, told()["writes"]
    struck = runs = 0
    while struck < kills:
        runs += 1
        disturbed = folder / f"killed-{runs}"
        most = min(CHAIN, kills - struck)
        line = [*words, "--run-dir", str(disturbed)]
        struck += hunted(line, rng, rng.randint(1, most), seconds, writes)
        found = differences(plain, disturbed)
        assert not found, f"{name}: {disturbed} differs in {found}"
    return f"{name}: {struck} kills of {runs} runs, {writes} writes in {seconds:.1f} s"


def loaded(lines: list[list[str]]) -> None:
    """Run command lines, and load the modules that they took, so that later starts cost nothing."""
    for words in lines:
        assert ended(start(words)) == 0, words
        for name in told()["modules"]:
            with suppress(Exception):
                import_module(name)


def told() -> Any:
    """Return what the last child that was not killed had to say."""
    return json.loads(Path(os.environ["SOAK_TOLD"]).read_text())


def play(place: Path, kills: int, seed: int, log: Callable[[str], object]) -> int:
    """Kill all jobs, so often in all; return how many of them ended differently.

    Args:
        place: an empty folder; runs that ended as they should are removed from it.
        kills: how many.
        seed: of what is random.
        log: called with a line on each job.
    """
    wrong = 0
    os.environ["SOAK_TOLD"] = str(place / "told.json")
    loaded(preparations(place / "given"))
    table = jobs(place / "given")
    for number, (name, words) in enumerate(table.items()):
        share = kills * (number + 1) // len(table) - kills * number // len(table)
        folder = place / name.replace(" ", "-")
        folder.mkdir()
        try:
            log(hunt(name, words, folder, share, random.Random(f"{seed} {name}")))
            shutil.rmtree(folder)
        except AssertionError as error:
            wrong += 1
            log(f"WRONG: {error}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("folder", type=Path, help="where to; must not exist")
    asked = parser.parse_args()
    asked.folder.mkdir()
    sys.exit(
        bool(play(asked.folder, asked.kills, asked.seed, lambda line: print(line, flush=True)))
    )
