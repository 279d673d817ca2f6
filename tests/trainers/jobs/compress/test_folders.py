"""A folder of pictures in is the same folder out, and what is lost is named."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from compress import Codec
from compress.file_format import parse_pack
from trainers.jobs.naming import sample_names
from trainers.run.main import main

PHOTO = load_sample_images().images[0]


def job(name, folder, *words):
    assert main(["compress", name, *words, "--threads", "1", "--run-dir", str(folder)]) == 0
    return json.loads((folder / "summary.json").read_text())


def rows_of(file):
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of pictures of all kinds."""
    folder = tmp_path_factory.mktemp("data") / "holiday"
    (folder / "beach" / "late evening").mkdir(parents=True)
    Image.fromarray(PHOTO[:60, :90]).save(folder / "wide.png")
    Image.fromarray(PHOTO[50:140, 9:50]).save(folder / "tall.jpg", quality=95)
    Image.fromarray(PHOTO[:20, :25, 0]).save(folder / "beach" / "grey.bmp")
    Image.fromarray(PHOTO[:33, :33]).save(
        folder / "beach" / "late evening" / "süß.webp", lossless=True
    )
    alpha = np.dstack([PHOTO[:40, :40], np.full((40, 40), 99, np.uint8)])
    Image.fromarray(alpha).save(folder / "beach" / "alpha.png")
    Image.fromarray(PHOTO[:30, :31, 0].astype(np.uint16) * 257).save(folder / "sixteen.png")
    frames = [Image.fromarray(PHOTO[i : i + 30, :30]) for i in range(3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(PHOTO[100:140, :70]).save(folder / "turned.jpg", exif=exif)
    data = (folder / "wide.png").read_bytes()
    (folder / "beach" / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "no.png").write_bytes(b"no picture at all")
    (folder / "notes.txt").write_text("by hand")
    return folder


WHOLE = {
    "wide.png": (90, 60),
    "tall.jpg": (41, 90),
    "beach/grey.bmp": (25, 20),
    "beach/late evening/süß.webp": (33, 33),
    "beach/alpha.png": (40, 40),
    "sixteen.png": (31, 30),
    "moving.gif": (30, 30),
    "turned.jpg": (40, 70),
}
PNGS = sorted(str(Path(name).with_suffix(".png")) for name in WHOLE)


@pytest.fixture(scope="module")
def encoded(folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "e"
    words = ["--data", f"imagefolder:{folder}", "--step", "0.02", "--embed-tables"]
    return run, job("encode", run, *words)


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "p"
    words = ["--data", f"imagefolder:{folder}", "--step", "0.02", "--embed-tables", "--pack"]
    return run, job("encode", run, *words)


def check_pictures(folder, out):
    assert files_below(out) == PNGS
    for name, size in WHOLE.items():
        with (
            Image.open(out / Path(name).with_suffix(".png")) as got,
            Image.open(folder / name) as x,
        ):
            assert got.size == size
            assert got.mode == ("L" if name in ("beach/grey.bmp", "sixteen.png") else "RGB")
            if name in ("wide.png", "beach/late evening/süß.webp"):
                error = np.asarray(got).astype(int) - np.asarray(x.convert("RGB"))
                assert np.abs(error).max() < 12, "the same pixels, neither cut nor scaled"


def test_each_picture_becomes_a_file_named_like_it(folder, encoded, tmp_path):
    run, summary = encoded
    assert files_below(run / "codes") == sorted(f"{name}.sprc" for name in WHOLE)
    assert (summary["samples"], summary["files"], summary["sizes"]) == (8, 8, 8)
    back = job("decode", tmp_path / "d", "--code", str(run / "codes"))
    check_pictures(folder, tmp_path / "d" / "samples")
    assert (back["samples"], back["shape"], back["sizes"]) == (8, None, 8)
    listed = {row["id"]: row["file"] for row in rows_of(tmp_path / "d" / "samples.csv")}
    assert listed["tall.jpg"] == "samples/tall.png"
    one = run / "codes" / "beach" / "grey.bmp.sprc"
    job("decode", tmp_path / "o", "--code", str(one))
    assert files_below(tmp_path / "o" / "samples") == ["grey.png"]


def test_a_pack_is_one_file_and_comes_back_alike(folder, packed, tmp_path):
    run, summary = packed
    assert files_below(run / "codes") == ["00000.sprc"]
    assert (summary["samples"], summary["files"], summary["sizes"]) == (8, 1, 8)
    job("decode", tmp_path / "d", "--code", str(run / "codes"))
    check_pictures(folder, tmp_path / "d" / "samples")
    job("decode", tmp_path / "two", "--code", str(run / "codes"), "--samples", "2")
    assert len(files_below(tmp_path / "two" / "samples")) == 2


def test_what_cannot_be_kept_is_named(folder, encoded, capsys):
    run, summary = encoded
    lost = {row["id"]: row["not_kept"] for row in rows_of(run / "not_kept.csv")}
    assert lost == {
        "beach/alpha.png": "alpha",
        "sixteen.png": "more than 8 bits",
        "moving.gif": "frames after the first",
        "turned.jpg": "metadata",
    }
    assert summary["not_kept"] == {what: 1 for what in lost.values()}
    left_out = "\n".join(summary["left_out"])
    assert len(summary["left_out"]) == 3
    for name in ("beach/cut.png", "no.png", "notes.txt"):
        assert str(folder / name) in left_out
    said = (run / "report.html").read_text() + (run / "log.txt").read_text()
    assert "not kept of 1" in said
    assert "left out 3" in said


def test_figures_are_of_bytes_and_pixels_of_mixed_sizes(encoded):
    run, summary = encoded
    sizes = [file.stat().st_size for file in (run / "codes").rglob("*.sprc")]
    pixels = sum(w * h for w, h in WHOLE.values())
    assert summary["bytes"] == sum(sizes)
    assert summary["bytes_per_sample"] == pytest.approx(sum(sizes) / 8)
    assert summary["bits_per_pixel"] == pytest.approx(8 * sum(sizes) / pixels)
    assert 0 < summary["largest_error"] <= summary["largest_error_promised"]
    assert [row["number"] for row in rows_of(run / "samples.csv")] == ["0"] * 8


def test_a_wanted_size_is_each_pictures_own(folder, tmp_path, caplog):
    data = tmp_path / "data"
    data.mkdir()
    Image.fromarray(PHOTO[200:270, 300:380]).save(data / "large.png")
    Image.fromarray(PHOTO[250:300, 100:150]).save(data / "small.png")
    Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(data / "even.png")
    words = ["--data", f"imagefolder:{data}", "--bytes-per-sample", "400"]
    summary = job("encode", tmp_path / "e", *words)
    assert len({*summary["steps"]}) == 3
    assert summary["out_of_reach"] == 1
    for name in ("large", "small"):
        size = (tmp_path / "e" / "codes" / f"{name}.png.sprc").stat().st_size
        assert 380 < size - 65 < 420
    assert any("even.png: bytes_per_sample is 400" in text for text in caplog.messages)


def test_only_where_asked_all_become_one_size(folder, tmp_path):
    words = ["--data", f"imagefolder:{folder}", "--step", "0.1", "--embed-tables", "--size", "24"]
    job("encode", tmp_path / "e", *words)
    job("decode", tmp_path / "d", "--code", str(tmp_path / "e" / "codes"))
    for file in (tmp_path / "d" / "samples").rglob("*.png"):
        with Image.open(file) as image:
            assert image.size == (24, 24)


@pytest.mark.parametrize("kind", ["x-task", "delta"])
def test_a_classifier_takes_one_size(folder, tmp_path, capsys, kind):
    model = "import torch\ndef build(num_classes):\n    return torch.nn.LazyLinear(num_classes)\n"
    (tmp_path / "m.py").write_text(model)
    words = ["--data", f"imagefolder:{folder}", "--kind", kind, "--num-classes", "3"]
    words += ["--model", f"{tmp_path / 'm.py'}:build"]
    assert main(["compress", "encode", *words, "--run-dir", str(tmp_path / "e")]) == 3
    assert "holds pictures of 8 sizes" in (said := capsys.readouterr().err)
    assert "give --size N" in said
    assert not (tmp_path / "e").exists()


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("splits")
    for i, split in enumerate(("train", "test")):
        for j, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for k in range(2):
                crop = PHOTO[20 * i : 20 * i + 30, 50 * j + 9 * k : 50 * j + 9 * k + 40 + k]
                Image.fromarray(crop).save(folder / split / name / f"{k}.png")
    return folder


def test_train_and_test_folders_are_splits_as_ever(splits, tmp_path):
    for words, split in (([], "test"), (["--split", "train"], "train")):
        out = tmp_path / f"{split}{len(words)}"
        summary = job("encode", out, "--data", f"imagefolder:{splits}", "--step", "0.1", *words)
        assert summary["split"] == split
        names = [f"{name}/{k}.png.sprc" for name in ("cat", "dog") for k in (0, 1)]
        assert files_below(out / "codes") == names
        assert [row["label"] for row in rows_of(out / "samples.csv")] == ["cat"] * 2 + ["dog"] * 2


def test_an_interrupted_folder_goes_on_file_by_file(folder, encoded, tmp_path):
    run, summary = encoded
    before = {name: (run / "codes" / name).read_bytes() for name in files_below(run / "codes")}
    kept = run / "codes" / "wide.png.sprc"
    stamp = kept.stat().st_mtime_ns
    for name in ("summary.json", "status.json", "checkpoints/coded/tall.jpg.json"):
        (run / name).unlink()
    (run / "codes" / "tall.jpg.sprc").unlink()
    words = ["--data", f"imagefolder:{folder}", "--step", "0.02", "--embed-tables"]
    again = job("encode", run, *words)
    assert {n: (run / "codes" / n).read_bytes() for n in files_below(run / "codes")} == before
    assert kept.stat().st_mtime_ns == stamp
    assert again | {"seconds": 0} == summary | {"seconds": 0}


def test_names_that_collide_overwrite_nothing(tmp_path):
    data = tmp_path / "data"
    (data / "a.png").mkdir(parents=True)
    for number, name in enumerate(("b.jpg", "b.png", "b.bmp", "b-bmp.png", "a.bmp", "a.png/a.png")):
        Image.fromarray(PHOTO[:20, : 20 + number]).save(data / name)
    words = ["--data", f"imagefolder:{data}", "--step", "0.1", "--embed-tables"]
    for pack in ([], ["--pack"]):
        out = tmp_path / f"e{len(pack)}"
        job("encode", out, *words, *pack)
        job("decode", tmp_path / f"d{len(pack)}", "--code", str(out / "codes"))
        got = tmp_path / f"d{len(pack)}" / "samples"
        widths = {name: Image.open(got / name).width for name in files_below(got)}
        assert widths == {
            "b.png": 21, "b-jpg.png": 20, "b-bmp.png": 23, "b-bmp-2.png": 22,
            "a-bmp.png": 24, "a.png/a.png": 25,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["a.jpg"], ["a"]),
        (["a.png.png"], ["a.png"]),
        (["v1.2", "x.tar"], ["v1.2", "x"]),
        ([None, "00000.jpg", None], ["00000", "00000-jpg", "00002"]),
        (["wave/a#b.mp4#3"], ["wave/a#b#3"]),
        (["a.jpg", "a.jpg"], ["a", "a-jpg"]),
        (["a", "a", "a"], ["a", "a-1", "a-1-2"]),
    ],
)
def test_names_of_samples(wanted, names):
    assert sample_names(wanted, ".png") == names


def test_names_too_long_for_what_is_added_are_cut(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for letter in "ab":
        Image.fromarray(PHOTO[:20, :20]).save(data / ("x" * 240 + letter + ".png"))
    job(
        "encode", tmp_path / "e", "--data", f"imagefolder:{data}", "--step", "0.1", "--embed-tables"
    )
    job("decode", tmp_path / "d", "--code", str(tmp_path / "e" / "codes"))
    assert len(files_below(tmp_path / "d" / "samples")) == 2
    ids = {row["id"] for row in rows_of(tmp_path / "d" / "samples.csv")}
    assert ids == {"x" * 240 + letter + ".png" for letter in "ab"}


@pytest.mark.parametrize("name", ["../out.png", "/tmp/out.png", "a/../../out.png", "a//b.png", "."])
def test_no_name_in_a_pack_leads_out(packed, tmp_path, capsys, name):
    import zlib
    from dataclasses import replace

    from compress import names
    from compress.file_format import write

    file = parse_pack((packed[0] / "codes" / "00000.sprc").read_bytes())[0]
    pack = names.pack
    try:
        names.pack = lambda _: zlib.compress(b"\0" + name.encode(), 9)
        data = write(replace(file.head, names=("x",)), [file.chunk(0)])
    finally:
        names.pack = pack
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "bad.sprc").write_bytes(data)
    run = tmp_path / "c" / "run"
    words = ["--code", str(tmp_path / "c" / "bad.sprc"), "--run-dir", str(run)]
    assert main(["compress", "decode", *words]) == 3
    assert "a part of it is" in capsys.readouterr().err
    assert files_below(tmp_path) == ["c/bad.sprc"]


def test_nothing_to_code_is_refused(tmp_path, capsys):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "sub" / "x.png").write_bytes(b"no")
    words = ["--data", f"imagefolder:{tmp_path / 'data'}", "--run-dir", str(tmp_path / "e")]
    assert main(["compress", "encode", *words]) == 3
    assert "no picture in it can be coded" in capsys.readouterr().err
    assert not (tmp_path / "e").exists()


def test_a_picture_that_is_too_large_is_left_out(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.new("L", (16385, 1)).save(data / "long.png")
    Image.fromarray(PHOTO[:20, :20]).save(data / "ok.png")
    summary = job("encode", tmp_path / "e", "--data", f"imagefolder:{data}", "--step", "0.1")
    assert summary["samples"] == 1
    assert "width: 16385; allowed: 1 to 16384" in summary["left_out"][0]


def test_the_codec_of_a_folder_decodes_its_files(folder, tmp_path):
    """Without --codec one is fitted to the pictures as they are, not to squares of 224."""
    job("encode", tmp_path / "e", "--data", f"imagefolder:{folder}", "--step", "0.05")
    log = (tmp_path / "e" / "log.txt").read_text()
    assert "224" not in log
    codec = Codec.load(tmp_path / "e" / "codec.sprt")
    data = (tmp_path / "e" / "codes" / "wide.png.sprc").read_bytes()
    assert tuple(codec.decode(data).shape) == (1, 3, 60, 90)
    words = ["--code", str(tmp_path / "e" / "codes"), "--codec", str(tmp_path / "e" / "codec.sprt")]
    job("decode", tmp_path / "d", *words)
    assert files_below(tmp_path / "d" / "samples") == PNGS
