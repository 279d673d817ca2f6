"""Universal flicker: fits whose outcome is known, and fooling over all shifts by hand."""

import pytest
import torch
from torch import nn

from attacks import FlickerUniversal, Perturbation, UniversalPerturbation, fooling_over_shifts

FRAMES = 4


class Frame(nn.Module):
    """Answers 1 where one frame is brighter than a level on average, NaN above another level."""

    def __init__(self, number=0, level=0.5, gain=20.0, broken=9.0):
        super().__init__()
        self.number, self.level, self.gain, self.broken = number, level, gain, broken

    def forward(self, x):
        mean = x[:, :, self.number].flatten(1).mean(1)
        logits = self.gain * torch.stack([torch.full_like(mean, self.level), mean], 1)
        return logits.masked_fill((mean > self.broken)[:, None], torch.nan)


def clips(levels):
    """Clips (B, 1, T, 3, 3) of one brightness each, and a batch size of two."""
    x = torch.tensor(levels)[:, None, None, None, None].expand(-1, 1, FRAMES, 3, 3)
    y = (torch.tensor(levels) > 0.5).long()
    return list(zip(x.split(2), y.split(2), strict=True))


def bright(frame, value=0.2):
    """A perturbation that makes one frame brighter."""
    delta = torch.zeros(1, FRAMES, 1, 1)
    delta[0, frame] = value
    return Perturbation(delta, "linf", 1.0)


def test_fooling_over_shifts_by_hand():
    """0.4 is lifted over 0.5 and 0.1 is not; 0.8 is right and stays; shift 3 meets frame 0."""
    result = fooling_over_shifts(Frame(), bright(1), clips([0.4, 0.1, 0.8]))
    assert result.ratios.tolist() == pytest.approx([0, 0, 0, 1 / 3])
    assert (result.synchronised, result.minimum) == (0.0, 0.0)
    assert result.mean == pytest.approx(1 / 12)
    assert result.clips == 3
    assert fooling_over_shifts(Frame(1), bright(1), clips([0.4])).synchronised == 1


def test_clips_that_were_wrong_or_broken_do_not_count():
    x = [0.4, 0.1, 0.8, 0.45]
    wrong = [(v, 1 - y) for v, y in clips(x)[1:]]
    loader = clips(x)[:1] + wrong  # 0.8 and 0.45 are wrong from the start
    assert fooling_over_shifts(Frame(1), bright(1), loader).ratios[0] == 1 / 2
    broken = Frame(1, broken=0.55)  # NaN to 0.8, and to 0.4 once it is brighter
    result = fooling_over_shifts(broken, bright(1), clips([0.4, 0.8]))
    assert (result.clips, result.synchronised) == (1, 0.0)
    with pytest.raises(ValueError, match="no clip is right when clean"):
        fooling_over_shifts(Frame(), bright(1), wrong)


def test_a_target_has_to_be_reached_by_clips_of_other_classes():
    delta = bright(0).delta
    to_one = Perturbation(delta, "linf", 1.0, target=1)
    result = fooling_over_shifts(Frame(), to_one, clips([0.4, 0.1, 0.8]))
    assert (result.clips, result.synchronised) == (2, 0.5)
    to_zero = Perturbation(delta, "linf", 1.0, target=0)
    assert fooling_over_shifts(Frame(), to_zero, clips([0.4, 0.8])).synchronised == 0


def test_images_and_iterators_are_refused_by_the_measure():
    image = [(torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.int64))]
    with pytest.raises(ValueError, match=r"videos as \(B, C, T, H, W\)"):
        fooling_over_shifts(Frame(), bright(0), image)
    with pytest.raises(ValueError, match="iterator"):
        fooling_over_shifts(Frame(), bright(0), iter(clips([0.4])))


def fitted(model, levels=(0.3, 0.35, 0.4, 0.45), **options):
    # Without beta2: roughness would draw the neighbours of a frame along.
    options = {"passes": 30, "lr": 0.02, "beta2": 0.0, "eps": 0.4, **options}
    return FlickerUniversal(**options).fit(model, clips(list(levels)))


def test_rolled_while_it_is_fitted_it_fools_at_every_shift():
    """The model looks at one frame: synchronised, the others are left alone; rolled, none is."""
    still, moving = fitted(Frame()), fitted(Frame(), roll=True)
    loader = clips([0.3, 0.35, 0.4, 0.45])
    one, all_of_them = (fooling_over_shifts(Frame(), p, loader) for p in (still, moving))
    assert still.delta.shape == moving.delta.shape == (1, FRAMES, 1, 1)
    assert still.delta[0, 0] > 0.2
    assert (one.synchronised, one.minimum) == (1.0, 0.0)
    assert all_of_them.minimum == 1.0
    assert (moving.delta > 0.15).all()


def test_the_history_tells_of_the_pattern_after_each_pass():
    found = fitted(Frame(), passes=5)
    last = found.history[-1]
    delta = found.delta.flatten()
    assert last["thickness"] == pytest.approx(100 * delta.abs().mean().item())
    differences = (delta - delta.roll(1)).abs().mean().item()
    assert last["roughness"] == pytest.approx(100 * differences)
    assert found.history[0]["fooling_rate"] == 0
    assert fitted(Frame()).history[-1]["fooling_rate"] == 1


def test_a_source_leaves_the_other_clips_alone():
    """Clips on both sides: those of class 1 alone pull the frame down."""
    levels = (0.4, 0.6, 0.45, 0.55, 0.42)
    for source, sign in ((0, 1), (1, -1)):
        found = fitted(Frame(), levels, source=source)
        assert found.delta[0, 0, 0, 0].sign() == sign
        ratios = fooling_over_shifts(Frame(), found, clips(list(levels))).ratios
        assert ratios[0] == pytest.approx((0.6, 0.4)[source])  # all of that class, none other


def test_a_target_is_reached_from_everywhere():
    found = fitted(Frame(), (0.4, 0.6, 0.45), target=0)
    assert found.target == 0
    assert found.delta[0, 0] < -0.1
    assert found.history[-1]["fooling_rate"] == 1


def test_no_value_exceeds_eps():
    found = fitted(Frame(), eps=0.05)
    assert found.delta.abs().max() == pytest.approx(0.05)
    assert found.eps == 0.05


def test_the_mean_of_a_batch_is_what_it_follows():
    """One step of Adam is as long as its rate, along the sign of the mean of the slopes."""
    found = fitted(Frame(gain=2.0), (0.4, 0.1, 0.45, 0.48), passes=1, lr=0.01, roll=False)
    assert found.delta[0, 0].item() == pytest.approx(0.02, abs=2e-3)  # two batches, two steps
    assert not found.delta[0, 1:].any()


def test_what_it_cannot_be_fitted_to_is_refused():
    images = [(torch.zeros(2, 1, 3, 3), None)]
    with pytest.raises(ValueError, match="give videos as"):
        FlickerUniversal().fit(Frame(), images)
    longer = [(torch.zeros(2, 1, FRAMES + 1, 3, 3), None)]
    with pytest.raises(ValueError, match="give clips of one length"):
        FlickerUniversal().fit(Frame(), clips([0.4]) + longer)
    with pytest.raises(ValueError, match="no clip is left to fit to with source=1"):
        fitted(Frame(), source=1)
    for option in ("target", "source"):
        with pytest.raises(ValueError, match="class 2 of a model with 2 classes"):
            fitted(Frame(), **{option: 2})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(eps=-0.1), "eps is -0.1"),
        (dict(eps=torch.inf), "eps is inf"),
        (dict(passes=0), "passes is 0"),
        (dict(target=-1), "target is -1"),
        (dict(source=-1), "source is -1"),
        (dict(source=2, target=2), "source and target are both 2; give two classes"),
        (dict(space="score"), "space is 'score'"),
    ],
)
def test_impossible_options_are_refused_at_once(options, words):
    with pytest.raises(ValueError, match=words):
        FlickerUniversal(**options)


def test_another_universal_perturbation_can_be_shifted_too(net, batch):
    x, y = batch(6, dims=3)
    model = net(dims=3).eval()
    y = model(x).argmax(1)
    found = UniversalPerturbation(eps=0.2, passes=2).fit(model, [(x, y)])
    result = fooling_over_shifts(model, found, [(x, y)])
    rolled = (x + found.delta.roll(2, 1)).clamp(0, 1)
    assert result.ratios[2] == (model(rolled).argmax(1) != y).double().mean()
