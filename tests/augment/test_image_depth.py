"""Images of more than 8 bits a channel, with alpha, or of several pictures."""

import logging
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from augment import load_dataset
from augment.datasets.broken import BROKEN
from augment.datasets.images.images import ImageForm, read_header, read_image

RNG = np.random.default_rng(0)


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def write_png(path, values, *, sbit=None, late=b""):
    """A PNG of 16 bits a channel, (H, W) or (H, W, C); `late` comes behind its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, channels = (*values.shape, 1)[:3]
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    told = chunk(b"sBIT", bytes([sbit] * channels)) if sbit else b""
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + told + chunk(b"IDAT", zlib.compress(rows))
        + late + chunk(b"IEND", b"")
    )  # fmt: skip


def write_tiff(path, values, *, maximum=None, bits=16):
    """A TIFF of 16 bits a channel, (H, W) or (H, W, 3), not compressed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, channels = (*values.shape, 1)[:3]
    pixels = values.astype("<u2").tobytes()
    tags = [(256, 1, width), (257, 1, height), (259, 1, 1), (262, 1, 2 if channels == 3 else 1),
            (277, 1, channels), (278, 1, height)]  # fmt: skip
    tags += [(281, 1, maximum)] if maximum else []
    start = 8 + 2 + 12 * (len(tags) + 3) + 4
    tags += [(258, channels, start if channels > 1 else bits), (273, 1, start + 8)]
    directory = [struct.pack("<HHII", tag, 3, count, value) for tag, count, value in sorted(tags)]
    directory.append(struct.pack("<HHII", 279, 4, 1, len(pixels)))
    directory.sort(key=lambda entry: struct.unpack("<H", entry[:2]))
    path.write_bytes(
        b"II*\0" + struct.pack("<IH", 8, len(directory)) + b"".join(directory)
        + struct.pack("<I4H", 0, *[bits] * 4) + pixels
    )  # fmt: skip


WRITERS = {"png": write_png, "tif": write_tiff}


def noise(top, *shape):
    values = RNG.integers(0, top + 1, shape or (6, 8)).astype(np.uint16)
    values.flat[:2] = top, 0
    return values


def load(root, split="test", **options):
    return load_dataset(f"imagefolder:{root}", split, **options)


def expected(values, top):
    scaled = np.rint(values * (255 / top)).astype(np.uint8)
    return torch.from_numpy(scaled if scaled.ndim == 3 else scaled[..., None]).permute(2, 0, 1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("high", "top"), [(200, 255), (1000, 1023), (4095, 4095), (60000, 65535)])
def test_sixteen_bits_are_scaled_by_the_range_of_all_splits(
    tmp_path, caplog, suffix, channels, high, top
):
    shape = (6, 8) if channels == 1 else (6, 8, 3)
    bright, dark = noise(high, *shape), noise(90, *shape)
    WRITERS[suffix](tmp_path / f"train/a/0.{suffix}", bright)
    WRITERS[suffix](tmp_path / f"val/a/0.{suffix}", dark)
    WRITERS[suffix](tmp_path / f"test/a/0.{suffix}", dark)
    assert torch.equal(load(tmp_path, "train").raw([0])[0], expected(bright, top))
    caplog.clear()
    assert torch.equal(load(tmp_path).raw([0])[0], expected(dark, top))
    said = f"do not say how many bits they use, and go up to {high}: {top} becomes white"
    assert caplog.text.count(said) == (top < 65535)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_files_that_declare_their_bits_are_believed(tmp_path, caplog, suffix, channels):
    values = noise(900, *((6, 8) if channels == 1 else (6, 8, 3)))
    declared = {"sbit": 12} if suffix == "png" else {"maximum": 4000}
    WRITERS[suffix](tmp_path / f"test/a/0.{suffix}", values, **declared)
    assert torch.equal(load(tmp_path).raw([0])[0], expected(values, 4095))
    assert "declare 12 bits, and go up to 900: 4095 becomes white" in caplog.text
    assert torch.equal(
        read_image(tmp_path / f"test/a/0.{suffix}", ImageForm(channels, 6, 8)),
        expected(values, 4095),
    )


def test_twelve_bits_spread_over_sixteen_as_the_png_specification_wants(tmp_path):
    values = noise(4095) * np.uint16(16)
    write_png(tmp_path / "test/a/0.png", values, sbit=12)
    assert torch.equal(load(tmp_path).raw([0])[0], expected(values, 65535))


def test_a_file_that_says_sixteen_bits_is_not_stretched(tmp_path, caplog):
    values = noise(3000)
    write_png(tmp_path / "test/a/0.png", values, sbit=16)
    assert torch.equal(load(tmp_path).raw([0])[0], expected(values, 65535))
    assert "becomes white" not in caplog.text
    (tmp_path / "test/a/0.png").unlink()
    (tmp_path / "test/a/0.pgm").write_bytes(b"P5 8 6 4095\n" + values.astype(">u2").tobytes())
    assert (load(tmp_path).raw([0])[0].int() - expected(values, 4095).int()).abs().max() <= 1


@pytest.mark.parametrize("channels", [2, 4])
def test_sixteen_bits_with_alpha(tmp_path, caplog, channels):
    values = noise(4095, 6, 8, channels)
    write_png(tmp_path / "test/a/0.png", values)
    data = load(tmp_path)
    colours = values[..., :3] if channels == 4 else values[..., 0]
    assert torch.equal(data.raw([0])[0], expected(colours, 4095))
    assert "1 of 1 images have an alpha channel; it is dropped" in caplog.text


def test_sixteen_bits_beside_eight(tmp_path):
    values = noise(4095)
    write_png(tmp_path / "test/a/0.png", values)
    plain = RNG.integers(0, 256, (6, 8), dtype=np.uint8)
    Image.fromarray(plain).save(tmp_path / "test/a/1.png")
    data = load(tmp_path)
    assert torch.equal(data.raw([1])[0, 0], torch.from_numpy(plain))
    assert torch.equal(data.raw([0])[0], expected(values, 4095))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_broken_files_of_sixteen_bits_are_left_out(tmp_path, channels, suffix):
    values = noise(4095, *((60, 80) if channels == 1 else (60, 80, 3)))
    WRITERS[suffix](tmp_path / f"test/a/0.{suffix}", values)
    WRITERS[suffix](tmp_path / f"test/a/1.{suffix}", values)
    content = (tmp_path / f"test/a/1.{suffix}").read_bytes()
    (tmp_path / f"test/a/1.{suffix}").write_bytes(content[: len(content) // 2])
    data = load(tmp_path)
    assert data.ids == [f"a/0.{suffix}"]
    assert len(data.skipped) == 1


def test_orientation_holds_for_sixteen_bits_and_behind_the_pixels(tmp_path):
    values = noise(4095)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    write_png(tmp_path / "x.png", values, late=chunk(b"eXIf", exif.tobytes()[6:]))
    frame = read_header(tmp_path / "x.png")
    assert (frame.width, frame.height) == (6, 8)
    read = read_image(tmp_path / "x.png", ImageForm(1, 8, 6, {None: 4095}))
    assert torch.equal(read, expected(np.rot90(values, -1).copy(), 4095))


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGBA", {}), ("LA", {}), ("P", {"transparency": 3}), ("RGB", {"transparency": (1, 2, 3)})],
)
def test_alpha_is_dropped_with_a_word_as_torchvision_drops_it(tmp_path, caplog, mode, options):
    pixels = RNG.integers(0, 256, (6, 8, 4), dtype=np.uint8)
    path = tmp_path / "test/a/0.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "test/a/1.png")
    data = load(tmp_path)
    assert "1 of 2 images have an alpha channel; it is dropped" in caplog.text
    with Image.open(path) as image:
        reference = np.array(image.convert("RGB"))  # torchvision's own loader
    assert torch.equal(data.raw([0])[0], torch.from_numpy(reference).permute(2, 0, 1))


def test_opaque_files_are_not_said_to_have_alpha(tmp_path, caplog):
    (tmp_path / "test/a").mkdir(parents=True)
    image = Image.fromarray(RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    for i, made in enumerate((image, image.convert("L"), image.convert("1"), image.quantize())):
        made.save(tmp_path / f"test/a/{i}.png")
    with caplog.at_level(logging.WARNING):
        assert load(tmp_path).shape == (3, 6, 8)
    assert caplog.text == ""


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_of_several_pictures_the_first_is_read_with_a_word(tmp_path, caplog, suffix):
    pages = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"test/a/0.{suffix}"
    path.parent.mkdir(parents=True)
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert load(tmp_path).raw([0])[0, 0].min() > 250
    assert "1 of 1 images hold several pictures; the first is read" in caplog.text


def test_one_bit_and_cmyk(tmp_path):
    bits = RNG.integers(0, 2, (6, 8)).astype(bool)
    Image.fromarray(bits).save(tmp_path / "x.png")
    assert torch.equal(
        read_image(tmp_path / "x.png", ImageForm(1, 6, 8))[0],
        torch.from_numpy(bits * np.uint8(255)),
    )
    Image.new("CMYK", (8, 6), (0, 255, 255, 0)).save(tmp_path / "x.tif")
    assert read_image(tmp_path / "x.tif", ImageForm(3, 6, 8))[:, 0, 0].tolist() == [255, 0, 0]
    assert read_header(tmp_path / "x.tif").colour


@pytest.mark.filterwarnings("ignore")  # Pillow remarks on much of it
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_random_damage_never_raises_anything_unforeseen(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    WRITERS[suffix](path, noise(4095, 16, 16, 3))
    good = path.read_bytes()
    outcomes = set()
    for _ in range(150):
        bad = bytearray(good)
        for place in RNG.integers(0, min(len(bad), 300), RNG.integers(1, 9)):
            bad[place] = RNG.integers(256)
        path.write_bytes(bad)
        try:
            read_header(path)
            assert read_image(path, ImageForm(3, 16, 16)).shape == (3, 16, 16)
            outcomes.add("read")
        except BROKEN:
            outcomes.add("refused")
    assert "refused" in outcomes
