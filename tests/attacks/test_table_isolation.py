"""What every attack must leave alone, and what its results must not depend on."""

import copy
import random

import numpy as np
import pytest
import torch

EXACT = dict(atol=1e-9, rtol=0)  # of float64 runs that differ in their batch alone


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


def test_eps_per_sample_equals_scalar_runs(ball_case, net, batch):
    x, y = batch(4, dtype=torch.float64)
    model, eps = net(dtype=torch.float64), [0.0, 0.02, 0.1, 0.7]
    together = ball_case.attack(eps=torch.tensor(eps))(model, x, y)
    for i, value in enumerate(eps):
        alone = ball_case.attack(eps=torch.tensor([value]).item())(model, x, y)
        torch.testing.assert_close(together.x_adv[i], alone.x_adv[i], **EXACT)
        assert together.success[i] == alone.success[i]


def undecided(model, x):
    """The net, shifted so that its answers to x are of several classes."""
    with torch.no_grad():
        model.eval()
        model.head.bias -= model(x).mean(0)
        assert len(model(x).argmax(1).unique()) > 1
    return model.train()


@pytest.mark.parametrize("ids", [None, [5, 3, 9, -2, 5, 2**40]], ids=["content", "ids"])
def test_batch_order_does_not_matter(case, net, batch, ids):
    x, y = batch(dtype=torch.float64)
    model, order = undecided(net(dtype=torch.float64), x), torch.tensor([3, 0, 5, 1, 4, 2])
    moved = None if ids is None else [ids[i] for i in order]
    forth = case.attack()(model, x, y, sample_ids=ids)
    back = case.attack()(model, x[order], y[order], sample_ids=moved)
    torch.testing.assert_close(forth.x_adv[order], back.x_adv, **EXACT)
    torch.testing.assert_close(forth.loss[order], back.loss, **EXACT)
    assert torch.equal(forth.success[order], back.success)


@pytest.mark.parametrize("ids", [None, torch.arange(6)], ids=["content", "ids"])
def test_batch_size_does_not_matter(case, net, batch, ids):
    x, y = batch(dtype=torch.float64)
    model, attack = undecided(net(dtype=torch.float64), x), case.attack()
    together = attack(model, x, y, sample_ids=ids, seed=3)
    for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
        given = None if ids is None else ids[rows]
        part = attack(model, x[rows], y[rows], sample_ids=given, seed=3)
        torch.testing.assert_close(together.x_adv[rows], part.x_adv, **EXACT)
        torch.testing.assert_close(together.loss[rows], part.loss, **EXACT)
        assert torch.equal(together.success[rows], part.success)


def test_same_seed_is_bitwise_equal_and_global_numbers_untouched(case, net, batch, same):
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
    x, y = x.expand(3, *x.shape[1:]), y.expand(3)
    result = case.attack()(net(), x, y, seed=3, sample_ids=[1, 2, 1])
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


def test_a_training_model_is_attacked_in_eval_mode(case, net, batch, same):
    x, y = batch()
    assert same(case.attack()(net().train(), x, y), case.attack()(net().eval(), x, y))


def test_inside_no_grad(case, net, batch, same):
    x, y = batch()
    plain = case.attack()(net(), x, y)
    with torch.no_grad():
        assert same(case.attack()(net(), x, y), plain)
        assert not torch.is_grad_enabled()


def test_inside_inference_mode(case, net, batch, same):
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


def test_under_autocast_the_run_stays_float32(case, net, batch, same):
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


def test_a_copied_attack_runs_alike(case, net, batch, same):
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
