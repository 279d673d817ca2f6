"""Which folders are splits, and which are classes."""

import logging

import numpy as np
import pytest
from PIL import Image

from attacks.errors import RefusedInput
from augment import load_dataset


def tree(root, *paths):
    for i, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / path)


def load(root, split="test", **options):
    return load_dataset(f"imagefolder:{root}", split, **options)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("training", "testing"),
        ("Training", "Testing"),
        ("train", "val"),
        ("train", "valid"),
        ("Training", "Validation"),
        ("train", "VAL"),
    ],
)
def test_the_usual_names_in_any_case_are_splits(tmp_path, caplog, train, test):
    tree(tmp_path, *(f"{train}/{c}/{i}.png" for c in "ab" for i in range(20)))
    tree(tmp_path, *(f"{test}/{c}/99.png" for c in "ab"))
    with caplog.at_level(logging.INFO):
        data = load(tmp_path)
    assert (data.ids, data.classes) == (["a/99.png", "b/99.png"], ["a", "b"])
    assert "a/99.png" not in load(tmp_path, "train").ids
    if test.lower().startswith("val"):
        assert len(load(tmp_path, "train")) + len(load(tmp_path, "val")) == 40
    else:
        assert f"takes {test} for the test split, {train} for the train split" in caplog.text


@pytest.mark.parametrize("name", ["valid", "validation", "val", "Valid", "VALIDATION"])
def test_a_validation_folder_of_any_usual_name_is_read(tmp_path, name):
    tree(tmp_path, *(f"{s}/{c}/{s}.png" for s in ("train", name, "test") for c in "ab"))
    assert load(tmp_path, "val").ids == [f"a/{name}.png", f"b/{name}.png"]
    assert load(tmp_path, "train").ids == ["a/train.png", "b/train.png"]


@pytest.mark.parametrize("name", ["train", "test", "val", "Training", "validation"])
def test_a_class_that_has_the_name_of_a_split_is_a_class(tmp_path, name):
    tree(tmp_path, *(f"{c}/{i}.png" for c in ("bus", "car", name) for i in range(30)))
    parts = [load(tmp_path, split) for split in ("train", "val", "test")]
    assert all(part.classes == sorted(("bus", "car", name)) for part in parts)
    assert sum(map(len, parts)) == 90


def test_in_split_folders_too(tmp_path):
    tree(tmp_path, *(f"{s}/{c}/0.png" for s in ("train", "test") for c in ("bus", "test", "train")))
    for split in ("train", "test"):
        data = load(tmp_path, split)
        assert (data.classes, data.labels.tolist()) == (["bus", "test", "train"], [0, 1, 2])


def test_beside_empty_class_folders_too(tmp_path):
    tree(tmp_path, *(f"train/{i}.png" for i in range(30)))
    (tmp_path / "bus").mkdir()
    data = load(tmp_path, "train")
    assert (data.classes, set(data.labels.tolist())) == (["bus", "train"], {1})


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["train/a", "val/a", "valid/a"], "both 'val' and 'valid' would be the val split"),
        (["Train/a", "train/a", "test/a"], "both 'Train' and 'train' would be the train split"),
        (["test/a", "testing/a"], "both 'test' and 'testing' would be the test split"),
        (["train/steam", "bus", "car"], "'train' may be a split or a class, as 'bus', 'car'"),
        (["train/steam", "bus/x", "car/x"], "'train' may be a split or a class"),
        (["train", "test", "bus"], "'test', 'train' may be a split or a class, as 'bus'"),
    ],
)
def test_what_is_ambiguous_is_refused(tmp_path, folders, words):
    tree(tmp_path, *(f"{folder}/{i}.png" for folder in folders for i in range(3)))
    for split in ("train", "val", "test"):
        with pytest.raises(RefusedInput, match=words) as refusal:
            load(tmp_path, split)
        assert "move" in str(refusal.value)


def test_following_the_advice_helps(tmp_path):
    tree(tmp_path, "train/a/0.png", "val/a/1.png", "valid/b/2.png", "test/a/3.png")
    with pytest.raises(RefusedInput, match="move one out of the data folder"):
        load(tmp_path)
    (tmp_path / "valid").rename(tmp_path.parent / "elsewhere")
    assert load(tmp_path, "val").ids == ["a/1.png"]


def test_an_empty_folder_of_a_splits_name_is_none(tmp_path):
    tree(tmp_path, "train/a/0.png", "test/a/1.png", "val/a/2.png")
    (tmp_path / "validation").mkdir()
    (tmp_path / "Test").mkdir()
    (tmp_path / "testing").mkdir()
    (tmp_path / "testing/notes.txt").write_text("x")
    assert load(tmp_path).ids == ["a/1.png"]
    assert load(tmp_path, "val").ids == ["a/2.png"]


def test_loose_files_in_split_folders_stay_unlabelled(tmp_path):
    tree(tmp_path, "train/a/0.png", "train/b/0.png", "test/0.png", "test/1.png")
    data = load(tmp_path)
    assert (data.ids, data.labels.tolist(), data.classes) == (
        ["0.png", "1.png"],
        [-1, -1],
        ["a", "b"],
    )
    tree(tmp_path / "alone", "train/0.png", "test/1.png")
    assert load(tmp_path / "alone").labels.tolist() == [-1]


def test_what_is_not_read_is_said(tmp_path, caplog):
    tree(tmp_path, "train/a/0.png", "test/a/1.png", "backup/a/0.png", "runs/x/y.png", "README.png")
    with caplog.at_level(logging.INFO):
        assert load(tmp_path).classes == ["a"]
    assert "takes test for the test split, train for the train split; not read: backup, runs" in (
        caplog.text
    )


def test_a_missing_split_is_looked_for_where_the_others_are(tmp_path):
    tree(tmp_path, "Test/a/0.png")
    with pytest.raises(RefusedInput, match="no train split, there is only test"):
        load(tmp_path, "train")
    (tmp_path / "Train/a").mkdir(parents=True)
    with pytest.raises(RefusedInput, match=r"no images for the train split; put some into .*Train"):
        load(tmp_path, "train")


@pytest.mark.parametrize("lone", [True, False])
def test_a_split_that_is_a_link_to_another_is_named(tmp_path, caplog, lone):
    tree(tmp_path, *(f"train/{c}/0.png" for c in "ab"))
    if lone:
        tree(tmp_path, *(f"elsewhere/{c}/0.png" for c in "ab"))
    (tmp_path / "test").symlink_to(tmp_path / ("elsewhere" if lone else "train"))
    assert len(load(tmp_path)) == 2
    assert ("splits have the same samples" in caplog.text) == (not lone)
