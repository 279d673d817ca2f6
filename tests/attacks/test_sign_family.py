"""What sets BIM, MI-FGSM, least-likely and most-likely apart from PGD."""

import pytest
import torch
import torch.nn.functional as F

from attacks import BIM, FGSM, MIFGSM, PGD, LeastLikely, MostLikely


@pytest.fixture
def right(net, batch):
    """A model in eval mode, samples, and the model's answers as labels."""
    model = net(dtype=torch.float64).eval()
    x, _ = batch(12, dtype=torch.float64)
    return model, x, model(x).argmax(1)


def signs(model, x, wanted):
    """The sign of the gradient in x of the cross entropy of some classes."""
    x = x.clone().requires_grad_()
    F.cross_entropy(model(x), wanted, reduction="sum").backward()
    return x.grad.sign()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("make", [BIM, MIFGSM, lambda **o: PGD(random_start=False, **o)])
def test_one_step_is_fgsm(right, make, norm):
    model, x, y = right
    for target in (None, (y + 1) % 4):
        ours = make(norm=norm, eps=0.03, steps=1, step_size=0.03)(model, x, y, target=target)
        fgsm = FGSM(norm=norm, eps=0.03)(model, x, y, target=target)
        moved = ours.linf > 0  # where the step did not make it worse, so that x was kept
        assert moved.sum() > 6
        torch.testing.assert_close(ours.x_adv[moved], fgsm.x_adv[moved], atol=1e-12, rtol=0)


def test_bim_is_clipped_sign_steps_from_x(right):
    """An own loop of the paper's formula reaches the same points."""
    model, x, y = right
    result = BIM(eps=0.04, steps=3)(model, x, y)
    points = [x]
    for _ in range(3):
        step = points[-1] + 0.04 / 3 * signs(model, points[-1], y)
        points.append(torch.minimum(torch.maximum(step, x - 0.04), x + 0.04).clamp(0, 1))
    losses = torch.stack([F.cross_entropy(model(p), y, reduction="none") for p in points])
    torch.testing.assert_close(result.history, losses[:3], atol=1e-12, rtol=0)
    rising = (losses.argmax(0) == 3) & (model(points[3]).argmax(1) != y)
    assert rising.sum() > 2
    torch.testing.assert_close(result.x_adv[rising], points[3][rising], atol=1e-12, rtol=0)


class Switch(torch.nn.Module):
    """Two pixels; the first one's gradient is +4, and -1 above 0.55; the second's always +2."""

    def forward(self, x):
        a, b = x.flatten(1).unbind(1)
        height = torch.where(a < 0.55, 4 * a, -a) + 2 * b
        return torch.stack([-height, height], 1)


@pytest.mark.parametrize(("decay", "first"), [(0.0, 0.5), (0.4, 0.5), (1.0, 0.7), (2.0, 0.7)])
def test_momentum_by_hand(decay, first):
    """Of the l1-scaled gradients (2/3, 1/3) and (-1/3, 2/3), the sum decides the second step.

    decay * 2/3 - 1/3 is positive above a decay of 1/2: on to 0.7, else back to 0.5.
    """
    x, y = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    attack = MIFGSM(eps=0.4, steps=2, step_size=0.1, loss="margin", decay=decay)
    seen = []

    class Watched(Switch):
        def forward(self, x):
            seen.append([round(v, 4) for v in x.flatten().tolist()])
            return super().forward(x)

    attack(Watched(), x, y)
    *look, start, once, twice = seen
    assert look == [start] * 2  # whether it is random: it draws no numbers, and is asked once more
    assert (start, once, twice) == ([0.5, 0.5], [0.6, 0.6], [first, 0.7])


def test_momentum_does_not_mind_the_scale_of_gradients(right):
    model, x, y = right
    plain = MIFGSM(eps=0.03, steps=4, loss="margin")(model, x, y)
    scaled = MIFGSM(eps=0.03, steps=4, loss="margin")(
        torch.nn.Sequential(model, torch.nn.Threshold(-1e9, 0), Scale(1e-20)), x, y
    )
    torch.testing.assert_close(scaled.x_adv, plain.x_adv, atol=1e-9, rtol=0)


class Scale(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def test_no_momentum_is_bim(right):
    model, x, y = right
    ours, bim = (
        MIFGSM(eps=0.03, steps=5, decay=0.0)(model, x, y),
        BIM(eps=0.03, steps=5)(model, x, y),
    )
    torch.testing.assert_close(ours.x_adv, bim.x_adv, atol=1e-12, rtol=0)


def test_least_likely_pursues_the_lowest_class_but_the_label(right):
    model, x, y = right
    lowest = model(x).argmin(1)
    result = LeastLikely(eps=0.05)(model, x, y)
    assert torch.equal(result.info["target"], lowest)
    assert torch.equal(result.success, model(result.x_adv).argmax(1) != y)
    towards = F.cross_entropy(model(result.x_adv), lowest, reduction="none")
    torch.testing.assert_close(result.loss, towards)
    assert (towards < result.history[0]).all()
    second = model(x).argsort(1)[:, 1]
    assert torch.equal(LeastLikely()(model, x, lowest).info["target"], second)


def test_the_one_step_least_likely_formula(right):
    """x - eps * sign of the gradient of the cross entropy of the least likely class."""
    model, x, y = right
    result = LeastLikely(eps=0.05, steps=1)(model, x, y)
    expected = (x - 0.05 * signs(model, x, model(x).argmin(1))).clamp(0, 1)
    assert torch.equal(result.queries, torch.full_like(y, 3))
    torch.testing.assert_close(result.x_adv, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("make", [LeastLikely, MostLikely])
def test_a_target_given_takes_the_place_of_the_class(right, same, make):
    model, x, y = right
    target = (y + 2) % 4
    ours, bim = (kind(eps=0.05)(model, x, y, target=target) for kind in (make, BIM))
    assert same(ours, bim)
    assert "target" not in ours.info
    assert torch.equal(ours.queries, bim.queries)


def test_most_likely_raises_confidence(right):
    model, x, y = right
    result = MostLikely(eps=0.02, steps=1)(model, x, (y + 1) % 4)  # whatever the label
    assert torch.equal(result.info["target"], y)
    expected = (x - 0.02 * signs(model, x, y)).clamp(0, 1)
    torch.testing.assert_close(result.x_adv, expected, atol=1e-12, rtol=0)
    before, after = (model(v).softmax(1).gather(1, y[:, None]) for v in (x, result.x_adv))
    assert (after > before).all()
    assert not MostLikely(eps=0.02)(model, x, y).success.any()


@pytest.mark.parametrize("make", [PGD, BIM, MIFGSM])
@pytest.mark.parametrize(("norm", "radii"), [
    ("linf", (0.01, 0.03, 0.1, 0.3)), ("l2", (0.1, 0.3, 1.0, 3.0)), ("l1", (1.0, 3.0, 10.0, 30.0)),
])  # fmt: skip
def test_success_grows_with_eps_to_all(net, batch, make, norm, radii):
    model = net().eval()
    x, _ = batch(32)
    y = model(x).argmax(1)
    rates = [make(norm=norm, eps=eps)(model, x, y).success.sum().item() for eps in radii]
    assert rates == sorted(rates)
    assert rates[0] < rates[1] < rates[-1] == 32


def test_more_steps_of_one_size_lose_no_success(net, batch):
    model = net().eval()
    x, _ = batch(32)
    y = model(x).argmax(1)
    few, some, many = (
        PGD(eps=0.03, steps=steps, step_size=0.006)(model, x, y).success for steps in (1, 4, 20)
    )
    assert (some | ~few).all()
    assert (many | ~some).all()
    assert few.sum() < some.sum() <= many.sum()


@pytest.mark.parametrize(
    ("make", "options", "word"),
    [
        (BIM, dict(steps=0), "steps is 0"),
        (BIM, dict(norm="l0"), "l0"),
        (BIM, dict(step_size=torch.inf), "inf"),
        (MIFGSM, dict(decay=-0.1), "-0.1"),
        (MIFGSM, dict(decay=torch.nan), "nan"),
        (MIFGSM, dict(steps=-1), "steps is -1"),
        (LeastLikely, dict(loss="hinge"), "hinge"),
        (PGD, dict(step_size=torch.nan), "nan"),
    ],
)
def test_impossible_options_are_refused_at_once(make, options, word):
    with pytest.raises(ValueError, match=word):
        make(**options)


def test_labels_no_class_has_are_refused_before_a_class_is_chosen(right):
    model, x, y = right
    with pytest.raises(ValueError, match="class 7"):
        LeastLikely()(model, x, y.index_fill(0, torch.tensor([3]), 7))
