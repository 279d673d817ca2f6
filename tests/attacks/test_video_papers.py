"""What the papers on videos say: weights at the ends, SA, D2, and who is fitted to."""

import logging

import pytest
import torch
from torch import nn

from attacks import FITTED, Keyframe, frame_weights
from attacks.video.flicker_loss import cost_and_slope
from trainers.run.cli.specs.attacks import build_attack


def test_windows_that_the_end_of_a_clip_cuts_off_count_as_nothing():
    """With an equal gradient at every moment, eq. (4) gives the ends two windows of three."""
    conv = nn.Conv3d(1, 1, (3, 1, 1), padding=(1, 0, 0), bias=False)
    model = nn.Sequential(conv, nn.Flatten(), nn.Linear(5, 2, bias=False))
    nn.init.ones_(model[2].weight)
    weights = frame_weights(model, torch.rand(2, 1, 5, 1, 1), torch.tensor([0, 1]))
    expected = torch.tensor([2.0, 3, 3, 3, 2]) / 3
    torch.testing.assert_close(weights, expected.expand(2, -1))


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (2, 2), (3, 2)])
def test_the_sum_over_windows_is_divided_by_the_kernel(kernel, stride):
    conv = nn.Conv3d(1, 1, (kernel, 1, 1), (stride, 1, 1), (kernel // 2, 0, 0), bias=False)
    x = torch.rand(1, 1, 6, 1, 1)
    moments = conv(x).shape[2]
    model = nn.Sequential(conv, nn.Flatten(), nn.Linear(moments, 2, bias=False))
    a = torch.rand(moments)
    model[2].weight.data[:] = a
    got = frame_weights(model, x, torch.tensor([0]))[0]
    for frame in range(6):
        starts = [m * stride - kernel // 2 for m in range(moments)]
        inside = [float(a[m]) for m, s in enumerate(starts) if s <= frame < s + kernel]
        assert got[frame].item() == pytest.approx(sum(inside) / kernel)


def test_lam_of_1_255_is_the_weight_of_sas_code():
    """Its slope is that of 1 * sum of sqrt(mean(delta ** 2)) over frames, delta in [0, 1]."""
    attack = build_attack("keyframe:frames=fixed,lam=1/255", defaults={})
    assert attack == Keyframe(frames="fixed", lam=1 / 255)
    delta = torch.rand(1, 4, 3, 5, 5, requires_grad=True)  # (A, K, C, H, W)
    (slope,) = torch.autograd.grad(delta.square().mean((2, 3, 4)).sqrt().sum(), delta)
    sizes = torch.linalg.vector_norm(delta.detach().flatten(2), dim=2)[:, :, None, None, None]
    zero = torch.zeros_like(delta)
    ours = attack._slope(torch.zeros(1, dtype=torch.bool), zero, delta.detach() / sizes)
    torch.testing.assert_close(ours, slope)


def test_d2_is_of_first_and_second_differences_around_the_clip():
    pattern = torch.rand(1, 3, 7, 1, 1) - 0.5
    d = 2 * pattern  # in the paper's range
    d1 = d.square().mean()
    first, second = d.roll(1, 2) - d, d.roll(1, 2) - 2 * d + d.roll(-1, 2)
    d2 = first.square().mean() + second.square().mean()
    cost, _ = cost_and_slope(pattern, beta1=0.3, beta2=0.7)
    torch.testing.assert_close(cost[0], 0.3 * d1 + 0.7 * d2)


@pytest.fixture
def clips():
    torch.manual_seed(0)
    x = torch.rand(10, 2, 4, 3, 3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(72, 3))
    model[1].bias.data -= model(x).detach().mean(0)  # several classes
    right = model(x).argmax(1)
    wrong = right.clone()
    wrong[::3] = (right[::3] + 1) % 3  # 4 of 10
    return model, x, right, wrong


@pytest.mark.parametrize("name", ["flicker-universal", "sup"])
@pytest.mark.parametrize("extra", [{}, {"target": 0}, {"source": 1}])
def test_clips_that_are_wrong_when_clean_are_dropped(clips, caplog, name, extra):
    if "source" in extra and name == "sup":
        pytest.skip("sup has no source")
    model, x, right, wrong = clips
    options = FITTED[name](passes=3, **extra)
    kept = wrong == right
    with caplog.at_level(logging.INFO):
        made = options.fit(model, [(x, wrong)])
    alone = options.fit(model, [(x[kept], right[kept])])
    torch.testing.assert_close(made.delta, alone.delta)
    chosen = (right == extra["source"]) if "source" in extra else torch.ones(10).bool()
    dropped = int((~kept & chosen).sum())
    assert made.history[-1]["left_out"] == dropped > 0
    assert f"{dropped} " in caplog.text
    assert alone.history[-1]["left_out"] == 0


@pytest.mark.parametrize("name", ["flicker-universal", "sup"])
def test_without_labels_all_are_fitted_to(clips, name):
    model, x, right, _ = clips
    fits = [
        FITTED[name](passes=2).fit(model, [batch]).delta
        for batch in ((x,), (x, right), (x, torch.full_like(right, -1)), (x, x))
    ]
    assert all(torch.equal(fits[0], other) for other in fits[1:])


@pytest.mark.parametrize("name", ["flicker-universal", "sup"])
def test_none_right_is_refused(clips, name):
    model, x, right, _ = clips
    with pytest.raises(ValueError, match=r"10\b.*right"):
        FITTED[name](passes=1).fit(model, [(x, (right + 1) % 3)])
