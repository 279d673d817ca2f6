"""Thousands of damaged npz files and videos: only the documented errors, in little time and memory.

The soak prints what came of how many: `pytest -m soak tests/augment/test_mutated_files.py -s`.
"""

import io
import os
import resource
import time
import zipfile
from collections import Counter

import av
import numpy as np
import pytest
import torch

from attacks.errors import RefusedInput
from augment import load_dataset
from augment.datasets.videos.write import write_video

SEED = 13
MOST_SECONDS = 20  # of processor time, for one file
MOST_GROWTH = 2**20  # kilobytes of memory, over all files
COUNTS = [
    pytest.param(80, marks=pytest.mark.slow),
    pytest.param(5000, marks=[pytest.mark.soak, pytest.mark.timeout(0)]),
]
EXTREMES = [b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x80\0\0\0"]


def mutate(content, rng, *, most=12, kinds=10):
    """Change bytes, put extreme numbers in, and repeat, remove or cut parts; often at the start."""
    data = bytearray(content)
    for _ in range(rng.integers(1, most)):
        reach = len(data) if rng.random() < 0.5 else min(len(data), 600)
        place, kind = int(rng.integers(reach)), rng.integers(kinds)
        if kind < 5:
            data[place] = rng.integers(256)
        elif kind < 7:
            extreme = EXTREMES[rng.integers(len(EXTREMES))]
            data[place : place + len(extreme)] = extreme
        elif kind == 7:
            del data[place : place + int(rng.integers(1, 40))]
        elif kind == 8:
            data[place:place] = data[place : place + int(rng.integers(1, 40))]
        elif rng.random() < 0.3:
            del data[max(place, 1) :]
        data = data or bytearray(b"\0")
    return bytes(data)


class Bounds:
    """How much processor time and memory reading takes."""

    def __init__(self):
        self.before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.longest = 0.0

    def check(self, work):
        start = time.process_time()
        try:
            return work()
        finally:
            self.longest = max(self.longest, time.process_time() - start)
            assert self.longest < MOST_SECONDS
            assert self.growth < MOST_GROWTH

    @property
    def growth(self):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.before


def told(kind, outcomes, bounds):
    print(
        f"\n{kind}, seed {SEED}: {dict(outcomes)}; longest {bounds.longest:.2f} s of processor "
        f"time, memory grew by {bounds.growth // 1024} MiB"
    )


def packed(members, method=zipfile.ZIP_STORED):
    """An npz of members, each its name and the bytes of its npy."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def arrays():
    rng = np.random.default_rng(0)
    y = np.arange(12) % 3
    x = rng.integers(0, 256, (12, 3, 5, 4), dtype=np.uint8)
    return [
        {"x_train": x, "y_train": y, "x_test": x, "y_test": y},
        {"x": x[:, 0], "y": y.astype(np.float32)},
        {"x_train": (x / 255).astype(np.float32), "y_train": np.eye(3)[y], "x_val": x / 255},
        {"x_test": rng.integers(0, 256, (12, 3, 4, 5, 4), dtype=np.uint8), "y_test": y[:, None]},
    ]


def load_or_refuse(path, split):
    try:
        return load_dataset(f"npz:{path}", split)
    except RefusedInput as error:
        return str(error)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", COUNTS)
def test_mutated_npz_files(tmp_path, count):
    rng, outcomes = np.random.default_rng(SEED), Counter()
    bases = [{name: npy(array) for name, array in each.items()} for each in arrays()]
    path = tmp_path / "a.npz"
    path.write_bytes(packed(bases[0]))
    load_dataset(f"npz:{path}", "test")
    bounds = Bounds()
    for i in range(count):
        members = dict(bases[i % len(bases)])
        if i % 2:  # damage an array and pack it well, or else its checksum alone would tell
            name = list(members)[rng.integers(len(members))]
            members[name] = mutate(members[name], rng, most=4, kinds=7 if i % 3 else 10)
            content = packed(members, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[i // 2 % 2])
        else:
            content = mutate(packed(members), rng, most=4)
        path.write_bytes(content)
        for split in ("train", "val", "test"):
            data = bounds.check(lambda split=split: load_or_refuse(path, split))
            if isinstance(data, str):
                outcomes["refused"] += 1
                assert str(path) in data
                assert "\n" not in data
                assert len(data) < 1000
                continue
            x, _ = data.stack(range(len(data)))
            assert 0 <= float(x.min()) <= float(x.max()) <= 1
            assert int(data.labels.max()) < max(data.num_classes, 1)
            outcomes["read"] += 1
    told(f"{count} npz files, each split", outcomes, bounds)
    assert outcomes["refused"] > outcomes.total() / 10


def encode(path, codec, *, form=None, sound=False, pix_fmt="yuv420p"):
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format=form) as out:
        voice = out.add_stream("aac", rate=44100, layout="mono") if sound else None
        stream = out.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, pix_fmt
        for i in range(6 if voice else 0):
            beep = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            beep.sample_rate, beep.pts = 44100, i * 1024
            out.mux(voice.encode(beep))
        for _ in range(5):
            pixels = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())


KINDS = [
    ("mp4", "mpeg4", {"sound": True}), ("mp4", "libx264", {}), ("avi", "mpeg4", {}),
    ("mkv", "ffv1", {}), ("webm", "libvpx-vp9", {}), ("gif", "gif", {"pix_fmt": "rgb8"}),
    ("mpg", "mpeg1video", {}), ("ts", "mpeg2video", {}), ("wmv", "wmv2", {}), ("flv", "flv", {}),
    ("3gp", "mpeg4", {}), ("mov", "mjpeg", {"pix_fmt": "yuvj420p"}), ("y4m", "wrapped_avframe", {}),
    ("rm", "rv10", {}), ("mxf", "mpeg2video", {}), ("nut", "ffv1", {}), ("vob", "mpeg2video", {}),
    ("apng", "apng", {"pix_fmt": "rgb24"}), ("m2v", "mpeg2video", {}), ("ivf", "libvpx-vp9", {}),
    ("mjpeg", "mjpeg", {"pix_fmt": "yuvj420p"}), ("h264", "libx264", {}),
]  # fmt: skip


def videos(folder):
    found = []
    for number, (suffix, codec, options) in enumerate(KINDS):
        path = folder / f"{number}.{suffix}"
        try:
            encode(path, codec, **options)
        except av.codec.codec.UnknownCodecError:
            continue  # this FFmpeg is without it
        found.append((suffix, path.read_bytes()))
    return found


@pytest.mark.parametrize("count", COUNTS)
def test_mutated_videos(tmp_path, count):
    rng, outcomes = np.random.default_rng(SEED), Counter()
    (tmp_path / "made").mkdir()
    bases = videos(tmp_path / "made")
    folder = tmp_path / "data/test"
    write_video(folder / "good/0.mkv", torch.rand(3, 5, 32, 48))
    (folder / "maybe").mkdir()
    spec = f"videofolder:{tmp_path / 'data'}"
    load_dataset(spec, "test", frames=4, size=16)
    bounds = Bounds()
    for i in range(count):
        suffix, whole = bases[i % len(bases)]
        path = folder / f"maybe/{i}.{suffix}"
        path.write_bytes(mutate(whole, rng))
        data = bounds.check(lambda: load_dataset(spec, "test", frames=4, size=16))
        assert data.shape == (3, 4, 16, 16)
        assert data.classes == ["good", "maybe"]
        assert data.ids[0] == "good/0.mkv"
        assert len(data) + len(data.skipped) == 2
        assert all(str(path) in line and len(line) < 1000 for line in data.skipped)
        outcomes["read" if len(data) == 2 else "left out and named"] += 1
        os.unlink(path)
    told(f"{count} videos of {len(bases)} kinds", outcomes, bounds)
    assert outcomes["left out and named"] > count / 10
