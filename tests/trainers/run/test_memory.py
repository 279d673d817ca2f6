"""Large tensors that a job frees are had again without asking the system for pages."""

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from trainers.run import session

COUNT = """
import resource, torch
from trainers.run.session import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)  # 64 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
faults()  # the first block is the system's
print(before, faults())
"""
PAGES = 10 * 2**26 // 2**21  # at most, where the system gives pages of 2 MB


def count(**variables: str) -> tuple[int, int]:
    env = {name: text for name, text in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", COUNT]
    out = subprocess.run(command, env=env | variables, capture_output=True, text=True, check=True)
    before, after = map(int, out.stdout.split())
    return before, after


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_used_again() -> None:
    before, after = count()
    assert before >= PAGES
    assert after < before / 10


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_setting_of_the_user_s_stands() -> None:
    _, after = count(MALLOC_MMAP_THRESHOLD_="1048576")
    assert after >= PAGES


@pytest.mark.parametrize(("most", "set_to"), [(2**30, 2**30), (2**25, 2**25), (0, None)])
def test_an_older_library_gets_what_it_takes(
    most: int, set_to: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def mallopt(parameter: int, size: int) -> int:
        if parameter == session.M_MMAP_THRESHOLD and size > most:
            return 0
        done.append((parameter, size))
        return 1

    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(session.ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    session.keep_freed_memory()
    wanted = [(session.M_MMAP_THRESHOLD, set_to), (session.M_TRIM_THRESHOLD, 2**31 - 1)]
    assert done == (wanted if set_to else [])
