"""Other codecs: sizes with and without heads, and what they decode to."""

import io
import itertools

import pytest
import torch
from PIL import Image

from trainers.jobs.compress.benchmark.peers import (
    IMAGES,
    VIDEOS,
    Peer,
    PeerFile,
    find_quality,
    jpeg_payload,
    x264_payload,
)
from trainers.run.show.images import to_image


@pytest.fixture(scope="module")
def photograph():
    y, x = torch.meshgrid(torch.linspace(0, 3, 48), torch.linspace(0, 5, 40), indexing="ij")
    return torch.stack([0.5 + 0.4 * torch.sin(x * y + shift) for shift in (0, 0.5, 1)])


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_and_better_ones_are_larger(photograph, name, channels):
    peer, x = IMAGES[name], photograph[:channels]
    if peer.missing:
        pytest.skip(peer.missing)
    between = peer.worst + (peer.best - peer.worst) // 3
    bad, good = peer.code(x, between), peer.code(x, peer.best)
    assert bad.x.shape == good.x.shape == x.shape
    assert bad.payload < bad.size
    assert bad.payload < good.payload
    errors = [float(((coded.x - x) ** 2).mean()) for coded in (bad, good)]
    assert errors[1] < errors[0]
    assert errors[1] < 1e-3


def markers(data):
    """Lengths of a JPEG's segments by marker, walked one by one; the scan is what is left."""
    at, lengths = 2, {}
    while data[at] == 0xFF and data[at + 1] != 0xD9:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        lengths[marker] = lengths.get(marker, 0) + length + 2
        at += length + 2
        if marker == 0xDA:
            break
    return lengths


@pytest.mark.parametrize("optimize", [False, True])
def test_a_jpeg_without_its_head_is_its_scan(photograph, optimize):
    buffer = io.BytesIO()
    to_image(photograph).save(buffer, "JPEG", quality=30, optimize=optimize)
    data = buffer.getvalue()
    assert jpeg_payload(data) == len(data) - 4 - sum(markers(data).values())


def test_sizes_are_those_of_real_files(photograph):
    buffer = io.BytesIO()
    to_image(photograph).save(buffer, "WEBP", quality=40, method=6)
    coded = IMAGES["webp"].code(photograph, 40)
    assert coded.size == len(buffer.getvalue()) == coded.payload + 20 + coded.payload % 2
    decoded = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")
    assert to_image(coded.x).tobytes() == decoded.tobytes()


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (3, 3, 17, 21)])
def test_clips_come_back(name, shape):
    peer = VIDEOS[name]
    if peer.missing:
        pytest.skip(peer.missing)
    t, h, w = (torch.linspace(0, 1, n) for n in shape[1:])
    x = (t[:, None, None] + h[:, None] + w).expand(shape) / 3
    good, bad = peer.code(x, 10), peer.code(x, 50)
    assert good.x.shape == x.shape
    assert 0 < bad.payload < good.payload < good.size
    assert float(((good.x - x) ** 2).mean()) < 1e-3


def test_x264_s_text_is_no_picture():
    start = b"\0\0\0\1"
    text, sets, picture = b"\x06" + b"t" * 600, b"\x67" + b"s" * 20, b"\x65" + b"p" * 50
    packet = start + sets + start + text + b"\0\0\1" + picture
    assert x264_payload(packet) == 51


@pytest.mark.parametrize(("worst", "best"), [(0, 100), (51, 0)])
@pytest.mark.parametrize("wanted", [0, 37, 5000])
def test_the_quality_nearest_to_a_size(worst, best, wanted):
    tried = itertools.count()

    def code(x, quality):
        next(tried)
        return PeerFile(0, 10 + 3 * abs(quality - worst), x)

    x = [torch.zeros(1, 2, 2)]
    found = find_quality(Peer(code, worst, best), x, wanted)
    ladder = range(min(worst, best), max(worst, best) + 1)
    nearest = min(abs(10 + 3 * abs(q - worst) - wanted) for q in ladder)
    assert abs(10 + 3 * abs(found - worst) - wanted) == nearest
    assert next(tried) < 12
