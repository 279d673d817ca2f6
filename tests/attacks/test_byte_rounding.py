"""Samples in bytes that still fool: within the budget, by few bytes, exactly as files hold them."""

import pytest
import torch

from attacks import CW, FMN, PGD, AttackResult, Square, WaveletSparse
from attacks.attack import lengths
from attacks.common.goal import Goal
from trainers.evaluate.budgets import Budget
from trainers.evaluate.byte_rounding import round_to_bytes


class Mean(torch.nn.Module):
    """Class 1 where the mean of a sample is above one half, by the steepness asked for."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = self.gain * (x.flatten(1).mean(1) - 0.5)
        return torch.stack([-score, score], 1)


class Opaque(Mean):
    """The same, without a gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.detach())


def result_of(x: torch.Tensor, x_adv: torch.Tensor, y: torch.Tensor) -> AttackResult:
    n = len(x)
    success = Mean()(x_adv).argmax(1) != y
    return AttackResult(
        x=x, x_adv=x_adv, success=success, already=torch.zeros(n, dtype=torch.bool),
        queries=torch.zeros(n, dtype=torch.int64), loss=torch.zeros(n),
    )  # fmt: skip


@pytest.mark.parametrize("model", [Mean(), Opaque()], ids=["gradient", "none"])
def test_what_rounding_loses_is_pushed_over_the_boundary_and_no_farther(model: Mean) -> None:
    x = torch.full((1, 1, 4, 4), 100 / 255)
    x_adv = torch.full_like(x, 0.5001)  # 127.53 of 255, rounds to 128: above
    x_adv[0, 0, 0] = 127.2 / 255  # these round to 127
    x_adv[0, 0, 1:] = 127.6 / 255
    x_adv[0, 0, 1] = 127.45 / 255
    x_adv[0, 0, 2] = 127.45 / 255
    x_adv[0, 0, 3] = 128.2 / 255
    y = torch.tensor([0])
    found = result_of(x, x_adv, y)
    assert found.success.all()
    rounded = (x_adv * 255).round() / 255
    assert model(rounded).argmax(1) == y, "rounding alone loses it"
    got = round_to_bytes(model, found, Goal(y))
    assert got.success.all()
    z = got.x_adv * 255
    torch.testing.assert_close(z, z.round(), atol=1e-4, rtol=0)
    assert float(got.x_adv.mean()) < 0.5 + 3 / 255
    assert got.queries > found.queries


@pytest.mark.parametrize(("norm", "eps"), [("linf", 6 / 255), ("l2", 0.35), ("l1", 2.0)])
@pytest.mark.parametrize("targeted", [False, True])
def test_a_network_is_fooled_by_bytes_within_the_budget(norm, eps, targeted, net, batch) -> None:
    x, _ = batch(40)
    x = (x * 255).round() / 255
    model = net().eval()
    y, second = model(x).topk(2, dim=1).indices.unbind(1)
    wanted = second if targeted else None
    attack = PGD(norm=norm, eps=eps, steps=20, early_stop=True, loss="margin")
    found = attack(model, x, y, target=wanted)
    assert int(found.success.sum()) > 0
    got = round_to_bytes(model, found, Goal(y, wanted), Budget(norm, eps))
    assert float(lengths(got.delta, norm).max()) <= eps + 2e-6
    files = (got.x_adv * 255).round().byte()  # what a picture holds
    read = files.float() / 255
    assert torch.equal(read, got.x_adv)
    alone = torch.cat([model(one[None]) for one in read]).argmax(1)
    reached = alone != y if wanted is None else alone == wanted
    assert torch.equal(reached, got.success)
    plain = model((found.x_adv * 255).round() / 255).argmax(1)
    kept = plain != y if wanted is None else plain == wanted
    assert int((got.success & found.success).sum()) >= int((kept & found.success).sum())
    assert int((got.success & found.success).sum()) >= 0.9 * int(found.success.sum())


@pytest.mark.parametrize("attack", [FMN(), FMN(norm="linf"), CW(), WaveletSparse(steps=30)])
def test_attacks_that_end_on_the_boundary_survive_whole(attack, net, batch) -> None:
    x, _ = batch(20)
    model = net().eval()
    y = model(x).argmax(1)
    found = attack(model, x, y)
    lost = found.success & (model((found.x_adv * 255).round() / 255).argmax(1) == y)
    assert lost.any(), "else this shows nothing"
    got = round_to_bytes(model, found, Goal(y))
    assert torch.equal(got.success, found.success)
    assert float((got.l2 - found.l2).abs().max()) < 0.5


def test_what_the_attack_left_alone_stays(net, batch) -> None:
    x, _ = batch(10)
    x = (x * 255).round() / 255
    model = net().eval()
    y = model(x).argmax(1)
    found = FMN(norm="l1")(model, x, y)
    got = round_to_bytes(model, found, Goal(y))
    assert got.success.all()
    assert not ((got.x_adv != x) & (found.x_adv == x)).any()


def test_a_model_without_a_gradient_is_pushed_along_the_attacks_own_way(net, batch) -> None:
    x, _ = batch(30)
    inner = net().eval()

    class Black(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return inner(x.detach())

    y = inner(x).argmax(1)
    found = FMN()(inner, x, y)
    lost = found.success & (inner((found.x_adv * 255).round() / 255).argmax(1) == y)
    assert lost.any()
    got = round_to_bytes(Black(), found, Goal(y))
    assert torch.equal(got.success, found.success)
    square = Square(eps=0.08, queries=200)(Black(), x, y)
    got = round_to_bytes(Black(), square, Goal(y), Budget("linf", 0.08))
    assert got.success.any()
    assert float(got.linf.max()) <= 0.08 + 2e-6


def test_no_byte_within_the_budget_is_no_success() -> None:
    x = torch.full((1, 1, 2, 2), 127.49 / 255)
    y, eps = torch.tensor([0]), 0.02 / 255
    found = result_of(x, x + eps, y)
    found = AttackResult(**{**vars(found), "success": torch.ones(1, dtype=torch.bool)})
    got = round_to_bytes(Mean(), found, Goal(y), Budget("linf", eps))
    assert not got.success.any()


def test_nan_is_never_a_success_and_the_model_stays_as_it_was() -> None:
    class Nan(Mean):
        def __init__(self) -> None:
            super().__init__()
            self.norm = torch.nn.BatchNorm2d(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(self.norm(x)) * torch.nan

    model, x, y = Nan().train(), torch.zeros(2, 1, 2, 2), torch.tensor([0, 0])
    found = result_of(x, x + 0.9, y)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    got = round_to_bytes(model, found, Goal(y))
    assert not got.success.any()
    assert model.training
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
