"""The keyframe attack: which frames, how they move, and what is reported."""

import math

import pytest
import torch
from torch import nn

import attacks.black_box.square
import attacks.common.active_set
from attacks import PGD, Keyframe, KeyframeSquare, Square, frame_weights, sparsity
from attacks.attack import AttackResult
from attacks.common.forward import wrap_forward
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, logits_of
from attacks.video.keyframe_square import frame_effects
from attacks.video.keyframes import frame_differences, select_by_share

EXACT = dict(atol=1e-9, rtol=0)


@pytest.fixture
def clips(net, batch):
    """A model, and clips of six frames that it gets right, some hard to fool."""
    model = net(dims=3, dtype=torch.float64).eval()
    x, _ = batch(10, dims=3, dtype=torch.float64)
    return model, x, model(x).argmax(1).detach()


class Line(nn.Module):
    """Two classes, told apart by a weighted sum of the frames' means."""

    def __init__(self, weights, bias):
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float64))
        self.bias = bias

    def forward(self, x):
        score = x.mean((1, 3, 4)) @ self.weights + self.bias
        return torch.stack([score, -score], 1)


def independent_loop(model, x, y, frames, *, steps, lr, target=None):
    """One clip by torch's own Adam and autograd, as the paper's pseudo-code has it.

    The pixels must stay clear of 0 and 1. Returns the lightest success and its step.
    """
    mask = torch.zeros(1, 1, x.shape[2], 1, 1, dtype=x.dtype)
    mask[:, :, frames] = 1
    delta = (mask * torch.full_like(x, 0.01 / 255)).requires_grad_()
    optimizer = torch.optim.Adam([delta], lr=lr)
    best, least, first = None, math.inf, 0
    for step in range(1, steps + 1):
        logits = model(x + mask * delta)
        lengths = ((mask * delta).square().sum((0, 1, 3, 4)) + 1e-20).sqrt()
        answer = int(logits.argmax())
        met = answer != int(y) if target is None else answer == int(target)
        if met and not first:
            first = step
        if met and lengths.sum().item() < least:
            best, least = (x + mask * delta).detach().clone(), lengths.sum().item()
        ce = nn.functional.cross_entropy(logits, y if target is None else target)
        loss = lengths.sum() if met else (-ce if target is None else ce)
        optimizer.zero_grad()
        loss.backward(inputs=[delta])
        optimizer.step()
    return best, first


@pytest.mark.parametrize("aimed", [False, True])
def test_each_clip_moves_as_by_torchs_adam_alone(clips, aimed):
    model, x, y = clips
    x, target = 0.4 + 0.2 * x, (y + 1) % 4 if aimed else None
    y = model(x).argmax(1).detach()
    result = Keyframe(frames="fixed", fixed="1+4", steps=40, lr=2e-3)(model, x, y, target=target)
    won = 0
    for i in range(len(x)):
        one = slice(i, i + 1)
        aim = None if target is None else target[one]
        best, first = independent_loop(model, x[one], y[one], [1, 4], steps=40, lr=2e-3, target=aim)
        assert result.info["first_success"][i] == first
        if best is not None:
            torch.testing.assert_close(result.x_adv[one], best, atol=1e-7, rtol=0)
            won += 1
    assert won > 0


@pytest.mark.parametrize("options", [{}, {"lam": 0.1}, {"early_stop": True}], ids=str)
def test_a_batch_equals_single_runs(clips, options):
    model, x, y = clips
    attack = Keyframe(steps=30, lr=4e-3, b=0.5, **options)
    together = attack(model, x, y)
    assert len(together.info["keyframes"].sum(1).unique()) > 1  # clips with fewer fill up
    for i in range(len(x)):
        alone = attack(model, x[i : i + 1], y[i : i + 1])
        torch.testing.assert_close(together.x_adv[i], alone.x_adv[0], **EXACT)
        for name in ("first_success", "queries_to_success", "keyframes", "mean_abs"):
            torch.testing.assert_close(together.info[name][i], alone.info[name][0], **EXACT)
        assert together.queries[i] == alone.queries[0]


@pytest.mark.parametrize(
    "attack",
    [
        Keyframe(steps=20, lr=0.05),
        Keyframe(frames="ifd", count=2, steps=20, lr=0.05),
        Keyframe(frames="fixed", fixed="0+5", lam=1.0, steps=20, lr=0.05),
        Keyframe(frames="fixed", count=3, steps=20, lr=0.05, early_stop=True),
        KeyframeSquare(eps=0.3, queries=40),
        KeyframeSquare(eps=0.3, queries=40, count=2),
    ],
    ids=lambda attack: f"{type(attack).__name__}-{getattr(attack, 'frames', attack.count)}",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_frames_are_bitwise_as_they_were(clips, attack, dtype):
    model, x, y = (t.to(dtype) if t is not clips[2] else t for t in clips)
    x[0, :, :2], x[1, :, 3:] = 0, 1
    result = attack(model, x, y)
    left = ~result.info["keyframes"]
    assert left.any(1).all()
    changed = (result.x_adv != x).transpose(1, 2).flatten(2).any(2)  # (B, T)
    assert not changed[left].any()
    assert changed.any()
    assert torch.equal(result.x_adv.transpose(1, 2)[left], x.transpose(1, 2)[left])


def test_gradient_keyframes_are_the_fewest_with_the_share(clips):
    model, x, _ = clips
    weights = frame_weights(model, x)
    for b, target in ((0.3, None), (0.4, torch.zeros(10, dtype=torch.int64))):
        info = Keyframe(steps=1)(model, x, model(x).argmax(1), target=target).info
        assert torch.equal(info["weights"], weights)
        for row, chosen in zip(weights.tolist(), info["keyframes"].tolist(), strict=True):
            order = sorted(range(6), key=lambda t, row=row: -row[t])
            count = next(n for n in range(1, 7) if sum(row[t] for t in order[:n]) >= b * sum(row))
            assert {t for t in range(6) if chosen[t]} == set(order[:count])
    info = Keyframe(steps=1, count=2)(model, x, model(x).argmax(1)).info
    assert (info["keyframes"].sum(1) == 2).all()
    assert torch.equal((weights * info["keyframes"]).sum(1), weights.topk(2).values.sum(1))


def test_the_share_may_be_all_of_it_and_weights_may_be_negative():
    weights = torch.tensor([[1.0, 2.0, 0.0], [-3.0, -1.0, -2.0], [3.0, -1.0, 1.0]])
    assert select_by_share(weights, 1.0).tolist() == [
        [True, True, False], [False, True, False], [True, False, False],
    ]  # fmt: skip
    third = torch.full((1, 3), 1 / 3)
    assert select_by_share(third, 2 / 3).sum() == 2  # whatever the rounding


def test_differences_of_frames_by_hand():
    x = torch.tensor([0.1, 0.4, 0.4, 0.9]).reshape(1, 1, 4, 1, 1).expand(1, 2, 4, 3, 3)
    torch.testing.assert_close(frame_differences(x), torch.tensor([[0.3, 0.3, 0.0, 0.5]]))
    model, y = Line([1.0, 1.0, 1.0, 1.0], 1.0), torch.tensor([0])
    info = Keyframe(frames="ifd", count=1, steps=1)(model, x.double(), y).info
    assert info["keyframes"].tolist() == [[False, False, False, True]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(frames="fixed"), [0, 1]),
        (dict(frames="fixed", count=3), [0, 1, 2]),
        (dict(frames="fixed", fixed="uniform", count=3), [0, 2, 4]),
        (dict(frames="fixed", fixed="5+0+5"), [0, 5]),
        (dict(frames="all"), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_fixed_frames(clips, options, expected):
    mask = Keyframe(steps=1, **options)(*clips).info["keyframes"]
    assert mask.tolist() == [[t in expected for t in range(6)]] * 10


def test_by_hand_on_a_line():
    """One pixel a frame; Adam's first steps are of length lr; the score falls 0.4 * 0.01 each."""
    model, y = Line([0.4, 0.0], -0.4 * 0.5 - 0.009), torch.tensor([0])
    x = torch.tensor([0.55, 0.5], dtype=torch.float64).reshape(1, 1, 2, 1, 1)
    # The score is 0.4 * 0.05 - 0.009 = 0.011 = 2.75 steps, and 0.01/255 more
    result = Keyframe(steps=4, lr=0.01)(model, x, y)
    assert result.info["first_success"].tolist() == [4]
    assert result.info["queries_to_success"].tolist() == [5]
    assert result.queries.tolist() == [1 + 4 + 1]
    assert result.delta.flatten().tolist() == pytest.approx([0.01 / 255 - 0.03, 0], abs=1e-5)
    assert result.info["mean_abs"].tolist() == pytest.approx([(0.03 - 0.01 / 255) / 2], abs=1e-5)
    assert result.info["mean_abs_255"].tolist() == pytest.approx([3.82], abs=1e-3)
    assert sparsity(result)["queries"] == 5


def test_after_a_success_the_change_shrinks_back_to_the_boundary():
    model, y = Line([0.4, 0.0], -0.4 * 0.5 - 0.009), torch.tensor([0])
    x = torch.tensor([0.55, 0.5], dtype=torch.float64).reshape(1, 1, 2, 1, 1)
    found = Keyframe(steps=300, lr=0.001, frames="all")(model, x, y)
    assert found.success.all()
    shortest = 0.011 / 0.4
    assert found.linf.item() == pytest.approx(shortest, abs=0.001)
    assert found.linf.item() > shortest
    first = Keyframe(steps=300, lr=0.01, frames="all", early_stop=True)(model, x, y)
    assert found.linf < first.linf


def test_early_stop_leaves_at_the_first_success(clips, monkeypatch):
    model, x, y = clips
    options = dict(steps=12, lr=2e-3, b=0.6)
    early, full = Keyframe(early_stop=True, **options), Keyframe(**options)
    ours, theirs = early(model, x, y), full(model, x, y)
    assert 0 < ours.success.sum() < 10
    assert torch.equal(ours.success, theirs.success)
    for name in ("first_success", "keyframes", "queries_to_success"):
        assert torch.equal(ours.info[name], theirs.info[name])
    won = ours.success
    assert (ours.queries[won] == ours.info["first_success"][won] + 2).all()
    assert (ours.queries[~won] == theirs.queries[~won]).all()
    assert (theirs.info["mean_abs"][won] <= ours.info["mean_abs"][won] * (1 + 1e-9)).all()
    monkeypatch.setattr(attacks.common.active_set, "unfinished_rows", lambda done: None)
    whole = early(model, x, y)
    torch.testing.assert_close(whole.x_adv, ours.x_adv, **EXACT)
    assert torch.equal(whole.queries, ours.queries)


def test_constant_weights_balance_the_norm_against_the_answer(clips):
    """The larger the weight, the lighter the change; the slope is that of autograd."""
    model, x, y = clips
    sizes = [
        float(Keyframe(frames="all", lam=lam, steps=80)(model, x, y).l2.mean())
        for lam in (0.0, 0.3)
    ]
    assert sizes[1] < sizes[0]
    x, y = 0.4 + 0.2 * x[:1], y[:1]
    y = model(x).argmax(1).detach()
    delta = torch.full_like(x, 0.01 / 255).requires_grad_()
    optimizer = torch.optim.Adam([delta], lr=1e-3)
    for _ in range(5):
        p = model(x + delta).softmax(1)[0, y[0]]
        rms = (255 * delta).square().mean((0, 1, 3, 4)).sqrt().sum()
        loss = -torch.log(1 - p + 1e-6) + 0.2 * rms
        last = -loss.item() + 0.2 * rms.item()
        (delta.grad,) = torch.autograd.grad(loss, delta)
        optimizer.step()
    result = Keyframe(frames="all", lam=0.2, steps=5)(model, x, y)
    assert result.history[-1].item() == pytest.approx(last, abs=1e-9)


def test_queries_of_keyframe_square_are_those_a_model_counts(clips, monkeypatch):
    """A clip alone, looked at after every query, leaves at once: nothing is asked in vain."""
    model, x, y = clips
    attack, rows = KeyframeSquare(eps=0.1, queries=30), []
    monkeypatch.setattr(attacks.black_box.square, "is_check_step", lambda query: True)
    handle = model.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    model(x[:1])
    asked_before = []
    for i in range(len(x)):
        rows.clear()
        with frozen(model):
            wrap_forward(model, x[i : i + 1])
        asked_before.append(len(rows))
        rows.clear()
        result = attack(model, x[i : i + 1], y[i : i + 1])
        assert sum(rows) - asked_before[i] == int(result.queries)
    handle.remove()
    together = attack(model, x, y)
    assert 0 < together.success.sum() < 10
    lost = ~together.success
    assert (together.queries[lost] == 30 + 6 + 1).all()
    assert (together.info["queries_to_success"][lost] == 0).all()


def test_frames_matter_as_much_as_the_loss_without_them(clips):
    model, x, y = clips
    goal = Goal(y, None, "margin")
    with torch.no_grad():
        effects = frame_effects(model, x, goal, clean=logits_of(model, x))
        for frame in (0, 3):
            other = x.clone()
            other[:, :, frame] = x.mean(2)
            expected = (goal.objective(model(other)) - goal.objective(model(x))).abs()
            torch.testing.assert_close(effects[:, frame], expected)


def test_spare_frames_go_back():
    """Only the first frame counts, so the others are given back, whatever is chosen."""
    model = Line([4.0, 0.0, 0.0, 0.0, 0.0, 0.0], -2.3)
    x = torch.full((2, 1, 6, 4, 4), 0.5, dtype=torch.float64)
    x[:, :, 0] = 0.6
    result = KeyframeSquare(eps=0.2, queries=60, count=4)(model, x, torch.tensor([0, 0]))
    assert result.success.all()
    assert result.info["keyframes"].tolist() == [[True] + [False] * 5] * 2
    assert (result.queries - result.info["queries_to_success"]).tolist() == [3, 3]


def test_square_itself_runs_on_clips_whose_frames_share_the_squares(clips):
    model, x, y = clips
    x = 0.4 + 0.2 * x  # no end of [0, 1] is near
    result = Square(eps=0.1, queries=30)(model, x, y)
    assert result.success.any()
    delta = result.delta
    torch.testing.assert_close(delta, delta[:, :, :1].expand_as(delta), atol=1e-9, rtol=0)


def test_the_table_by_hand():
    x = torch.zeros(3, 1, 4, 2, 2)
    x_adv = x.clone()
    x_adv[0, :, 1] = 0.5
    x_adv[1, :, :2, 0] = 0.25
    x_adv[2] = 1
    result = AttackResult(
        x, x_adv, torch.tensor([True, True, False]), torch.zeros(3, dtype=torch.bool),
        torch.tensor([9, 9, 9]), torch.zeros(3),
        info={"queries_to_success": torch.tensor([4, 7, 0])},
    )  # fmt: skip
    assert sparsity(result) == pytest.approx(
        {
            "fooling_rate": 2 / 3,
            "queries": 5.5,
            "map": 255 * (0.125 + 0.0625) / 2,
            "map_unit": (0.125 + 0.0625) / 2,
            "untouched": 1 - 3 / 8,
            "touched": 3 / 8,
        }
    )


def test_the_table_of_another_attack_and_of_none_fooled(clips):
    model, x, y = clips
    figures = sparsity(PGD(eps=0.3)(model, x, y))
    assert figures["touched"] == 1
    assert figures["queries"] == 11
    none = sparsity(PGD(eps=0.0)(model, x, y))
    assert none["fooling_rate"] == 0
    assert math.isnan(none["map"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(frames="some"), "'gradient', 'ifd', 'fixed', 'all'"),
        (dict(weight="mean"), "'abs', 'l1', 'relu', 'signed'"),
        (dict(b=0.0), r"b is 0.0; give a number in \(0, 1\]"),
        (dict(b=1.1), "b is 1.1"),
        (dict(frames="ifd", b=0.3), "b is for frames=gradient"),
        (dict(frames="all", layer="conv"), "layer is for frames=gradient"),
        (dict(frames="ifd", weight="l1"), "weight is for frames=gradient"),
        (dict(fixed="first"), "fixed is for frames=fixed"),
        (dict(frames="fixed", fixed="last"), "first, uniform, or frames from 0"),
        (dict(frames="fixed", fixed="1+-2"), "0\\+3\\+7"),
        (dict(frames="fixed", fixed="1+2", count=2), "count says how many"),
        (dict(frames="all", count=2), "count says how many"),
        (dict(b=0.3, count=2), "count says how many"),
        (dict(count=0), "count is 0"),
        (dict(steps=0), "steps is 0"),
        (dict(lam=-1.0), "lam is -1.0"),
        (dict(lr=0.0), "lr is 0.0"),
        (dict(loss="mse"), "loss is 'mse'"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Keyframe(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(count=0), "count is 0"),
        (dict(count=2, b=0.5), "give one"),
        (dict(b=2.0), "b is 2.0"),
        (dict(queries=0), "queries is 0"),
        (dict(p_init=0.0), "p_init is 0.0"),
        (dict(loss="mse"), "loss is 'mse'"),
    ],
)
def test_impossible_options_of_keyframe_square_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        KeyframeSquare(**options)


def test_frames_that_there_are_not_are_refused(clips):
    for attack, words in (
        (Keyframe(frames="fixed", fixed="2+6"), "names frame 6 of clips with 6 frames"),
        (Keyframe(frames="ifd", count=7), "count is 7 and the clips have 6 frames"),
        (KeyframeSquare(count=7), "count is 7 and the clips have 6 frames"),
        (Keyframe(layer="nowhere"), "layer is 'nowhere'"),
    ):
        with pytest.raises(ValueError, match=words):
            attack(*clips)


def test_hooks_of_the_weights_are_gone_after_the_attack(clips):
    model, x, y = clips
    Keyframe(steps=1)(model, x, y)
    assert not any(module._forward_hooks for module in model.modules())
