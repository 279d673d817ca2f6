"""Adversarial transformers: the published loss, and what a trained one does."""

import pytest
import torch

from attacks import ATN
from attacks.common.randomness import generator_for
from attacks.transformer.atn import rerank
from attacks.transformer.atn_network import ATNShape, transform


def in_batches(x, size=25):
    return [(part,) for part in x.split(size)]


def test_reranking_puts_the_target_first_and_keeps_all_other_ratios():
    scores = torch.rand(50, 6, generator=torch.Generator().manual_seed(0)).softmax(1)
    target = torch.arange(50) % 6
    raised = rerank(scores, target, 3.0)
    torch.testing.assert_close(raised.sum(1), torch.ones(50))
    assert torch.equal(raised.argmax(1), target)
    others = torch.ones_like(scores).scatter(1, target[:, None], 0).bool()
    ratio = (raised / scores)[others].reshape(50, 5)
    torch.testing.assert_close(ratio, ratio[:, :1].expand(50, 5))
    lead = raised.gather(1, target[:, None]) / ratio[:, :1]
    torch.testing.assert_close(lead, 3 * scores.amax(1, keepdim=True))


def test_the_loss_is_the_published_one(linear, batch):
    x, _ = batch(8)
    model, target = linear(4, gain=0.1), torch.full((8,), 2)
    options = ATN(width=4, passes=1, beta=0.3, alpha=2.0, target=2)
    (record,) = options.fit(model, [(x,)], seed=5).history
    shape = ATNShape(3, 4, width=4)
    x_adv = transform(shape.initial(generator_for(5, "weights")), x, target, shape=shape)
    before, after = (model(v).softmax(1).detach() for v in (x, x_adv))
    wanted = before.clone()
    wanted[:, 2] = 2 * before.amax(1)
    wanted = wanted / wanted.sum(1, keepdim=True)
    miss = (after - wanted).square().sum(1)
    change = (x_adv - x).square().flatten(1).sum(1)
    assert record["loss"] == pytest.approx(float((0.3 * change + miss).mean()), rel=1e-5)
    others = before.argmax(1) != 2
    assert record["reached"] == float((after.argmax(1) == 2)[others].double().mean())
    assert record["attackable"] == int(others.sum())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["residual", "autoencoder"])
@pytest.mark.parametrize("target", [None, 1])
def test_it_learns_to_send_new_samples_to_a_class(form, target, linear, batch):
    model, (x, _) = linear(3, gain=0.1), batch(200)
    options = ATN(form, passes=20, lr=0.01, width=8, target=target, beta=0.01)
    fitted = options.fit(model, in_batches(x))
    assert fitted.history[-1]["loss"] < 0.5 * fitted.history[0]["loss"]
    new, _ = batch(90, seed=77)
    wanted = torch.arange(90) % 3 if target is None else torch.full((90,), target)
    reached = (model(fitted.apply(new, wanted)).argmax(1) == wanted).double().mean()
    assert (model(new).argmax(1) == wanted).double().mean() < 0.5
    assert reached > 0.9
    assert reached == pytest.approx(fitted.history[-1]["reached"], abs=0.1)


def test_a_heavier_change_is_a_smaller_one(linear, batch):
    model, (x, y) = linear(3, gain=0.1), batch(100)
    light, heavy = (
        ATN(passes=10, lr=0.01, width=8, beta=beta)
        .fit(model, in_batches(x))(model, x, y % 3)
        .l2.mean()
        for beta in (0.001, 0.3)
    )
    assert heavy < 0.7 * light


@pytest.mark.parametrize("side", [5, 6, 8])
@pytest.mark.parametrize("dims", [2, 3])
def test_any_size_gives_samples_of_that_size(side, dims):
    shape = ATNShape(1, 4, dims, width=3)
    x = torch.rand(2, 1, *[side] * dims, generator=torch.Generator().manual_seed(0))
    weights = shape.initial(torch.Generator().manual_seed(0))
    residual = transform(weights, x, torch.tensor([0, 3]), shape=shape)
    assert residual.shape == x.shape
    assert (residual - x).abs().mean() < 0.2  # it begins near the identity
    assert 0 <= residual.min() <= residual.max() <= 1
    swapped = transform(weights, x, torch.tensor([3, 3]), shape=shape)
    assert not torch.equal(swapped[0], residual[0])
    assert torch.equal(swapped[1], residual[1])


def test_without_a_target_each_sample_goes_to_a_random_wrong_class(net, batch):
    x, y = batch(300)
    model = net()
    fitted = ATN(width=4, passes=1).fit(model, [(x[:20],)])
    ids = range(300)
    aimed = fitted(model, x, y, sample_ids=ids).info["target"]
    assert (aimed != y).all()
    assert torch.bincount((aimed - y) % 4, minlength=4)[1:].min() > 60
    rows = torch.tensor([7, 2, 250])
    assert torch.equal(fitted(model, x[rows], y[rows], sample_ids=rows).info["target"], aimed[rows])
    assert not torch.equal(fitted(model, x, y, sample_ids=ids, seed=1).info["target"], aimed)
    given = fitted(model, x, y, target=(y + 1) % 4)
    assert torch.equal(given.info["target"], (y + 1) % 4)
    assert torch.equal(given.success, model.eval()(given.x_adv).argmax(1) == (y + 1) % 4)


def test_one_fitted_for_a_class_goes_there_also_when_not_told(net, batch):
    x, y = batch(20)
    model = net()
    fitted = ATN(width=4, passes=1, target=1).fit(model, [(x,)])
    free, told = (fitted(model, x, y, target=t) for t in (None, torch.full_like(y, 1)))
    assert torch.equal(free.x_adv, told.x_adv)
    answer = model.eval()(free.x_adv).argmax(1)
    assert torch.equal(free.success, answer != y)
    assert torch.equal(told.success, answer == 1)


def test_samples_of_another_kind_are_refused(net, batch):
    x, y = batch(4)
    fitted = ATN(width=4, passes=1).fit(net(), [(x,)])
    with pytest.raises(ValueError, match=r"for images of 3 channels and x has shape \(4, 1, 6, 6"):
        fitted(net(), x[:, :1], y)
    with pytest.raises(ValueError, match="for images of 3 channels"):
        fitted(net(), x[:, :, None], y)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(form="unet"), "form is 'unet'; give one of 'residual', 'autoencoder'"),
        (dict(beta=-0.1), "beta is -0.1; give a number >= 0"),
        (dict(lr=0.0), "lr is 0.0; give a number > 0"),
        (dict(alpha=1.0), "alpha is 1.0; give a number > 1"),
        (dict(passes=0), "passes is 0"),
        (dict(width=0), "width is 0; give a whole number >= 1"),
    ],
)
def test_impossible_options_are_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        ATN(**options)
