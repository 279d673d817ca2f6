import pytest
import torch

from attacks.errors import RefusedInput
from augment import SampleBank
from augment.bank.samples import ENCODINGS, read_back, smallest_encodings


def test_what_is_appended_is_read_back_by_another_opening(tmp_path, entries, images):
    bank = SampleBank(tmp_path)
    x = (images(5) * 255).round() / 255
    assert bank.append("round001-pgd", x, entries(5)) == 5
    reopened = SampleBank(tmp_path)
    assert reopened.entries() == bank.entries()
    read, labels = reopened.stack(range(5))
    assert torch.equal(read, x)
    assert labels.tolist() == [3] * 5
    entry = reopened[2][1]
    assert (entry.source, entry.round, entry.seed, entry.l1, entry.status) == (
        "s2", 1, 7, 9.0, "pending",
    )  # fmt: skip
    assert [i for i, _ in enumerate(reopened)] == list(range(5))


def test_numbering_does_not_depend_on_the_order_of_writing(tmp_path, entries, images):
    one, other = SampleBank(tmp_path / "a"), SampleBank(tmp_path / "b")
    for key in ("k2", "k10", "k1"):
        one.append(key, images(2, seed=len(key)), entries(2))
    for key in ("k1", "k2", "k10"):
        other.append(key, images(2, seed=len(key)), entries(2))
    assert one.entries() == other.entries()
    assert one.keys() == ["k1", "k10", "k2"]
    assert [entry.id for entry in one.entries()][:2] == ["k1.000.0", "k1.000.1"]
    assert (tmp_path / "a" / "k1.rank000.1of1.safetensors").is_file()


def test_without_a_verdict_grid_values_take_bytes_and_others_half_floats(tmp_path, entries, images):
    x = images(2)
    x[0] = (x[0] * 255).round() / 255
    bank = SampleBank(tmp_path)
    bank.append("k", x, entries(2))
    assert [entry.encoding for entry in bank.entries()] == ["uint8", "float16"]
    read, _ = bank.stack([0, 1])
    assert torch.equal(read[0], x[0])
    assert 0 < (read[1] - x[1]).abs().max() <= 2**-12


def test_a_sample_that_fools_still_fools_when_read_back_and_takes_no_more_than_it_must(
    tmp_path, entries
):
    # Each sample fools within a band of its own: wide, half-float, exact, none.
    x = torch.stack([torch.full((1, 4, 4), v) for v in (0.8, 0.50049, 0.5000001, 0.2)])
    low, high = torch.tensor([[0.5, 0.5003, 0.50000005, 0.5], [1.0, 0.501, 0.50001, 1.0]])

    def narrow(batch):
        value = batch[:, 0, 0, 0]
        return (low < value) & (value < high)

    bank = SampleBank(tmp_path)
    still = torch.stack([narrow(read_back(x, encoding)) for encoding in ENCODINGS])
    bank.append("k", x, entries(4), encodings=smallest_encodings(still))
    assert [e.encoding for e in bank.entries()] == ["uint8", "float16", "float32", "uint8"]
    read, _ = SampleBank(tmp_path).stack(range(4))
    assert narrow(read).tolist() == [True, True, True, False]
    assert torch.equal(read[2], x[2])


@pytest.mark.parametrize("encodings", [["uint8"], ["uint8", "int4"], []])
def test_each_sample_has_one_of_the_encodings(tmp_path, entries, images, encodings):
    with pytest.raises(ValueError, match="give one of uint8, float16, float32"):
        SampleBank(tmp_path).append("k", images(2), entries(2), encodings=encodings)
    assert len(SampleBank(tmp_path)) == 0


def test_statuses_survive_reopening_and_the_later_review_wins(tmp_path, entries, images):
    bank = SampleBank(tmp_path)
    bank.append("a", images(3), entries(3))
    bank.append("b", images(2, seed=1), entries(2, round=2, attack="generator"))
    bank.set_status([0, 3], "accepted")
    SampleBank(tmp_path).set_status(torch.tensor([0]), "rejected")
    SampleBank(tmp_path).set_status([1], "accepted")
    again = SampleBank(tmp_path)
    assert again.indices(status="accepted") == [1, 3]
    assert again.indices(status="rejected") == [0]
    assert again.indices(round=2) == again.indices(attack="generator") == [3, 4]
    SampleBank(tmp_path).set_status([0], "pending")
    assert SampleBank(tmp_path).indices(status="pending") == [0, 2, 4]


def test_a_torn_last_line_of_the_log_is_ignored_and_does_not_spoil_the_next(
    tmp_path, entries, images
):
    bank = SampleBank(tmp_path)
    bank.append("a", images(3), entries(3))
    bank.set_status([0], "accepted")
    bank.set_status([1], "accepted")
    log = tmp_path / "reviews.jsonl"
    log.write_bytes(log.read_bytes()[:-5])
    torn = SampleBank(tmp_path)
    assert torn.indices(status="accepted") == [0]
    torn.set_status([2], "accepted")
    assert SampleBank(tmp_path).indices(status="accepted") == [0, 2]


def test_a_broken_line_in_the_middle_of_the_log_is_refused_by_its_number(tmp_path, entries, images):
    bank = SampleBank(tmp_path)
    bank.append("a", images(1), entries(1))
    bank.set_status([0], "accepted")
    log = tmp_path / "reviews.jsonl"
    log.write_bytes(b"{nonsense\n" + log.read_bytes())
    with pytest.raises(RefusedInput, match=r"line 1 cannot be read .*; delete that line and"):
        SampleBank(tmp_path)
    log.write_bytes(log.read_bytes() + b"[]\n")
    with pytest.raises(RefusedInput, match=r"lines 1, 3 cannot be read .*; delete these lines and"):
        SampleBank(tmp_path)
    log.write_bytes(log.read_bytes().split(b"\n")[1] + b"\n")
    assert SampleBank(tmp_path).indices(status="accepted") == [0]


def test_a_verdict_does_not_pass_to_pixels_made_anew(tmp_path, entries, images, shard_files):
    bank = SampleBank(tmp_path)
    bank.append("a", images(1, seed=1), entries(1))
    bank.set_status([0], "accepted")
    shard_files(tmp_path)[0].unlink()
    bank = SampleBank(tmp_path)
    bank.append("a", images(1, seed=2), entries(1))
    assert bank[0][1].status == "pending"


def test_shards_are_bounded_and_a_key_lacking_a_part_is_absent_and_swept(
    tmp_path, entries, images, shard_files
):
    limit = 4096
    bank = SampleBank(tmp_path, shard_bytes=limit)
    x = images(20)
    bank.append("k", x, entries(20))
    files = shard_files(tmp_path)
    assert len(files) > 3
    assert all(path.stat().st_size <= limit for path in files)
    whole = SampleBank(tmp_path)
    assert (whole.stack(range(20))[0] - x).abs().max() <= 2**-12
    assert [entry.source for entry in whole.entries()] == [f"s{i}" for i in range(20)]
    files[1].unlink()
    (tmp_path / f".{files[1].name}.12ab.partial").write_bytes(b"half")
    reopened = SampleBank(tmp_path)
    assert "k" not in reopened
    assert len(reopened) == 0
    reopened.append("other", x[:1], entries(1))
    assert [path.name for path in tmp_path.iterdir()] == ["other.rank000.1of1.safetensors"]


def test_a_key_without_samples_is_remembered(tmp_path, images):
    SampleBank(tmp_path).append("none", images(0), [])
    bank = SampleBank(tmp_path)
    assert "none" in bank
    assert len(bank) == 0
    assert bank.stack([])[0].shape[0] == 0


@pytest.mark.parametrize(
    ("key", "made", "given", "words"),
    [
        ("../up", {}, {}, "use letters"),
        (".hidden", {}, {}, "use letters"),
        ("", {}, {}, "use letters"),
        ("held", {}, {}, "in the bank already"),
        ("k", {"count": 2}, {}, "one per sample"),
        ("k", {"shape": (1, 6, 5)}, {}, "use a new bank"),
        ("k", {"shift": -0.5}, {}, "clamp"),
        ("k", {"shift": float("nan")}, {}, "clamp"),
        ("k", {}, {"extra": 1}, "give exactly"),
        ("k", {}, {"label": 1.5}, "are ints"),
    ],
)
def test_misuse_is_a_value_error_and_writes_nothing(
    tmp_path, key, made, given, words, entries, images
):
    bank = SampleBank(tmp_path)
    bank.append("held", images(1), entries(1))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=words):
        bank.append(key, images(**made), entries(1, **given))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(ValueError, match="choose one of"):
        bank.set_status([0], "good")


def test_masks_are_no_numbers_of_samples(tmp_path, entries, images):
    bank = SampleBank(tmp_path)
    bank.append("k", images(2), entries(2))
    mask = torch.tensor([False, False])
    for call in (bank.stack, bank.pixels, lambda rows: bank.set_status(rows, "accepted")):
        with pytest.raises(ValueError, match=r"give mask\.nonzero"):
            call(mask)
    assert bank.indices(status="accepted") == []
