"""Damaged, hostile and old files."""

import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from compress import Codec, FormatError, decode
from compress.file_format import FileHeader, parse, values_for, write

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def files(codec, photographs):
    """Return files of several kinds, all with tables of their own."""
    x = photographs[300:304]
    clips = photographs[300:316].view(2, 8, 3, 32, 32).transpose(1, 2)[..., ::4, ::4].contiguous()
    return [
        codec.encode(x, step=0.3, embed_tables=True),
        codec.encode(x[:1, :1, :5, :7].contiguous(), step=0.1, embed_tables=True),
        codec.encode(x, kind="delta", x_adv=x.flip(0), step=0.3, embed_tables=True),
        codec.encode(clips, step=0.2, embed_tables=True),
    ]


def repaired(data):
    """Return a file with all check sums made to fit, as far as its head makes sense."""
    data = bytearray(data)
    try:
        end = struct.unpack_from("<H", data, 6)[0]
        samples, per_chunk = (
            struct.unpack_from("<I", data, 17)[0],
            struct.unpack_from("<I", data, 29)[0],
        )
        count = -(-samples // per_chunk)
        size = struct.unpack_from("<I", data, 41)[0]
        start = end + 8 * count + 4
        place = start + (size + 4 if size else 0)
        if size:
            sum_ = zlib.crc32(data[start : start + size])
            struct.pack_into("<I", data, start + size, sum_)
        for number in range(count):
            length = struct.unpack_from("<I", data, end + 8 * number)[0]
            struct.pack_into(
                "<I", data, end + 8 * number + 4, zlib.crc32(data[place : place + length])
            )
            place += length
        struct.pack_into("<I", data, start - 4, zlib.crc32(data[: start - 4]))
    except (struct.error, ZeroDivisionError, MemoryError, OverflowError):
        pass
    return bytes(data)


def test_check_sums_are_repaired_where_nothing_is_wrong(files):
    for file in files:
        assert repaired(file) == file
        torn = bytearray(file)
        torn[-1] ^= 1
        with pytest.raises(FormatError, match="check sum"):
            decode(bytes(torn))
        parse(repaired(torn)).chunk(0)


@pytest.mark.parametrize("which", range(4))
def test_every_truncation_is_refused(files, which):
    file = files[which]
    ends = [*range(0, 120), *range(120, len(file), 61), *range(len(file) - 60, len(file))]
    for end in ends:
        with pytest.raises(FormatError):
            decode(file[:end])
    with pytest.raises(FormatError):
        decode(file + b"\0")


@pytest.mark.slow
def test_every_truncation_of_a_small_file_is_refused_with_its_sums_repaired(files):
    file = files[1]
    for end in range(len(file)):
        for data in (file[:end], repaired(file[:end])):
            with pytest.raises(FormatError):
                decode(data)


def mutated(file, rng):
    """Change, cut out, repeat or insert bytes, mostly in the head and the chunks."""
    data = bytearray(file)
    tables = struct.unpack_from("<I", data, 41)[0]
    head = list(range(0, 70))
    body = list(range(70 + tables, len(data)))
    for _ in range(rng.integers(1, 5)):
        area = [head, body, range(len(data))][rng.choice(3, p=[0.45, 0.45, 0.1])]
        if not len(area) or not data:
            continue
        place = min(int(area[rng.integers(len(area))]), len(data) - 1)
        match rng.integers(6):
            case 0:
                data[place] = rng.integers(256)
            case 1:
                data[place] ^= 1 << rng.integers(8)
            case 2:
                data[place] = (0, 1, 127, 128, 255)[rng.integers(5)]
            case 3:
                del data[place : place + int(rng.integers(1, 9))]
            case 4:
                data[place:place] = bytes(rng.integers(0, 256, rng.integers(1, 9), dtype=np.uint8))
            case 5:
                data[place : place + 4] = struct.pack(
                    "<I", (2**31, 2**16, 2**32 - 1, 3)[rng.integers(4)]
                )
    return bytes(data)


def attempt(data):
    """Decode; return how long that took, in processor time. Only FormatError may escape."""
    start = time.process_time()
    try:
        out = decode(data)
        assert torch.isfinite(out).all()
    except FormatError:
        pass
    return time.process_time() - start


def fuzz(files, count, seed):
    """Decode mutated files, every second one with repaired check sums; return the longest time."""
    rng = np.random.default_rng(seed)
    longest = 0.0
    for number in range(count):
        data = mutated(files[number % len(files)], rng)
        longest = max(longest, attempt(repaired(data) if number % 2 else data))
    return longest


def test_mutated_files(files):
    fuzz(files, 300, 0)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_ten_thousand_mutated_files_take_little(files):
    fuzz(files, 100, 1)  # what is allocated once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    longest = fuzz(files, 10_000, 2)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    print(f"longest {longest:.2f} s, memory grown by {grown / 1024:.0f} MiB")
    assert longest < 1
    assert grown < 256 * 1024


def test_a_file_cannot_ask_for_more_than_its_size_allows():
    head = FileHeader("x", "cdf97", 5, 0, 0.1, 2**20, (3, 32, 32), 2**20, bytes(8))
    with pytest.raises(FormatError, match="claims"):
        parse(write(head, [bytes(100)]))
    assert values_for(100) < 2**20 * 3072


def test_an_even_picture_is_padded_and_comes_back(codec):
    x = torch.full((700, 3, 32, 32), 0.5)
    file = codec.encode(x)
    assert (codec.decode(file) == 0.5).all()
    # a byte for 2048 values, whatever the entropy coder needs, but for the first 65536
    assert 1.3 < len(file) / len(x) < 3072 / 2048 + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(samples=0), "samples: 0"),
        (dict(samples=2**25), "samples: 33554432"),
        (dict(shape=(65, 8, 8)), "channels: 65"),
        (dict(shape=(3, 20000, 8)), "height: 20000"),
        (dict(shape=(3, 5000, 8, 8)), "frames: 5000"),
        (dict(shape=(64, 16000, 16000)), "values of a sample"),
        (dict(step=float("nan")), "step: nan"),
        (dict(levels=17), "levels: 17"),
        (dict(time_levels=1), "levels in time: 1"),
        (dict(per_chunk=0), "samples in a chunk: 0"),
    ],
)
def test_what_is_too_large_is_refused_before_anything_is_allocated(change, words):
    good = dict(
        kind="x", wavelet="haar", levels=1, time_levels=0, step=0.1, samples=4, shape=(3, 8, 8),
        per_chunk=4, digest=bytes(8),
    )  # fmt: skip
    FileHeader(**good).check()
    with pytest.raises(FormatError, match=words):
        FileHeader(**good | change).check()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, b"RIFF", "begins with b'RIFF'"),
        (4, b"\x02", "version 2.1"),
        (5, b"\x09", "version 1.9.*newer"),
        (8, b"\x07", "kind 7"),
        (10, b"\x07", "wavelet 7"),
        (33, bytes(8), "with tables"),
    ],
)
def test_what_is_wrong_is_said(codec, photographs, place, value, words):
    data = bytearray(codec.encode(photographs[300:301], step=0.3))
    data[place : place + len(value)] = value
    with pytest.raises(FormatError, match=words):
        codec.decode(repaired(data))


@pytest.mark.parametrize("data", [b"", b"S", b"SPRC", b"SPRC" + bytes(500), bytes(1000)])
def test_no_file_at_all(data):
    with pytest.raises(FormatError):
        decode(data)
    with pytest.raises(FormatError):
        parse(data)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_golden_files(version):
    """Files that older code has written decode to the same pixels."""
    got = decode((GOLDEN / f"{version}.sprc").read_bytes()).numpy()
    want = np.load(GOLDEN / f"{version}.npy") / 65535
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def test_a_codec_says_what_is_wrong_with_its_file(tmp_path):
    (tmp_path / "codec").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="is no codec"):
        Codec.load(tmp_path / "codec")
