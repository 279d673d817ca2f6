import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import augment
from augment import Dataset, iterate
from augment.dataset import as_float
from augment.splits import choose_balanced, hash_split, source_split

ROOT = Path(__file__).parents[2]


def dataset(count=10, dtype=torch.uint8):
    pixels = torch.arange(count * 12).view(count, 1, 3, 4) % 256
    pixels = pixels.to(torch.uint8) if dtype == torch.uint8 else pixels / 255
    ids = [f"i{i}" for i in range(count)]
    return Dataset(pixels, torch.arange(count) % 3, ids, name="d", classes=["a", "b", "c"])


def test_bytes_and_floats_read_alike():
    small, large = dataset(), dataset(dtype=torch.float32)
    assert torch.equal(small.stack([3, 1])[0], large.stack([3, 1])[0])
    x, y = small[4]
    assert (x.dtype, x.shape, y) == (torch.float32, (1, 3, 4), 1)
    assert float(x[0, 0, 1]) == pytest.approx(49 / 255)
    assert small.raw([0]).dtype == torch.uint8
    assert as_float(torch.ones(1, dtype=torch.float16)).dtype == torch.float32


def test_indexing_is_that_of_a_sequence():
    data = dataset(4)
    assert len(list(data)) == len(data) == 4
    assert torch.equal(data[-1][0], data[3][0])
    with pytest.raises(IndexError):
        data[4]


def test_subsets_compose_and_keep_ids_labels_and_pixels_together():
    part = dataset().subset([5, 2, 7]).subset(torch.tensor([2, 0]))
    assert part.ids == ["i7", "i5"]
    assert part.labels.tolist() == [1, 2]
    assert torch.equal(part.stack([0, 1])[0], dataset().stack([7, 5])[0])
    assert (part.num_classes, part.shape, part.name) == (3, (1, 3, 4), "d")


@pytest.mark.parametrize("indices", [[True, False], torch.tensor([True, False]), [0.5]], ids=str)
@pytest.mark.parametrize("method", ["raw", "stack", "subset"])
def test_masks_and_fractions_are_no_numbers_of_samples(method, indices):
    with pytest.raises(ValueError, match="not numbers of samples; give"):
        getattr(dataset(2), method)(indices)
    assert len(dataset().subset([])) == 0


def test_contradicting_parts_are_refused():
    pixels, labels = torch.zeros(2, 1, 2, 2), torch.zeros(2).long()
    with pytest.raises(ValueError, match="numbers differ"):
        Dataset(pixels, labels, ["a"], name="d", classes=[])
    with pytest.raises(ValueError, match="ids repeat"):
        Dataset(pixels, labels, ["a", "a"], name="d", classes=[])


@given(
    count=st.integers(0, 30),
    batch_size=st.integers(1, 12),
    seed=st.none() | st.integers(0, 5),
    drop_last=st.booleans(),
)
def test_batches_are_one_pass_in_the_order_of_the_seed(count, batch_size, seed, drop_last):
    data = dataset(count)
    options = dict(batch_size=batch_size, seed=seed, drop_last=drop_last)
    batches = list(iterate(data, **options))
    index = torch.cat([torch.empty(0).long(), *(i for *_, i in batches)])
    full = count - count % batch_size if drop_last else count
    rng = torch.Generator().manual_seed(seed or 0)
    order = torch.arange(count) if seed is None else torch.randperm(count, generator=rng)
    assert torch.equal(index, order[:full])
    assert all(len(y) == batch_size for _, y, _ in batches[:-1])
    for x, y, i in batches:
        assert torch.equal(x, data.stack(i)[0])
        assert torch.equal(y, data.labels[i])


def test_batches_of_none_are_refused():
    with pytest.raises(ValueError, match="batch_size=0"):
        iterate(dataset(3), batch_size=0)


@given(st.lists(st.text(), unique=True, max_size=60), st.sampled_from([0.0, 0.1]))
def test_splits_by_hash_are_disjoint_complete_and_independent_of_other_files(names, test):
    parts = {s: hash_split(names, s, test=test) for s in ("train", "val", "test")}
    assert sorted(i for rows in parts.values() for i in rows) == list(range(len(names)))
    alone = {s: [names[i] for i in rows] for s, rows in parts.items()}
    for split, members in alone.items():
        assert hash_split(members, split, test=test) == list(range(len(members)))


def test_shares_are_about_80_10_10():
    names = [f"cat/{i}.jpg" for i in range(5000)]
    counts = [len(hash_split(names, split, test=0.1)) for split in ("train", "val", "test")]
    assert counts == pytest.approx([4000, 500, 500], rel=0.1)
    assert not hash_split(names, "test")


@given(
    labels=st.lists(st.integers(-1, 4), min_size=1, max_size=60),
    count=st.integers(1, 70),
    seed=st.integers(0, 9),
)
def test_subsets_are_balanced_nested_and_exact(labels, count, seed):
    y = torch.tensor(labels)
    chosen = choose_balanced(y, count, seed=seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(count, len(y))
    assert torch.equal(chosen, chosen.sort().values)
    assert set(chosen.tolist()) <= set(choose_balanced(y, count + 1, seed=seed).tolist())
    taken = {label: int((y[chosen] == label).sum()) for label in set(labels)}
    most = max(taken.values())
    assert all(n >= most - 1 or n == labels.count(label) for label, n in taken.items())


@pytest.mark.parametrize(
    ("split", "present", "expected"),
    [
        ("train", [], (None, 0.1)),
        ("train", ["train", "test"], ("train", 0.0)),
        ("val", ["train", "test"], ("train", 0.0)),
        ("val", ["train", "val"], ("train", 0.0)),
        ("test", ["train", "val"], ("val", None)),
        ("train", ["train", "val", "test"], ("train", None)),
        ("val", ["train", "val", "test"], ("val", None)),
        ("test", ["test"], ("test", None)),
    ],
)
def test_where_a_split_comes_from(split, present, expected):
    assert source_split(split, present, origin="o") == expected


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, augment; sys.exit('torch' in sys.modules or 'kornia' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_package_exports_lazily_and_by_name():
    assert all(getattr(augment, name) for name in augment.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = augment.nothing
