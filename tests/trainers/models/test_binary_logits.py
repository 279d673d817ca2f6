"""Classifiers with a single logit: the wrapper, the loader, and the jobs."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from attacks import PGD
from attacks.errors import RefusedInput
from trainers import load_classifier, probe_classifier
from trainers.models import BinaryLogits
from trainers.run.main import main

FACTORY = """
from torch import nn

class Single(nn.Module):
    def __init__(self, num_classes=1):
        super().__init__()
        self.head = nn.Linear(64, num_classes)
    def forward(self, x):
        return self.head(x.flatten(1))

class Flat(Single):
    def __init__(self):
        super().__init__()
    def forward(self, x):
        return super().forward(x)[:, 0]
"""


@pytest.fixture
def factory(tmp_path):
    (tmp_path / "single.py").write_text(FACTORY)
    return f"{tmp_path}/single.py"


@pytest.fixture
def samples(tmp_path):
    """Bright images are of class 1."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 40)
    x = (rng.random((40, 8, 8)) * 0.2 + 0.3 + 0.2 * y[:, None, None]).astype(np.float32)
    np.savez(tmp_path / "two.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    return f"npz:{tmp_path}/two.npz"


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_the_scores_are_those_of_a_sigmoid(shape):
    z = torch.linspace(-4, 4, 5)
    logits = BinaryLogits(nn.Unflatten(0, shape))(z)
    torch.testing.assert_close(logits.softmax(1)[:, 1], z.sigmoid())
    loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1, 1, 0, 1]))
    theirs = nn.functional.binary_cross_entropy_with_logits(z, torch.tensor([0.0, 1, 1, 0, 1]))
    torch.testing.assert_close(loss, theirs)


def test_an_attack_moves_across_the_boundary():
    model = BinaryLogits(nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False)))
    nn.init.constant_(model.model[1].weight, 1.0)
    model.model[1].weight.data[:, :2].neg_()
    x, y = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 1, 0])
    result = PGD(eps=0.5, steps=10)(model, x, y)
    assert result.success.all()
    assert torch.equal(model.model(result.x_adv)[:, 0] > 0, y == 0)


def test_other_outputs_are_refused():
    for model in (nn.Flatten(), nn.Flatten(0)):
        with pytest.raises(ValueError, match=r"one logit each.*leave --binary"):
            BinaryLogits(model)(torch.zeros(2, 1, 3, 3))


@pytest.mark.parametrize("name", ["Single", "Flat"])
def test_without_the_flag_a_single_logit_is_refused_and_the_remedy_works(factory, name):
    with pytest.raises(RefusedInput, match=r"single logit.*--binary.*BinaryLogits"):
        load_classifier(f"{factory}:{name}", image_size=8, in_channels=1)
    model = load_classifier(f"{factory}:{name}", image_size=8, in_channels=1, binary=True)
    assert model(torch.rand(3, 1, 8, 8)).shape == (3, 2)
    assert probe_classifier(model, (1, 8, 8), 2) == []


def test_any_number_of_classes_but_two_is_refused(factory):
    with pytest.raises(ValueError, match=r"num_classes is 10"):
        load_classifier(f"{factory}:Single", num_classes=10, binary=True)


def test_weights_of_one_logit_say_what_to_do_and_load_with_it(tmp_path):
    net = load_classifier("smallcnn", num_classes=1)
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(RefusedInput, match=r"single logit: give --binary"):
        load_classifier("smallcnn", num_classes=2, weights=tmp_path / "w.safetensors")
    options = {"mean": [0.5] * 3, "std": [0.2] * 3, "binary": True}
    model = load_classifier("smallcnn", weights=tmp_path / "w.safetensors", **options)
    x = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(model(x)[:, 1:], net((x - 0.5) / 0.2))
    save_file(model.state_dict(), tmp_path / "again.safetensors")
    again = load_classifier(
        "smallcnn", num_classes=2, weights=tmp_path / "again.safetensors", binary=True
    )
    assert torch.equal(again(x), model(x))


@pytest.mark.slow
def test_the_jobs_fit_attack_and_measure_it(factory, samples, tmp_path):
    words = ["--data", samples, "--model", f"{factory}:Flat", "--smoke", "--threads", "1"]
    weights = tmp_path / "w.safetensors"
    head = {"head.weight": torch.full((1, 64), 1.0), "head.bias": torch.tensor([-32.0])}
    save_file(head, weights)
    folder = tmp_path / "e"
    common = [*words, "--weights", str(weights), "--binary"]
    assert main(["evaluate", *common, "--run-dir", str(folder), "--attacks", "pgd"]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["clean_accuracy"] == 1
    assert main(["attack", *common, "--run-dir", str(tmp_path / "a"), "--attack", "pgd"]) == 0
    rounds = ["rounds", *words, "--binary", "--rounds", "1", "--attacks", "pgd"]
    assert main([*rounds, "--run-dir", str(tmp_path / "r")]) == 0
    refused = [*words, "--weights", str(weights), "--run-dir", str(tmp_path / "x")]
    assert main(["evaluate", *refused]) == 3
