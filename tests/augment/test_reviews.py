import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from attacks import RefusedInput
from augment import SampleBank
from augment.bank.reviews import REVIEWS, Review, append_reviews, read_reviews, statuses

ROOT = Path(__file__).parents[2]


def test_what_was_written_is_read_back_in_order(tmp_path):
    said = [
        Review(("a", "b"), "accepted", "rounds", automatic=True),
        Review(("a",), "rejected", "Ann <b>", seen=0, time="2026-01-01T00:00:00+0000"),
        Review(("c",), "accepted", "", control=0, seen=3, time="2026-01-01T00:00:01+0000"),
    ]
    append_reviews(tmp_path, said[:1])
    append_reviews(tmp_path, said[1:])
    assert read_reviews(tmp_path) == said


def test_a_person_s_review_is_dated_and_a_program_s_can_be_written_again(tmp_path):
    for automatic in (False, True):
        append_reviews(tmp_path, [Review(("a",), "accepted", "x", automatic=automatic)])
    person, program = read_reviews(tmp_path)
    assert person.time
    assert not program.time


def test_persons_stand_above_programs_and_must_agree():
    program = Review(("a", "b", "c"), "accepted", "rounds", automatic=True)
    ann, bob = Review(("a",), "rejected", "Ann"), Review(("a",), "accepted", "Bob")
    assert statuses([ann, program]) == {"a": "rejected", "b": "accepted", "c": "accepted"}
    assert statuses([program, ann, bob])["a"] == "unsure"
    assert statuses([ann, bob, Review(("a",), "accepted", "Ann")])["a"] == "accepted"


def test_who_takes_a_decision_back_leaves_those_of_the_others():
    back = Review(("a",), "pending", "Ann")
    program = Review(("a",), "accepted", "rounds", automatic=True)
    ann = Review(("a",), "rejected", "Ann")
    assert statuses([program, ann, back]) == {"a": "accepted"}
    assert statuses([ann, back]) == {}
    assert statuses([ann, Review(("a",), "pending", "Bob")]) == {"a": "rejected"}


def test_a_control_gives_no_sample_a_status():
    assert statuses([Review(("a",), "accepted", "Ann", control=1)]) == {}


def test_only_the_first_reviews_count_where_that_is_asked(tmp_path, entries, images):
    bank = SampleBank(tmp_path)
    bank.append("a", images(2), entries(2))
    bank.set_status([0], "accepted")
    bank.set_status([0], "rejected")
    assert SampleBank(tmp_path, reviews=1).indices(status="accepted") == [0]
    assert SampleBank(tmp_path).indices(status="rejected") == [0]


def test_the_same_bytes_under_another_key_have_the_same_status(tmp_path, entries, images):
    bank = SampleBank(tmp_path)
    bank.append("a", images(2), entries(2))
    bank.append("b", images(2), entries(2, round=2))
    bank.set_status([1], "rejected")
    assert [entry.status for entry in bank.entries()] == ["pending", "rejected"] * 2


@pytest.mark.parametrize(
    "line",
    [
        [],
        {"status": "accepted", "reviewer": "a"},
        {"hashes": "abc", "status": "accepted", "reviewer": "a"},
        {"hashes": [1], "status": "accepted", "reviewer": "a"},
        {"hashes": ["a"], "status": "good", "reviewer": "a"},
        {"hashes": ["a"], "status": "accepted", "reviewer": "a", "seen": float("inf")},
        {"hashes": ["a"], "status": "accepted", "reviewer": "a", "seen": True},
        {"hashes": ["a"], "status": "accepted", "reviewer": "a", "seen": 1.5},
        {"hashes": ["a"], "status": "accepted", "reviewer": 1},
        {"hashes": ["a"], "status": "accepted", "reviewer": "a", "more": 1},
    ],
)
def test_a_line_that_is_no_review_is_refused_by_its_number(tmp_path, line):
    append_reviews(tmp_path, [Review(("a",), "accepted", "x")])
    with (tmp_path / REVIEWS).open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(RefusedInput, match="line 2 cannot be read"):
        read_reviews(tmp_path)


def test_a_last_line_without_its_end_counts_and_stays(tmp_path):
    for name in "ab":
        append_reviews(tmp_path, [Review((name,), "accepted", "x", automatic=True)])
    log = tmp_path / REVIEWS
    log.write_bytes(log.read_bytes().rstrip())  # as an editor leaves it
    assert len(read_reviews(tmp_path)) == 2
    append_reviews(tmp_path, [Review(("c",), "accepted", "x", automatic=True)])
    assert [review.hashes for review in read_reviews(tmp_path)] == [("a",), ("b",), ("c",)]


WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from augment.bank.reviews import Review, append_reviews
    folder, name = Path(sys.argv[1]), sys.argv[2]
    for number in range(100):
        append_reviews(folder, [Review((f"{name}{number}",), "accepted", name)])
""")


@pytest.mark.multiprocess
def test_two_reviewers_at_once_lose_nothing(tmp_path):
    words = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*words, name], cwd=ROOT) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    said = [(review.reviewer, *review.hashes) for review in read_reviews(tmp_path)]
    for name in "ab":
        own = [each for each in said if each[0] == name]
        assert own == [(name, f"{name}{number}") for number in range(100)]
