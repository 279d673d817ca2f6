import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import logsumexp

from attacks.common.goal import LOSSES, Goal, cross_entropy, dlr, margin, targeted_dlr


def test_margin_by_hand():
    logits = torch.tensor([[2.0, 5.0, 1.0], [-7.0, -3.0, -4.0], [1.0, 1.0, 0.0]])
    assert margin(logits, torch.tensor([0, 1, 0])).tolist() == [3.0, -1.0, 0.0]
    assert margin(logits, torch.tensor([1, 2, 2])).tolist() == [-3.0, 1.0, 1.0]


def test_dlr_by_hand():
    logits = torch.tensor([[2.0, 5.0, 1.0, 0.0], [-7.0, -3.0, -4.0, -6.0]])
    assert dlr(logits, torch.tensor([0, 1])).tolist() == pytest.approx([3 / 4, -1 / 3])
    towards = targeted_dlr(logits, torch.tensor([2, 0]), rival=torch.tensor([0, 1]))
    assert towards.tolist() == pytest.approx([(2 - 1) / 4.5, (-3 + 7) / 3.5])
    strongest = targeted_dlr(logits, torch.tensor([2, 0]))
    assert strongest.tolist() == pytest.approx([(5 - 1) / 4.5, (-3 + 7) / 3.5])


def test_dlr_of_equal_logits_is_finite():
    logits = torch.zeros(1, 4, requires_grad=True)
    for value in (dlr(logits, torch.tensor([1])), targeted_dlr(logits, torch.tensor([1]))):
        assert value.item() == 0
        (gradient,) = torch.autograd.grad(value, logits)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("target", [None, torch.tensor([1])])
def test_a_goal_without_the_classes_for_dlr_takes_the_margin(classes, target):
    logits, y = torch.tensor([[3.0, 1.0, 0.5, -1.0]])[:, :classes], torch.tensor([0])
    value = Goal(y, target, "dlr").objective(logits)
    plain = Goal(y, target, "margin").objective(logits)
    assert torch.equal(value, plain) == (classes < (3 if target is None else 4))


def test_a_goal_of_any_class_pursues_the_target_and_takes_what_comes():
    y, target = torch.tensor([0]), torch.tensor([1])
    logits = torch.tensor([[3.0, 1.0, 4.0, -1.0]])
    for loss in LOSSES:
        goal = Goal(y, target, loss, any_class=True)
        assert goal.is_adversarial(logits).all()
        assert not Goal(y, target, loss).is_adversarial(logits).any()
        rise = torch.tensor([[0.0, 0.5, 0.0, 0.0]])
        assert goal.objective(logits + rise) > goal.objective(logits)
    value = Goal(y, target, "dlr", any_class=True).objective(logits)
    assert value.item() == pytest.approx(-(3 - 1) / (4 - (1 - 1) / 2))


# Eighths: a shift leaves their differences exact, which DLR would divide by.
eighths = st.integers(-400, 400).map(lambda i: i / 8)
logit_arrays = arrays.arrays(np.float64, (3, 4), elements=eighths)


@settings(max_examples=40, deadline=None)
@given(logits=logit_arrays, shift=eighths)
def test_losses_against_scipy_and_sorting(logits, shift):
    y = np.array([0, 3, 1])
    own = logits[np.arange(3), y]
    others = [
        max(v for k, v in enumerate(row) if k != label)
        for row, label in zip(logits, y, strict=True)
    ]
    for moved in (logits, logits + shift):
        tensors = torch.from_numpy(moved), torch.from_numpy(y)
        np.testing.assert_allclose(margin(*tensors), others - own, atol=1e-10)
        first, _, third, fourth = np.sort(logits, axis=1).T[::-1]
        for ratio, scale in (
            (dlr(*tensors), first - third),
            (targeted_dlr(*tensors), first - (third + fourth) / 2),
        ):
            np.testing.assert_allclose(ratio.numpy() * (scale + 1e-12), others - own, atol=1e-9)
        np.testing.assert_allclose(
            cross_entropy(*tensors), logsumexp(logits, axis=1) - own, atol=1e-10
        )


def test_goal_values_grow_towards_the_goal():
    logits = torch.tensor([[3.0, 1.0, 0.0, -1.0]])
    nearer = torch.tensor([[2.0, 2.5, 0.0, -1.0]])
    y, target = torch.tensor([0]), torch.tensor([1])
    for name in LOSSES:
        for goal in (Goal(y, None, name), Goal(y, target, name)):
            assert goal.objective(nearer) > goal.objective(logits)
            assert goal.is_adversarial(nearer).all()
            assert not goal.is_adversarial(logits).any()
        loss = (targeted_dlr if name == "dlr" else LOSSES[name])(logits, target)
        assert torch.equal(goal.as_loss(goal.objective(logits)), loss)
