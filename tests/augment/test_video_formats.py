"""Video files of every kind: their suffixes, their way up, and what is missing of them."""

from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
import torch

from augment import load_dataset
from augment.datasets.images.images import ImageForm
from augment.datasets.videos.video_files import probe, read_clips
from augment.datasets.videos.video_formats import video_suffixes
from augment.datasets.videos.video_index import probe_all

ONE = 1 << 16


def encode(path, codec, *, form=None, frames=12, size=(32, 48), sound=False, **options):
    """Write a video of noise with a bright bar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format=form, options=options) as out:
        voice = out.add_stream("aac", rate=44100, layout="mono") if sound else None
        stream = out.add_stream(codec, rate=25)
        stream.height, stream.width = size
        stream.pix_fmt = {"mjpeg": "yuvj420p", "apng": "rgb24"}.get(codec, "yuv420p")
        for i in range(20 if voice else 0):
            beep = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            beep.sample_rate, beep.pts = 44100, i * 1024
            out.mux(voice.encode(beep))
        for t in range(frames):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            pixels[:, : t + 1] = 200
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
    return path


KINDS = [
    ("mpg", "mpeg1video", None), ("mpeg", "mpeg2video", None), ("ts", "mpeg2video", None),
    ("mts", "mpeg2video", "mpegts"), ("m2ts", "mpeg2video", "mpegts"), ("wmv", "wmv2", None),
    ("asf", "msmpeg4", None), ("flv", "flv", None), ("3gp", "mpeg4", None), ("3g2", "mpeg4", None),
    ("vob", "mpeg2video", None), ("m2v", "mpeg2video", None), ("m1v", "mpeg1video", None),
    ("mxf", "mpeg2video", None), ("nut", "ffv1", None), ("apng", "apng", None),
    ("mjpeg", "mjpeg", None), ("rm", "rv10", None), ("qt", "mpeg4", "mov"),
    ("divx", "mpeg4", "avi"), ("m4v", "mpeg4", None), ("y4m", "wrapped_avframe", None),
    ("ivf", "libvpx-vp9", None), ("h264", "libx264", None), ("f4v", "libx264", None),
    ("MPG", "mpeg1video", "mpeg"), ("WMV", "wmv1", "asf"), ("Ts", "mpeg2video", "mpegts"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "codec", "form"), KINDS)
def test_every_suffix_that_ffmpeg_reads_is_read(tmp_path, suffix, codec, form):
    try:
        encode(tmp_path / f"test/b/x.{suffix}", codec, form=form)
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg has no {codec}")
    encode(tmp_path / "test/a/y.mp4", "mpeg4")
    data = load_dataset(f"videofolder:{tmp_path}", "test", frames=2)
    assert (data.ids, data.labels.tolist()) == (["a/y.mp4", f"b/x.{suffix}"], [0, 1])
    head = probe(tmp_path / f"test/b/x.{suffix}")
    assert (head.frames, head.height, head.width) == (12, 32, 48)


def test_sound_and_stills_are_not_taken_for_videos():
    assert not {".m4a", ".mka", ".wma", ".avif", ".heic", ".mpo", ".png", ".wav"} & video_suffixes()
    assert {".mp4", ".mkv", ".webm", ".avi", ".mov", ".gif", ".ogv", ".3gp"} <= video_suffixes()


def filtered(pixels, chain):
    """Run FFmpeg's own filters over a frame (H, W, 3)."""
    graph = av.filter.Graph()
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    nodes = [
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=Fraction(1, 25),
        )
    ]
    nodes += [graph.add(name, args) for name, args in chain] + [graph.add("buffersink")]
    for one, other in pairwise(nodes):
        one.link_to(other)
    graph.configure()
    graph.push(frame)
    return graph.pull().to_ndarray(format="rgb24")


def autorotation(matrix):
    """The filters that the program ffmpeg inserts for a display matrix (ffmpeg_filter.c)."""
    a, b, _, c, d = matrix[:5]
    theta = np.degrees(np.arctan2(b / np.hypot(b, d), a / np.hypot(a, c))) % 360
    if abs(theta - 90) < 1:
        return [("transpose", "cclock_flip" if c > 0 else "clock")]
    if abs(theta - 270) < 1:
        return [("transpose", "clock_flip" if c < 0 else "cclock")]
    if abs(theta - 180) < 1:
        return [("hflip", "")] * (a < 0) + [("vflip", "")] * (d < 0)
    return [("vflip", "")] * (d < 0)


def with_matrix(path, target, matrix):
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40  # a matrix of nine numbers, after the version's fields
    content[start : start + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in matrix)
    target.write_bytes(content)
    return target


MATRICES = {
    "as it is": (ONE, 0, 0, ONE),
    "mirrored": (-ONE, 0, 0, ONE),
    "upside down": (ONE, 0, 0, -ONE),
    "half a turn": (-ONE, 0, 0, -ONE),
    "quarter turn": (0, ONE, -ONE, 0),
    "quarter turn back": (0, -ONE, ONE, 0),
    "transposed": (0, ONE, ONE, 0),
    "transposed the other way": (0, -ONE, -ONE, 0),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_display_matrix_turns_and_mirrors_as_ffmpeg_does(tmp_path, name):
    a, b, c, d = MATRICES[name]
    matrix = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    plain = encode(tmp_path / "v.mp4", "mpeg4", frames=3)
    upright = read_clips(plain, ImageForm(3, 32, 48), [[1]])[0, :, 0].permute(1, 2, 0).numpy()
    shown = filtered(np.ascontiguousarray(upright), autorotation(matrix))
    turned = with_matrix(plain, tmp_path / "t.mp4", matrix)
    head = probe(turned)
    assert (head.height, head.width) == shown.shape[:2]
    read = read_clips(turned, ImageForm(3, *shown.shape[:2]), [[1]])[0, :, 0].permute(1, 2, 0)
    assert np.array_equal(read.numpy(), shown)


@pytest.mark.parametrize("matrix", [(0,) * 9, (ONE, 0, 0, 0, ONE, 0, 7 << 16, 9 << 16, 1 << 30)])
def test_a_matrix_without_a_turn_changes_nothing(tmp_path, matrix):
    plain = encode(tmp_path / "v.mp4", "mpeg4", frames=2)
    turned = with_matrix(plain, tmp_path / "t.mp4", matrix)
    one, other = (read_clips(p, ImageForm(3, 32, 48), [[1]]) for p in (plain, turned))
    assert torch.equal(one, other)


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["index last", "first"])
@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "3gp"])
def test_a_truncated_mp4_is_said_to_be_cut_off(tmp_path, options, sound, suffix):
    whole = encode(tmp_path / f"v.{suffix}", "mpeg4", sound=sound, **options).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for length in range(40, len(whole) * 8 // 10, len(whole) // 60):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut off|cannot be decoded to its end") as refusal:
            probe(path)
        assert "only sound" not in str(refusal.value)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("avi", "mpeg4"), ("mkv", "mpeg4"), ("flv", "flv"), ("wmv", "wmv2")]
)
def test_other_truncated_files_are_not_called_sound_either(tmp_path, suffix, codec):
    whole = encode(tmp_path / f"v.{suffix}", codec, sound=suffix != "flv").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for length in range(1, len(whole) // 2, len(whole) // 30):
        path.write_bytes(whole[:length])
        said = probe_all(tmp_path, [str(path)])[str(path)]
        assert "only sound" not in str(said)


def test_a_file_with_sound_alone_is_still_called_that(tmp_path):
    path = encode(tmp_path / "v.mp4", "mpeg4", sound=True, frames=0)
    with pytest.raises(ValueError, match="no video in it, only sound"):
        probe(path)
