"""On a linear classifier the worst case of a ball is known exactly."""

import pytest
import torch
import torch.nn.functional as F

from attacks import APGD, BIM, FGSM, MIFGSM, PGD

DUAL = {"linf": 1, "l2": 2, "l1": torch.inf}
ATTACKS = [
    FGSM,
    lambda **options: PGD(steps=5, random_start=False, **options),
    lambda **options: PGD(steps=80, step_size=0.02, **options),
    lambda **options: BIM(steps=3, **options),
    lambda **options: MIFGSM(steps=3, **options),
    lambda **options: APGD(steps=100, **options),
]
NAMES = ["fgsm", "pgd", "pgd-random-start", "bim", "mifgsm", "apgd"]


@pytest.fixture
def centred(linear):
    """Undecided linear model in float64 and samples too far from 0 and 1 to reach them."""
    model = linear(2, gain=0.4, dtype=torch.float64)
    x = 0.5 + 0.1 * torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(4)).double()
    return model, x, torch.tensor([0, 1, 1, 0, 0])


def lead(model, x, y):
    """The margin of class y over the other one, and its gradient."""
    (weight, bias), sign = model[1].parameters(), (1 - 2 * y).double()
    slope = sign[:, None] * (weight[0] - weight[1])
    return (x.flatten(1) * slope).sum(1) + sign * (bias[0] - bias[1]), slope


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("make", ATTACKS, ids=NAMES)
def test_untargeted_worst_case(centred, make, norm, loss):
    model, x, y = centred
    eps = torch.tensor([0.0, 1e-3, 5e-3, 0.01, 0.02], dtype=torch.float64)
    result = make(norm=norm, eps=eps, loss=loss)(model, x, y)
    margin, slope = lead(model, x, y)
    worst = margin - eps * slope.norm(DUAL[norm], dim=1)
    expected = -worst if loss == "margin" else F.softplus(-worst)
    torch.testing.assert_close(result.loss, expected, atol=1e-7, rtol=0)
    assert torch.equal(result.success, worst < 0)


@pytest.mark.parametrize("loss", ["ce", "margin"])
@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("make", ATTACKS, ids=NAMES)
def test_targeted_best_case(centred, make, norm, loss):
    model, x, y = centred
    result = make(norm=norm, eps=0.01, loss=loss)(model, x, y, target=1 - y)
    margin, slope = lead(model, x, 1 - y)
    best = margin + 0.01 * slope.norm(DUAL[norm], dim=1)
    expected = -best if loss == "margin" else F.softplus(-best)
    torch.testing.assert_close(result.loss, expected, atol=1e-7, rtol=0)
    assert torch.equal(result.success, best > 0)


@pytest.mark.parametrize("make", [FGSM, lambda **o: PGD(steps=20, **o)], ids=["fgsm", "pgd"])
def test_linf_worst_case_in_the_box(centred, make):
    """Where the box cuts the ball, each pixel moves as far as both allow."""
    model, x, y = centred
    x = (x * 7) % 1  # pixels everywhere, some at the ends
    x[0, 0] = x[0, 0].round()
    _, slope = lead(model, x, y)
    result = make(norm="linf", eps=0.2)(model, x, y)
    expected = (x - 0.2 * slope.sign().reshape(x.shape)).clamp(0, 1)
    torch.testing.assert_close(result.x_adv, expected, atol=1e-12, rtol=0)


def test_pgd_keeps_the_best_iterate_not_the_last():
    """A model whose loss falls again along the way: the peak is returned."""

    class Hill(torch.nn.Module):
        def forward(self, x):
            height = 4 - 100 * (x.flatten(1)[:, 0] - 0.6).square()  # (B,)
            return torch.stack([-height, height], 1)

    x, y = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    attack = PGD(eps=0.4, steps=3, step_size=0.1, random_start=False)
    attack_far = PGD(eps=0.4, steps=1, step_size=0.4, random_start=False)
    assert attack(Hill(), x, y).x_adv.item() == pytest.approx(0.6)
    assert attack_far(Hill(), x, y).x_adv.item() == pytest.approx(0.5)  # 0.9 is worse


def test_pgd_prefers_a_success_to_a_higher_loss():
    """With three classes the cross entropy can be higher where the label is still on top."""

    class Cliff(torch.nn.Module):
        def forward(self, x):
            v = x.flatten(1)[:, 0]
            below = torch.stack([v * 0 + 1, 0.9 + 0.1 * (v - 0.5), v * 0 + 0.9], 1)
            above = torch.tensor([[0.0, 0.05, -9.0]])
            return torch.where(v[:, None] < 0.55, below, above)

    x, y = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    result = PGD(eps=0.2, steps=4, step_size=0.05, random_start=False)(Cliff(), x, y)
    assert result.success.all()
    assert result.loss < result.history[0]


def test_restarts_never_hurt_and_history_shows_each(net, batch):
    x, y = batch(12)
    one = PGD(eps=0.02, steps=3)(net(), x, y)
    many = PGD(eps=0.02, steps=3, restarts=4)(net(), x, y)
    assert many.history.shape == (12, 12)
    assert torch.equal(many.history[:3], one.history)
    assert (many.success | ~one.success).all()
    alike = many.success == one.success
    assert (many.loss[alike] >= one.loss[alike]).all()
    assert (many.loss > one.loss).any()


def test_history_and_loss_are_those_of_the_iterates(net, batch):
    """The first row is the loss at x; the final loss is that of x_adv, with either sign."""
    x, y = batch()
    model = net().eval()
    target = (y + 1) % 4
    for attack in (FGSM(eps=0.05), PGD(eps=0.05, steps=3, random_start=False)):
        for goal, wanted in ((None, y), (target, target)):
            result = attack(model, x, y, target=goal)
            clean, final = (F.cross_entropy(model(v), wanted, reduction="none")
                            for v in (x, result.x_adv))  # fmt: skip
            torch.testing.assert_close(result.history[0], clean)
            torch.testing.assert_close(result.loss, final)
            assert ((final > clean) if goal is None else (final < clean)).all()


@pytest.mark.parametrize(
    ("make", "options", "word"),
    [
        (FGSM, dict(norm="l0"), "l0"),
        (FGSM, dict(loss="hinge"), "hinge"),
        (PGD, dict(norm="L2"), "L2"),
        (PGD, dict(loss="CE"), "CE"),
        (PGD, dict(steps=0), "steps is 0"),
        (PGD, dict(restarts=0), "restarts is 0"),
        (PGD, dict(step_size=0.0), "0.0"),
        (PGD, dict(step_size=10**30), "give a number"),
        (PGD, dict(step_size=-1.0), "-1.0"),
    ],
)
def test_impossible_options_are_refused_at_once(make, options, word):
    with pytest.raises(ValueError, match=word):
        make(**options)
