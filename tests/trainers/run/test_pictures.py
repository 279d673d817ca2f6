import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.run.show.figures import CAPTION, PAD, TITLE, Pair, amplification, sheet, to_uint8
from trainers.run.show.pens import dashes
from trainers.run.show.plots import curves, factors, ticks, vector_curves
from trainers.run.show.table import attacks_table, rounds_table

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("channels", "side", "scale"), [(1, 8, 15), (3, 32, 4), (3, 224, 1)])
def test_a_sheet_shows_original_perturbed_and_difference(
    channels: int, side: int, scale: int
) -> None:
    x = torch.full((channels, side, side), 0.25)
    image = np.asarray(sheet([Pair(x, x + 0.1, "cat  0.90", "dog  0.60")]).convert("RGB"))
    cell, middle = side * scale + PAD, TITLE + side * scale // 2
    seen = [image[middle, PAD + i * cell + 5, 0] for i in range(3)]
    assert seen == [64, 89, 255 // 2 + 1 + round(5 * 0.1 * 255) - 1]
    assert image.shape[0] == TITLE + side * scale + CAPTION + 2 * PAD


def test_bytes_are_rounded_and_clamped() -> None:
    x = torch.tensor([-1.0, 0.4999 / 255, 0.5001 / 255, 2.0]).reshape(1, 2, 2)
    assert to_uint8(x).ravel().tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(("largest", "factor"), [(0.0, 500), (0.03, 10), (0.5, 1), (1.0, 1)])
def test_amplification(largest: float, factor: int) -> None:
    assert amplification(largest) == factor


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [-3.0, 1e-9], [1e6, 2e6]])
def test_ticks_enclose_the_values(values: list[float]) -> None:
    axis = ticks(values)
    assert 2 <= len(axis) <= 8
    assert all(axis[0] <= value <= axis[-1] for value in values)
    assert axis == sorted(set(axis))


def test_whole_ticks() -> None:
    assert ticks([0, 1], whole=True) == [0, 1]


def test_curves_draw_each_line_in_its_colour_and_skip_what_is_not_finite() -> None:
    lines = {"a": [(0, 0.0), (1, 1.0)], "b": [(0, 1.0), (1, float("nan")), (2, 0.5)]}
    image = curves(lines, title="t", across="round")
    assert image.size == (640, 360)
    colours = {colour for _, colour in image.getcolors(1 << 20)}
    assert {(37, 99, 235), (220, 38, 38)} <= colours
    assert isinstance(curves({"none": []}, title="t", across="x"), Image.Image)


def test_the_spread_of_a_point_is_an_upright_stroke_that_the_axis_covers() -> None:
    lines = {"a": [(1, 0.5), (2, 0.5)]}
    with_spread, without = (
        curves(lines, title="t", across="round", spread=spread)
        for spread in ({"a": [(0.0, 1.0), (0.5, 0.5)]}, None)
    )

    def blue(image: Image.Image, x: int) -> int:
        pixels = [image.getpixel((x, y)) for y in range(image.height)]
        return sum(b > r + 60 for r, _, b in pixels)

    left = 56  # of the axes, where the first point is
    assert blue(with_spread, left) > 200
    assert 0 < blue(without, left) < 20


def row(number: int) -> dict:
    return {
        "round": number, "clean_accuracy": 0.98, "robust_accuracy": {"pgd": 0.5, "fgsm": 0.7},
        "attack": "generator", "attack_success": 0.25, "attack_loss": 0.1, "delta_l1": 0.02,
        "bank_size": 10, "seconds": 1.0,
    }  # fmt: skip


def test_table_columns_line_up() -> None:
    lines = rounds_table([row(0), row(10)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "generator success" in lines[0]


def test_a_table_of_attacks() -> None:
    measured = {"robust_accuracy": 0.5, "success": 0.5, "queries": 21.0, "seconds": 1.0}
    attacks = {
        "pgd": measured | {"median_l2": 0.4},
        "fgsm:eps=8/255": measured | {"median_l2": None},
    }
    text = attacks_table({"attacks": attacks, "clean_accuracy": 0.9, "worst_case": 0.4})
    lines = text.splitlines()
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[2].split() == ["fgsm:eps=8/255", "none", "50.0%", "50.0%", "-", "-", "21", "1.0"]


def test_a_chart_in_svg_has_the_points_of_the_one_in_pixels() -> None:
    lines = {"a & b": [(1, 0.0), (10, 1.0)], "c": [(1, 1.0), (10, 0.0)]}
    drawn = {"title": "t", "across": "bytes", "tenfold": True, "whole": False, "dashed": ["c"]}
    root = ElementTree.fromstring(vector_curves(lines, **drawn))
    found = [line for line in root.iter(f"{SVG}polyline") if line.get("stroke") == "#2563eb"]
    (left, low), (right, high) = (map(float, p.split(",")) for p in found[0].get("points").split())
    image = curves(lines, **drawn)
    for x, y in ((left, low), (right, high)):
        assert image.getpixel((round(x), round(y))) == (37, 99, 235)
    assert left < right
    assert low > high
    dashed = [
        line.get("stroke")
        for line in root.iter(f"{SVG}polyline")
        if "5 4" in str(line.get("stroke-dasharray"))
    ]
    assert dashed == ["#dc2626"] * 2  # the line and its key
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"t", "bytes", "a & b", "c", "1", "2", "5", "10"} <= set(words)


def test_dashes_are_as_long_round_a_corner() -> None:
    straight, bent = dashes([(0, 0), (40, 0)]), dashes([(0, 0), (20, 0), (20, 20)])
    lengths = [
        sum(abs(x1 - x0) + abs(y1 - y0) for (x0, y0), (x1, y1) in d) for d in (straight, bent)
    ]
    assert lengths == pytest.approx([5 * 4 + 4, 5 * 4 + 4])


@pytest.mark.parametrize("values", [[], [0.3], [-1.2, 2.7], [0.0, 1.0]])
def test_factors_enclose_the_values(values: list[float]) -> None:
    axis = factors(values)
    assert axis == sorted(set(axis))
    assert all(axis[0] - 1e-6 <= value <= axis[-1] + 1e-6 for value in values)
    assert {round(10 ** (x - math.floor(x + 1e-9)), 6) for x in axis} <= {1, 2, 5}
