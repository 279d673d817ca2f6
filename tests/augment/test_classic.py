import pytest
import torch
from kornia.enhance import adjust_hue

from augment import ClassicAugmentation, classic_for
from augment.transforms.geometry import warp
from augment.transforms.lens import distort, vignette


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, channels=3, height=12, width=10):
    return torch.rand(count, channels, height, width, generator=rng(1))


def still(x, **changes):
    zero = torch.zeros(len(x))
    given = dict(right=zero, down=zero, mirrored=zero.bool(), degrees=zero, scale=zero + 1)
    return warp(x, **{**given, **changes})


def test_whole_pixel_shifts_and_mirroring_copy_pixels():
    x = images(2)
    moved = still(x, right=torch.tensor([2.0, 0]), down=torch.tensor([-1.0, 0]))
    expected = torch.zeros_like(x)
    expected[0, :, :-1, 2:] = x[0, :, 1:, :-2]
    expected[1] = x[1]
    assert torch.allclose(moved, expected, atol=2e-5)
    mirrored = still(x, mirrored=torch.tensor([True, False]))
    assert torch.allclose(mirrored[0], x[0].flip(-1), atol=2e-5)
    assert torch.allclose(mirrored[1], x[1], atol=2e-5)


def test_a_quarter_turn_is_rot90_and_halving_keeps_the_centre():
    x = images(1, height=9, width=9)
    turned = still(x, degrees=torch.tensor([90.0]))
    assert torch.allclose(turned, x.rot90(1, (2, 3)), atol=2e-5)
    halved = still(x, scale=torch.tensor([0.5]))
    assert torch.allclose(halved[..., 4, 4], x[..., 4, 4], atol=2e-5)
    assert torch.allclose(halved[..., 3, 5], x[..., 2, 6], atol=2e-5)
    assert halved[..., :1, :].abs().max() == 0


def test_every_shift_up_to_the_limit_occurs_about_equally_often():
    x = torch.zeros(4000, 1, 7, 7)
    x[:, :, 3, 3] = 1
    y = ClassicAugmentation(shift=1)(x, generator=rng())
    counts = y.round().sum((0, 1))[2:5, 2:5]
    assert counts.sum() == 4000
    assert (counts > 4000 / 9 * 0.8).all()
    assert (counts < 4000 / 9 * 1.2).all()


def test_randomness_comes_from_the_generator_alone():
    x = images()
    everything = ClassicAugmentation(**EVERYTHING)
    before, kept = torch.get_rng_state(), x.clone()
    first, second = (everything(x, generator=rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, everything(x, generator=rng(6)))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, kept)
    assert first.min() >= 0
    assert first.max() <= 1
    assert first.shape == x.shape


def test_nothing_asked_nothing_changed():
    x = images()
    assert torch.equal(ClassicAugmentation()(x, generator=rng()), x)
    assert len(ClassicAugmentation(shift=1)(x[:0], generator=rng())) == 0


def test_colours_change_each_image_by_its_own_amount():
    x = images() * 0.5
    ratio = (ClassicAugmentation(brightness=0.5)(x, generator=rng()) / x).flatten(1)
    assert (ratio.std(1) < 1e-4).all()
    assert ratio.mean(1).std() > 0.05
    hued = ClassicAugmentation(hue=0.5)(x, generator=rng(3))
    angles = (2 * torch.rand(len(x), generator=rng(3)) - 1) * torch.pi
    assert torch.allclose(hued, adjust_hue(x, angles), atol=1e-5)
    contrast = ClassicAugmentation(contrast=0.5)(x, generator=rng())
    assert torch.allclose(
        contrast.mean((2, 3)).mean(), x.mean(), atol=0.01
    )  # the mean stays, the spread does not
    assert not torch.allclose(contrast.std((1, 2, 3)), x.std((1, 2, 3)), atol=0.005)


@pytest.mark.parametrize(
    "options",
    [
        {"shift": -1},
        {"zoom": 1.0},
        {"hue": 0.6},
        {"rotation": float("nan")},
        {"colour_cast": -0.1},
        {"vignette": 1.1},
        {"distortion": 0.31},
    ],
)
def test_amounts_that_mean_nothing_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} is .*; give a (whole )?number (from 0 to|>= 0)"):
        ClassicAugmentation(**options)


def test_wrong_shapes_and_colour_on_grey_are_refused():
    with pytest.raises(ValueError, match="give"):
        ClassicAugmentation(shift=1)(images()[0], generator=rng())
    with pytest.raises(ValueError, match="need RGB"):
        ClassicAugmentation(hue=0.1)(images(channels=1), generator=rng())
    with pytest.raises(ValueError, match="need RGB"):
        ClassicAugmentation(colour_cast=0.1)(images(channels=1), generator=rng())
    assert ClassicAugmentation(contrast=0.1)(images(channels=1), generator=rng()).shape[1] == 1


def test_usual_choices():
    assert classic_for("cifar10", (3, 32, 32)) == ClassicAugmentation(shift=4, flip=True)
    assert classic_for("digits+bank", (1, 8, 8)) == ClassicAugmentation(shift=1)
    assert classic_for("torchvision:SVHN", (3, 32, 32)) == ClassicAugmentation(shift=4)


EVERYTHING = dict(
    shift=3,
    flip=True,
    rotation=20,
    zoom=0.2,
    brightness=0.3,
    contrast=0.3,
    saturation=0.4,
    hue=0.1,
    colour_cast=0.3,
    vignette=0.8,
    distortion=0.3,
)


def test_all_frames_of_a_video_are_changed_alike():
    """Each frame becomes what it becomes as an image, given the same random numbers."""
    x = torch.rand(5, 3, 4, 12, 10, generator=rng(3))  # (B, C, T, H, W)
    augment = ClassicAugmentation(**EVERYTHING)
    videos = augment(x, generator=rng(4))
    for t in range(4):
        assert torch.allclose(videos[:, :, t], augment(x[:, :, t], generator=rng(4)), atol=1e-5)
    still = x[:, :, :1].expand(-1, -1, 4, -1, -1)
    moved = augment(still, generator=rng(5))
    assert torch.allclose(moved, moved[:, :, :1].expand_as(moved), atol=1e-6)
    assert not torch.allclose(moved[0], moved[1])


def test_the_default_for_videos_mirrors_what_may_be_mirrored():
    assert classic_for("videofolder", (3, 16, 64, 48)) == ClassicAugmentation(shift=6, flip=True)
    assert classic_for("moving-digits", (1, 16, 16, 16)) == ClassicAugmentation(shift=2)


def test_a_lens_without_errors_changes_nothing():
    x = images(2)
    assert torch.equal(vignette(x, torch.zeros(2)), x)
    assert torch.allclose(distort(x, torch.zeros(2)), x, atol=1e-5)
    assert distort(x[:0], torch.zeros(0)).shape == (0, *x.shape[1:])
    point = torch.full((1, 1, 1, 1), 0.5)
    assert torch.equal(vignette(point, torch.ones(1)), point)
    assert torch.equal(distort(point, torch.ones(1) * 0.2), point)


def test_a_vignette_takes_its_share_of_the_corners_and_nothing_of_the_centre():
    amounts = torch.tensor([0.25, 1.0])
    y = vignette(torch.full((2, 3, 7, 5), 0.8), amounts)
    assert torch.allclose(y[..., 3, 2], torch.tensor(0.8))
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert torch.allclose(y[:, 1, row, column], 0.8 * (1 - amounts), atol=1e-6)
    assert torch.allclose(y[:, 0, 3, 0], 0.8 * (1 - amounts * 4 / 13))  # r² = 2² / (3² + 2²)


def test_distortion_shows_what_was_at_r_times_one_plus_k_r_squared():
    """On a gradient from left to right, the shade of a pixel is where the shade came from."""
    side, k = 21, torch.tensor([0.2, -0.2])
    ramp = torch.linspace(0, 1, side).expand(2, 1, side, side)
    y = distort(ramp, k)
    place = torch.arange(side) - 10.0
    squares = (place[:, None] ** 2 + place**2) / 200  # 1 in the corners
    source = 10 + place * (1 + k[:, None, None] * squares)
    down = 10 + place[:, None] * (1 + k[:, None, None] * squares)
    inside = (source >= 0) & (source <= 20) & (down >= 0) & (down <= 20)
    assert inside[1].all()
    assert 0.5 < inside[0].float().mean() < 1
    assert torch.allclose(y[:, 0][inside], (source / 20)[inside], atol=1e-5)
    assert y[0, 0, 0, 0] == 0  # from beyond the corner


def test_a_colour_cast_is_one_gain_for_each_channel_of_a_sample():
    x = images() * 0.5
    gains = (ClassicAugmentation(colour_cast=0.4)(x, generator=rng()) / x).flatten(2)
    assert gains.std(2).max() < 1e-5
    assert (gains - 1).abs().max() <= 0.4 + 1e-5
    assert gains.mean(2).std(1).min() > 0.01
    assert gains.mean(2).std(0).min() > 0.01


@pytest.mark.parametrize("name", ["vignette", "distortion"])
def test_lens_errors_differ_between_samples_and_keep_the_range(name):
    x = torch.ones(40, 1, 9, 9)
    y = ClassicAugmentation(**{name: 0.3})(x, generator=rng())
    assert torch.equal(y, ClassicAugmentation(**{name: 0.3})(x, generator=rng()))
    assert y.min() >= 0
    assert y.max() <= 1
    assert torch.allclose(y[..., 4, 4], torch.ones(()))
    corners = y[:, 0, 0, 0]
    assert len(corners.round(decimals=4).unique()) > 1
    if name == "vignette":
        assert corners.min() > 0.69
        assert corners.max() > 0.95


def test_options_that_are_off_draw_nothing():
    """What was drawn before these options existed is drawn still, in the same order."""
    x = images()
    generator = rng(7)
    ClassicAugmentation(shift=2, flip=True, hue=0.1)(x, generator=generator)
    reference = rng(7)
    for _ in range(6):  # right, down, mirrored, degrees, scale, hue
        torch.rand(len(x), generator=reference)
    assert torch.equal(generator.get_state(), reference.get_state())
