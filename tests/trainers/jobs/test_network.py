"""The job `network`: on digits, and on a classifier whose units read one colour each."""

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.neighbors import NearestNeighbors

from augment import load_dataset
from trainers import load_classifier
from trainers.jobs.network.parts import PARTS
from trainers.run.main import main

SMALL = ["--threads", "1", "--smoke"]
DIGITS = [*SMALL, "--model", "zoo:digits-smallcnn-linf"]
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
NET = """
import torch
from torch import nn

def build(num_classes):
    net = nn.Sequential(
        nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(3, num_classes),
    )
    with torch.no_grad():  # unit i is channel i less the others
        net[0].weight.copy_((2 * torch.eye(3) - 1)[..., None, None])
        net[4].weight.copy_(torch.eye(num_classes, 3))
    return net
"""


def network(folder: Path, *words: str) -> dict:
    assert main(["network", "--run-dir", str(folder), *words]) == 0
    summary: dict = json.loads((folder / "summary.json").read_text())
    return summary


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as opened:
        return list(csv.DictReader(opened))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network") / "run"
    network(folder, *DIGITS)
    return folder


def test_each_part_has_its_files(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    parts = [name for name in PARTS if name != "dissection"]
    assert list(summary["parts"]) == parts
    names = {file.stem for file in (run / "figures").iterdir()}
    assert names == {
        "filters", "activations-00", "activations-01", "patches", "neighbours", "embedding",
        "embedding-pictures", "classes",
    }  # fmt: skip
    report = (run / "report.html").read_text()
    assert report.count("data:image/png") == len(names)
    assert all(name in report for name in parts)
    assert len(rows(run / "patches.csv")) == 4 * 6
    assert len(rows(run / "embedding.csv")) == 60
    board = run / "tensorboard/00000"
    (tensors,) = board.glob("*/tensors.tsv")
    assert np.loadtxt(tensors).shape == (60, 50)
    assert len((tensors.parent / "metadata.tsv").read_text().splitlines()) == 60
    assert (tensors.parent / "sprite.png").is_file()


def test_neighbours_are_scikit_learns_and_not_the_sample_itself(run: Path) -> None:
    model = load_classifier("zoo:digits-smallcnn-linf", in_channels=1)
    ds = load_dataset("digits", "test", samples=60)
    layer = json.loads((run / "summary.json").read_text())["parts"]["neighbours"]["layer"]
    outputs: list[torch.Tensor] = []
    model.get_submodule(layer).register_forward_hook(lambda *a: outputs.append(a[-1]))
    with torch.no_grad():
        answers = model(ds.stack(range(60))[0]).argmax(1)
    vectors = outputs[0].flatten(1).double().numpy()
    wanted, numbers = NearestNeighbors(metric="cosine", n_neighbors=7).fit(vectors).kneighbors()
    for row in rows(run / "neighbours.csv"):
        query, rank = ds.ids.index(row["id"]), int(row["rank"]) - 1
        assert row["neighbour"] == ds.ids[numbers[query, rank]]
        assert float(row["distance"]) == pytest.approx(wanted[query, rank], abs=1e-5)
        same = ds.labels[query] == ds.labels[numbers[query, rank]]
        assert row["same_class"] == str(bool(same))
    found = load_file(run / "checkpoints/network-embedding.safetensors")["answers"]
    assert torch.equal(found, answers)


def test_parts_that_are_there_are_not_made_again_and_the_others_as_before(run: Path) -> None:
    kept = sorted((run / "checkpoints").iterdir())
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in kept}
    files = [*run.glob("*.csv"), *(run / "figures").iterdir(), run / "summary.json"]
    texts = {file: file.read_bytes() for file in files}
    gone = run / "checkpoints/network-neighbours.safetensors"
    gone.unlink()
    network(run, *DIGITS)
    assert gone.read_bytes() == before.pop(gone)[1]
    assert all(file.stat().st_mtime_ns == time for file, (time, _) in before.items())
    assert {file: file.read_bytes() for file in files} == texts


def test_what_is_found_does_not_depend_on_the_batch(run: Path, tmp_path: Path) -> None:
    network(tmp_path / "r", *DIGITS, "--batch-size", "7")
    for name in ("patches", "neighbours"):
        for one, other in zip(
            rows(run / f"{name}.csv"), rows(tmp_path / f"r/{name}.csv"), strict=True
        ):
            for key, value in one.items():
                if key in ("activation", "distance"):
                    assert float(value) == pytest.approx(float(other[key]), abs=1e-5)
                else:
                    assert value == other[key]
    images = [
        load_file(f / "checkpoints/network-classes.safetensors")["images"]
        for f in (run, tmp_path / "r")
    ]
    torch.testing.assert_close(*images, atol=1e-3, rtol=0)


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the words for samples of three colours, and a classifier with a unit for each."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NET)
    torch.save(torch.nn.Linear(1, 1).state_dict(), "unused.pt")
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for number in range(8):
            pixels = rng.integers(0, 40, (12, 12, 3), dtype=np.uint8)
            row, column = rng.integers(0, 10, 2)
            shade = np.array(colour) * (100 - number) // 100
            pixels[row : row + 3, column : column + 3] = shade
            place = Path(f"data/test/{name}")
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{name}{number}.png")
    return [*SMALL, "--data", "imagefolder:data", "--model", "net.py:build"]


def write_masks(root: Path, *, scale: int = 2) -> None:
    """Write masks of the planted colours, and of a corner that no unit reads."""
    (root / "images").mkdir(parents=True)
    for file in sorted(Path("data/test").glob("*/*.png")):
        image = Image.open(file)
        image.resize((12 * scale, 12 * scale), Image.Resampling.NEAREST).save(
            root / f"images/{file.name}"
        )
        pixels = np.array(image).astype(int)
        name = file.parent.name
        there = pixels[..., list(COLOURS).index(name)] > 80
        other = np.zeros((12, 12), bool)
        other[0, :2] = True
        for concept, mask in {name: there, "corner": other}.items():
            place = root / "masks" / concept
            place.mkdir(parents=True, exist_ok=True)
            whole = np.kron(mask, np.ones((scale, scale)))
            Image.fromarray((whole * 7).astype(np.uint8)).save(place / f"{file.stem}.png")


def test_units_that_read_a_colour_are_found(planted: list[str], tmp_path: Path) -> None:
    write_masks(Path("masks"), scale=1)
    words = ["--masks", "masks", "--layer", "1", "--top", "8", "--unit-numbers", "2", "0"]
    summary = network(tmp_path / "r", *planted, *words)
    found = summary["parts"]["dissection"]
    assert {name: each["unit"] for name, each in found["concepts"].items()} | {"corner": 0} == {
        "red": 0, "green": 1, "blue": 2, "corner": 0,
    }  # fmt: skip
    # A colour is in a twentieth of the pixels or so, and a unit marks 0.5 % of all.
    for number, name in enumerate(COLOURS):
        pixels = [np.array(Image.open(f)).astype(int) for f in Path("data/test").glob("*/*.png")]
        masks = np.stack([p[..., number] > 80 for p in pixels])
        values = np.stack([p / 255 @ (2 * np.eye(3) - 1)[number] for p in pixels])
        threshold = np.sort(values.ravel())[-round(0.005 * values.size)]
        active = values >= threshold - 1e-6
        iou = (active & masks).sum() / (active | masks).sum()
        assert found["concepts"][name]["iou"] == pytest.approx(iou, abs=1e-6)
        assert found["concepts"][name]["detectors"] == 1
        assert found["concepts"][name]["share"] == pytest.approx(masks.mean())
    assert [row["concept"] for row in rows(tmp_path / "r/dissection.csv")] == list(COLOURS)
    patches = rows(tmp_path / "r/patches.csv")
    wanted = [(unit, name, k) for unit, name in (("2", "blue"), ("0", "red")) for k in range(8)]
    assert [(row["unit"], row["class"]) for row in patches] == [each[:2] for each in wanted]
    assert [row["id"] for row in patches] == [f"{name}/{name}{k}.png" for _, name, k in wanted]
    for row in patches:
        assert int(row["end_row"]) - int(row["first_row"]) == 1
        pixels = np.array(Image.open(f"data/test/{row['id']}"))
        pixel = pixels[int(row["first_row"]), int(row["first_column"])].astype(int)
        assert pixel.max() > 200
        assert float(row["activation"]) == pytest.approx((2 * pixel.max() - pixel.sum()) / 255)
    embedding = load_file(tmp_path / "r/checkpoints/network-embedding.safetensors")
    assert embedding["vectors"].shape == (24, 3 * 12 * 12)  # of fewer samples than 50 all values


def test_pictures_show_what_they_should(planted: list[str], tmp_path: Path) -> None:
    words = ["--layer", "1", "--unit-numbers", "1", "--show", "activations", "--samples", "24"]
    network(tmp_path / "r", *planted, *words)
    found = load_file(tmp_path / "r/checkpoints/network-activations.safetensors")
    assert found["pictures"].shape == (24, 1, 1, 12, 12)
    pixels = [np.array(Image.open(f)) / 255 for f in sorted(Path("data/test").glob("*/*.png"))]
    x = np.stack(pixels)
    units = np.maximum(x @ (2 * np.eye(3) - 1).T, 0)
    wanted = units[..., 1] / units.max((1, 2, 3))[:, None, None]  # the lowest of a layer is 0
    np.testing.assert_allclose(found["pictures"][:, 0, 0], wanted, atol=1e-6)
    np.testing.assert_allclose(found["range"][:, 1], units.max((1, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda: os.rename("masks/images", "masks/pictures"), "masks/images: no such folder"),
        (lambda: [f.unlink() for f in Path("masks/images").iterdir()], "no images in it"),
        (lambda: Path("masks/images/red0.png").unlink(), "no image for red0.png"),
        (lambda: Path("masks/masks/empty").mkdir(), "masks/empty: no masks in it"),
        (
            lambda: Image.new("L", (24, 23)).save("masks/masks/red/red0.png"),
            "red0.png: 24 x 23 pixels, and red0.png has 24 x 24",
        ),
        (
            lambda: Image.new("L", (24, 24)).save("masks/masks/red/red0.jpg"),
            "red0.jpg: masks are PNG",
        ),
        (lambda: Image.new("L", (24, 24)).save("masks/images/red0.bmp"), "have one name"),
        (lambda: Path("masks/masks/red/red0.png").write_text("x"), "red0.png: no image of a known"),
    ],
)
def test_folders_of_masks_that_cannot_be_are_refused(
    planted: list[str], spoil, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_masks(Path("masks"))
    spoil()
    assert main(["network", *planted, "--masks", "masks", "--run-dir", "r"]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert ";" in error  # and what to do
    assert not Path("r").exists()


def test_masks_that_change_are_noticed_when_the_run_goes_on(
    planted: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_masks(Path("masks"))
    words = [*planted, "--masks", "masks", "--show", "dissection", "--run-dir", "r"]
    assert main(["network", *words]) == 0
    Path("r/checkpoints/network-dissection.safetensors").unlink()
    Image.new("L", (24, 24), 1).save("masks/masks/red/red0.png")
    Path("r/summary.json").unlink()
    assert main(["network", *words]) == 3
    assert "--masks masks is not what it was" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--show", "dissection"), "give --masks DIR"),
        (("--show", "filters", "--masks", "x"), "--masks has no use without dissection"),
        (("--show", "filters", "--class-images", "1"), "--class-images has no use without classes"),
        (("--unit-numbers", "-1"), "--unit-numbers is -1; allowed: at least 0"),
        (("--unit-numbers", "3", "5", "3"), "--unit-numbers names 3 twice"),
        (("--unit-numbers", "64"), "has 64 units; allowed: 0 to 63"),
        (("--layer", "nowhere"), "layer is 'nowhere'; the model's layers are"),
        (("--layer", "head", "--show", "activations"), "no units at positions"),
        (("--class-images", "eleven"), "--class-images is 'eleven'"),
        (("--units", "0"), "--units is 0; allowed: at least 1"),
    ],
)
def test_impossible_options_are_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["network", *DIGITS, "--run-dir", str(tmp_path / "r"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r").exists()


def test_what_a_network_of_linear_layers_has_not_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n\n\ndef build(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(),"
        " nn.Linear(16, num_classes))\n"
    )
    words = [*SMALL, "--model", f"{tmp_path / 'flat.py'}:build", "--test-samples", "20"]
    summary = network(tmp_path / "r", *words)
    assert list(summary["parts"]) == ["patches", "neighbours", "embedding", "classes"]
    assert [re.split("[ :]", text)[1] for text in summary["warnings"]] == ["filters", "activations"]
    assert summary["parts"]["patches"]["whole"]
    assert summary["parts"]["patches"]["units"] == 16


@pytest.mark.slow
def test_clips_are_shown_by_their_middle_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL, "--data", "moving-digits", "--frames", "8", "--run-dir", str(tmp_path / "r")]
    assert main(["network", *words]) == 0
    summary = json.loads((tmp_path / "r/summary.json").read_text())
    assert list(summary["parts"]) == [name for name in PARTS if name != "dissection"]
    words = [*words[:-1], str(tmp_path / "s"), "--show", "dissection", "--masks", "x"]
    assert main(["network", *words]) != 0
    assert "the samples are videos" in capsys.readouterr().err


def test_a_wrong_layer_is_refused_before_a_classifier_is_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["network", "--smoke", "--threads", "1", "--run-dir", str(tmp_path / "r")]
    assert main([*words, "--unit-numbers", "999"]) == 2
    shown = capsys.readouterr()
    assert "allowed: 0 to 63" in shown.err
    assert "fitting a classifier" not in shown.out
    assert not (tmp_path / "r").exists()
