"""bfloat16 forward passes and compiled steps."""

import functools

import pytest
import torch
import torch.nn.functional as F

from attacks import PGD


class Turncoat(torch.nn.Module):
    """Sees class 1 whenever it runs in bfloat16, and class 0 in float32."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(12, 3)
        self.seen = []

    def forward(self, x):
        logits = self.layer(x.flatten(1)) * 1e-3
        self.seen.append(logits.dtype)
        wanted = 1 if logits.dtype == torch.bfloat16 else 0
        return logits + 9 * F.one_hot(torch.tensor(wanted), 3)


@pytest.mark.parametrize("early_stop", [False, True])
def test_float32_decides_about_success(early_stop):
    x, y = torch.rand(5, 3, 2, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(5)
    model = Turncoat()
    attack = PGD(bf16=True, steps=3, early_stop=early_stop, restarts=2)
    result = attack(model, x, y.long())
    assert not result.success.any()
    assert model.seen.count(torch.bfloat16) == 2 * (3 + 1)
    # Its claims are refuted before steps 1 and 2 and after the last, or only then.
    confirmed = 2 * (3 if early_stop else 1)
    assert result.queries.tolist() == [2 * (3 + 1) + confirmed] * 5
    expected = F.cross_entropy(model(result.x_adv), y.long(), reduction="none")
    torch.testing.assert_close(result.loss, expected)


class Boaster(torch.nn.Module):
    """Sees class 1 above a pixel value of 0.5; in bfloat16, from the 7th pass on, everywhere."""

    def __init__(self):
        super().__init__()
        self.layer, self.passes = torch.nn.Linear(1, 1), 0

    def forward(self, x):
        half = self.layer(x.flatten(1)).dtype == torch.bfloat16
        self.passes += half
        v = x.flatten(1)[:, 0] - 0.5
        v = 9 - v if half and self.passes > 6 else v
        return torch.stack([-v, v], 1)


@pytest.mark.parametrize("early_stop", [False, True])
def test_what_float32_confirmed_is_not_lost_to_a_later_claim(early_stop):
    x = torch.tensor([0.45, 0.0]).reshape(2, 1, 1, 1)
    attack = PGD(bf16=True, eps=0.1, steps=5, loss="margin", restarts=2, early_stop=early_stop)
    result = attack(Boaster(), x, torch.zeros(2, dtype=torch.int64))
    assert result.success.tolist() == [True, False]
    assert result.x_adv[0].item() > 0.5
    torch.testing.assert_close(result.loss, 2 * (result.x_adv.flatten() - 0.5))


@pytest.mark.parametrize("early_stop", [False, True])
def test_bfloat16_finds_about_what_float32_finds(early_stop, net, batch):
    model = net().eval()
    x, _ = batch(48)
    y = model(x).argmax(1)
    plain, half = (
        PGD(eps=0.04, early_stop=early_stop, bf16=flag)(model, x, y) for flag in (False, True)
    )
    assert 5 < plain.success.sum() < 43
    assert abs(int(plain.success.sum()) - int(half.success.sum())) <= 3
    assert half.x_adv.dtype == half.loss.dtype == torch.float32
    assert torch.equal(half.success, model(half.x_adv).argmax(1) != y)


@pytest.mark.slow
def test_a_compiled_attack_runs_alike(net, batch, monkeypatch):
    """Traced into graphs, forward and backward; run by them as they are, for speed of the test."""
    plain_compile = torch.compile
    traced = []

    def fake(target):
        traced.append(target)
        return plain_compile(target, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", fake)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 4))
    x, y = batch(9)
    for norm, eps in (("linf", 0.05), ("l2", 0.5), ("l1", 3.0)):
        make = functools.partial(PGD, norm=norm, eps=eps, early_stop=True)
        results = [make(compile=flag)(model, x, y) for flag in (False, True)]
        assert len(traced) == 2
        traced.clear()
        torch.testing.assert_close(results[1].x_adv, results[0].x_adv, atol=1e-6, rtol=0)
        assert torch.equal(results[1].success, results[0].success)


@pytest.mark.slow
def test_a_truly_compiled_attack_runs_alike(net, batch):
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 4))
    x, y = batch(9)
    results = [PGD(eps=0.05, early_stop=True, compile=flag)(model, x, y) for flag in (False, True)]
    torch.testing.assert_close(results[1].x_adv, results[0].x_adv, atol=1e-5, rtol=0)
