import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import logsumexp

from attacks.goal import Goal
from attacks.losses import LOSSES, cross_entropy, margin


def test_margin_by_hand():
    logits = torch.tensor([[2.0, 5.0, 1.0], [-7.0, -3.0, -4.0], [1.0, 1.0, 0.0]])
    assert margin(logits, torch.tensor([0, 1, 0])).tolist() == [3.0, -1.0, 0.0]
    assert margin(logits, torch.tensor([1, 2, 2])).tolist() == [-3.0, 1.0, 1.0]


logit_arrays = arrays.arrays(np.float64, (3, 4), elements=st.floats(-50, 50))


@settings(max_examples=40, deadline=None)
@given(logits=logit_arrays, shift=st.floats(-100, 100))
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
        np.testing.assert_allclose(
            cross_entropy(*tensors), logsumexp(logits, axis=1) - own, atol=1e-10
        )


def test_goal_values_grow_towards_the_goal():
    logits = torch.tensor([[3.0, 1.0, 0.0]])
    nearer = torch.tensor([[2.0, 2.5, 0.0]])
    y, target = torch.tensor([0]), torch.tensor([1])
    for name in LOSSES:
        for goal in (Goal(y, None, name), Goal(y, target, name)):
            assert goal.value(nearer) > goal.value(logits)
            assert goal.met(nearer).all()
            assert not goal.met(logits).any()
        loss = LOSSES[name](logits, target)
        assert torch.equal(goal.as_loss(goal.value(logits)), loss)
