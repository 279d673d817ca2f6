"""The zoo: weights in the package, which give the figures on their cards."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from attacks import PGD
from attacks.errors import RefusedInput
from augment import load_dataset
from trainers import clean_accuracy, load_classifier
from trainers.models.sources import zoo
from trainers.run.main import main

ROOT = Path(__file__).parents[4]
DIGITS = "zoo:digits-smallcnn-linf"
KEYS = {
    *("model", "num_classes", "in_channels", "image_size", "parameters", "data", "norm", "eps"),
    *("command", "seed", "commit", "torch", "figures"),
}


@pytest.mark.parametrize("name", zoo.zoo_names())
def test_every_card_is_whole_and_fits_its_weights(name):
    card = zoo.read_card(name)
    assert card.keys() == KEYS
    assert 0 < card["figures"]["worst_case"] <= card["figures"]["clean_accuracy"] <= 1
    options = {"in_channels": card["in_channels"], "image_size": card["image_size"]}
    model = load_classifier(name, num_classes=card["num_classes"], **options)
    assert sum(p.numel() for p in model.parameters()) == card["parameters"]
    assert all(p.dtype == torch.float32 for p in model.parameters())
    file = zoo.FOLDER / f"{name.removeprefix('zoo:')}.safetensors"
    assert file.stat().st_mode & 0o444 == 0o444  # who installed it is not all who use it
    assert file.stat().st_size < 32 * 2**20


def test_the_digits_model_is_as_good_as_its_card():
    figures = zoo.read_card(DIGITS)["figures"]
    test = load_dataset("digits", "test")
    model = load_classifier(DIGITS, in_channels=1, image_size=8)
    assert clean_accuracy(model, test) == pytest.approx(figures["clean_accuracy"], abs=1 / 360)
    x, y = test.stack(range(len(test)))
    result = PGD(norm="linf", eps=0.1, steps=20)(model, x, y)
    robust = 1 - float((result.success | result.already).float().mean())
    assert figures["worst_case"] - 1 / 360 <= robust <= figures["worst_case"] + 0.02


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        (
            DIGITS,
            {"in_channels": 3},
            RefusedInput,
            "takes 1 channels and .* have 3; .*--channels 1",
        ),
        (DIGITS, {"num_classes": 4, "in_channels": 1}, RefusedInput, "tells 10 classes .* and 4"),
        ("zoo:digits-smallcn", {}, ValueError, f"no 'zoo:digits-smallcn'; did you mean {DIGITS}"),
        ("digits-smallcnn-linf", {}, ValueError, f"did you mean {DIGITS}"),
    ],
)
def test_what_does_not_fit_is_refused(name, options, kind, message):
    with pytest.raises(kind, match=message):
        load_classifier(name, **options)


def test_evaluate_works_out_of_the_box(tmp_path, capsys):
    words = ["--attacks", "fgsm", "--smoke", "--threads", "1", "--run-dir", str(tmp_path / "run")]
    assert main(["evaluate", "--model", DIGITS, *words]) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["clean_accuracy"] > 0.9
    assert summary["attacks"]["fgsm"]["robust_accuracy"] > 0.75
    assert not (tmp_path / "run/checkpoints/classifier.safetensors").exists()  # none was fitted
    known = json.loads((tmp_path / "run/inputs.json").read_text())
    assert f"the classifier that --model {DIGITS} makes" in known


def test_rounds_take_it_as_it_comes(tmp_path):
    words = ["--smoke", "--threads", "1", "--train-samples", "40", "--test-samples", "20"]
    words += ["--attacks", "fgsm", "--attack-samples", "fgsm=8", "--run-dir", str(tmp_path / "run")]
    assert main(["rounds", "--model", DIGITS, *words]) == 0
    first = load_file(tmp_path / "run/checkpoints/round-000.safetensors")
    stored = load_file(zoo.FOLDER / "digits-smallcnn-linf.safetensors")
    assert all(torch.equal(first[key], stored[key]) for key in stored)


@pytest.mark.slow
def test_a_fit_becomes_an_entry_of_the_zoo(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])  # syspath_prepend wants pkg_resources
    from benchmarks import zoo as tool

    folder = tmp_path / "zoo"
    folder.mkdir()
    monkeypatch.setattr(zoo, "FOLDER", folder)
    monkeypatch.setattr(tool, "FOLDER", folder)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    runs, small = tmp_path / "runs", ["--smoke", "--threads", "1"]
    fit = ["fit", "--method", "fast", "--test-attacks", "fgsm", *small, "--run-dir"]
    assert main([*fit, str(runs / "fit")]) == 0
    tool.main(["tiny", "--weights", str(runs / "fit/checkpoints/round-000.safetensors"), "--half"])
    evaluate = ["evaluate", "--model", "zoo:tiny", "--attacks", "fgsm", *small, "--run-dir"]
    assert main([*evaluate, str(runs / "test")]) == 0
    tool.main(["tiny", "--figures", str(runs / "test")])
    card = zoo.read_card("zoo:tiny")
    assert card.keys() == KEYS
    assert (card["norm"], card["eps"], card["num_classes"]) == ("linf", 0.1, 10)
    assert card["figures"]["attacks"].keys() == {"fgsm"}
    tensors = load_file(folder / "tiny.safetensors")
    assert {t.dtype for t in tensors.values() if t.ndim > 1} == {torch.float16}
    assert tensors["stage1.1.running_var"].dtype == torch.float32
    shutil.rmtree(runs)
    assert load_classifier("zoo:tiny", in_channels=1, image_size=8)(torch.rand(1, 1, 8, 8)).isfinite().all()  # fmt: skip # noqa: E501
