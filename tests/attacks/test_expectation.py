"""EOT: the mean of passes, what it costs, and that chance hangs on the seed alone."""

import random
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import nn

from attacks import ATTACKS, FITTED, PGD
from attacks.common.expectation import Expectation
from attacks.common.goal import cross_entropy, value_and_gradient
from trainers.run.cli.specs.attacks import build_attack

SLOPED = [n for n, kind in ATTACKS.items() if "eot" in {f.name for f in fields(kind)}]


class Turning(nn.Module):
    """A linear classifier whose weights are another matrix in each pass, by turns."""

    def __init__(self, *weights):
        super().__init__()
        self.weights, self.turn = weights, 0

    def forward(self, x):
        self.turn += 1
        return x.flatten(1) @ self.weights[self.turn % len(self.weights)].T


def test_the_gradient_is_the_mean_of_those_of_the_losses():
    """By hand: that of the cross entropy of W x is W' (softmax(W x) - e_y)."""
    generator = np.random.default_rng(0)
    weights, x, y = (
        generator.normal(size=(3, 4, 2)),
        generator.random((5, 1, 1, 2)),
        [0, 1, 2, 3, 0],
    )
    losses, slopes = [], []
    for matrix in weights:
        scores = np.exp(x.reshape(5, 2) @ matrix.T)
        scores /= scores.sum(1, keepdims=True)
        losses.append(-np.log(scores[range(5), y]))
        slopes.append((scores - np.eye(4)[y]) @ matrix)
    model = Turning(*torch.from_numpy(weights))
    averaged = Expectation(lambda x: model(x), 3)
    logits, loss, slope = value_and_gradient(
        averaged, torch.from_numpy(x), lambda z: cross_entropy(z, torch.tensor(y))
    )
    np.testing.assert_allclose(loss, np.mean(losses, 0))
    np.testing.assert_allclose(slope.reshape(5, 2), np.mean(slopes, 0))
    np.testing.assert_allclose(logits, x.reshape(5, 2) @ weights.mean(0).T)
    assert model.turn == 3


def test_all_attacks_with_gradients_have_the_options_and_no_others():
    assert sorted({*ATTACKS} - {*SLOPED}) == ["keyframe-square", "square"]
    assert not any("eot" in kind.__dataclass_fields__ for kind in FITTED.values())
    made = build_attack("pgd:eot=20,bpda=identity,steps=3")
    assert made == PGD(steps=3, eot=20, bpda="identity")
    assert build_attack("cw:bpda=identity:features.0+head").bpda == "identity:features.0+head"
    with pytest.raises(ValueError, match="square has no option 'eot'"):
        build_attack("square:eot=2")
    with pytest.raises(ValueError, match=r"eot is 0; give a whole number >= 1"):
        PGD(eot=0)
    with pytest.raises(ValueError, match="bpda is ''; give text that is not empty or None"):
        build_attack("pgd:bpda=")
    with pytest.raises(ValueError, match="compile=True with bpda='identity'"):
        PGD(compile=True, bpda="identity")


def test_of_a_deterministic_model_it_changes_nothing(any_case, net, batch):
    if any_case.name not in SLOPED or any_case.name == "autoattack":
        pytest.skip("takes no gradient, or has members that wait for no second success")
    x, y = batch(dtype=torch.float64)
    changes = {"early_stop": False} if hasattr(any_case.attack(), "early_stop") else {}
    once, thrice = (
        any_case.attack(eot=eot, **changes)(net(dtype=torch.float64), x, y, seed=3)
        for eot in (1, 3)
    )
    torch.testing.assert_close(thrice.x_adv, once.x_adv, atol=1e-9, rtol=0)
    torch.testing.assert_close(thrice.loss, once.loss, atol=1e-9, rtol=0, equal_nan=True)
    assert torch.equal(thrice.success, once.success)
    assert torch.equal(thrice.queries, 3 * (once.queries + 1))


def test_queries_count_the_passes(net, batch):
    x, y = batch(8)
    model, seen = net(), []
    model.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))
    result = PGD(steps=4, eot=3, random_start=False, early_stop=True)(model, x, y)
    assert result.queries.tolist() == [3 * (4 + 1 + 1)] * 8  # steps, the end, and the verdict
    whole = [given for given in seen if len(given) == 8]  # without the looks at two samples
    assert len(whole) == 18
    assert sum(torch.equal(given, x) for given in whole) == 3
    assert len({given.numpy().tobytes() for given in whole}) == 5


class Random(nn.Module):
    """Draws from all three generators."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(27, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.linspace(-1, 1, 81).sin().reshape(3, 27))

    def forward(self, x):
        noise = torch.rand(3) + float(np.random.rand()) + random.random()  # noqa: NPY002
        return self.head(x.flatten(1)) * noise


@pytest.mark.parametrize("eot", [1, 4])
def test_a_random_model_draws_by_the_seed(eot, same):
    x, y, model = torch.rand(5, 3, 3, 3), torch.zeros(5, dtype=torch.int64), Random()
    attack, results = PGD(steps=3, eps=0.1, eot=eot), []
    for seed in (1, 1, 2):
        torch.manual_seed(len(results)), np.random.seed(len(results))  # noqa: NPY002
        random.seed(len(results))
        before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
        results.append(attack(model, x, y, seed=seed))
        after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
        assert torch.equal(before[0], after[0])
        assert (before[1] == after[1]).all()
        assert before[2] == after[2]
    assert same(results[0], results[1])
    assert not torch.equal(results[0].loss, results[2].loss)


def test_success_is_what_single_passes_say_in_the_end():
    """One that is wrong in every other pass, whatever it is given, fails on every other sample."""

    class Wavers(nn.Module):
        def __init__(self):
            super().__init__()
            self.turn = 0

        def forward(self, x):
            self.turn += 1
            lead = x.flatten(1).sum(1) * 1e-3 + (1 if self.turn % 2 else -1)
            return torch.stack([lead, -lead], 1)

    x, y = torch.rand(9, 1, 2, 2), torch.zeros(9, dtype=torch.int64)
    result = PGD(steps=2, eot=4, early_stop=True)(Wavers(), x, y)
    assert sorted(result.success.tolist()) == [False] * 4 + [True] * 5 or (
        sorted(result.success.tolist()) == [False] * 5 + [True] * 4
    )
    assert result.success[:-1].tolist() == (~result.success[1:]).tolist()
    assert (result.queries == 4 * 4).all()  # nobody left early
    assert "warnings" not in result.info
