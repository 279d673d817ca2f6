"""Thousands of wrong files: FormatError and nothing else, in little time and memory."""

import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from compress import Codec, FormatError, decode
from compress.decoding import reconstruct_chunks
from compress.entropy.tables import Tables
from compress.file_format import parse, parse_pack
from tests.compress.hostile import Parts, mutated

GOLDEN = Path(__file__).parent / "golden"
SECONDS, MEMORY = 2.0, 256  # of processor time a file, and MiB beyond what good files take


@pytest.fixture(scope="module")
def files(codec, photographs):
    """Return files of all kinds and versions, all with tables of their own."""
    x = photographs[300:304, :, ::2, ::2].contiguous()
    clips = photographs[300:308].view(1, 8, 3, 32, 32).transpose(1, 2)[..., ::4, ::4].contiguous()
    small = x[:1, :1, :5, :7].contiguous()
    named = codec.encode(x, step=0.2, embed_tables=True, names=["a/1.png", "a/2.png", "b", "c"])
    return [
        named,
        codec.encode(x, step=0.3, embed_tables=True),
        codec.encode(small, step=0.1, embed_tables=True),
        codec.encode(x, kind="delta", x_adv=x.flip(0), step=0.3, embed_tables=True),
        codec.encode(clips, step=0.2, embed_tables=True),
        codec.encode(torch.ones(1, 1, 24, 24), step=1e-5, embed_tables=True),
        named + codec.encode(small, step=0.1, names=["d"]),
        *((GOLDEN / f"{version}.sprc").read_bytes() for version in ("1.0", "1.1", "1.2")),
    ]


def attempt(data):
    """Decode; return whether it could be. Only FormatError may escape, and little may come out."""
    try:
        out = decode(data)
    except FormatError:
        out = None
    if out is not None:
        assert torch.isfinite(out).all()
        assert out.numel() <= 2**16 + 2200 * len(data)
        assert float(out.abs().max()) <= 1
    try:
        for file in parse_pack(data):
            for part in reconstruct_chunks(file, None):
                assert part.numel() <= 2**16 + 2048 * len(data)
    except FormatError:
        pass
    return out is not None


def fuzz(files, count, seed):
    """Decode wrong files; return how many were decoded, and the longest time."""
    rng = np.random.default_rng(seed)
    decoded, longest = 0, 0.0
    for _ in range(count):
        data = mutated(files, rng)
        start = time.process_time()
        decoded += attempt(data)
        longest = max(longest, time.process_time() - start)
    return decoded, longest


def grown(work):
    """Return what some work returns, and by how many MiB it made the process grow."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = work()
    return out, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def test_parts_are_put_together_again(files):
    for data in files[:6] + files[7:]:
        assert Parts.of(data).joined() == data


def test_wrong_files_are_refused_or_decoded(files):
    decoded, longest = fuzz(files, 250, 0)
    assert 5 < decoded < 245, "some of them are to pass, or nothing behind the check sums is tried"
    assert longest < SECONDS


@pytest.mark.slow
def test_thousands_of_wrong_files_take_little(files):
    held(files, 1_500, 1)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_twenty_thousand_wrong_files_take_little(files, seed):
    held(files, 5_000, seed)


def held(files, count, seed):
    fuzz(files, 100, 99)  # what is allocated once
    (decoded, longest), memory = grown(lambda: fuzz(files, count, seed))
    print(
        f"{count} wrong code files, seed {seed}: {decoded} decoded, the others FormatError; at "
        f"most {longest:.2f} s of processor time, {memory:.0f} MiB more than before"
    )
    assert longest < SECONDS
    assert memory < MEMORY


def test_many_small_chunks_are_refused(codec, photographs):
    """Eighteen bytes a chunk could ask for 65,536 values and 4,096 batches each."""
    file = parse(codec.encode(photographs[300:310], step=1.0, embed_tables=True))
    parts = Parts.of(bytes(file.data))
    struct.pack_into("<I", parts.first, 29, 1)  # samples in a chunk
    parts.chunks = parts.chunks * 10
    parts.sizes = parts.sizes * 10
    with pytest.raises(FormatError, match="samples in a chunk: 1; allowed: 10 to 10"):
        decode(parts.joined())


def test_names_cannot_ask_for_memory(files):
    parts = Parts.of(files[0])
    parts.names = zlib.compress(bytes(2**27))
    struct.pack_into("<I", parts.first, 57, len(parts.names))
    data = parts.joined()

    def refuse():
        with pytest.raises(FormatError, match="the names"):
            decode(data)

    assert grown(refuse)[1] < 64


def wrong_codec(data, rng):
    """Return a codec's file with changed options or tables and mostly a check sum that fits."""
    head, packed = bytearray(data[:12]), data[12:-4]
    if rng.random() < 0.5:
        head[rng.integers(12)] = rng.integers(256)
    else:
        numbers = np.frombuffer(zlib.decompress(packed), "<i2").copy()
        some = rng.integers(0, len(numbers), 4)
        numbers[some] = rng.choice((-32768, -1, 0, 1, 16384, 32767), 4)
        packed = zlib.compress(numbers.tobytes() + bytes(rng.integers(3)))
    body = bytes(head) + packed
    if rng.random() < 0.3:
        body = bytearray(body)
        body[rng.integers(len(body))] ^= 1 << rng.integers(8)
    body = bytes(body[: rng.integers(len(body))] if rng.random() < 0.1 else body)
    return body + struct.pack("<I", zlib.crc32(body)) if rng.random() < 0.9 else body


def codecs(codec, photographs, folder, count, seed):
    """Load wrong codecs, and code with those that can be; return how many, and the longest time."""
    rng, file = np.random.default_rng(seed), folder / "codec.sprt"
    codec.save(file)
    data, x = file.read_bytes(), photographs[300:302, :, ::4, ::4].contiguous()
    loaded, longest = 0, 0.0
    for _ in range(count):
        file.write_bytes(wrong_codec(data, rng))
        start = time.process_time()
        try:
            other = Codec.load(file)
        except FormatError:
            continue
        finally:
            longest = max(longest, time.process_time() - start)
        loaded += 1
        if loaded % 20 == 0:  # whatever its tables are, what it codes comes back as it was
            same = Codec(Tables.unpack(other.tables.packed), other.step, other.wavelet)
            assert torch.equal(
                same.decode(same.encode(x)), decode(same.encode(x, embed_tables=True))
            )
    return loaded, longest


def test_wrong_codecs_are_refused_or_work(codec, photographs, tmp_path):
    loaded, longest = codecs(codec, photographs, tmp_path, 150, 0)
    assert 5 < loaded < 145
    assert longest < SECONDS


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_twenty_thousand_wrong_codecs(codec, photographs, tmp_path):
    (loaded, longest), memory = grown(lambda: codecs(codec, photographs, tmp_path, 20_000, 1))
    print(
        f"20000 wrong codec files, seed 1: {loaded} loaded, the others FormatError; at most "
        f"{longest:.2f} s, {memory:.0f} MiB more than before"
    )
    assert longest < SECONDS
    assert memory < MEMORY
