"""A classifier behind defences: what it computes, and how its weights come and go."""

import pytest
import torch
from torch import nn

from attacks import PGD
from attacks.files import packed
from trainers import FitOptions, load_classifier, predict
from trainers.defences.adaptive import adaptive_options
from trainers.defences.bit_depth import BitDepth
from trainers.defences.crop_ensemble import CropEnsemble
from trainers.defences.defended_classifier import DefendedClassifier
from trainers.defences.gaussian_blur import GaussianBlur
from trainers.defences.jpeg import JPEG
from trainers.defences.resize_pad import ResizePad
from trainers.fit.methods import METHODS
from trainers.fit.methods.method import TrainingStep
from trainers.models.networks.smallcnn import SmallCNN
from trainers.run.cli.specs.attacks import build_defences


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SmallCNN(num_classes=4).eval()


@pytest.fixture
def x():
    return torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_defences_come_in_turn_in_front_of_the_model(model, x):
    defended = DefendedClassifier(model, [BitDepth(bits=2), GaussianBlur(sigma=1.0)]).eval()
    expected = model(GaussianBlur(sigma=1.0)(BitDepth(bits=2)(x)))
    torch.testing.assert_close(defended(x), expected)
    assert not torch.allclose(expected, model(BitDepth(bits=2)(GaussianBlur(sigma=1.0)(x))))


def test_an_ensemble_answers_by_the_mean_of_probabilities(model, x):
    model.head.weight.data.mul_(100)  # so that crops get different answers
    defended = DefendedClassifier(model, [CropEnsemble(crops=7, side=0.6)]).eval()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        logits = defended(x)
        torch.manual_seed(3)
        crops = CropEnsemble(side=0.6)(x.repeat(7, 1, 1, 1))
    votes = torch.stack([model(crop).softmax(1) for crop in crops.split(5)])
    torch.testing.assert_close(logits.softmax(1), votes.mean(0))
    torch.testing.assert_close(logits.exp(), votes.mean(0))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        once = defended.train()(x)
        torch.manual_seed(3)
        torch.testing.assert_close(once, model(CropEnsemble(side=0.6)(x)))


def test_attacks_and_predictions_leave_the_random_state(model, x):
    defended = DefendedClassifier(model, [ResizePad(largest=1.5)]).eval()
    before = torch.get_rng_state()
    first, again = predict(defended, x), predict(defended, x)
    PGD(steps=2)(defended, x, torch.zeros(5, dtype=torch.int64))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)


def test_weights_of_a_defended_classifier_are_those_of_the_bare_one(model, x, tmp_path):
    defended = DefendedClassifier(model, [JPEG(), ResizePad()])
    assert {name.removeprefix("model.") for name in defended.state_dict()} == {*model.state_dict()}
    (tmp_path / "w.safetensors").write_bytes(packed(defended.state_dict(), {}))
    bare = load_classifier("smallcnn", num_classes=4, weights=tmp_path / "w.safetensors")
    torch.testing.assert_close(bare(x), model(x))


def test_a_layer_has_a_surrogate_where_its_own_gradient_is_none(model):
    layers = DefendedClassifier(model, [JPEG(), GaussianBlur(), BitDepth(), ResizePad()]).layers
    assert [hasattr(layer, "surrogate") for layer in layers] == [True, False, True, False]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], {}),
        (["gaussian-blur"], {}),
        (["jpeg", "median-blur"], {"bpda": "surrogate"}),
        (["resize-pad"], {"eot": 10}),
        (["crop-ensemble:crops=4", "bit-depth"], {"bpda": "surrogate", "eot": 3}),
        (["crop-ensemble"], {"eot": 1}),
    ],
)
def test_attacks_are_told_what_to_look_behind(texts, expected):
    assert adaptive_options(build_defences(texts)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpg", "there is no defence 'jpg'; did you mean jpeg"),
        ("jpeg:quality=x", "jpeg:quality is 'x'; allowed: a value of type int"),
        ("jpeg:q=3", "jpeg has no option 'q'; it has: quality"),
    ],
)
def test_impossible_defences_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        build_defences([text])


class Planted(nn.Module):
    """Two classes by the mean of a sample: above a half or below."""

    def forward(self, x):
        mean = x.flatten(1).mean(1) - 0.5
        return torch.stack([-mean, mean], 1) * 50


def test_the_inner_problem_of_a_fit_looks_behind_a_defence():
    x = torch.full((6, 1, 4, 4), 0.45)
    y, options = torch.zeros(6, dtype=torch.int64), FitOptions(method="pgd-at", train_eps=0.1)
    moved = []
    for layers in ([BitDepth(bits=3)], []):
        model = DefendedClassifier(Planted(), layers).train()
        step = TrainingStep(model, model, options, torch.Generator().manual_seed(0))
        moved.append(float((METHODS["pgd-at"].perturb(step, x, y) - x).mean()))
        assert model.training
        assert "forward" not in vars(model.layers[0] if layers else model)
    assert moved[1] > 0.09  # towards the other class
    assert moved[0] > 0.09


def test_rounding_hides_the_gradient_from_an_attack_but_not_from_its_surrogate():
    x = torch.full((6, 1, 4, 4), 0.45)
    y = torch.zeros(6, dtype=torch.int64)
    defended = DefendedClassifier(Planted(), [BitDepth(bits=3)]).eval()
    blind = PGD(eps=0.1, steps=10, random_start=False)(defended, x, y)
    assert not blind.success.any()
    assert "zero or non-finite gradient" in blind.info["warnings"][0]
    adaptive = PGD(eps=0.1, steps=10, random_start=False, bpda="surrogate")(defended, x, y)
    assert adaptive.success.all()
