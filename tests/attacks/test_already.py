"""Who met the goal before the attack, how many values changed, and what a result prints."""

import pytest
import torch

from attacks import BIM, PGD


def goal_of(model, x, y, target):
    with torch.no_grad():
        predicted = model.eval()(x).argmax(1)
    return predicted != y if target is None else predicted == target


def test_already_is_the_goal_on_the_clean_samples(case, net, batch):
    x, y = batch(8)
    seen = []
    for target in (None, (y + 1) % 4)[case.needs_target :]:
        result = case.attack()(net(), x, y, target=target)
        expected = goal_of(net(), x, y, target)
        assert torch.equal(result.already, expected)
        assert result.already.dtype == torch.bool
        seen.append(expected)
    assert {True, False} == set(torch.cat(seen).tolist())


def test_fitted_attacks_say_it_too(fitted_case, net, batch):
    x, y = batch(8)
    fitted = fitted_case.fit(net(), [(x, y)])
    assert torch.equal(fitted(net(), x, y).already, goal_of(net(), x, y, None))


def test_nan_is_not_already(case, net, batch, nan_below):
    x, y = batch()
    model = nan_below(net(), level=2.0)
    result = case.attack()(model, x, y, target=(y + 1) % 4)
    assert not result.already.any()


@pytest.mark.parametrize("attack", [BIM(bf16=True), BIM(loss="margin"), PGD(bf16=True)])
def test_bfloat16_has_no_say(attack, net, batch):
    """Samples within bfloat16's rounding of the boundary are judged in float32."""
    x, _ = batch(64)
    model = net(2).eval()
    with torch.no_grad():
        model.head.weight.mul_(1e-3)
        logits = model(x)
        model.head.bias[1] += (logits[:, 0] - logits[:, 1]).median()
    y = torch.zeros(64, dtype=torch.int64)
    assert torch.equal(attack(model, x, y).already, goal_of(model, x, y, None))


def test_l0_counts_the_values_that_changed_and_repr_is_one_line_with_the_counts(case, net, batch):
    x, y = batch()
    result = case.attack()(net(), x, y)
    expected = [int((a != b).sum()) for a, b in zip(result.x_adv, x, strict=True)]
    assert result.l0.tolist() == expected
    assert result.l0.dtype == torch.int64
    could, won = (~result.already).sum(), (result.success & ~result.already).sum()
    text = repr(result)
    assert "\n" not in text
    assert len(text) < 160
    assert text.startswith("AttackResult(6 samples of (3, 6, 6")
    assert f"success on {won} of the {could} that could be attacked" in text
    assert f"{6 - could} met the goal already" in text


def test_of_samples_that_could_not_be_attacked_nobody_was_won(net, batch):
    x, y = batch()
    y = (net().eval()(x).argmax(1) + 1) % 4
    result = PGD(eps=0.01)(net(), x, y)
    assert result.success.all()
    assert "success on 0 of the 0" in repr(result)
