"""One form, channels and size, for all splits of a data set, from their files alone."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from attacks.errors import RefusedInput
from augment import load_dataset
from augment.datasets.images import form
from augment.datasets.images.conversion import to_grey
from augment.datasets.videos import videofolder
from augment.datasets.videos.write import write_video

SPLITS = ("train", "val", "test")


def picture(path, *, colour=False, size=(8, 6), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size[::-1], 3) if colour else size[::-1]
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def video(path, *, colour=False, size=(8, 6)):
    write_video(path, torch.rand(3 if colour else 1, 4, size[1], size[0]))


def fill(root, save, suffix, *, splits=SPLITS, count=3):
    for split in splits:
        for c in "ab":
            for i in range(count):
                save(root / f"{split}/{c}/{i}{suffix}")


def shapes(spec, **options):
    return {load_dataset(spec, split, **options).shape for split in SPLITS}


@pytest.mark.parametrize("split", SPLITS)
def test_one_colour_image_makes_all_splits_rgb(tmp_path, caplog, split):
    fill(tmp_path, picture, ".png")
    picture(tmp_path / f"{split}/a/x.png", colour=True)
    spec = f"imagefolder:{tmp_path}"
    with caplog.at_level(logging.INFO):
        assert load_dataset(spec, "test").shape == (3, 6, 8)
    assert caplog.text.count("18 grey images become RGB") == 1
    assert shapes(spec) == {(3, 6, 8)}
    assert shapes(f"cifar10:{tmp_path}") == {(3, 6, 8)}
    assert shapes(spec, size=5) == {(3, 5, 5)}
    assert shapes(spec, size=5, samples=1) == {(3, 5, 5)}
    assert shapes(spec, channels=1) == {(1, 6, 8)}


@pytest.mark.parametrize("split", SPLITS)
def test_one_image_of_another_size_changes_all_splits(tmp_path, split):
    fill(tmp_path, picture, ".png")
    picture(tmp_path / f"{split}/a/x.png", size=(9, 6))
    assert shapes(f"imagefolder:{tmp_path}", samples=1) == {(1, 224, 224)}
    assert shapes(f"imagefolder:{tmp_path}", size=7) == {(1, 7, 7)}


@pytest.mark.parametrize("split", SPLITS)
def test_one_video_changes_all_splits(tmp_path, split):
    fill(tmp_path, video, ".mkv", count=1)
    spec = f"videofolder:{tmp_path}"
    assert shapes(spec, frames=2) == {(1, 2, 6, 8)}
    video(tmp_path / f"{split}/a/x.mkv", colour=True)
    assert shapes(spec, frames=2) == {(3, 2, 6, 8)}
    assert shapes(spec, frames=2, channels=1) == {(1, 2, 6, 8)}
    video(tmp_path / f"{split}/a/y.mkv", size=(8, 8))
    assert shapes(spec, frames=2, samples=1) == {(3, 2, 112, 112)}
    assert shapes(spec, frames=2, size=6) == {(3, 2, 6, 6)}


def test_files_beside_the_splits_do_not_change_the_form(tmp_path):
    fill(tmp_path / "i", picture, ".png")
    fill(tmp_path / "v", video, ".mkv", count=1)
    for root, save, suffix in ((tmp_path / "i", picture, ".png"), (tmp_path / "v", video, ".mkv")):
        for place in ("README", "runs/figures/x", "runs/x", "train/loose", "test/loose"):
            save(root / f"{place}{suffix}", colour=True, size=(40, 30))
    assert shapes(f"imagefolder:{tmp_path / 'i'}") == {(1, 6, 8)}
    assert shapes(f"videofolder:{tmp_path / 'v'}", frames=2) == {(1, 2, 6, 8)}


def test_loose_files_beside_class_folders_do_not_either(tmp_path):
    for c in "ab":
        for i in range(30):
            picture(tmp_path / f"{c}/{i}.png")
    picture(tmp_path / "overview.png", colour=True, size=(90, 60))
    assert shapes(f"imagefolder:{tmp_path}") == {(1, 6, 8)}


def test_a_cut_video_does_not_change_the_form(tmp_path):
    fill(tmp_path, video, ".mkv", count=1)
    video(tmp_path / "train/a/x.mkv", colour=True, size=(90, 60))
    content = (tmp_path / "train/a/x.mkv").read_bytes()
    (tmp_path / "train/a/x.mkv").write_bytes(content[: len(content) // 3])
    assert shapes(f"videofolder:{tmp_path}", frames=2) == {(1, 2, 6, 8)}


def test_files_that_are_too_many_to_look_at_take_the_form_and_are_counted(
    tmp_path, caplog, monkeypatch
):
    fill(tmp_path / "i", picture, ".png")
    fill(tmp_path / "v", video, ".mkv", count=1)
    picture(tmp_path / "i/test/b/2.png", colour=True, size=(9, 6))
    video(tmp_path / "v/test/b/0.mkv", colour=True, size=(10, 6))
    monkeypatch.setattr(form, "MOST_LOOKED_AT", 2)
    monkeypatch.setattr(videofolder, "MOST_LOOKED_AT", 2)
    assert shapes(f"imagefolder:{tmp_path / 'i'}") == {(1, 6, 8)}
    assert "1 colour images become grey; --channels 3 keeps colours" in caplog.text
    assert "1 images of other sizes are cut to 6 x 8" in caplog.text
    assert shapes(f"videofolder:{tmp_path / 'v'}", frames=2) == {(1, 2, 6, 8)}
    assert "1 colour videos become grey" in caplog.text


@pytest.mark.parametrize("spec", ["digits", "moving-digits"])
def test_channels_hold_for_every_source(spec):
    grey = load_dataset(spec, "test")
    rgb = load_dataset(spec, "test", channels=3)
    assert rgb.shape == (3, *grey.shape[1:])
    assert torch.equal(rgb.raw([3])[:, 1], grey.raw([3])[:, 0])
    again = load_dataset(spec, "test", channels=3, size=5)
    assert again.shape[0] == 3
    assert load_dataset(spec, "test", channels=1).shape == grey.shape


@pytest.mark.parametrize("channels", [0, 2, 4, -1])
def test_other_channels_are_refused(channels):
    with pytest.raises(ValueError, match=rf"channels={channels}: allowed are 1 \(grey\) and 3"):
        load_dataset("digits", "test", channels=channels)


def test_grey_is_what_pillow_makes_of_colours():
    x = torch.randint(256, (2, 3, 40, 50), dtype=torch.uint8)
    expected = np.stack(
        [np.array(Image.fromarray(i.permute(1, 2, 0).numpy()).convert("L")) for i in x]
    )
    assert np.array_equal(to_grey(x)[:, 0].numpy(), expected)
    assert (to_grey(x / 255)[:, 0] * 255 - torch.from_numpy(expected)).abs().max() <= 0.501
    assert to_grey(torch.ones(1, 3, 2, 2)).max() <= 1


def npz(path, **arrays):
    np.savez(path, **{k: v for k, v in arrays.items()})
    return f"npz:{path}"


GREY, RGB = np.zeros((20, 8, 8), np.uint8), np.full((20, 3, 8, 8), 9, np.uint8)
Y = np.arange(20) % 2


def test_the_parts_of_an_npz_share_one_form(tmp_path):
    spec = npz(
        tmp_path / "a.npz", x_train=GREY, y_train=Y, x_test=RGB, y_test=Y, x_val=GREY, y_val=Y
    )
    assert shapes(spec) == {(3, 8, 8)}
    assert shapes(spec, channels=1) == {(1, 8, 8)}
    assert shapes(spec, channels=1, size=4) == {(1, 4, 4)}


@pytest.mark.parametrize(
    ("x_test", "words", "options"),
    [
        (GREY[:, :6], r"train 1x8x8, test 1x6x8\); give --size N", {"size": 8}),
        (RGB[:, :, :6], r"train 1x8x8, test 3x6x8\); give --size N", {"size": 5}),
        (np.zeros((20, 3, 4, 8, 8), np.uint8), "these are images beside videos", None),
    ],
)
def test_parts_that_cannot_share_one_are_refused(tmp_path, x_test, words, options):
    spec = npz(tmp_path / "a.npz", x_train=GREY, y_train=Y, x_test=x_test, y_test=Y)
    for split in ("train", "test"):
        with pytest.raises(RefusedInput, match=words):
            load_dataset(spec, split)
    if options:
        assert len({load_dataset(spec, split, **options).shape for split in ("train", "test")}) == 1


def test_clips_of_other_lengths_in_an_npz_ask_for_frames(tmp_path):
    clips = np.zeros((20, 1, 6, 8, 8), np.uint8)
    spec = npz(tmp_path / "a.npz", x_train=clips, y_train=Y, x_test=clips[:, :, :4], y_test=Y)
    with pytest.raises(RefusedInput, match=r"test 1x4x8x8\); give --frames N"):
        load_dataset(spec, "test")
    assert load_dataset(spec, "test", frames=3).shape == (1, 3, 8, 8)


def test_lists_of_videos_share_one_form_too(tmp_path):
    header = "label,youtube_id,time_start,time_end,split"
    rows = [f"{'ab'[i % 2]},{name}{i},1,2,{name}" for name in SPLITS for i in range(2)]
    (tmp_path / "list.csv").write_text("\n".join([header, *rows]))
    for name in SPLITS:
        for i in range(2):
            video(tmp_path / f"{name}{i}_000001_000002.mkv", colour=name == "val")
    video(tmp_path / "not-listed.mkv", colour=True, size=(20, 30))
    assert shapes(f"kinetics:{tmp_path}", frames=2) == {(3, 2, 6, 8)}


@pytest.mark.slow
def test_the_command_line_takes_channels(tmp_path):
    fill(tmp_path / "d", picture, ".png", splits=("train", "test"), count=12)
    picture(tmp_path / "d/train/a/x.png", colour=True)
    done = subprocess.run(
        [sys.executable, "train.py", "rounds", "--data", f"imagefolder:{tmp_path / 'd'}", "--smoke",
         "--rounds", "0", "--channels", "1", "--run-dir", tmp_path / "r", "--threads", "1"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "test samples of 1x6x8" in done.stdout + done.stderr
