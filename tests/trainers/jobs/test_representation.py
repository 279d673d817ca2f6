"""The job `representation`: pairs led to each other on digits, and what becomes of them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from attacks import ATTACKS
from augment import load_dataset
from tests.soak.folders import differences
from tests.trainers.watched_progress import moves, watched_progress
from trainers import load_classifier
from trainers.jobs.representation import analysis
from trainers.jobs.representation.setup import choose_layers, list_trials
from trainers.run.main import main

MODEL = "zoo:digits-smallcnn-linf"
SMALL = ["--threads", "1", "--smoke", "--model", MODEL]
ATTACKED = ("feature:steps=20", "label-fgsm", "feature-fgsm", "pgd")
WORDS = (
    "--attacks", *ATTACKED, "--layers", "stage3.2", "stage1.2", "--eps", "0.1", "0.4",
    "--batch-size", "3",
)  # fmt: skip


def represent(folder: Path, *words: str, model: Sequence[str] = SMALL) -> dict:
    assert main(["representation", *model, "--run-dir", str(folder), *words]) == 0
    summary: dict = json.loads((folder / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("representation") / "run"
    with watched_progress() as told:
        represent(folder, *WORDS)
    assert [stage for stage, shares in told.items() if moves(shares)] == [
        "representation",
        "invert",
    ]
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "representations.csv").open() as file:
        return list(csv.DictReader(file))


def trial(summary: dict, attack: str, layer: str, eps: str, *, trained: bool = True) -> dict:
    (found,) = [
        t
        for t in summary["trials"]
        if (t["attack"], t["layer"], t["budget"], t["trained"])
        == (attack, layer, f"linf {eps}", trained)
    ]
    return dict(found)


def test_feature_is_made_everywhere_and_its_peers_once_in_the_deepest_layer(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    assert summary["layers"] == ["stage1.2", "stage3.2"]
    made = [(t["attack"], t["layer"], t["budget"], t["compared"]) for t in summary["trials"]]
    swept = [
        ("feature", layer, f"linf {eps}", (layer, eps) == ("stage3.2", "0.1"))
        for layer in ("stage1.2", "stage3.2")
        for eps in ("0.1", "0.4")
    ]
    peers = [(name, "stage3.2", "linf 0.1", True) for name in ("label-fgsm", "feature-fgsm", "pgd")]
    assert made == [*swept, *peers, *swept]
    assert [t["trained"] for t in summary["trials"]] == [True] * 7 + [False] * 4
    found = rows(run)
    assert len(found) == 4 * len(made)
    assert all(row["source_class"] != row["guide_class"] for row in found)
    assert all(float(r["linf"]) <= float(r["budget"].removeprefix("linf ")) + 1e-6 for r in found)


def output(model: nn.Module, layer: str, x: Tensor) -> Tensor:
    """What a layer returns, by a hook of our own."""
    seen: list[Tensor] = []
    hook = model.get_submodule(layer).register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        model(x)
    hook.remove()
    return seen[0].clone().flatten(1)


def test_distances_and_labels_are_those_of_the_saved_adversaries(run: Path) -> None:
    model, ds = load_classifier(MODEL, in_channels=1).eval(), load_dataset("digits", "test")
    made = {}  # the adversaries of each trial, by what was found of them
    for folder in sorted((run / "checkpoints").glob("represent-feature-*")):
        x = torch.cat([load_file(f)["x"] for f in sorted(folder.glob("0*.safetensors"))])
        ratio = load_file(folder / "analysis.safetensors")["guide_ratio"]
        made[tuple(ratio.tolist())] = x
    for layer in ("stage1.2", "stage3.2"):
        own = [
            r for r in rows(run) if (r["attack"], r["layer"]) == ("feature", layer)
            and r["weights"] == "trained" and r["budget"] == "linf 0.4"
        ]  # fmt: skip
        s, g = (ds.stack([ds.ids.index(r[key]) for r in own])[0] for key in ("source", "guide"))
        ratios = tuple(float(np.float32(r["guide_ratio"])) for r in own)
        x = made[ratios]
        phi_s, phi_g, phi_x = (output(model, layer, part) for part in (s, g, x))
        expected = (phi_x - phi_g).norm(dim=1) / (phi_s - phi_g).norm(dim=1)
        assert ratios == pytest.approx(expected.tolist(), rel=1e-4)
        answers, wanted = (model(part).argmax(1).tolist() for part in (x, g))
        assert [r["answer"] for r in own] == [str(answer) for answer in answers]
        same = [a == b for a, b in zip(answers, wanted, strict=True)]
        assert [r["guide_label"] for r in own] == [str(each) for each in same]
        summary = json.loads((run / "summary.json").read_text())
        assert trial(summary, "feature", layer, "0.4")["guide_label"]["count"] == sum(same)


def test_a_larger_budget_comes_nearer_with_either_weights(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    for layer in ("stage1.2", "stage3.2"):
        for trained in (True, False):
            near, far = (
                trial(summary, "feature", layer, eps, trained=trained)["columns"]["guide_ratio"]
                for eps in ("0.4", "0.1")
            )
            assert near["high"] < far["low"] < 1


def test_rebuilt_images_are_as_near_as_is_said(run: Path) -> None:
    model, ds = load_classifier(MODEL, in_channels=1).eval(), load_dataset("digits", "test")
    pair, said = rows(run)[0], json.loads((run / "summary.json").read_text())["inversions"]
    x, _ = ds.stack([ds.ids.index(pair[key]) for key in ("source", "guide")])
    for layer in ("stage1.2", "stage3.2"):
        found = load_file(run / f"checkpoints/inversion/layer-{layer}.safetensors")
        assert found["images"].shape == (1, 3, 1, 8, 8)
        wanted, seen = (output(model, layer, part) for part in (x, found["images"][0, :2]))
        errors = (seen - wanted).square().sum(1) / wanted.square().sum(1)
        assert [said[layer][k] for k in ("source", "guide")] == pytest.approx(
            errors.tolist(), rel=1e-3
        )


def test_the_report_shows_every_figure(run: Path) -> None:
    names = {"pairs", "distances", "depth", "sparsity", "inversions"}
    figures = {file.stem for file in (run / "figures").glob("*.png")}
    assert figures == names | {"likelihood"}
    report = (run / "report.html").read_text()
    assert report.count("data:image/png") == 2
    assert report.count('class="chart"') == 4
    assert "all as one class: most guides' classes have fewer than 30" in report.replace(
        "&#39;", "'"
    )


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, left = analysis.analyse, [2]

    def stop(*args: object) -> object:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return usual(*args)  # type: ignore[arg-type]

    folder = tmp_path / "run"
    monkeypatch.setattr(analysis, "analyse", stop)
    assert main(["representation", *SMALL, "--run-dir", str(folder), *WORDS]) == 130
    monkeypatch.setattr(analysis, "analyse", usual)
    done = sorted((folder / "checkpoints").rglob("*.safetensors"))
    before = [file.stat().st_mtime_ns for file in done]
    represent(folder, *WORDS)
    assert [file.stat().st_mtime_ns for file in done] == before
    assert differences(run, folder) == []


def test_a_set_with_one_split_is_its_own_reference(tmp_path: Path) -> None:
    from PIL import Image

    for name in "ab":
        (tmp_path / "data/test" / name).mkdir(parents=True)
        for i in range(3):
            pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(pixels // (1 + (name == "b"))).save(
                tmp_path / f"data/test/{name}/{i}.png"
            )
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef build(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.Tanh(), "
        "nn.Linear(12, num_classes))\n"
    )
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.Tanh(), nn.Linear(12, 2))
    torch.save(net.state_dict(), tmp_path / "w.pt")
    model = [
        "--threads", "1", "--smoke", "--data", f"imagefolder:{tmp_path / 'data'}",
        "--model", f"{tmp_path / 'net.py'}:build", "--weights", str(tmp_path / "w.pt"),
    ]  # fmt: skip
    words = ("--attacks", "feature", "--invert", "0", "--pairs", "9", "--no-random-weights")
    summary = represent(tmp_path / "run", *words, model=model)
    (only,) = summary["trials"]
    assert (summary["pairs"], summary["reference_split"], only["references"]) == (6, "test", 6)
    assert (only["layer"], only["one_class"]) == ("2", True)
    assert only["columns"]["likelihood"]["median"] is None  # of so few samples none
    assert any("6 samples, and as many pairs" in text for text in summary["warnings"])
    assert not (tmp_path / "run/figures/likelihood.png").exists()


def test_an_attack_s_own_options_win() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    own = ATTACKS["feature"](layer="1", eps=0.2)
    (only,) = list_trials(net, "feature", [own, own], deepest="2")
    assert (only.layer, only.compared) == ("1", True)
    made = [ATTACKS["feature"](layer=layer, eps=eps) for layer in "12" for eps in (0.1, 0.2)]
    found = list_trials(net, "feature", made, deepest="2")
    assert [(t.layer, t.attack.eps) for t in found if t.compared] == [("2", 0.1)]
    assert choose_layers(net, ["3", "1", "3"], torch.zeros(1, 1, 2, 2)) == ["1", "3"]


@pytest.mark.slow
def test_clips_are_led_to_clips(tmp_path: Path) -> None:
    words = ("--data", "moving-digits", "--model", "c3d-small", "--attacks", "feature")
    summary = represent(tmp_path / "r", *words, "--pairs", "2", "--invert-steps", "2")
    assert summary["trials"][0]["columns"]["guide_ratio"]["median"] < 1
    assert (tmp_path / "r/figures/inversions.png").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--attacks", "feture"), "did you mean feature?"),
        (("--attacks",), "--attacks names no attack"),
        (("--attacks", "feature:layers=2"), "feature has no option 'layers'"),
        (("--layers", "stage9"), "layer is 'stage9'; the model's layers are"),
        (("--layers", "stage1+stage2"), "--layers has 'stage1+stage2'; name one at a time"),
        (("--eps", "8"), "eps is 8; allowed: at most 1"),
        (("--eps", "0.1", "1/10"), "--eps names 0.1 twice"),
        (("--pairs", "0"), "--pairs is 0"),
    ],
)
def test_impossible_options_are_refused(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["representation", *SMALL, "--run-dir", str(tmp_path / "r"), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_wrong_layer_is_refused_before_a_classifier_is_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["representation", "--smoke", "--threads", "1", "--run-dir", str(tmp_path / "r")]
    assert main([*words, "--layers", "nowhere"]) == 2
    shown = capsys.readouterr()
    assert "layer is 'nowhere'" in shown.err
    assert "fitting a classifier" not in shown.out
    assert not (tmp_path / "r").exists()


def test_what_has_the_guide_s_answer_from_the_start_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        "import torch\nfrom torch import nn\n\n\nclass One(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.first = nn.Linear(64, 10)\n        self.last = nn.Linear(10, 10)\n"
        "    def forward(self, x):\n"
        "        logits = self.last(self.first(x.flatten(1)).tanh())\n"
        "        return logits + 100 * torch.eye(10)[3]\n"
    )
    words = ["representation", "--smoke", "--threads", "1", "--run-dir", str(tmp_path / "r")]
    words += ["--model", f"{tmp_path / 'one.py'}:One", "--pairs", "3", "--invert", "0"]
    assert main([*words, "--attacks", "feature", "--no-random-weights"]) == 0
    summary = json.loads((tmp_path / "r/summary.json").read_text())
    assert summary["trials"][0]["guide_label"] is None
    assert {row["guide_label"] for row in rows(tmp_path / "r")} == {""}
    assert "All sources have the guide" in (tmp_path / "r/report.html").read_text()
