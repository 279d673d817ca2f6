"""The learned generator: its numbers, options and exports."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attacks import LearnedGenerator, as_module, load_generators, save_generators

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
KINDS = {
    "whitened": dict(),
    "adam": dict(optimizer="adam", lr=0.02),
    "paper": dict(space="paper", optimizer="adam", lr=0.02, mean=MEAN, std=STD),
    "paper-whitened": dict(space="paper", mean=MEAN, std=STD),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def column(values, x):
    """One value a channel, broadcastable over x."""
    if x.shape[1] == 1:
        values = [sum(values) / len(values)]
    return torch.tensor(values, dtype=x.dtype).reshape(1, -1, *[1] * (x.ndim - 2))


def equation(attack, model, x, x_adv, target=None):
    """Eq. (1), or (2), one sample and one class at a time."""
    clean, scores = (F.softmax(model(v), dim=1) for v in (x, x_adv))
    values = []
    for i, row in enumerate(clean):
        k = min(attack.top_k, len(row) - 1)
        best = sorted(range(len(row)), key=lambda c: -row[c].item())[:k]
        miss = sum(scores[i, c] for c in best) if target is None else 1 - scores[i, target[i]]
        away = ((x_adv[i] - x[i]).abs() / column(attack.std, x)[0]).mean()
        values.append(miss + attack.lam * away)
    return torch.stack(values)


def output_of(attack, weights, architecture, x):
    """What the exported networks make of samples x, by plain torch layers."""
    mean, std = column(attack.mean, x), column(attack.std, x)
    seen = x if attack.space == "pixel" else (x - mean) / std
    rows = [
        as_module(w, architecture=architecture)(s[None]) for w, s in zip(weights, seen, strict=True)
    ]
    if attack.space == "pixel":
        return torch.cat(rows).clamp(0, 1)
    scaled = []
    for row, like in zip(rows, seen, strict=True):
        unit = (row - row.min()) / (row.max() - row.min())
        scaled.append(unit * (like.max() - like.min()) + like.min())
    return (torch.cat(scaled) * std + mean).clamp(0, 1)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("lam", [0.0, 1.0, 3.0])
def test_loss_is_the_equation(kind, net, batch, targeted, lam):
    x, y = batch(5, classes=7, dtype=torch.float64)
    model = net(7, dtype=torch.float64).eval()
    target = (y + 2) % 7 if targeted else None
    attack = LearnedGenerator(steps=6, lam=lam, top_k=3, **kind)
    result = attack(model, x, y, target=target)
    expected = equation(attack, model, x, result.x_adv, target)
    torch.testing.assert_close(result.loss, expected, atol=1e-10, rtol=0)
    if attack.space == "pixel":  # P begins as the identity
        first = equation(attack, model, x, x, target)
        torch.testing.assert_close(result.history[0], first, atol=1e-10, rtol=0)
    if lam == 0:
        assert result.loss.mean() < result.history[0].mean()


def test_exported_weights_give_the_samples(kind, net, batch, tmp_path):
    x, y = batch(3, dtype=torch.float64)
    attack = LearnedGenerator(steps=5, **kind)
    result = attack(net(dtype=torch.float64), x, y)
    assert (result.linf > 0).any()
    path = tmp_path / "generators.safetensors"
    save_generators(path, result.info["weights"], architecture=result.info["architecture"])
    with torch.no_grad():
        again = output_of(attack, *load_generators(path), x)
    torch.testing.assert_close(again, result.x_adv, atol=1e-10, rtol=0)


def test_exported_video_weights_give_the_samples(net, batch, tmp_path):
    x, y = batch(2, dims=3, channels=1, side=4, dtype=torch.float64)
    attack = LearnedGenerator(steps=20, lam=0.1)
    result = attack(net(dims=3, channels=1, side=4, dtype=torch.float64), x, y)
    assert (result.linf > 0).any()
    with torch.no_grad():
        again = output_of(attack, result.info["weights"], result.info["architecture"], x)
    torch.testing.assert_close(again, result.x_adv, atol=1e-10, rtol=0)


@pytest.mark.parametrize("targeted", [False, True])
def test_info_tells_the_classes_before_and_after(net, batch, targeted):
    x, y = batch(5, classes=7)
    model = net(7).eval()
    target = (y + 2) % 7 if targeted else None
    result = LearnedGenerator(steps=5, top_k=3)(model, x, y, target=target)
    before, after = (model(v).softmax(1) for v in (x, result.x_adv))
    for name, scores in {"top_before": before, "top_after": after}.items():
        classes, values = result.info[name]
        best = scores.argsort(1, descending=True)[:, :3]
        assert torch.equal(classes, best), name
        torch.testing.assert_close(values, scores.gather(1, best))
    top = result.info["top_before"][0]
    torch.testing.assert_close(result.info["score_sum_before"], before.gather(1, top).sum(1))
    torch.testing.assert_close(result.info["score_sum"], after.gather(1, top).sum(1))
    torch.testing.assert_close(result.info["mean_abs"], result.delta.abs().mean((1, 2, 3)))


@pytest.mark.parametrize(("classes", "top_k", "used"), [(2, 5, 1), (3, 5, 2), (4, 1, 1), (9, 5, 5)])
def test_top_k_leaves_one_class_out(net, batch, classes, top_k, used):
    x, y = batch(2, classes=2)
    result = LearnedGenerator(steps=1, top_k=top_k)(net(classes), x, y)
    assert result.info["top_before"][0].shape == (2, used)
    assert result.info["top_after"][1].shape == (2, used)
    assert (result.info["score_sum_before"] < 1).all()


@pytest.mark.parametrize("stop", [None, 100.0], ids=["all-steps", "all-leave-at-once"])
def test_history_has_all_steps(net, batch, stop):
    x, y = batch(3)
    seen = []
    result = LearnedGenerator(steps=4, stop_below=stop)(
        net(), x, y, progress=lambda *given: seen.append(given)
    )
    assert result.history.shape == (4, 3)
    if stop is None:
        assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert result.queries.tolist() == [7, 7, 7]  # clean, 4 steps, the last iterate, x_adv
    else:
        assert seen == [(1, 4)]
        assert result.queries.tolist() == [3, 3, 3]
        assert (result.history == result.history[0]).all()


def test_paper_space_keeps_the_range_of_the_normalised_sample(net, batch):
    x, y = batch(4, dtype=torch.float64)
    x = x * 0.5 + 0.25  # so that going back to pixels clamps nothing
    attack = LearnedGenerator(steps=5, space="paper", mean=(0.5,), std=(0.2,))
    result = attack(net(dtype=torch.float64), x, y)
    for of in (lambda v: v.flatten(1).amin(1), lambda v: v.flatten(1).amax(1)):
        torch.testing.assert_close(of(result.x_adv), of(x), atol=1e-12, rtol=0)
    assert (result.linf > 0.1).all()


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_constant_images_do_not_divide_by_zero(kind, net, batch, value):
    x, y = batch(3)
    x[0], x[1] = value, 0.3
    result = LearnedGenerator(steps=4, **kind)(net(), x, y)
    assert torch.isfinite(result.x_adv).all()
    assert torch.isfinite(result.loss).all()
    assert torch.isfinite(result.info["weights"]).all()
    if kind == KINDS["paper"] and value == 0.3:
        torch.testing.assert_close(result.x_adv[0].std(), torch.tensor(0.0), atol=0.2, rtol=0)


def test_a_constant_output_is_moved_to_the_lower_end(batch):
    from attacks.generator.generator_training import _rescale

    like = batch(2)[0]
    output = torch.full_like(like, 7.0).requires_grad_()
    scaled = _rescale(output, like)
    assert torch.equal(scaled, like.amin((1, 2, 3), keepdim=True).expand_as(like))
    (gradient,) = torch.autograd.grad(scaled.sum(), output)
    assert torch.isfinite(gradient).all()


def test_grey_samples_use_the_mean_of_the_channel_values(net, batch):
    x, y = batch(2, channels=1)
    model = net(channels=1)
    runs = [
        LearnedGenerator(steps=3, space="paper", mean=mean, std=std)(model, x, y)
        for mean, std in (((0.3, 0.4, 0.5), (0.1, 0.2, 0.3)), ((0.4,), (0.2,)))
    ]
    torch.testing.assert_close(runs[0].x_adv, runs[1].x_adv, atol=1e-4, rtol=0)


def test_one_value_serves_all_channels(net, batch):
    x, y = batch(2)
    one, three = (LearnedGenerator(steps=3, std=std)(net(), x, y) for std in ((0.2,), (0.2,) * 3))
    assert torch.equal(one.x_adv, three.x_adv)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_values_for_other_channels_are_refused(net, batch, name):
    x, y = batch(2)
    with pytest.raises(ValueError, match=f"{name} has 2 values for 3 channels"):
        LearnedGenerator(**{name: (0.2, 0.3)})(net(), x, y)


@pytest.mark.parametrize(
    "wrong",
    [
        dict(optimizer="sgd"), dict(space="log"), dict(steps=0), dict(top_k=0), dict(lam=-0.1),
        dict(lr=0.0), dict(lr=-1.0), dict(std=(0.2, 0.0, 0.2)), dict(kernel=4), dict(blocks=0),
        dict(layers=0),
    ],
    ids=str,
)  # fmt: skip
def test_impossible_options_are_refused_at_once(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LearnedGenerator(**wrong)


def test_the_default_succeeds_on_a_confident_sample(linear, batch):
    """Where the score sum itself has no gradient, its logarithm does."""
    model = linear(3, gain=12.0)
    x, _ = batch(8)
    y = model(x).argmax(1)
    assert (model(x).softmax(1).amax(1) > 0.999).sum() >= 6
    result = LearnedGenerator(steps=150, top_k=1)(model, x, y)
    assert result.success.all()
    assert (result.loss < 1).all()


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # net and batch hold no state
)
@given(
    dims=st.sampled_from([2, 2, 3]),
    channels=st.sampled_from([1, 3]),
    classes=st.integers(2, 6),
    batch_size=st.integers(1, 3),
    targeted=st.booleans(),
    options=st.fixed_dictionaries(
        {
            "steps": st.integers(1, 3),
            "lr": st.none() | st.floats(1e-4, 0.5),
            "optimizer": st.sampled_from(["whitened", "adam"]),
            "space": st.sampled_from(["pixel", "paper"]),
            "top_k": st.integers(1, 8),
            "lam": st.floats(0, 10),
            "stop_below": st.none() | st.floats(0, 2),
            "kernel": st.sampled_from([1, 3, 5]),
            "blocks": st.integers(1, 3),
            "layers": st.integers(1, 3),
        }
    ),
)
def test_any_options_keep_the_promises(
    net, batch, dims, channels, classes, batch_size, targeted, options
):
    shape = dict(dims=dims, channels=channels, side=5)
    x, y = batch(batch_size, classes, **shape)
    model, attack = net(classes, **shape), LearnedGenerator(**options)
    target = (y + 1) % classes if targeted else None
    result = attack(model, x, y, target=target)
    assert 0 <= result.x_adv.min() <= result.x_adv.max() <= 1
    assert result.history.shape == (attack.steps, batch_size)
    assert result.info["weights"].shape == (batch_size, *result.info["architecture"].shape)
    assert (result.queries <= attack.steps + 3).all()
    model.eval()
    expected = equation(attack, model, x, result.x_adv, target).detach()
    torch.testing.assert_close(result.loss, expected, atol=1e-4, rtol=1e-4)
    predicted = model(result.x_adv).argmax(1)
    assert torch.equal(result.success, predicted == target if targeted else predicted != y)
