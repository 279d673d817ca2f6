"""What the pictures of flicker show."""

import torch
from PIL import ImageColor

from trainers.run.show.plots import COLOURS, DPI, PAINT, SIZE, path_figure, pattern_figure


def colours_of(image):
    """All colours of a picture, with how many pixels have each."""
    return {colour: count for count, colour in image.getcolors(2**20)}


def strip_of(image):
    """The row of colours above the curves, from left to right, without what is white beside it."""
    row = [image.getpixel((x, round(0.4 * DPI))) for x in range(image.width)]
    return [colour for colour in row if colour != (255, 255, 255)]


def test_the_strip_shows_each_frame_in_its_amplified_colour():
    pattern = torch.tensor([[0.09, 0.0, -0.09, 0.0], [0.0, 0.09, 0.0, 0.0], [0.0, 0.0, 0.0, -0.05]])
    strip = strip_of(pattern_figure(pattern, title="A pattern"))
    middles = [strip[int((t + 0.5) * len(strip) / 4)] for t in range(4)]
    # Five times the pattern, around grey.
    assert middles == [(242, 128, 128), (128, 242, 128), (13, 128, 128), (128, 128, 64)]


def test_each_channel_has_the_curve_of_its_colour():
    pattern = torch.stack([torch.full((6,), level) for level in (-0.1, 0.0, 0.1)])
    found = colours_of(pattern_figure(pattern, title="A pattern"))
    assert all(found[ImageColor.getrgb(paint)] > 20 for paint in PAINT)


def test_one_channel_and_five_are_drawn_too():
    for channels in (1, 5):
        pattern = torch.linspace(-0.1, 0.1, 8 * channels).reshape(channels, 8)
        image = pattern_figure(pattern, title="A pattern")
        strip = strip_of(image)
        left, right = strip[len(strip) // 9], strip[-(len(strip) // 9)]
        assert left[0] == left[1] == left[2]
        assert left[0] < right[0]


def test_the_path_has_a_point_for_each_weight_with_clips():
    points = [
        (share, torch.tensor([thick - 1, thick + 1]), torch.tensor([rough]))
        for share, thick, rough in ((0.0, 6.0, 1.0), (0.5, 5.0, 2.0), (1.0, 4.5, 3.0))
    ]
    points.append((0.7, torch.zeros(0), torch.zeros(0)))
    found = colours_of(path_figure(points, title="Three"))
    used = [ImageColor.getrgb(colour) in found for colour in COLOURS]
    assert used == [True] * 4 + [False] * 4  # the path, and three points
    assert path_figure([], title="None").size == (SIZE[0] * DPI, SIZE[1] * DPI)
