"""The jobs of `compress` from the command line to their files."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from augment import load_dataset, write_video
from compress import Codec, decode
from compress.file_format import parse
from trainers.jobs.compress.benchmark.evaluators import split_in_halves
from trainers.jobs.compress.gallery import Cell, draw_gallery
from trainers.reconstruction.files import load_network
from trainers.run.main import main

TINY = ["--smoke", "--threads", "1"]


def job(name, folder, *words):
    assert main(["compress", name, *words, "--threads", "1", "--run-dir", str(folder)]) == 0
    return json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a plain folder of PNG files, and their pixels."""
    folder = tmp_path_factory.mktemp("photos")
    whole = load_sample_images().images[0]
    crops = [whole[60 * i : 60 * i + 30, 90 * j : 90 * j + 41] for i in range(4) for j in range(6)]
    for i, crop in enumerate(crops):
        Image.fromarray(crop).save(folder / f"{i:02}.png")
    pixels = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
    return f"imagefolder:{folder}", pixels


@pytest.fixture(scope="module")
def codec(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "run"
    summary = job("fit", folder, "--data", photos[0], "--step", "0.04")
    sizes = [row["bytes_per_sample"] for row in summary["steps"]]
    assert [row["step"] for row in summary["steps"]] == [0.04, 0.08, 0.16, 0.32, 0.64]
    assert sizes == sorted(sizes, reverse=True)
    return folder / "codec.sprt"


@pytest.fixture(scope="module")
def coded(photos, codec, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encode") / "run"
    words = ["--data", photos[0], "--codec", str(codec), "--bytes-per-sample", "200", "--pack"]
    return folder, job("encode", folder, *words)


def test_images_become_a_file_and_pngs_again(photos, codec, coded, tmp_path):
    folder, summary = coded
    code = folder / "codes" / "00000.sprc"
    assert summary["bytes"] == code.stat().st_size
    assert summary["bytes_per_sample"] == summary["bytes"] / 24
    assert 190 < summary["bytes_per_sample"] < 215
    assert summary["bits_per_pixel"] == pytest.approx(8 * summary["bytes"] / 24 / (30 * 41))
    wanted = Codec.load(codec).decode(code.read_bytes())
    errors = ((wanted - photos[1]) ** 2).mean((1, 2, 3))
    assert summary["psnr"] == pytest.approx(float((-10 * errors.log10()).mean()), abs=1e-4)
    assert summary["psnr"] > 20

    back = job("decode", tmp_path / "d", "--code", str(code.parent), "--codec", str(codec))
    assert (back["samples"], back["shape"]) == (24, [3, 30, 41])
    files = sorted((tmp_path / "d" / "samples").iterdir())
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    assert np.array_equal(pixels, (wanted * 255).round().byte().permute(0, 2, 3, 1).numpy())
    with np.load(tmp_path / "d" / "samples.npz") as arrays:
        assert np.array_equal(arrays["x"], wanted.numpy())


def test_what_a_file_holds_is_listed(coded):
    lines = (coded[0] / "samples.csv").read_text().splitlines()
    assert lines[0] == "file,number,id,label"
    assert lines[1] == "codes/00000.sprc,0,00.png,"
    assert len(lines) == 25


def test_a_video_comes_back_from_a_file_that_stands_alone(tmp_path):
    ramp = torch.linspace(0, 1, 20)
    for i in range(3):
        x = (ramp[:, None] * (1 - ramp) + 0.1 * i).expand(3, 6, 20, 20)
        write_video(tmp_path / "clips" / f"{i}.mkv", x * ramp[:6].view(6, 1, 1))
    source = f"videofolder:{tmp_path / 'clips'}"
    words = ["--data", source, "--frames", "6", "--stride", "1", "--clips", "1"]
    summary = job("encode", tmp_path / "e", *words, "--step", "0.05", "--embed-tables")
    assert summary["psnr"] > 30
    code = tmp_path / "e" / "codes" / "00000.sprc"
    spare = ["--codec", str(tmp_path / "e" / "codec.sprt")]
    job("decode", tmp_path / "d", "--code", str(code), "--samples", "2", *spare)
    assert "codec.sprt is not used: the files hold" in (tmp_path / "d" / "log.txt").read_text()
    assert len(list((tmp_path / "d" / "gifs").iterdir())) == 2
    read = load_dataset(f"videofolder:{tmp_path / 'd' / 'samples'}", "test", frames=6)
    wanted = (decode(code.read_bytes())[:2] * 255).round() / 255
    assert torch.equal(read.stack(range(2))[0], wanted)


def test_differences_are_those_to_the_attack(tmp_path):
    words = [*TINY, "--kind", "delta", "--attack", "fgsm:eps=0.2", "--step", "0.02"]
    summary = job("encode", tmp_path / "e", *words)
    assert summary["kind"] == "delta"
    shown = ["--code", str(tmp_path / "e" / "codes"), "--codec", str(tmp_path / "e" / "codec.sprt")]
    job("decode", tmp_path / "d", *shown)
    with np.load(tmp_path / "d" / "samples.npz") as arrays:
        delta = arrays["delta"]
    assert delta.shape == (8, 1, 8, 8)
    # FGSM moves a pixel by all of its budget, or to the border of the range, or not at all.
    x = load_dataset("digits", "test", samples=8).stack(range(8))[0].numpy()
    allowed = np.stack([np.zeros_like(x), np.full_like(x, 0.2), np.full_like(x, -0.2), x, x - 1])
    assert np.abs(delta - allowed).min(0).mean() < 0.01
    assert np.abs(delta).mean() > 0.05
    first = np.asarray(Image.open(tmp_path / "d" / "samples" / "00000.png")).astype(float) / 255
    assert np.abs(first - (0.5 + delta[0, 0] / 2)).max() <= 0.5 / 255 + 1e-6


def test_the_split_of_a_data_set_is_named(codec, tmp_path):
    for words, split in (([], "test"), (["--split", "train"], "train")):
        words = [*TINY, *words, "--codec", str(codec)]
        assert job("encode", tmp_path / split, *words)["split"] == split


def test_x_task_of_so_many_bytes(tmp_path):
    words = [*TINY, "--test-samples", "60", "--bytes-per-sample", "8"]
    task = job("encode", tmp_path / "e", *words, "--kind", "x-task", "--task", "steps=3")
    assert 8 < task["bytes_per_sample"] < 10  # the head on top
    assert 0.5 < task["top1_kept"] <= 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-5], "chunks end at"),
        (lambda data: data[:3], "this is no code"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "chunk 0 of 1 is damaged"),
        (lambda data: bytes(100), "this is no code"),
    ],
)
def test_a_damaged_code_is_refused(coded, codec, tmp_path, capsys, damage, message):
    bad = tmp_path / "bad.sprc"
    bad.write_bytes(damage((coded[0] / "codes" / "00000.sprc").read_bytes()))
    words = ["--code", str(bad), "--codec", str(codec), "--run-dir", str(tmp_path / "run")]
    assert main(["compress", "decode", *words]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"train.py: {bad}: ")
    assert message in said
    assert said.endswith("; give a whole file that `compress encode` made\n")
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_decoded_is_refused(coded, codec, tmp_path, capsys):
    code, run = str(coded[0] / "codes" / "00000.sprc"), ["--run-dir", str(tmp_path / "run")]
    assert main(["compress", "decode", "--code", code, *run]) == 3
    assert "no tables of its own: decode it with the codec it is from" in capsys.readouterr().err
    job("fit", tmp_path / "digits", *TINY)
    other = str(tmp_path / "digits" / "codec.sprt")
    assert main(["compress", "decode", "--code", code, "--codec", other, *run]) == 3
    said = capsys.readouterr().err
    assert "was coded with tables" in said
    assert said.endswith("decode it with the codec it is from; give that as --codec FILE\n")
    assert main(["compress", "decode", "--code", code, "--codec", code, *run]) == 3
    assert "is no codec" in capsys.readouterr().err
    assert main(["compress", "decode", "--code", "none.sprc", *run]) == 3
    assert "cannot read none.sprc: No such file" in capsys.readouterr().err
    assert main(["compress", "decode", "--code", str(tmp_path), *run]) == 3
    assert "no *.sprc file in this folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_bytes_out_of_reach_are_refused(tmp_path, capsys):
    words = [*TINY, "--bytes-per-sample", "0.01", "--run-dir", str(tmp_path / "run")]
    assert main(["compress", "encode", *words]) == 2
    assert "the nearest that these samples can have is" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_restores_what_is_decoded(photos, tmp_path, capsys):
    words = ["--data", photos[0], "--step", "0.3", "--network", "unet:epochs=8,width=8,lr=5e-3"]
    fit = job("fit", tmp_path / "f", *words)
    assert fit["network"] == "network.safetensors"
    codec, network = (str(tmp_path / "f" / name) for name in ("codec.sprt", fit["network"]))
    words = ["--data", photos[0], "--codec", codec, "--pack"]
    job("encode", tmp_path / "e", *words, "--step", "0.6")
    common = ["--code", str(tmp_path / "e" / "codes"), "--codec", codec]
    found = {}
    for name, more in (("plain", []), ("restored", ["--network", network])):
        job("decode", tmp_path / name, *common, *more)
        with np.load(tmp_path / name / "samples.npz") as arrays:
            found[name] = torch.from_numpy(arrays["x"])
    code = (tmp_path / "e" / "codes" / "00000.sprc").read_bytes()
    wanted = Codec.load(codec).decode(code, network=load_network(Path(network)))
    assert torch.equal(found["restored"], wanted)
    errors = {name: float(((x - photos[1]) ** 2).mean()) for name, x in found.items()}
    assert errors["restored"] <= errors["plain"] * 1.01  # its gate sees to that
    job("encode", tmp_path / "n", *words, "--network", network)
    named = (tmp_path / "n" / "codes" / "00000.sprc").read_bytes()
    assert parse(named).head.model == load_network(Path(network)).digest
    words = ["compress", "encode", *TINY, "--kind", "delta", "--run-dir", str(tmp_path / "no")]
    assert main([*words, "--network", network]) == 3
    assert "restores files of kind x, and --kind is delta" in capsys.readouterr().err
    words = ["--data", photos[0], "--codec", codec, "--network", network, "--rates", "150"]
    points = job("evaluate", tmp_path / "v", *words, "--peers")["points"]
    assert [point["codec"] for point in points] == ["x", "x+R", "zeros"]
    size = (tmp_path / "f" / fit["network"]).stat().st_size
    plain, restored = (point["bytes_per_sample"] for point in points[:2])
    assert plain == restored
    assert points[1]["bytes_with_network"] == pytest.approx(restored + size / 24)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "x-task", "--task", "colour=1"], "--task has no option 'colour'; it has: loss"),
        (["--kind", "x-task", "--task", "loss=l3"], "--task:loss is 'l3'; allowed: kl, feature"),
        (["--kind", "delta", "--attack", "flicker"], "the attack flicker is for videos"),
        (["--kind", "delta", "--attack", "pdg"], "there is no attack 'pdg'; did you mean pgd?"),
    ],
)
def test_impossible_searches_and_attacks_are_refused(tmp_path, capsys, words, message):
    assert main(["compress", "encode", *TINY, *words, "--run-dir", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate") / "run"
    return folder, job("evaluate", folder, "--smoke", "--rates", "10", "20", "--peers", "jpeg")


def test_evaluate_keeps_the_contract(evaluated):
    folder, summary = evaluated
    assert summary["job"] == "compress-evaluate"
    names = {"codec", "bytes_per_sample", "bits_per_pixel", "psnr", "ssim", "top1_kept"}
    for point in summary["points"]:
        assert names <= set(point)
        assert all(isinstance(point[name], float) for name in names - {"codec"})
        assert point["bits_per_pixel"] == pytest.approx(point["bytes_per_sample"] * 8 / 64)
    codecs = [point["codec"] for point in summary["points"]]
    assert codecs == ["x", "x", "x-task", "x-task", "jpeg", "jpeg", "zeros", "label"]
    lines = (folder / "points.csv").read_text().splitlines()
    assert len(lines) == 1 + len(codecs)
    assert lines[0].startswith("name,codec,rate,bytes_per_sample,payload_bytes")


def test_points_are_those_of_the_files(evaluated):
    folder, summary = evaluated
    x, _ = load_dataset("digits", "test", samples=60).stack(range(60))
    codec = Codec.load(folder / "codec.sprt")
    for point in summary["points"][:4]:
        data = (folder / "codes" / f"{point['name']}.sprc").read_bytes()
        assert point["bytes_per_sample"] == len(data) / 60
        assert point["bytes_per_sample"] > point["payload_bytes"]
        assert point["payload_bytes"] == pytest.approx(point["rate"], rel=0.15)
        got = ((codec.decode(data) * 255).round() / 255).numpy().astype(float)
        errors = ((got - x.numpy()) ** 2).mean((1, 2, 3))
        assert point["psnr"] == pytest.approx(np.mean(10 * np.log10(1 / errors)), abs=1e-3)
        away = ((got[:, None] - x.numpy()[None]) ** 2).sum((2, 3, 4))  # (60, 60)
        assert point["retrieval"] == pytest.approx((away.argmin(1) == np.arange(60)).mean())
    whole = codec.encode(x, step=summary["points"][0]["setting"], embed_tables=True)
    assert summary["points"][0]["bytes_with_tables"] == len(whole) / 60


@pytest.mark.slow
def test_thresholds_are_rows_beside_ours(tmp_path):
    words = ["--smoke", "--rates", "20", "--peers", "--kinds", "x"]
    ways = ["hard", "soft", "bayes", "top-k"]
    points = job("evaluate", tmp_path / "run", *words, "--thresholds", *ways)["points"]
    found = {point["codec"]: point for point in points}
    assert list(found)[:5] == ["x", *(f"x-{way}" for way in ways)]
    for way in ways:
        point = found[f"x-{way}"]
        assert point["payload_bytes"] == pytest.approx(20, rel=0.15)
        assert found["zeros"]["psnr"] < point["psnr"] <= found["x"]["psnr"] + 0.5
    svg = (tmp_path / "run" / "figures" / "rate-psnr.svg").read_text()
    assert "x-top-k" in svg


def test_controls_say_what_nothing_and_a_label_give(evaluated):
    zeros, label = evaluated[1]["points"][-2:]
    x, y = load_dataset("digits", "test", samples=60).stack(range(60))
    errors = ((x - 128 / 255) ** 2).mean((1, 2, 3))
    assert (zeros["bytes_per_sample"], zeros["agreement"]) == (0, pytest.approx(0, abs=1))
    assert zeros["psnr"] == pytest.approx(float((-10 * errors.log10()).mean()), abs=1e-3)
    # A grey picture is of one class alone.
    counts = torch.bincount(y, minlength=10) / 60
    assert any(zeros["judge_accuracy"] == pytest.approx(float(share)) for share in counts)
    assert label["payload_bytes"] == pytest.approx(np.log2(10) / 8)
    assert label["top1_kept"] > 0.8
    assert label["retrieval"] < 0.2


def test_figures_pages_report_and_tensorboard(evaluated):
    folder = evaluated[0]
    shown = {file.name for file in (folder / "figures").iterdir()}
    figures = {f"rate-{name}" for name in ("psnr", "ssim", "top1-kept", "judge-accuracy")}
    assert {f"{name}.{kind}" for name in figures for kind in ("png", "svg")} <= shown
    assert {"page-x.png", "page-x-task.png", "page-codecs.png"} <= shown
    lines = ElementTree.parse(folder / "figures" / "rate-psnr.svg").findall(
        ".//{http://www.w3.org/2000/svg}path"
    )
    styles = " ".join(line.get("style", "") for line in lines)
    assert all(f"stroke: {colour}" in styles for colour in ("#2563eb", "#dc2626", "#059669"))
    report = (folder / "report.html").read_text()
    assert report.count("data:image/png") == 3
    assert report.count('class="chart"') == 4
    assert "judge acc." in report
    assert "<dt>judge acc.</dt>" in report, "each column is explained"
    events = b"".join(file.read_bytes() for file in (folder / "tensorboard").iterdir())
    for tag in (
        b"compress/page-x-task",
        b"compress/rate-psnr",
        b"final/seconds",
        b"x-task/psnr",
        b"fit judge/loss",
    ):
        assert tag in events


def test_a_killed_evaluation_goes_on_with_its_points(evaluated, tmp_path):
    folder, summary = evaluated
    (folder / "summary.json").unlink()
    (folder / "status.json").unlink()
    (folder / "checkpoints" / "points" / "zeros.json").unlink()
    words = ["--smoke", "--rates", "10", "20", "--peers", "jpeg"]
    again = job("evaluate", folder, *words)["points"]
    old = summary["points"]
    assert again[:-2] == old[:-2]  # their seconds too: nothing was measured again
    assert again[-1] == old[-1]
    assert again[-2] | {"seconds": 0} == old[-2] | {"seconds": 0}


def test_a_code_that_was_damaged_meanwhile_is_refused(photos, codec, tmp_path, capsys):
    words = ["--data", photos[0], "--codec", str(codec), "--pack"]
    job("encode", tmp_path / "e", *words)
    file = tmp_path / "e" / "codes" / "00000.sprc"
    file.write_bytes(file.read_bytes()[:-3])
    (tmp_path / "e" / "status.json").unlink()
    words += ["--threads", "1", "--run-dir", str(tmp_path / "e")]
    assert main(["compress", "encode", *words]) == 3
    assert "00000.sprc: the file has" in capsys.readouterr().err


def test_rates_that_are_all_out_of_reach(photos, codec, tmp_path):
    words = ["--data", photos[0], "--codec", str(codec), "--peers", "--rates", "0.001"]
    summary = job("evaluate", tmp_path / "e", *words)
    assert [point["codec"] for point in summary["points"]] == ["zeros"]
    assert any("x-0.001 is left out" in warning for warning in summary["warnings"])


def test_what_cannot_be_is_refused_before_anything_is_fitted(photos, tmp_path, capsys):
    r = tmp_path / "r" / "network.safetensors"
    job("fit", r.parent, *TINY[:1], "--data", photos[0], "--network", "unet:width=4,epochs=1")
    for name, words, code, message in (
        ("fit", ["--step", "626"], 2, "--step is 626; allowed: at most 625"),
        ("fit", ["--network", "unet:temporal=1"], 2, "images have no frames"),
        ("fit", ["--network", "unet:width=0"], 2, "width is 0"),
        ("evaluate", ["--judge-model", "nobody"], 2, "unknown model 'nobody'"),
        (
            "evaluate",
            ["--network", str(r)],
            3,
            "restores 3-channel images of kind 'x', and digits holds",
        ),
        (
            "encode",
            ["--network", str(r)],
            3,
            "restores 3-channel images of kind 'x', and digits holds",
        ),
        ("encode", ["--network", "none"], 3, "none is no file"),
    ):
        words = [*TINY, *words, "--run-dir", str(tmp_path / "run")]
        assert main(["compress", name, *words]) == code
        assert message in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


def test_pictures_of_tall_samples_have_an_end():
    cell = Cell(torch.zeros(3, 500, 1))
    image = draw_gallery([[cell, cell]], heads=("a", "b"), title="tall")
    assert image.height < 600


def test_samples_without_classes_are_measured_by_eye_alone(photos, codec, tmp_path):
    words = ["--data", photos[0], "--codec", str(codec), "--rates", "150", "--peers", "webp"]
    summary = job("evaluate", tmp_path / "e", *words)
    assert [point["codec"] for point in summary["points"]] == ["x", "webp", "zeros"]
    assert all(point["top1_kept"] is None for point in summary["points"])
    assert summary["points"][0]["psnr"] > summary["points"][2]["psnr"]
    assert "there is no classifier; --weights FILE names one" in summary["warnings"]


@pytest.mark.slow
def test_differences_are_measured_beside_samples(tmp_path):
    words = ["--smoke", "--kinds", "delta", "--attack", "fgsm", "--peers", "--test-samples", "30"]
    summary = job("evaluate", tmp_path / "e", *words, "--rates", "8", "30")
    points = {point["name"]: point for point in summary["points"]}
    assert list(points) == ["x-8", "x-30", "delta-8", "delta-30", "zeros", "label"]
    folder = tmp_path / "e"
    codec = Codec.load(folder / "codec-delta.sprt")
    data = (folder / "codes" / "delta-30.sprc").read_bytes()
    delta = codec.decode(data)
    assert delta.min() < -0.05
    assert delta.abs().max() < 0.3  # fgsm changes each value by 0.1
    x, _ = load_dataset("digits", "test", samples=30).stack(range(30))
    got = ((0.5 + delta) * 255).round() / 255
    psnr = -10 * ((got - x) ** 2).mean((1, 2, 3)).log10()
    assert points["delta-30"]["psnr"] == pytest.approx(float(psnr.mean()), abs=1e-3)
    assert points["delta-30"]["bytes_per_sample"] == len(data) / 30
    assert points["x-30"]["psnr"] > points["delta-30"]["psnr"] + 5
    assert (folder / "figures" / "page-delta.png").exists()


@pytest.mark.slow
def test_r_restores_differences_where_they_are_measured(tmp_path, capsys):
    words = ["--smoke", "--kind", "delta", "--attack", "fgsm", "--network", "unet:width=4"]
    job("fit", tmp_path / "f", *words)
    names = ("codec.sprt", "network.safetensors")
    codec, network = (str(tmp_path / "f" / name) for name in names)
    words = ["--smoke", "--peers", "--rates", "20", "--network", network, "--attack", "fgsm"]
    words += ["--delta-codec", codec, "--kinds"]
    points = job("evaluate", tmp_path / "e", *words, "x", "delta")["points"]
    assert [point["codec"] for point in points] == ["x", "delta", "delta+R", "zeros", "label"]
    assert points[2]["psnr"] > points[1]["psnr"]
    words = ["--smoke", "--network", network, "--run-dir", str(tmp_path / "v")]
    assert main(["compress", "evaluate", *words]) == 3
    assert "restores files of kind delta, which are not measured" in capsys.readouterr().err
    assert main(["compress", "evaluate", *words, "--attack", "fgsm"]) == 2
    assert "--attack has no use without delta" in capsys.readouterr().err


def test_r_learns_what_the_classifier_needs(tmp_path, capsys):
    words = ["--smoke", "--kind", "x-task", "--train-samples", "40"]
    assert main(["compress", "fit", *words, "--run-dir", str(tmp_path / "f")]) == 2
    assert "--kind x-task has the codec of x; give --network too" in capsys.readouterr().err
    job("fit", tmp_path / "f", *words, "--network", "unet:width=4")
    network = load_network(tmp_path / "f" / "network.safetensors")
    assert network.config.kind == "x-task"
    metrics = (tmp_path / "f" / "metrics.jsonl").read_text()
    assert "reconstruction/task" in metrics, "its loss asks the classifier"


def test_nobody_is_fitted_to_a_few_samples(tmp_path):
    words = ["--train-samples", "190", "--test-samples", "20", "--rates", "10", "--peers", "webp"]
    summary = job("evaluate", tmp_path / "e", *words)
    assert all(point["judge_accuracy"] is None for point in summary["points"])
    assert any("190 training samples of 10 classes are too few" in w for w in summary["warnings"])


def test_halves_share_no_sample():
    train = load_dataset("digits", "train")
    first, second = split_in_halves(train, 0)
    assert not {*first.ids} & {*second.ids}
    assert {*first.ids, *second.ids} == {*train.ids}
    for half in (first, second):
        counts = torch.bincount(half.labels)
        assert int(counts.min()) > 50
    assert split_in_halves(train, 1)[0].ids != first.ids


def test_videos_are_measured_beside_video_codecs(tmp_path):
    ramp = torch.linspace(0, 1, 24)
    for i in range(2):
        x = (ramp[:, None] * (1 - ramp) + 0.1 * i).expand(3, 5, 24, 24)
        write_video(tmp_path / "clips" / f"{i}.mkv", x * ramp[:5].view(5, 1, 1))
    words = ["--data", f"videofolder:{tmp_path / 'clips'}", "--frames", "5", "--rates", "60"]
    summary = job("evaluate", tmp_path / "e", *words, "--clips", "1", "--stride", "1")
    codecs = [point["codec"] for point in summary["points"]]
    left_out = [line.split()[0] for line in summary["warnings"] if "is left out: this" in line]
    assert codecs == ["x", *(name for name in ("x264", "av1") if name not in left_out), "zeros"]
    first = summary["points"][0]
    assert first["bits_per_pixel"] == pytest.approx(first["bytes_per_sample"] * 8 / (5 * 24 * 24))
    assert (tmp_path / "e" / "figures" / "page-codecs.png").exists()
