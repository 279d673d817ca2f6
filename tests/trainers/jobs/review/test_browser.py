"""The review page and the gallery in a real browser, by keyboard alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from augment import Dataset, SampleBank
from augment.bank.reviews import read_reviews, statuses
from trainers.run.main import main

from .conftest import CLASSES, MakeRun, fill_bank

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
CHROMIUM = shutil.which("chromium")
ROOT = Path(__file__).parents[4]
KEYS = {"accepted": "a", "rejected": "r", "unsure": "u"}
Serve = Callable[..., tuple[str, subprocess.Popen[str]]]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as play:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))  # an alert of injected code
    page.on("console", lambda line: "Content Security" in line.text and wrong.append(line.text))
    yield page
    context.close()
    assert wrong == []


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return what starts the command in a process, and gives the page's address."""
    started: list[subprocess.Popen[str]] = []

    def start(run: Path, *words: str) -> tuple[str, subprocess.Popen[str]]:
        line = [sys.executable, "train.py", "review", "--no-open", "--run-dir", str(run), *words]
        process = subprocess.Popen(
            line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        started.append(process)
        seen = ""
        for text in process.stdout:
            seen += text
            if "Ctrl-C" in text:
                return re.search(r"http://\S+", seen)[0], process
        raise AssertionError(seen)

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


class Reviewer:
    """Somebody with a keyboard and no mouse."""

    def __init__(self, page: Any, bank: Path) -> None:
        self.page, self.bank, self.pressed = page, bank, []

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def name(self, key: str) -> None:
        self.page.wait_for_selector("#naming:not([hidden])")
        assert self.page.is_hidden("#revealed")
        self.press(key)
        self.page.wait_for_selector("#revealed:not([hidden])")

    def decide(self, status: str) -> None:
        lines = len(read_reviews(self.bank))
        self.press(KEYS[status])
        wait_until(lambda: len(read_reviews(self.bank)) > lines)
        self.pressed.append(status)
        self.page.wait_for_selector("#naming:not([hidden]), #end:not([hidden])")

    def undo(self) -> None:
        lines = len(read_reviews(self.bank))
        self.press("Backspace")
        wait_until(lambda: len(read_reviews(self.bank)) > lines)
        self.pressed.append("pending")
        self.page.wait_for_selector("#revealed:not([hidden])")


def test_twenty_samples_by_keyboard_through_a_reload_and_a_kill(
    make_run: MakeRun, serve: Serve, page: Any
) -> None:
    run = make_run(16)
    bank = run / "bank"
    address, process = serve(run, "--controls", "0.2")
    page.goto(address)
    page.wait_for_selector("#ask:not([hidden])")
    page.keyboard.type("Ann <b>")
    page.keyboard.press("Enter")
    ann = Reviewer(page, bank)
    page.wait_for_selector("#naming:not([hidden])")
    assert page.inner_text("#reviewer") == "Ann <b>"
    assert [t.split("\n")[-1] for t in page.locator("#classes button").all_inner_texts()] == [
        f"{key}{name}" for key, name in enumerate(CLASSES)
    ]
    assert page.locator("#classes img").count() == 0
    cycle = ["accepted", "rejected", "unsure"]
    for number in range(6):
        ann.name("012"[number % 3])
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        ann.decide(cycle[number % 3])
    ann.undo()
    ann.decide("accepted")
    ann.name("1")
    question = page.inner_text("#answer")
    page.reload()
    page.wait_for_selector("#revealed:not([hidden])")  # not asked again: the label was shown
    assert page.inner_text("#answer") == question
    ann.decide("accepted")
    ann.name("2")
    process.send_signal(signal.SIGKILL)
    process.wait()
    ann.press("a")
    page.wait_for_selector("#alert:not([hidden])")
    assert "does not answer" in page.inner_text("#alert")
    ann.press("a")
    ann.press("a")
    before = read_reviews(bank)
    assert [review.status for review in before] == ann.pressed

    address, process = serve(run, "--controls", "0.2", "--reviewer", "Ann <b>")
    page.goto(address)
    page.wait_for_selector("#naming:not([hidden])")
    assert page.inner_text("#count") == "7 of 20 decided by you"
    for number in range(13):
        ann.name("012"[number % 3])
        ann.decide(cycle[number % 3])
    page.wait_for_selector("#end:not([hidden])")

    reviews = read_reviews(bank)
    assert [review.status for review in reviews] == ann.pressed
    assert len(reviews) == 20 + 2  # one was taken back and decided again
    entries = {entry.hash: entry for entry in SampleBank(bank).entries()}
    latest = {review.hashes[0]: review for review in reviews}
    controls = {id: review for id, review in latest.items() if review.control is not None}
    assert len(latest) == 20
    assert len(controls) == 4
    assert latest.keys() - controls.keys() == entries.keys()
    assert {entry.hash: entry.status for entry in entries.values()} == statuses(reviews)
    right = sum(latest[id].seen == entries[id].label for id in entries)
    known = sum(review.seen == review.control for review in controls.values())
    page.wait_for_selector("#rates:not(:empty)")  # it is asked for
    rates = page.inner_text("#rates")
    assert f"({right} of 16;" in rates
    assert f"({known} of 4;" in rates
    assert f"({known} of 4;" in page.inner_text("#status")  # as a screen reader hears it
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert said.splitlines()[-1].startswith("Ann <b>: perturbed samples decided: 16 (")
    assert f"({known} of 4;" in said


def test_names_of_files_are_text(make_run: MakeRun, serve: Serve, page: Any) -> None:
    address, _ = serve(make_run(3), "--controls", "0", "--reviewer", "Ann")
    page.goto(address)
    ann = Reviewer(page, Path())
    ann.name(".")
    assert re.search(r"/<b>\d\.png", page.inner_text("#about"))
    assert page.locator("#about b, #about img, #answer img").count() == 0


def test_two_reviewers_at_once(make_run: MakeRun, serve: Serve, page: Any, browser: Any) -> None:
    run = make_run(4)
    address, _ = serve(run, "--controls", "0")
    people = []
    for name, status in (("Ann", "accepted"), ("Bob", "rejected")):
        other = browser.new_context().new_page()
        other.goto(address)
        other.wait_for_selector("#ask:not([hidden])")
        other.keyboard.type(name)
        other.keyboard.press("Enter")
        people.append((Reviewer(other, run / "bank"), status))
    for _ in range(4):
        for person, status in people:
            person.name("0")
            person.decide(status)
    reviews = read_reviews(run / "bank")
    assert sorted(review.reviewer for review in reviews) == ["Ann"] * 4 + ["Bob"] * 4
    assert {entry.status for entry in SampleBank(run / "bank").entries()} == {"unsure"}
    for person, _ in people:
        person.page.context.close()


def test_clips_play_and_stop(make_run: MakeRun, serve: Serve, page: Any) -> None:
    run = make_run(1, data="digits")
    shutil.rmtree(run / "bank")
    frames = (torch.arange(6) * 40).to(torch.uint8).view(1, 1, 6, 1, 1).expand(2, 1, 6, 5, 7)
    ds = Dataset(frames, torch.tensor([0, 1]), ["x", "y"], name="clips", classes=["a", "b"])
    fill_bank(SampleBank(run / "bank"), ds, [0], key="a")  # one brighter: 1, 41, 81, ...
    address, _ = serve(run, "--reviewer", "Ann")
    page.goto(address)
    page.wait_for_selector("#player:not([hidden])")
    shown = "document.getElementById('sample').getContext('2d').getImageData(3, 2, 1, 1).data[0]"
    wait_until(lambda: page.evaluate(shown) != 0)  # the canvas is blank until the picture is here
    found = set()
    wait_until(lambda: found.add(page.evaluate(shown)) or len(found) == 6)
    assert found == {1, 41, 81, 121, 161, 201}
    page.keyboard.press("Space")
    page.wait_for_timeout(50)
    still = page.evaluate(shown)
    page.wait_for_timeout(400)
    assert page.evaluate(shown) == still
    page.keyboard.press("ArrowRight")
    assert page.evaluate(shown) == (still + 40 if still < 201 else 1)
    number = int(page.input_value("#scrub"))
    assert page.inner_text("#frame") == f"{number + 1} / 6"
    assert page.get_attribute("#scrub", "aria-valuetext") == f"frame {number + 1} of 6"


def test_many_classes_are_found_by_typing(make_run: MakeRun, serve: Serve, page: Any) -> None:
    run = make_run(1, data="digits")
    shutil.rmtree(run / "bank")
    ds = Dataset(
        torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([142]), ["x"], name="many",
        classes=[],
    )  # fmt: skip
    fill_bank(SampleBank(run / "bank"), ds, [0], key="a")
    (run / "config.toml").unlink()  # so that classes are numbers
    address, _ = serve(run, "--reviewer", "Ann")
    page.goto(address)
    page.wait_for_selector("#finder:not([hidden])")
    page.keyboard.type("14")
    listed = page.locator("#found li").all_inner_texts()
    assert listed == ["14", "140", "141", "142", "114"]  # those that begin so first
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#revealed:not([hidden])")
    assert page.inner_text("#answer") == "Its label: 142 — as you said"
    Reviewer(page, run / "bank").decide("unsure")
    (review,) = read_reviews(run / "bank")
    assert (review.seen, review.status) == (142, "unsure")


def test_what_is_marked_in_a_gallery_comes_into_the_bank(
    make_run: MakeRun, tmp_path: Path, page: Any
) -> None:
    run, file, saved = make_run(4), tmp_path / "all.html", tmp_path / "d.jsonl"
    assert main(["review", "--run-dir", str(run), "--export", str(file)]) == 0
    page.goto(file.as_uri())
    assert page.locator("legend").first.inner_text() == f"1: {CLASSES[0]}"
    page.locator("input[value=rejected]").first.focus()
    page.keyboard.press("Space")
    page.locator("input[value=accepted]").last.focus()
    page.keyboard.press("Space")
    page.fill("#name", "Ann")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(saved)
    assert {json.loads(line)["status"] for line in saved.open()} == {"accepted", "rejected"}
    assert main(["review", "--run-dir", str(run), "--import-decisions", str(saved)]) == 0
    by_change = sorted(SampleBank(run / "bank").entries(), key=lambda entry: -entry.l2)
    assert [e.status for e in by_change] == ["rejected", "pending", "pending", "accepted"]
