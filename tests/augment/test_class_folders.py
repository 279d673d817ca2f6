"""Class ids are those of the class folders, whatever can be read in them."""

import logging
import os

import numpy as np
import pytest
from PIL import Image, features

from attacks.errors import RefusedInput
from augment import load_dataset
from augment.datasets.videos.write import write_video

NOWHERE = "no {} that can be read in the class folders {}; they keep their class ids"


def picture(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)


def tree(root, *paths):
    for i, path in enumerate(paths):
        picture(root / path, i)


def load(root, split="test", **options):
    return load_dataset(f"imagefolder:{root}", split, **options)


def folders(root, *paths):
    for path in paths:
        (root / path).mkdir(parents=True)


@pytest.mark.parametrize("empty", ["a", "b", "c"])
def test_an_empty_class_folder_keeps_its_id_and_is_named(tmp_path, caplog, empty):
    for split in ("train", "test"):
        folders(tmp_path, *(f"{split}/{c}" for c in "abc"))
        tree(tmp_path, *(f"{split}/{c}/0.png" for c in "abc" if c != empty))
    for split in ("train", "test"):
        data = load(tmp_path, split, samples=1 if split == "train" else None)
        assert (data.num_classes, data.classes) == (3, ["a", "b", "c"])
    assert data.labels.tolist() == [i for i, c in enumerate("abc") if c != empty]
    assert NOWHERE.format("images", empty) in caplog.text


def test_without_split_folders_too(tmp_path, caplog):
    folders(tmp_path, "b")
    tree(tmp_path, *(f"{c}/{i}.png" for c in "ac" for i in range(20)))
    data = load(tmp_path, "train")
    assert (data.classes, set(data.labels.tolist())) == (["a", "b", "c"], {0, 2})
    assert NOWHERE.format("images", "b") in caplog.text


def test_a_class_of_unknown_or_broken_files_keeps_its_id_and_is_named(tmp_path, caplog):
    tree(tmp_path, "test/b/0.png", "test/d/0.png")
    folders(tmp_path, "test/a", "test/c")
    (tmp_path / "test/a/photo.heic").write_bytes(b"x")
    (tmp_path / "test/c/0.jpg").write_bytes(b"no image")
    with caplog.at_level(logging.INFO):
        data = load(tmp_path)
    assert (data.labels.tolist(), data.num_classes) == ([1, 3], 4)
    assert NOWHERE.format("images", "a, c") in caplog.text
    assert "not known for images by their suffixes: 1 .heic" in caplog.text


@pytest.mark.parametrize("lacking", ["train", "test", "val"])
def test_a_split_that_lacks_a_class_says_so(tmp_path, caplog, lacking):
    tree(tmp_path, *(f"{s}/{c}/0.png" for s in ("train", "val", "test") for c in "abc"))
    (tmp_path / lacking / "b/0.png").unlink()
    (tmp_path / lacking / "b").rmdir()
    data = load(tmp_path, lacking)
    assert (data.classes, data.labels.tolist()) == (["a", "b", "c"], [0, 2])
    word = {"train": "training", "val": "validation"}.get(lacking, lacking)
    assert f"no {word} images in the class folders b, which other splits have" in caplog.text


def test_videos_too(tmp_path, caplog):
    x = np.random.default_rng(0)
    for split in ("train", "test"):
        folders(tmp_path, f"{split}/jump", f"{split}/wave")
        import torch

        video = torch.from_numpy(x.random((3, 4, 6, 8)).astype(np.float32))
        write_video(tmp_path / split / "run/0.mkv", video)
        write_video(tmp_path / split / "zoom/0.mkv", video)
    (tmp_path / "test/wave/0.mp4").write_text("no video")
    data = load_dataset(f"videofolder:{tmp_path}", "test", frames=2)
    assert (data.classes, data.labels.tolist()) == (["jump", "run", "wave", "zoom"], [1, 3])
    assert NOWHERE.format("videos", "jump, wave") in caplog.text


@pytest.mark.parametrize(
    ("suffix", "options", "feature"),
    [
        (".jfif", {"format": "JPEG"}, "jpg"),
        (".JPG", {}, "jpg"),
        (".jpe", {}, "jpg"),
        (".avif", {}, "avif"),
        (".AVIF", {}, "avif"),
        (".jp2", {}, "jpg_2000"),
        (".J2K", {}, "jpg_2000"),
        (".tga", {}, "zlib"),
        (".PCX", {}, "zlib"),
        (".qoi", {}, "zlib"),
        (".ico", {}, "zlib"),
        (".dib", {}, "zlib"),
        (".apng", {"format": "PNG"}, "zlib"),
    ],
)
def test_every_suffix_that_pillow_reads_is_read(tmp_path, suffix, options, feature):
    if not features.check(feature):
        pytest.skip(f"this Pillow has no {feature}")
    picture(tmp_path / f"test/a/x{suffix}", **options)
    tree(tmp_path, "test/b/y.png")
    data = load(tmp_path)
    assert (data.ids, data.labels.tolist()) == ([f"a/x{suffix}", "b/y.png"], [0, 1])


def test_programs_and_stubs_are_no_images(tmp_path):
    tree(tmp_path, "test/b/y.png")
    folders(tmp_path, "test/a")
    text = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(x) print\n"
    (tmp_path / "test/a/0.eps").write_text(text)
    (tmp_path / "test/a/1.png").write_text(text)
    data = load(tmp_path)
    assert data.ids == ["b/y.png"]
    assert len(data.skipped) == 1


ODD = [
    "a b",
    " lead",
    "trail ",
    "ü",
    "u\u0308",
    "日本",
    "#1",
    "a:b",
    "100%",
    "-x",
    "q'\"",
    "new\nline",
]


@pytest.mark.parametrize("split", ["test", "train"])
def test_class_folders_may_have_odd_names(tmp_path, split):
    odd = [*ODD, os.fsdecode(b"\xff\xfe"), "CON", "__MACOSXtra", "~", "{}", "%s", "..."[:0] + "x."]
    tree(tmp_path, *(f"{split}/{name}/{name.strip() or 0}.png" for name in odd))
    tree(tmp_path, f"{split}/.hidden/0.png", f"{split}/__MACOSX/0.png", f"{split}/#1/.0.png")
    data = load(tmp_path, split, samples=5)
    assert data.classes == sorted(odd)
    data = load_dataset(f"imagefolder:{tmp_path}", split) if split == "test" else data
    assert [data.classes[y] for y in data.labels] == [i.partition("/")[0] for i in data.ids]


def test_links_are_followed_once(tmp_path):
    tree(tmp_path / "pool", "0.png", "deep/1.png")
    data = tmp_path / "data/test"
    folders(data, "a", "b", "c")
    (data / "a/l").symlink_to(data / "b", target_is_directory=True)
    (data / "b/l").symlink_to(data / "a", target_is_directory=True)
    (data / "c/pool").symlink_to(tmp_path / "pool", target_is_directory=True)
    (data / "c/again").symlink_to(tmp_path / "pool", target_is_directory=True)
    (data / "d").symlink_to(tmp_path / "pool", target_is_directory=True)
    (data / "e").symlink_to(tmp_path / "nowhere", target_is_directory=True)
    tree(data, "a/x.png", "b/y.png")
    found = load(tmp_path / "data")
    assert found.classes == ["a", "b", "c", "d"]
    assert {"a/x.png", "a/l/y.png", "b/y.png", "b/l/x.png", "d/0.png"} <= {*found.ids}
    assert len(found.ids) <= 12


def test_folders_that_link_to_each_other_end(tmp_path):
    names = [f"{i:02}" for i in range(9)]
    folders(tmp_path, *(f"test/a/{name}" for name in names))
    for name in names:
        for other in names:
            (tmp_path / "test/a" / name / other).symlink_to(tmp_path / "test/a" / other)
    tree(tmp_path, "test/a/00/x.png")
    assert 1 <= len(load(tmp_path)) <= 100


COMPOSED, APART = "caf\u00e9", "cafe\u0301"


def test_a_class_list_knows_a_folder_in_either_encoding(tmp_path):
    tree(tmp_path, "test/b/0.png", f"test/{APART}/0.png")
    (tmp_path / "classes.txt").write_text(f"b\n{COMPOSED}\n", encoding="utf-8")
    ds = load(tmp_path, classes=str(tmp_path / "classes.txt"))
    assert ds.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("lines", "seen"),
    [("crane\nowl\ncrane", "lines 1, 3"), ("crane bird\ncrane machine\nowl", "lines 1, 2")],
)
def test_a_folder_that_may_be_several_classes_is_refused(tmp_path, lines, seen):
    tree(tmp_path, "test/crane/0.png", "test/owl/0.png")
    (tmp_path / "classes.txt").write_text(lines)
    with pytest.raises(RefusedInput, match=f"'crane' may be any of the {seen} of"):
        load(tmp_path, classes=str(tmp_path / "classes.txt"))


def test_a_whole_line_goes_before_first_words(tmp_path):
    tree(tmp_path, "test/crane/0.png", "test/owl/0.png")
    (tmp_path / "classes.txt").write_text("crane machine\ncrane\nowl")
    ds = load(tmp_path, classes=str(tmp_path / "classes.txt"))
    assert ds.labels.tolist() == [1, 2]
