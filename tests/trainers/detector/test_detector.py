"""The detector against scikit-learn, slow NumPy, and planted models."""

import numpy as np
import pytest
import torch
from scipy.stats import norm as gaussian
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.svm import SVC
from torch import nn

from attacks import PGD, RefusedInput
from attacks.common.activations import activations_of
from trainers.detector import roc
from trainers.detector.evasion import Evasion
from trainers.detector.rejecting_classifier import RejectingClassifier
from trainers.detector.safety_net import SafetyNet, quantise_softly
from trainers.detector.svm import decision, fit_svm


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("c", [0.3, 5.0])
def test_the_decision_is_scikit_learns(c):
    points = random(60, 7)
    positive = (points[:, 0] + 0.3 * random(60, seed=1)) > 0.7
    theirs = SVC(C=c, class_weight="balanced").fit(points.double(), positive)
    ours = decision(fit_svm(points, positive, c=c), random(40, 7, seed=2))
    expected = theirs.decision_function(random(40, 7, seed=2).double())
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("shift", [0.0, 0.5, 9.0])
def test_curve_and_area_are_scikit_learns(shift):
    clean = (random(80) * 20).round() / 20  # many are equal
    attacked = (random(50, seed=1) * 20).round() / 20 + shift
    y, scores = [0] * 80 + [1] * 50, torch.cat([clean, attacked])
    alarms, found, _ = roc_curve(y, scores, drop_intermediate=False)
    ours = roc.roc_curve(clean, attacked)
    np.testing.assert_allclose(ours[0], alarms, atol=1e-12)
    np.testing.assert_allclose(ours[1], found, atol=1e-12)
    assert roc.area(clean, attacked) == pytest.approx(roc_auc_score(y, scores))


def test_thresholds_let_no_more_than_a_share_exceed_them():
    for n in (7, 100, 333):
        scores = (random(n) * 30).round() / 30
        for share in (0.01, 0.05, 0.5):
            threshold = roc.threshold_at(scores, share)
            assert (scores > threshold).double().mean() <= share
            lower = scores[scores < threshold]
            if len(lower):  # one lower would let too many
                assert (scores > lower.max()).double().mean() > share


def test_the_interval_of_an_area_holds_it_in_95_of_100_cases():
    generator = torch.Generator().manual_seed(0)
    for shift in (0.3, 1.5):
        truth, held = float(gaussian.cdf(shift / 2**0.5)), 0
        for _ in range(400):
            clean = torch.randn(60, generator=generator)
            attacked = torch.randn(25, generator=generator) + shift
            low, high = roc.area_interval(roc.area(clean, attacked), 60, 25)
            held += low <= truth <= high
        assert 0.92 < held / 400 < 0.985
    assert roc.area_interval(1.0, 60, 25)[1] == 1.0
    assert 0.85 < roc.area_interval(1.0, 60, 25)[0] < 0.99
    assert roc.area_interval(0.0, 60, 25)[0] == 0.0


@pytest.mark.parametrize("levels", [2, 4, 9])
def test_codes_are_the_nearest_levels_with_a_soft_gradient(levels):
    activations, scale = random(5, 6) * 2 - 0.3, random(6, seed=1) + 0.2
    grid = np.linspace(0, 1, levels)
    ratio = (activations / scale).numpy().clip(0, 1)
    nearest = grid[np.abs(ratio[..., None] - grid).argmin(-1)]
    np.testing.assert_allclose(quantise_softly(activations, scale, levels), nearest, atol=1e-6)
    wanted = activations.clone().requires_grad_()
    codes = quantise_softly(wanted, scale, levels)
    assert torch.equal(codes.detach(), quantise_softly(activations, scale, levels))
    (slope,) = torch.autograd.grad(codes.sum(), wanted)
    heights, steps = activations.double() / scale * (levels - 1), np.arange(levels - 1) + 0.5
    sigmoid = 1 / (1 + np.exp(-(heights.numpy()[..., None] - steps) / 0.2))
    expected = (sigmoid * (1 - sigmoid) / 0.2).sum(-1) / scale.numpy()
    np.testing.assert_allclose(slope, expected, rtol=1e-3, atol=1e-5)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.act = nn.Linear(12, 8), nn.Linear(8, 3), nn.ReLU()
        self.unused = nn.ReLU()

    def forward(self, x):
        return self.second(self.act(self.first(x.flatten(1))))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def detector(net):
    """Fitted to samples that lie apart: attacked ones are bright."""
    clean = activations_of(net, "act", random(80, 3, 2, 2) * 0.5)[1].detach()
    attacked = activations_of(net, "act", random(80, 3, 2, 2, seed=1) * 0.5 + 0.5)[1].detach()
    found = SafetyNet.fit("act", clean, attacked, levels=5)
    found.calibrate(found(clean), (0.05, 0.01))
    return found


def test_it_tells_samples_apart_and_is_saved_without_pickle(net, detector, tmp_path):
    clean = activations_of(net, "act", random(50, 3, 2, 2, seed=2) * 0.5)[1]
    attacked = activations_of(net, "act", random(50, 3, 2, 2, seed=3) * 0.5 + 0.5)[1]
    assert roc.area(detector(clean), detector(attacked)) > 0.95
    detector.save(tmp_path / "d.safetensors")
    again = SafetyNet.load(tmp_path / "d.safetensors")
    assert torch.equal(again(attacked), detector(attacked))
    assert (again.layer, again.levels, again.thresholds) == ("act", 5, detector.thresholds)
    data = (tmp_path / "d.safetensors").read_bytes()
    for broken in (data[:-9], data[:-1] + bytes([data[-1] ^ 1]), b""):
        (tmp_path / "e.safetensors").write_bytes(broken)
        with pytest.raises(RefusedInput, match="give a file that the job detect wrote"):
            SafetyNet.load(tmp_path / "e.safetensors")


def test_units_that_are_silent_on_clean_samples_do_not_divide_by_zero():
    clean, attacked = random(30, 4), random(30, 4, seed=1)
    clean[:, 0], attacked[:, 0], clean[:-1, 1] = 0, 3, 0
    assert torch.isfinite(SafetyNet.fit("x", clean, attacked)(attacked)).all()


def test_it_refuses_above_its_threshold(net, detector):
    x = random(64, 3, 2, 2, seed=4)
    model = RejectingClassifier(net, detector, detector.thresholds[0.05])
    logits, scores = model(x), detector(activations_of(net, "act", x)[1])
    assert torch.equal(logits[:, :3], net(x))
    refused = logits.argmax(1) == 3
    assert torch.equal(refused, scores > detector.thresholds[0.05])
    assert 0 < int(refused.sum()) < 64


def test_an_evasion_is_wrong_and_accepted_where_an_attack_on_the_classifier_is_refused(
    net, detector
):
    x = random(40, 3, 2, 2, seed=5) * 0.5
    model = RejectingClassifier(net, detector, detector.thresholds[0.05]).eval()
    y = net(x).argmax(1)
    unaware = model(PGD(eps=0.4, steps=30)(net, x, y).x_adv).argmax(1)
    result = Evasion(PGD(eps=0.4, steps=30, loss="margin"), classes=2)(model, x, y)
    after = model(result.x_adv).argmax(1)
    assert torch.equal(result.success, (after != y) & (after != 3))
    assert float(result.linf.max()) <= 0.4 + 1e-6
    gets_through = (unaware != y) & (unaware != 3)
    assert int(result.success.sum()) > int(gets_through.sum())
    assert torch.equal(result.already, model(x).argmax(1).ne(y) & model(x).argmax(1).ne(3))
    with pytest.raises(ValueError, match="goes to any wrong class"):
        Evasion(PGD())(model, x, y, target=1)
