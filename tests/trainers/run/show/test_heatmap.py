import numpy as np
import pytest
import torch

from trainers.run.show.images import BAR, CAPTION, CHOSEN, PAD, PLAIN, TITLE, frame_heat_map


def rgb(text):
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


def length_of(picture, *, row, column, side, colour):
    """How many pixels of a colour the bar under a frame is long."""
    left = PAD + column * (side + PAD // 2)
    top = TITLE + row * (CAPTION + side + BAR + CAPTION) + CAPTION + side
    strip = np.asarray(picture)[top : top + BAR + CAPTION // 2, left]
    return int((strip == rgb(colour)).all(1).sum())


def test_bars_are_as_long_as_the_weights_and_keyframes_are_red():
    x = torch.zeros(2, 1, 3, 64, 64)
    weights = torch.tensor([[4.0, 2.0, 1.0], [0.0, -3.0, 7.0]])
    mask = weights > 3
    picture = frame_heat_map(x, weights, ["one", "two"], keyframes=mask)
    for row in range(2):
        for column in range(3):
            share = max(0.0, float(weights[row, column] / weights[row].max()))
            drawn = {
                colour: length_of(picture, row=row, column=column, side=64, colour=colour)
                for colour in (PLAIN, CHOSEN)
            }
            own, other = (CHOSEN, PLAIN)[:: 1 if mask[row, column] else -1]
            assert drawn[own] == pytest.approx(BAR * share + 1, abs=0.6)
            assert drawn[other] == 0


def test_frames_are_shown_in_order_over_their_bars():
    x = torch.linspace(0, 1, 4)[None, None, :, None, None].expand(1, 3, 4, 64, 64)
    picture = np.asarray(frame_heat_map(x, torch.ones(1, 4), ["grey"]))
    for column, level in enumerate((0, 85, 170, 255)):
        left, top = PAD + column * (64 + PAD // 2), TITLE + CAPTION
        assert (picture[top : top + 64, left : left + 64] == level).all()


def test_long_clips_are_thinned_and_weightless_ones_have_no_bars():
    wide = frame_heat_map(torch.zeros(1, 1, 16, 8, 8), torch.zeros(1, 16), ["a"])
    long = frame_heat_map(torch.zeros(1, 1, 60, 8, 8), torch.zeros(1, 60), ["a"])
    assert wide.size == long.size
    assert length_of(wide, row=0, column=3, side=64, colour=PLAIN) == 1  # the base line
