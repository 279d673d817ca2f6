import logging
import os
import random

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import RefusedInput
from augment import load_dataset
from augment.datasets.broken import BROKEN
from augment.datasets.images import imagefolder, reading
from augment.datasets.images.images import ImageForm, read_header, read_image


def save(path, size=(8, 6), mode="RGB", seed=0, **options):
    """A real image file of noise; returns its pixels."""
    rng = np.random.default_rng(seed)
    shape = size[::-1] if mode == "L" else (*size[::-1], len(mode))
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels, mode).save(path, **options)
    return pixels


def tree(root, *paths, **options):
    return {path: save(root / path, seed=i, **options) for i, path in enumerate(paths)}


def chw(pixels):
    return torch.from_numpy(pixels).permute(2, 0, 1)


def load(root, split="test", **options):
    return load_dataset(f"imagefolder:{root}", split, **options)


def test_split_folders_class_folders_and_pixels(tmp_path):
    made = tree(
        tmp_path, *(f"{s}/{c}/{i}.png" for s in ("train", "test") for c in "ba" for i in range(3))
    )
    data = load(tmp_path)
    assert data.ids == ["a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png", "b/2.png"]
    assert data.classes == ["a", "b"]
    assert data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(data.raw([4])[0], chw(made["test/b/1.png"]))
    assert (data.shape, data.skipped, data.name) == ((3, 6, 8), [], "imagefolder")


def test_validation_is_taken_out_of_training_when_it_has_no_folder(tmp_path):
    tree(tmp_path, *(f"train/{c}/{i}.png" for c in "ab" for i in range(40)), "test/a/0.png")
    train, val = load(tmp_path, "train"), load(tmp_path, "val")
    assert len(train) + len(val) == 80
    assert not set(train.ids) & set(val.ids)
    assert 2 <= len(val) <= 16
    tree(tmp_path, "val/b/9.png")
    assert len(load(tmp_path, "train")) == 80
    assert load(tmp_path, "val").labels.tolist() == [1]


def test_class_folders_alone_are_split_by_name(tmp_path):
    tree(tmp_path, *(f"{c}/{i}.jpg" for c in "ab" for i in range(50)))
    parts = [set(load(tmp_path, split).ids) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == pytest.approx([80, 10, 10], abs=8)
    assert len(set.union(*parts)) == 100


def test_loose_images_are_unlabelled_and_in_every_split(tmp_path, caplog):
    tree(tmp_path, "x.png", size=(40, 30))
    tree(tmp_path, "y.png", size=(30, 50))
    for split in ("train", "val", "test"):
        data = load(tmp_path, split)
        assert data.labels.tolist() == [-1, -1]
        assert (data.classes, data.shape) == ([], (3, 224, 224))
    assert "cut to 224 x 224" in caplog.text
    assert load(tmp_path, size=16).shape == (3, 16, 16)


def test_nested_hidden_and_foreign_files(tmp_path):
    tree(tmp_path, "test/a/deep/0.png", "test/b/0.png", "test/.git/0.png", "test/a/.0.png")
    (tmp_path / "test/a/notes.txt").write_text("x")
    tree(tmp_path, "test/loose.png", "beside/0.png")
    data = load(tmp_path)
    assert data.ids == ["a/deep/0.png", "b/0.png"]
    assert data.classes == ["a", "b"]


def test_a_missing_split_names_those_that_exist(tmp_path):
    tree(tmp_path, "test/a/0.png")
    with pytest.raises(RefusedInput, match="no train split, there is only test"):
        load(tmp_path, "train")


UNTRAINED = "no training images in the class folders {}, which other splits have; the classifier "


@pytest.mark.parametrize("listed", [False, True])
def test_class_folders_without_training_images_are_named_once(tmp_path, caplog, listed):
    tree(tmp_path, *(f"train/{c}/{i}.png" for c in "ab" for i in range(20)))
    tree(tmp_path, "test/a/0.png", "test/c/0.png", "val/d/0.png", "beside/0.png")
    (tmp_path / "list").write_text("d\nc\nb\na\n")
    options = {"classes": str(tmp_path / "list")} if listed else {}
    for split in ("train", "val", "test"):
        assert load(tmp_path, split, **options).num_classes == 4
    assert caplog.text.count(UNTRAINED.format("c, d")) == 1
    assert "is never trained on them" in caplog.text


def test_many_class_folders_without_training_images_are_counted(tmp_path, caplog):
    tree(tmp_path, "train/a/0.png", *(f"test/b{i:02}/0.png" for i in range(12)))
    load(tmp_path, "train")
    names = ", ".join(f"b{i:02}" for i in range(10))
    assert UNTRAINED.format(f"{names} and 2 more") in caplog.text


def test_class_folders_with_training_images_are_not_warned_of(tmp_path, caplog):
    tree(tmp_path, *(f"train/{c}/{i}.png" for c in "ab" for i in range(20)), "test/a/0.png")
    tree(tmp_path / "cut", *(f"{c}/{i}.png" for c in "ab" for i in range(20)))
    load(tmp_path, "train", samples=1)
    load(tmp_path / "cut", "train")
    assert "no training images" not in caplog.text


def test_a_class_list_gives_the_ids_and_readable_names(tmp_path):
    tree(tmp_path, "test/n02/0.png", "test/n00/0.png", "test/great shark/0.png")
    classes = tmp_path / "classes.txt"
    classes.write_text("n00 crane\nn01 crane\nn02 polar bear\ngreat shark\n")
    data = load(tmp_path, classes=str(classes))
    assert data.labels.tolist() == [3, 0, 2]
    assert data.classes == ["n00 crane", "n01 crane", "polar bear", "shark"]
    classes.write_text("n00 a\nn02 b\n")
    with pytest.raises(RefusedInput, match="'great shark' is not among the 2 classes"):
        load(tmp_path, classes=str(classes))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 bytes"), (b"a\n\nb\n", "line 2 is empty"), (b"\xff\xfe\x00", "codec"), (None, "No")],
)
def test_a_bad_class_list_is_refused(tmp_path, content, words):
    tree(tmp_path, "test/a/0.png")
    if content is not None:
        (tmp_path / "list").write_bytes(content)
    with pytest.raises(RefusedInput, match=f"class list .*{words}.*one class a line"):
        load(tmp_path, classes=str(tmp_path / "list"))


def test_broken_files_are_left_out_and_named(tmp_path, caplog):
    tree(tmp_path, "test/a/0.png", "test/a/1.png")
    folder = tmp_path / "test/a"
    save(folder / "cut.jpg", size=(64, 64))
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:900])
    (folder / "zero.png").touch()
    (folder / "text.jpg").write_text("no image")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "self.png").symlink_to("self.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "bomb.pgm").write_bytes(b"P5 9000 9000 255\n")
    (folder / "larger.pgm").write_bytes(b"P5 20000 20000 255\n")
    data = load(tmp_path)
    assert data.ids == ["a/0.png", "a/1.png"]
    names = {os.path.basename(line.split(":")[0]) for line in data.skipped}
    assert names == {
        "bomb.pgm", "cut.jpg", "gone.png", "larger.pgm", "pipe.png", "self.png", "text.jpg",
        "zero.png",
    }  # fmt: skip
    assert all(f"left out {line}" in caplog.text for line in data.skipped)
    assert torch.equal(load_dataset(f"imagefolder:{tmp_path}", "test").raw([1]), data.raw([1]))


def test_nothing_readable_nothing_there_no_folder(tmp_path):
    with pytest.raises(RefusedInput, match="no images for the test split; put some"):
        load(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.jpg").write_bytes(b"junk")
    (tmp_path / "test").mkdir()
    (tmp_path / "test/x.jpg").write_bytes(b"junk")
    with pytest.raises(RefusedInput, match=r"none of the 1 images .*x\.jpg.*put whole image"):
        load(tmp_path)
    with pytest.raises(RefusedInput, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="imagefolder:DIR"):
        load("")


def test_linked_folders_are_followed_but_loops_are_not(tmp_path):
    tree(tmp_path / "pool", "0.png", "1.png")
    data = tmp_path / "data/test"
    data.mkdir(parents=True)
    (data / "a").symlink_to(tmp_path / "pool", target_is_directory=True)
    (data / "b").symlink_to(tmp_path / "pool", target_is_directory=True)
    (tmp_path / "pool/up").symlink_to(tmp_path / "pool", target_is_directory=True)
    (data / "root").symlink_to("/", target_is_directory=True)
    (data / "c").symlink_to("c", target_is_directory=True)
    assert load(tmp_path / "data").ids == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]


def test_grey_folders_stay_grey_and_mixed_ones_become_rgb(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    grey = save(tmp_path / "test/a/0.png", mode="L")
    assert load(tmp_path).shape == (1, 6, 8)
    assert torch.equal(load(tmp_path).raw([0])[0, 0], torch.from_numpy(grey))
    save(tmp_path / "train/a/0.png")
    data = load(tmp_path)  # also of a split that is grey throughout
    assert data.shape == (3, 6, 8)
    assert torch.equal(data.raw([0])[0, 1], torch.from_numpy(grey))
    assert "1 grey images become RGB" in caplog.text


def test_orientation_alpha_palette_cmyk_and_sixteen_bits(tmp_path):
    fit = ImageForm(3, 6, 8)
    pixels = save(tmp_path / "turned.png", size=(6, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    frame = read_header(tmp_path / "turned.png")
    assert (frame.width, frame.height) == (8, 6)
    turned = np.rot90(pixels, -1).copy()
    assert torch.equal(read_image(tmp_path / "turned.png", fit), chw(turned))

    clear = save(tmp_path / "clear.png", mode="RGBA")
    assert torch.equal(read_image(tmp_path / "clear.png", fit), chw(clear[..., :3].copy()))

    Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    assert read_image(tmp_path / "red.jpg", fit)[:, 2, 2].tolist() == pytest.approx(
        [255, 0, 0], abs=3
    )

    Image.new("RGB", (8, 6), (9, 80, 200)).quantize().save(tmp_path / "few.gif")
    assert read_image(tmp_path / "few.gif", fit)[:, 2, 2].tolist() == [9, 80, 200]

    deep = np.linspace(0, 65535, 48).reshape(6, 8).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert not read_header(tmp_path / "deep.png").colour
    read = read_image(tmp_path / "deep.png", ImageForm(1, 6, 8))[0]
    assert torch.equal(read, torch.from_numpy(np.rint(deep / 257).astype(np.uint8)))

    Image.fromarray(np.full((6, 8), 0.5, np.float32)).save(tmp_path / "float.tiff")
    assert read_image(tmp_path / "float.tiff", fit).unique().tolist() == [128]
    Image.fromarray(np.full((6, 8), -7, np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match="values from -7"):
        read_image(tmp_path / "float.tiff", fit)


@pytest.mark.parametrize("suffix", ["bmp", "webp", "ppm", "tiff", "png"])
def test_lossless_formats_read_exactly(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    pixels = save(tmp_path / f"x.{suffix}", **options)
    assert torch.equal(read_image(tmp_path / f"x.{suffix}", ImageForm(3, 6, 8)), chw(pixels))


def test_resizing_cuts_the_centre(tmp_path):
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    read = read_image(tmp_path / "wide.png", ImageForm(3, 5, 5))
    whole = Image.fromarray(wide).resize((15, 5), Image.Resampling.BICUBIC)
    assert torch.equal(read, chw(np.array(whole.crop((5, 0, 10, 5)))))


def test_few_samples_decode_few_files(tmp_path, monkeypatch):
    tree(tmp_path, *(f"test/{c}/{i:03d}.png" for c in "abc" for i in range(100)))
    opened = []
    monkeypatch.setattr(
        imagefolder, "read_image", lambda path, fit: opened.append(path) or read_image(path, fit)
    )
    data = load(tmp_path, samples=7, seed=2)
    assert len(opened) == len(data) == 7
    assert sorted(data.labels.bincount().tolist()) == [2, 2, 3]
    assert data.ids == load(tmp_path, samples=7, seed=2).ids
    assert data.ids != load(tmp_path, samples=7, seed=3).ids


def test_large_folders_are_read_on_demand_and_name_a_file_that_breaks(tmp_path, monkeypatch):
    tree(tmp_path, *(f"test/a/{i}.png" for i in range(4)))
    (tmp_path / "test/a/junk.png").write_bytes(b"junk")
    memory = load(tmp_path)
    monkeypatch.setattr(reading, "MOST_MEMORY", 100)
    demand = load(tmp_path)
    assert demand.ids == memory.ids
    assert len(demand.skipped) == 1
    assert torch.equal(demand.stack([3, 0])[0], memory.stack([3, 0])[0])
    (tmp_path / "test/a/2.png").write_bytes((tmp_path / "test/a/2.png").read_bytes()[:60])
    with pytest.raises(RefusedInput, match=r"2\.png.*remove or repair"):
        demand.stack([2])


@pytest.mark.filterwarnings("ignore")  # Pillow remarks on much of it
@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tiff", "webp", "bmp", "ppm"])
def test_random_damage_never_raises_anything_unforeseen(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    save(path, size=(16, 16))
    good = path.read_bytes()
    rng = random.Random(0)
    failed = 0
    for _ in range(150):
        bad = bytearray(good)
        for _ in range(rng.randint(1, 12)):
            bad[rng.randrange(min(len(bad), 400))] = rng.randrange(256)
        path.write_bytes(bad[: rng.randint(1, len(bad))] if rng.random() < 0.3 else bad)
        try:
            assert read_image(path, ImageForm(3, 16, 16)).shape == (3, 16, 16)
        except BROKEN:
            failed += 1
    assert failed
