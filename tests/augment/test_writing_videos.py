import numpy as np
import pytest
import torch
from PIL import Image

from augment.datasets.images.images import ImageForm
from augment.datasets.videos.video_files import probe, read_clips
from augment.datasets.videos.write import write_video


def noise(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 9, 17, 23), (1, 16, 16, 16), (3, 1, 2, 2), (1, 3, 1, 1)])
def test_mkv_gives_back_the_rounded_bytes(tmp_path, shape):
    x = noise(*shape)
    write_video(tmp_path / "new/v.mkv", x)
    head = probe(tmp_path / "new/v.mkv")
    assert (head.frames, head.height, head.width) == shape[1:]
    assert head.colour == (shape[0] == 3)
    read = read_clips(tmp_path / "new/v.mkv", ImageForm(shape[0], *shape[2:]), [range(shape[1])])[0]
    assert torch.equal(read, (x * 255).round().byte())


@pytest.mark.parametrize("name", ["v.mkv", "v.mp4", "v.gif", "v.npz"])
def test_equal_videos_make_equal_files(tmp_path, name):
    made = []
    for _ in range(2):
        write_video(tmp_path / name, noise(3, 4, 6, 6))
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]


def test_npz_gives_back_the_floats(tmp_path):
    x = noise(3, 4, 5, 6)
    write_video(tmp_path / "v.npz", x)
    assert np.array_equal(np.load(tmp_path / "v.npz")["x"], x.numpy())
    write_video(tmp_path / "v.npz", x.bfloat16())
    assert np.array_equal(np.load(tmp_path / "v.npz")["x"], x.bfloat16().float().numpy())


@pytest.mark.parametrize("size", [(32, 48), (33, 47)])
@pytest.mark.parametrize("encoder", ["usual", "mpeg4"])
def test_mp4_looks_like_the_video(tmp_path, monkeypatch, size, encoder):
    if encoder == "mpeg4":
        monkeypatch.setattr("av.codecs_available", {"mpeg4"})
    t = torch.linspace(0, 1, 12)[:, None, None]
    down = torch.linspace(0, 1, size[0])[:, None]
    x = ((down + t) / 2).expand(12, *size) * torch.tensor([1, 0.5, 0.2])[:, None, None, None]
    write_video(tmp_path / "v.mp4", x, fps=12.5)
    head = probe(tmp_path / "v.mp4")
    even = tuple(s + s % 2 for s in size)
    assert (head.frames, head.height, head.width) == (12, *even)
    read = read_clips(tmp_path / "v.mp4", ImageForm(3, *even), [range(12)])[0] / 255
    assert (read[..., : size[0], : size[1]] - x).abs().mean() < 0.02
    write_video(tmp_path / "grey.mp4", x[:1])
    assert probe(tmp_path / "grey.mp4").frames == 12


def test_gif_has_every_frame_and_grey_ones_are_exact(tmp_path):
    x = noise(1, 7, 9, 10)
    write_video(tmp_path / "v.gif", x, fps=10)
    with Image.open(tmp_path / "v.gif") as picture:
        assert (picture.n_frames, picture.info["duration"], picture.info["loop"]) == (7, 100, 0)
        for t in range(7):
            picture.seek(t)
            shown = np.asarray(picture.convert("L"))
            assert np.array_equal(shown, (x[0, t] * 255).round().byte().numpy())
    write_video(tmp_path / "c.gif", noise(3, 5, 8, 8))
    with Image.open(tmp_path / "c.gif") as picture:
        assert (picture.n_frames, picture.size) == (5, (8, 8))


@pytest.mark.parametrize(
    ("name", "x", "options", "words"),
    [
        ("v.avi", noise(3, 2, 4, 4), {}, "cannot write '.avi'; choose one of .mp4, .mkv"),
        ("v.mkv", noise(2, 3, 4, 4), {}, r"shape \(2, 3, 4, 4\); give \(C, T, H, W\)"),
        ("v.mkv", noise(1, 3, 2, 4, 4), {}, "give"),
        ("v.mkv", noise(3, 0, 4, 4), {}, "give"),
        ("v.gif", noise(3, 2, 4, 4) + 1, {}, "clamp the video"),
        ("v.npz", noise(3, 2, 4, 4) * torch.nan, {}, "clamp the video"),
        ("v.mp4", noise(3, 2, 4, 4), {"fps": 0}, "fps=0"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, x, options, words):
    with pytest.raises(ValueError, match=words):
        write_video(tmp_path / name, x, **options)
    assert list(tmp_path.iterdir()) == []
