import pytest
import torch

from attacks import DeepFool


class Planes(torch.nn.Module):
    """Logits that are linear in the first pixels: class 0 leads by 0.2 x pixel 0, and so on."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = torch.tensor(weight), torch.tensor(bias)
        self.passes = []

    def forward(self, x):
        self.passes.append(len(x))
        return x.flatten(1) @ self.weight.T.to(x) + self.bias.to(x)


def grey(count=1, pixels=4):
    return torch.full((count, 1, 1, pixels), 0.5), torch.zeros(count, dtype=torch.int64)


def test_one_step_by_hand():
    """Class 1 is behind by 0.3 at slope (2, 1): l2 distance 0.3 / sqrt(5)."""
    model = Planes([[0.0, 0, 0, 0], [2.0, 1, 0, 0]], [0.3, -1.5])
    x, y = grey()
    result = DeepFool(overshoot=0.1)(model, x, y)
    expected = 1.1 * 0.3 / 5 * torch.tensor([2.0, 1, 0, 0])
    torch.testing.assert_close(result.delta.flatten(), expected, atol=1e-5, rtol=0)
    assert result.queries.tolist() == [3]
    torch.testing.assert_close(result.loss, torch.tensor([0.03]), atol=1e-4, rtol=0)


def test_the_nearest_boundary_is_not_that_of_the_runner_up():
    """Class 1 is just behind with a flat slope, class 2 far behind with a steep one."""
    model = Planes([[0.0] * 4, [0.5, 0, 0, 0], [0.0, 0, 8.0, 0]], [0.0, -0.4, -5.0])
    x, y = grey()
    both, one = DeepFool()(model, x, y), DeepFool(classes=2)(model, x, y)
    assert model(both.x_adv).argmax(1).item() == 2
    assert model(one.x_adv).argmax(1).item() == 1
    assert both.l2 < one.l2


def test_a_targeted_attack_goes_past_the_other_classes():
    """Class 2 is nearer than class 1, which is wanted."""
    model = Planes([[0.0] * 4, [1.0, 0, 0, 0], [2.0, 3.0, 0, 0]], [0.0, -0.8, -2.7])
    x, y = grey()
    assert model(DeepFool()(model, x, y).x_adv).argmax(1).item() == 2
    result = DeepFool()(model, x, y, target=torch.tensor([1]))
    assert model(result.x_adv).argmax(1).item() == 1
    assert result.success.all()


def test_a_sample_without_a_gradient_leaves():
    model = Planes([[0.0] * 4, [0.0] * 4], [1.0, 0.0])
    assert DeepFool()(model, *grey(2)).queries.tolist() == [3, 3]


class Root(torch.nn.Module):
    """Class 1 leads where the root of the pixel exceeds 0.8; each step falls short of that."""

    def __init__(self):
        super().__init__()
        self.passes = []

    def forward(self, x):
        self.passes.append(len(x))
        lead = x.flatten(1)[:, 0].sqrt()  # (B,)
        return torch.stack([torch.full_like(lead, 0.8), lead], 1)


FAR = torch.tensor([0.7, 0.6, 0.05]).double().reshape(3, 1, 1, 1)  # from 0.64


def test_samples_leave_when_they_are_fooled():
    model = Root()
    result = DeepFool(overshoot=1e-3)(model, FAR, torch.zeros(3, dtype=torch.int64))
    assert result.success.all()
    assert result.queries[0] == 1
    assert 1 < result.queries[1] < result.queries[2]
    passes = model.passes[2:]  # after those for randomness
    assert passes == sorted(passes, reverse=True)
    assert sum(passes) == result.queries.sum()
    torch.testing.assert_close(
        result.x_adv[1:].flatten(), torch.full((2,), 0.64).double(), atol=1e-3, rtol=0
    )


def test_steps_are_at_most_so_many():
    y = torch.zeros(3, dtype=torch.int64)
    for steps, fooled in ((1, [True, False, False]), (2, [True, True, False])):
        result = DeepFool(steps=steps, overshoot=1e-3)(Root(), FAR, y)
        assert result.success.tolist() == fooled
        assert result.queries.tolist() == [1, 3 if steps == 1 else 5, 1 + 2 * steps]
        assert torch.equal(result.x_adv[2], FAR[2])


def test_overshoot_lengthens(net, batch):
    x, _ = batch(12)
    model = net().eval()
    y = model(x).argmax(1)
    short, far = (DeepFool(overshoot=o)(model, x, y) for o in (0.02, 0.5))
    assert (far.l2 > 1.2 * short.l2).sum() > 6


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (dict(norm="l0"), "l0"),
        (dict(steps=0), "steps is 0"),
        (dict(classes=1), "classes is 1; give a whole number >= 2"),
        (dict(overshoot=-0.1), "-0.1"),
    ],
)
def test_impossible_options_are_refused_at_once(options, word):
    with pytest.raises(ValueError, match=word):
        DeepFool(**options)
