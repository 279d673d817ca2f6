"""The sparse universal perturbation: its loss, its frames, and what its weight does."""

import pytest
import torch

from attacks import SparseUniversalPerturbation

EXACT = dict(atol=1e-8, rtol=0)


@pytest.fixture
def clips(net, batch):
    """A model, and two batches of clips whose pixels stay clear of 0 and 1."""
    model = net(dims=3, dtype=torch.float64).eval()
    x = 0.4 + 0.2 * batch(12, dims=3, dtype=torch.float64)[0]
    return model, [(x[:8],), (x[8:],)]


@pytest.mark.parametrize("target", [None, 2])
@pytest.mark.parametrize("frames", ["all", "1+4"])
def test_the_fit_is_that_of_torchs_adam_on_the_papers_loss(clips, target, frames):
    model, loader = clips
    made = SparseUniversalPerturbation(
        lam=76.5, frames=frames, lr=2e-3, passes=3, target=target
    ).fit(model, loader)
    mask = torch.zeros(6).double()
    mask[[1, 4] if frames == "1+4" else slice(None)] = 1
    delta = torch.zeros_like(loader[0][0][0]).requires_grad_()
    optimizer = torch.optim.Adam([delta], lr=2e-3)
    for number in range(6):
        (x,) = loader[number % 2]
        with torch.no_grad():
            own = model(x).argmax(1)
        p = model(x + mask[:, None, None] * delta).softmax(1)
        if target is None:
            reached = -(1 - p.gather(1, own[:, None]) + 1e-6).log().mean()
        else:
            reached = -p[:, target].log().mean()
        rms = (delta.square().mean((0, 2, 3)) + 1e-24).sqrt()[mask > 0].mean()
        (delta.grad,) = torch.autograd.grad(reached + 76.5 * rms * (number > 0), delta)
        optimizer.step()
    torch.testing.assert_close(made.delta, delta.detach(), **EXACT)
    rms = delta.detach().square().mean((0, 2, 3)).sqrt()[mask > 0].mean().item()
    assert made.history[-1]["l21"] == pytest.approx(rms)


def test_it_fools_more_with_each_pass_and_less_with_more_weight(clips):
    model, loader = clips
    light, heavy = (
        SparseUniversalPerturbation(lam=lam, lr=0.02, passes=15).fit(model, loader)
        for lam in (0.0, 1000.0)
    )
    assert light.history[-1]["fooling_rate"] > light.history[0]["fooling_rate"]
    assert heavy.history[-1]["l21"] < 0.5 * light.history[-1]["l21"]
    x = loader[0][0]
    fooled = model(light.apply(x)).argmax(1) != model(x).argmax(1)
    assert fooled.any()


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("larger", [1, 2])
def test_a_weight_means_the_same_for_clips_of_any_size_and_length(times, larger):
    """A frame's colour decides; the clips are repeated in time, and in space."""

    class Colour(torch.nn.Module):
        def forward(self, x):
            mean = x.mean((2, 3, 4))
            return 8 * torch.stack([mean[:, 0], 0.8 - mean[:, 0]], 1)

    x = torch.full((4, 1, 2, 2, 2), 0.5) + torch.linspace(0, 0.2, 4)[:, None, None, None, None]
    size = (1, 1, times, larger, larger)
    options = SparseUniversalPerturbation(lam=4.0, lr=2e-3, passes=60)
    small, large = (options.fit(Colour(), [(clips,)]) for clips in (x, x.repeat(size)))
    assert 0.01 < small.history[-1]["l21"] < 0.2
    torch.testing.assert_close(large.delta, small.delta.repeat(size[1:]), atol=1e-4, rtol=1e-3)
    assert large.history[-1]["l21"] == pytest.approx(small.history[-1]["l21"], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (dict(frames="first"), [0, 1]),
        (dict(frames="uniform", count=3), [0, 2, 4]),
        (dict(frames="1+5"), [1, 5]),
        (dict(), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_only_its_frames_change(clips, options, expected):
    model, loader = clips
    made = SparseUniversalPerturbation(lr=0.01, passes=2, **options).fit(model, loader)
    touched = made.delta.abs().amax((0, 2, 3)) > 0
    assert touched.nonzero()[:, 0].tolist() == expected
    x = loader[0][0]
    still = ~touched
    assert torch.equal(made.apply(x)[:, :, still], x[:, :, still])


def test_no_value_changes_by_more_than_eps(clips):
    model, loader = clips
    made = SparseUniversalPerturbation(lam=0.0, lr=0.02, passes=5, eps=0.03).fit(model, loader)
    assert made.delta.abs().max() == 0.03
    assert (made.apply(loader[0][0]) - loader[0][0]).abs().max() <= 0.03 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(lam=-1.0), "lam is -1.0"),
        (dict(eps=-1.0), "eps is -1.0"),
        (dict(lr=0.0), "lr is 0.0"),
        (dict(passes=0), "passes is 0"),
        (dict(count=2), "count is 2; give it with frames=first"),
        (dict(count=0, frames="first"), "count is 0"),
        (dict(frames="last"), "'last'"),
        (dict(target=-1), "target is -1"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SparseUniversalPerturbation(**options)


def test_frames_of_images_and_frames_there_are_not_are_refused(clips, net, batch):
    model, loader = clips
    with pytest.raises(ValueError, match="names frame 9 of clips with 6 frames"):
        SparseUniversalPerturbation(frames="9").fit(model, loader)
    with pytest.raises(ValueError, match=r"after samples of .* give clips of one shape"):
        SparseUniversalPerturbation().fit(model, [*loader, (loader[0][0][:, :, 1:],)])
    with pytest.raises(ValueError, match="give videos"):
        SparseUniversalPerturbation(frames="first").fit(net(), [batch()])
