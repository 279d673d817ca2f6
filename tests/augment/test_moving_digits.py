from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from augment import load_dataset

OPPOSITES = {"left": "right", "up": "down", "clockwise": "counter-clockwise"}
SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def data():
    return {split: load_dataset("moving-digits", split) for split in SPLITS}


def place(frame, digit):
    """Where a digit (8, 8) stands on a canvas (16, 16) that wraps around, found by search."""
    for down in range(16):
        for right in range(16):
            window = frame.roll((-down, -right), (0, 1))
            if torch.equal(window[:8, :8], digit) and not window[8:].any():
                return down, right
    raise AssertionError("the digit is not there")


def test_shape_balance_and_splits_that_share_no_digit(data):
    assert {s: d.shape for s, d in data.items()} == dict.fromkeys(SPLITS, (1, 16, 16, 16))
    assert [len(data[s]) for s in SPLITS] == [1257, 180, 360]
    ids = [i for s in SPLITS for i in data[s].ids]
    assert len(set(ids)) == 1797
    for part in data.values():
        counts = part.labels.bincount(minlength=6)
        assert counts.max() - counts.min() <= 1
        assert part.raw([0]).dtype == torch.uint8
        assert part.is_video
    for split in SPLITS:
        assert data[split].ids == load_dataset("digits", split).ids


def test_every_clip_shows_its_real_digit_moving_as_its_label_says(data):
    real = torch.from_numpy(load_digits().images) * 255 / 16  # (1797, 8, 8)
    test = data["test"]
    turns = {0: (0, -1), 1: (0, 1), 2: (-1, 0), 3: (1, 0)}
    for label in range(6):
        for row in (test.labels == label).nonzero()[:3, 0].tolist():
            digit = real[int(test.ids[row])].round().byte()
            path = [place(frame, digit) for frame in test.raw([row])[0, 0]]
            steps = torch.tensor([(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(path)])
            steps = (steps + 8) % 16 - 8  # the short way around the canvas
            if label in turns:
                assert steps.tolist() == [list(turns[label])] * 15
                continue
            down, right = steps[:-1].float().T, steps[1:].float().T
            # On a screen, where down is positive, right x down is a turn with the clock.
            turned = (down[1] * right[0] - down[0] * right[1]).sum()
            assert (turned > 0) == (test.classes[label] == "clockwise")


def test_a_motion_and_its_opposite_share_their_frames(data):
    """Without the order of the frames the two cannot be told apart."""
    from augment.datasets.arrays.moving_digits import MOTIONS

    for one, other in OPPOSITES.items():
        places = [{tuple(v % 16 for v in MOTIONS[m](t)) for t in range(16)} for m in (one, other)]
        assert places[0] == places[1]
        assert [MOTIONS[one](t) for t in range(16)] != [MOTIONS[other](t) for t in range(16)]


def test_one_frame_does_not_tell_the_motion_but_two_do(data):
    x, y = data["train"].stack(range(1257))
    x_test, y_test = data["test"].stack(range(360))

    def accuracy(see):
        fitted = LogisticRegression(max_iter=200).fit(see(x).flatten(1), y)
        return float(fitted.score(see(x_test).flatten(1), y_test))

    for frame in (0, 7, 15):
        assert accuracy(lambda x, t=frame: x[:, 0, t]) < 1 / 6 + 0.09  # 4.5 standard errors
    shifts = [(0, -1), (0, 1), (-1, 0), (1, 0)]

    def moved(x):
        """Whether the next frame is this one shifted, for each way."""
        return torch.stack([(x[:, 0, 1] - x[:, 0, 0].roll(s, (1, 2))).abs().sum((1, 2)) < 1e-6
                            for s in shifts], 1).float()  # fmt: skip

    assert accuracy(moved) > 0.6  # four of six classes, exactly


def test_frames_and_stride_follow_the_same_motion(data):
    long = load_dataset("moving-digits", "test", frames=31, samples=12)
    short = load_dataset("moving-digits", "test", frames=16, stride=2, samples=12)
    assert torch.equal(long.raw(range(12))[:, :, ::2], short.raw(range(12)))
    assert torch.equal(long.raw(range(12))[:, :, :15], long.raw(range(12))[:, :, 16:])


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="takes no folder"):
        load_dataset("moving-digits:here", "test")
    with pytest.raises(ValueError, match="clips=2"):
        load_dataset("moving-digits", "test", clips=2)
    with pytest.raises(ValueError, match="frames=0"):
        load_dataset("moving-digits", "test", frames=0)
    with pytest.raises(ValueError, match="these are images"):
        load_dataset("digits", "test", frames=8)
