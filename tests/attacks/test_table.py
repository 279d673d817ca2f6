"""What every attack must do: each test runs on each row of the table in conftest.py."""

import copy
import dataclasses
import random

import numpy as np
import pytest
import torch

from attacks import ATTACKS

EXACT = dict(atol=1e-9, rtol=0)  # of float64 runs that differ in their batch alone


def same(ours, theirs):
    """Whether two results agree bit for bit."""
    pairs = [(getattr(ours, n), getattr(theirs, n)) for n in ("x_adv", "success", "loss")]
    return all(torch.equal(a, b) for a, b in pairs)


def state_of(model):
    """Everything an attack could change about a model: objects, contents and flags."""
    params = list(model.named_parameters())
    hooks = [
        (id(m), tuple(m._forward_hooks), tuple(m._forward_pre_hooks), tuple(m._backward_hooks))
        for m in model.modules()
    ]
    return {
        "flags": [m.training for m in model.modules()],
        "parameters": [(n, id(p), p.requires_grad, p._version) for n, p in params],
        "gradients": [(n, id(p.grad), p.grad is None or p.grad.tolist()) for n, p in params],
        "values": {n: p.tolist() for n, p in params},
        "buffers": [
            (name, id(b), b is None or (b.tolist(), b.requires_grad))
            for m in model.modules()
            for name, b in m._buffers.items()
        ],
        "hooks": hooks,
        "keys": list(model.state_dict()),
    }


def random_states():
    """The states of every global source of random numbers."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().tolist(), name, keys.tolist(), rest, random.getstate()


def modes():
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled()


def test_every_attack_has_a_row(cases):
    assert {case.name for case in cases} == set(ATTACKS)


def test_options_are_frozen(case):
    attack = case.attack()
    name = dataclasses.fields(attack)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(attack, name, None)


def test_ball_range_shape_dtype_device(case, net, batch):
    x, y = batch()
    x[0], x[1] = 0, 1
    changes = {"eps": torch.tensor([0.0, 1e-9, 1e-3, 0.05, 0.3, 2.0])} if case.norm else {}
    result = case.attack(**changes)(net(), x, y)
    assert torch.equal(result.x, x)
    assert result.x_adv.shape == x.shape
    assert (result.x_adv.dtype, result.x_adv.device) == (x.dtype, x.device)
    assert torch.isfinite(result.x_adv).all()
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    assert torch.equal(result.delta, result.x_adv - x)
    assert not result.x_adv.requires_grad
    assert "warnings" not in result.info
    if case.norm:
        size = (result.x_adv.double() - x.double()).flatten(1)
        size = size.abs().amax(1) if case.norm == "linf" else size.square().sum(1).sqrt()
        assert (size <= changes["eps"].double() * (1 + 1e-5)).all()
        assert (size[3:] >= changes["eps"][3:] * 0.5).sum() >= 2  # the ball is used, too


def test_result_fields_have_one_entry_a_sample(case, net, batch):
    x, y = batch()
    result = case.attack()(net(), x, y)
    for name, dtype in {"success": torch.bool, "queries": torch.int64, "loss": x.dtype}.items():
        value = getattr(result, name)
        assert (value.shape, value.dtype) == (y.shape, dtype), name
    assert result.history is None or result.history.shape[1:] == y.shape
    flat = result.delta.flatten(1)
    for name, order in {"linf": torch.inf, "l2": 2, "l1": 1}.items():
        torch.testing.assert_close(getattr(result, name), flat.norm(order, dim=1))


def test_float64_is_kept(case, net, batch):
    x, y = batch(dtype=torch.float64)
    result = case.attack()(net(dtype=torch.float64), x, y)
    assert result.x_adv.dtype == result.loss.dtype == torch.float64


def test_eps_zero_is_the_identity(ball_case, net, batch):
    x, y = batch()
    result = ball_case.attack(eps=0.0)(net(), x, y)
    assert torch.equal(result.x_adv, x)
    predicted = net().eval()(x).argmax(1)
    assert torch.equal(result.success, predicted != y)


def test_pixels_within_the_tolerance_of_the_range_end_inside_it(case, net, batch):
    x, y = batch()
    x[0], x[1] = 1 + 5e-5, -5e-5
    changes = {"eps": 0.0} if case.norm else {}
    result = case.attack(**changes)(net(), x, y)
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    torch.testing.assert_close(result.x, x, atol=6e-5, rtol=0)
    if case.norm:
        assert not result.linf.any()


def test_eps_per_sample_equals_scalar_runs(ball_case, net, batch):
    x, y = batch(4, dtype=torch.float64)
    model, eps = net(dtype=torch.float64), [0.0, 0.02, 0.1, 0.7]
    together = ball_case.attack(eps=torch.tensor(eps))(model, x, y)
    for i, value in enumerate(eps):
        alone = ball_case.attack(eps=torch.tensor([value]).item())(model, x, y)
        torch.testing.assert_close(together.x_adv[i], alone.x_adv[i], **EXACT)
        assert together.success[i] == alone.success[i]


@pytest.mark.parametrize("ids", [None, [5, 3, 9, -2, 5, 2**40]], ids=["content", "ids"])
def test_batch_order_does_not_matter(case, net, batch, ids):
    x, y = batch(dtype=torch.float64)
    model, order = net(dtype=torch.float64), torch.tensor([3, 0, 5, 1, 4, 2])
    moved = None if ids is None else [ids[i] for i in order]
    forth = case.attack()(model, x, y, sample_ids=ids)
    back = case.attack()(model, x[order], y[order], sample_ids=moved)
    torch.testing.assert_close(forth.x_adv[order], back.x_adv, **EXACT)
    torch.testing.assert_close(forth.loss[order], back.loss, **EXACT)
    assert torch.equal(forth.success[order], back.success)


@pytest.mark.parametrize("ids", [None, torch.arange(6)], ids=["content", "ids"])
def test_batch_size_does_not_matter(case, net, batch, ids):
    x, y = batch(dtype=torch.float64)
    model, attack = net(dtype=torch.float64), case.attack()
    together = attack(model, x, y, sample_ids=ids, seed=3)
    for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
        given = None if ids is None else ids[rows]
        part = attack(model, x[rows], y[rows], sample_ids=given, seed=3)
        torch.testing.assert_close(together.x_adv[rows], part.x_adv, **EXACT)
        torch.testing.assert_close(together.loss[rows], part.loss, **EXACT)
        assert torch.equal(together.success[rows], part.success)


def test_same_seed_is_bitwise_equal_and_global_numbers_untouched(case, net, batch):
    x, y = batch()
    model, before = net(), random_states()
    first = case.attack()(model, x, y, seed=11)
    assert random_states() == before
    torch.rand(3)  # another global state must not matter
    assert same(first, case.attack()(model, x, y, seed=11))
    other = case.attack()(model, x, y, seed=12)
    assert torch.equal(first.x_adv, other.x_adv) == (not case.random)


def test_samples_of_one_id_share_their_numbers_and_others_do_not(case, net, batch):
    x, y = batch(1)
    x, y = x.expand(3, -1, -1, -1), y.expand(3)
    result = case.attack()(net(), x, y, sample_ids=[1, 2, 1])
    torch.testing.assert_close(result.x_adv[0], result.x_adv[2], atol=1e-6, rtol=0)
    close = torch.allclose(result.x_adv[0], result.x_adv[1], atol=1e-6, rtol=0)
    assert close == (not case.random)


@pytest.fixture
def marked(net):
    """A net whose every kind of state differs from the default."""
    model = net()
    model.features[0].eval()
    model.head.weight.requires_grad_(False)
    model.features[0].weight.grad = torch.ones_like(model.features[0].weight)
    model.head.register_forward_hook(lambda *_: None)
    model.features.register_forward_pre_hook(lambda *_: None)
    model.features[2].register_full_backward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("fail_at", [None, 1, 2], ids=["ends", "raises-first", "raises-midway"])
def test_model_and_inputs_are_untouched(case, marked, batch, fail_at):
    x, y = batch()
    given = [x.requires_grad_(), y, (y + 1) % 4]
    marked.fail_at = fail_at
    before = state_of(marked), modes(), random_states(), [t.tolist() for t in given]
    if fail_at:
        with pytest.raises(RuntimeError, match="out of order"):
            case.attack()(marked, x, y, target=given[2])
    else:
        case.attack()(marked, x, y, target=given[2])
    after = state_of(marked), modes(), random_states(), [t.tolist() for t in given]
    assert after == before
    assert x.grad is None
    assert x.requires_grad


def test_the_result_shares_no_memory_with_the_input(case, net, batch):
    x, y = batch()
    result = case.attack(**({"eps": 0.0} if case.norm else {}))(net(), x, y)
    assert x.data_ptr() not in (result.x.data_ptr(), result.x_adv.data_ptr())


def test_a_training_model_is_attacked_in_eval_mode(case, net, batch):
    x, y = batch()
    assert same(case.attack()(net().train(), x, y), case.attack()(net().eval(), x, y))


def test_success_equals_an_independent_evaluation(case, net, batch):
    x, y = batch(48)
    goals, model = [], net().eval()
    for target in (None, (y + 1) % 4):
        result = case.attack()(net(), x, y, target=target)
        with torch.no_grad():
            predicted = model(result.x_adv).argmax(1)
        assert torch.equal(
            result.success, predicted != y if target is None else predicted == target
        )
        goals.append(result.success)
    assert {True, False} == set(torch.cat(goals).tolist())  # else this would compare nothing


def test_queries_count_the_forward_passes(case, net, batch):
    x, y = batch()
    model, passes = net(), []
    handle = model.register_forward_hook(lambda *_: passes.append(1))
    result = case.attack()(model, x, y)
    handle.remove()
    assert result.queries.tolist() == [len(passes)] * len(x)


@pytest.mark.parametrize("classes", [2, 5])
def test_untargeted_changes_the_answer(case, linear, batch, classes):
    model = linear(classes, gain=0.3)
    x, _ = batch(12)
    y = model(x).argmax(1)
    result = case.strongest()(model, x, y)
    assert result.success.all()
    assert (model(result.x_adv).argmax(1) != y).all()


@pytest.mark.parametrize("classes", [2, 5])
def test_targeted_reaches_the_target(case, linear, batch, classes):
    model = linear(classes, gain=0.3)
    x, _ = batch(12)
    y = model(x).argmax(1)
    target = (y + torch.arange(12) % (classes - 1) + 1) % classes
    result = case.strongest()(model, x, y, target=target)
    assert result.success.all()
    assert torch.equal(model(result.x_adv).argmax(1), target)


def test_the_label_of_a_targeted_attack_does_not_matter(case, net, batch):
    x, y = batch()
    target = (y + 1) % 4
    runs = [case.attack()(net(), x, label, target=target) for label in (y, (y + 2) % 4)]
    assert same(*runs)


def test_two_classes(case, net, batch):
    x, y = batch(classes=2)
    result = case.attack()(net(2), x, y)
    assert torch.isfinite(result.loss).all()
    assert result.linf.max() > 0


@pytest.mark.parametrize("shift", [-100.0, 100.0])
def test_only_differences_of_logits_matter(case, net, batch, shift):
    x, y = batch(dtype=torch.float64)
    model = net(dtype=torch.float64)
    plain = case.attack()(model, x, y)
    model.shift = shift
    assert model.eval()(x).sign().unique().tolist() == [np.sign(shift)]
    shifted = case.attack()(model, x, y)
    torch.testing.assert_close(shifted.x_adv, plain.x_adv, atol=1e-7, rtol=0)
    torch.testing.assert_close(shifted.loss, plain.loss, atol=1e-7, rtol=0)


def test_pixels_at_zero_and_one_can_move(case, linear, batch):
    x = batch()[0].round()
    model = linear(3, gain=0.3)
    y = model(x).argmax(1)
    result = case.strongest()(model, x, y)
    assert result.success.all()
    for end in (0, 1):
        assert result.delta[x == end].abs().max() > 1e-3


def test_samples_with_nan_count_as_not_fooled(case, net, batch, nan_below):
    x, y = batch(dtype=torch.float64)
    x[[1, 4]] *= 0.1
    model = net(dtype=torch.float64)
    y = (model.eval()(x).argmax(1) + 1) % 4  # wrong labels: all but the broken are fooled
    result = case.attack()(nan_below(model), x, y)
    assert result.success.tolist() == [True, False, True, True, False, True]
    (warning,) = result.info["warnings"]
    assert "2 of 6 samples" in warning
    assert torch.isfinite(result.x_adv).all()
    whole = torch.tensor([0, 2, 3, 5])
    others = case.attack()(model, x[whole], y[whole])
    torch.testing.assert_close(result.x_adv[whole], others.x_adv, **EXACT)


def test_a_target_is_not_reached_by_nan(case, net, batch, nan_below):
    x, y = batch()
    result = case.attack()(nan_below(net(), level=2.0), x, y, target=torch.zeros_like(y))
    assert not result.success.any()
    if case.options.get("space") != "paper":  # whose start is not the sample
        assert torch.equal(result.x_adv, x)


def test_infinite_logits_count_as_not_fooled(case, net, batch):
    class Infinite(torch.nn.Module):
        def forward(self, x):
            rows = x.flatten(1)[:, :3]
            return torch.stack([rows[:, 0], rows[:, 1] / 0, rows[:, 2]], 1)

    x, _ = batch()
    result = case.attack()(Infinite(), x, torch.zeros(6, dtype=torch.int64))
    assert not result.success.any()
    assert torch.isfinite(result.x_adv).all()


def test_inside_no_grad(case, net, batch):
    x, y = batch()
    plain = case.attack()(net(), x, y)
    with torch.no_grad():
        assert same(case.attack()(net(), x, y), plain)
        assert not torch.is_grad_enabled()


def test_inside_inference_mode(case, net, batch):
    x, y = batch()
    model, target = net(), (y + 1) % 4
    plain = [case.attack()(model, x, y, target=t) for t in (None, target)]
    with torch.inference_mode():
        x, y, target = x.clone(), y.clone(), target.clone()  # inference tensors themselves
        inside = [case.attack()(model, x, y, target=t) for t in (None, target)]
        assert torch.is_inference_mode_enabled()
    assert same(inside[0], plain[0])
    assert same(inside[1], plain[1])
    assert not inside[0].x_adv.is_inference()


def test_under_autocast_the_run_stays_float32(case, net, batch):
    x, y = batch()
    plain = case.attack()(net(), x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(case.attack()(net(), x, y), plain)
        assert torch.is_autocast_enabled("cpu")


def test_a_model_with_its_own_bfloat16_gives_float32_results(case, net, batch):
    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = net()

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.inner(x)

    x, y = batch()
    result = case.attack()(Half(), x, y)
    assert result.x_adv.dtype == result.loss.dtype == torch.float32


@pytest.mark.parametrize("channels", [1, 3])
def test_videos(case, net, batch, channels):
    x, y = batch(3, dims=3, channels=channels, side=4)
    result = case.strongest()(net(dims=3, channels=channels, side=4), x, y)
    assert result.x_adv.shape == (3, channels, 4, 4, 4)
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    assert (result.linf > 0).any()


def test_batch_of_one_in_any_memory_layout(case, net, batch):
    x, y = batch(1)
    plain = case.attack()(net(), x, y)
    strided = case.attack()(net(), x.to(memory_format=torch.channels_last), y)
    assert plain.x_adv.shape == x.shape
    torch.testing.assert_close(strided.x_adv, plain.x_adv, atol=1e-4, rtol=0)


def test_progress_counts_to_the_end(case, net, batch):
    x, y = batch()
    seen = []
    case.attack()(net(), x, y, progress=lambda done, total: seen.append((done, total)))
    total = seen[-1][1]
    assert seen == [(i + 1, total) for i in range(total)]


LABELS = torch.tensor([0, 1])
WRONG = {
    "uint8": (torch.zeros(2, 3, 6, 6, dtype=torch.uint8), LABELS, ["uint8", "float()"]),
    "half": (torch.zeros(2, 3, 6, 6, dtype=torch.bfloat16), LABELS, ["bfloat16"]),
    "normalised": (torch.linspace(-2.5, 2, 216).reshape(2, 3, 6, 6), LABELS,
                   ["-2.5", "2]", "Normalize"]),
    "above": (torch.full((2, 3, 6, 6), 1.0003), LABELS, ["1.0003"[:5], "Normalize"]),
    "nan": (torch.full((2, 3, 6, 6), torch.nan), LABELS, ["nan"]),
    "infinite": (torch.full((2, 3, 6, 6), torch.inf), LABELS, ["inf"]),
    "three dimensions": (torch.zeros(3, 6, 6), LABELS, ["(3, 6, 6)", "(B, C, H, W)", "x[None]"]),
    "empty": (torch.zeros(0, 3, 6, 6), LABELS[:0], ["(0, 3, 6, 6)"]),
    "int32 labels": (torch.zeros(2, 3, 6, 6), LABELS.int(), ["y has", "int32", "int64"]),
    "label shape": (torch.zeros(2, 3, 6, 6), LABELS[:, None], ["y has", "(2, 1)"]),
    "label count": (torch.zeros(2, 3, 6, 6), torch.tensor([1]), ["y has", "(1,)", "2 samples"]),
    "negative label": (torch.zeros(2, 3, 6, 6), LABELS - 1, ["-1", "start at 0"]),
    "unknown label": (torch.zeros(2, 3, 6, 6), LABELS + 3, ["class 4", "4 classes"]),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_batches_are_refused_by_name(case, net, wrong):
    x, y, words = WRONG[wrong]
    with pytest.raises(ValueError, match=r".") as error:
        case.attack()(net(), x, y)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (torch.tensor([0.0, 1.0]), ["target", "float32"]),
        (torch.tensor([0]), ["target", "(1,)"]),
        (torch.tensor([-1, 0]), ["target", "-1"]),
        (torch.tensor([0, 4]), ["class 4", "4 classes"]),
    ],
)
def test_wrong_targets_are_refused(case, net, target, words):
    with pytest.raises(ValueError, match=r".") as error:
        case.attack()(net(), torch.zeros(2, 3, 6, 6), LABELS, target=target)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("eps", "word"),
    [(-0.1, "-0.1"), (torch.nan, "nan"), (torch.inf, "inf"), (torch.ones(3), "(3,)")],
)
def test_wrong_eps_is_refused(ball_case, net, eps, word):
    with pytest.raises(ValueError, match="eps") as error:
        ball_case.attack(eps=eps)(net(), torch.zeros(2, 3, 6, 6), LABELS)
    assert word in str(error.value)


def test_the_number_of_sample_ids_is_checked(case, net, batch):
    x, y = batch(2)
    if not case.random:
        pytest.skip("draws no numbers")
    with pytest.raises(ValueError, match="sample_ids has 3 entries for 2"):
        case.attack()(net(), x, y, sample_ids=[1, 2, 3])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: (x.flatten(1), x), ["tuple", "logits (2, K)"]),
        (lambda x: x, ["(2, 3, 6, 6)"]),
        (lambda x: x.flatten(1)[:1], ["(1, 108)"]),
        (lambda x: x.flatten(1)[:, :1], ["one logit"]),
    ],
)
def test_a_model_without_logits_is_refused(case, answer, words):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return answer(x)

    with pytest.raises(ValueError, match=r".") as error:
        case.attack()(Odd(), torch.zeros(2, 3, 6, 6), LABELS)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_copied_attack_runs_alike(case, net, batch):
    x, y = batch(2)
    assert same(case.attack()(net(), x, y), copy.deepcopy(case.attack())(net(), x, y))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_is_kept(case, net, batch):
    x, y = (t.cuda() for t in batch())
    before = torch.cuda.get_rng_state()
    result = case.attack()(net().cuda(), x, y)
    for value in (result.x_adv, result.success, result.queries, result.loss):
        assert value.device == x.device
    assert torch.equal(torch.cuda.get_rng_state(), before)
