"""The job `evaluate`, killed at random moments and started again, gives the same table."""

import json
from collections.abc import Callable
from typing import Any

import pytest

WORDS = [
    "evaluate", "--smoke", "--threads", "1", "--batch-size", "16", "--test-samples", "48",
    "--attacks", "pgd:steps=40", "autoattack:version=custom,steps=20,targets=3,queries=400",
]  # fmt: skip


@pytest.mark.slow
def test_three_kills_change_nothing(
    hunt: Callable[[list[str], int], Any], without_seconds: Callable[[Any], Any]
) -> None:
    plain, hunted, struck = hunt(WORDS, 3)
    assert struck >= 1
    first, second = (
        without_seconds(json.loads((folder / "summary.json").read_text()))
        for folder in (plain, hunted)
    )
    assert first == second
    assert 0 < first["attacks"]["autoattack"]["success"] < 1
