"""The substitute: what it may know, what it costs, and what comes of it."""

import dataclasses

import pytest
import torch

from attacks import FGSM, PGD, BlackBoxSubstitute, RefusedInput, Substitute, load_fitted
from attacks.common.goal import Goal, value_and_gradient
from attacks.substitute.substitute_network import SubstituteShape

SMALL = BlackBoxSubstitute(rounds=4, samples=6, budget=20, epochs=3, width=4, lam=0.2)


class Oracle(torch.nn.Module):
    """Tell the label, and keep what was asked."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, []

    def forward(self, x):
        self.asked.append(x)
        logits = self.model(x)
        return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(x)


def test_labels_are_all_it_learns_from(linear, batch):
    """A model that shows its answer alone, and no gradient, gives the same substitute."""
    x, _ = batch(12)
    model = linear(4)
    open_one, closed = (SMALL.fit(m, [(x,)]) for m in (model, Oracle(model)))
    assert open_one.history == closed.history
    for name, weight in open_one.weights.items():
        assert torch.equal(weight, closed.weights[name])


def test_every_label_is_asked_once_and_no_more_than_the_budget(linear, batch):
    x, _ = batch(12)
    oracle, kept = Oracle(linear(4)), []
    fitted = SMALL.fit(oracle, [(x[:5],), (x[5:],)], on_epoch=kept.append)
    probe, *asked = oracle.asked  # the first tells the number of classes
    assert len(probe) == 1
    assert [record["queries"] for record in fitted.history] == [6, 12, 20]
    asked = torch.cat(asked)
    assert len(asked) == 20
    assert torch.equal(asked[:6], x[:6])
    assert torch.equal(kept[-1].tensors["x"], asked)
    assert torch.equal(kept[-1].tensors["labels"], linear(4)(asked).argmax(1))


def test_a_budget_for_no_more_than_the_first_samples_ends_with_them(linear, batch):
    fitted = dataclasses.replace(SMALL, budget=6).fit(linear(4), [batch(12)])
    assert [record["queries"] for record in fitted.history] == [6]


def test_a_budget_below_the_first_samples_is_refused():
    with pytest.raises(ValueError, match="budget is 5, and the first 6 samples cost a label each"):
        dataclasses.replace(SMALL, budget=5)


def test_new_samples_lie_a_step_up_the_substitutes_score_of_their_label(linear, batch):
    x, _ = batch(12)
    kept = []
    SMALL.fit(linear(4), [(x,)], on_epoch=kept.append)
    weights = {k.removeprefix("network."): v for k, v in kept[0].tensors.items() if "network" in k}
    stand_in = Substitute(weights, SubstituteShape(3, 4, width=4), FGSM()).network()
    old, label = kept[0].tensors["x"], kept[0].tensors["labels"]
    _, _, slope = value_and_gradient(stand_in, old, Goal(label, label).objective)
    expected = (old + 0.2 * slope.sign()).clamp(0, 1)
    torch.testing.assert_close(kept[1].tensors["x"][6:], expected)
    drawn = kept[2].tensors["x"][12:]  # the budget has room for 8 of 12
    distance = (drawn[:, None] - kept[1].tensors["x"][None]).flatten(2).abs().amax(2)  # (8, 12)
    nearest = distance.min(1)
    assert (nearest.values <= 0.2 + 1e-6).all()
    assert len(set(nearest.indices.tolist())) == 8


def test_what_fools_the_substitute_fools_the_model(linear, batch):
    x, _ = batch(150)
    model = linear(3, gain=0.1)
    options = BlackBoxSubstitute(FGSM(eps=0.15), rounds=4, samples=100, budget=600, width=8)
    fitted = options.fit(model, [(x,)])
    new, _ = batch(80, seed=50)
    y = model(new).argmax(1)
    result = fitted(model, new, y)
    noise = new + 0.15 * torch.randn(new.shape, generator=torch.Generator().manual_seed(0)).sign()
    by_chance = (model(noise.clamp(0, 1)).argmax(1) != y).double().mean()
    assert result.success.double().mean() > by_chance + 0.2
    assert result.linf.max() <= 0.15 + 1e-6
    assert result.info["label_queries"] == 600
    assert torch.equal(result.success, model(result.x_adv).argmax(1) != y)
    own = fitted.network()(result.x_adv).argmax(1)
    assert torch.equal(result.info["substitute_success"], own != y)
    assert fitted.history[-1]["agreement"] > 0.9
    target = (y + 1) % 3
    told = dataclasses.replace(fitted, attack=PGD(eps=0.3))(model, new, y, target=target)
    assert torch.equal(told.success, model(told.x_adv).argmax(1) == target)
    assert told.success.double().mean() > 0.35  # 0.24 by chance


def test_the_attack_may_be_changed_and_is_kept_with_its_options(linear, batch, tmp_path, same):
    x, y = batch(12)
    model, attack = linear(4), PGD(norm="l2", eps=0.7, steps=3, loss="margin")
    fitted = dataclasses.replace(SMALL, attack=attack).fit(model, [(x,)])
    fitted.save(tmp_path / "s.safetensors")
    read = load_fitted(tmp_path / "s.safetensors")
    assert read.attack == attack
    assert same(read(model, x, y), fitted(model, x, y))
    many = dataclasses.replace(fitted, attack=FGSM(eps=torch.full((12,), 0.1)))
    with pytest.raises(ValueError, match="cannot be saved; allowed are those of ATTACKS"):
        many.save(tmp_path / "t.safetensors")
    assert not (tmp_path / "t.safetensors").exists()


def test_the_substitutes_warnings_are_told_apart(linear, batch):
    x, y = batch(12)
    fitted = SMALL.fit(linear(4), [(x,)])
    zero = {name: torch.zeros_like(weight) for name, weight in fitted.weights.items()}
    warnings = dataclasses.replace(fitted, weights=zero)(linear(4), x, y).info["warnings"]
    assert warnings
    assert all(text.startswith("substitute: ") for text in warnings)


def test_weights_of_another_shape_are_refused(linear, batch, tmp_path):
    fitted = SMALL.fit(linear(4), [batch(12)])
    other = dataclasses.replace(fitted, shape=SubstituteShape(3, 4, width=5))
    other.save(tmp_path / "s.safetensors")
    with pytest.raises(RefusedInput, match="its weights are not those of SubstituteShape"):
        load_fitted(tmp_path / "s.safetensors")


@pytest.mark.parametrize("name", ["rounds", "samples", "budget", "epochs", "width", "lam", "lr"])
def test_impossible_options_are_refused_at_once(name):
    with pytest.raises(ValueError, match=f"{name} is 0; give a "):
        BlackBoxSubstitute(**{name: 0})
