import numpy as np
import pytest
import torch
from PIL import Image

from trainers.run.figures import CAPTION, PAD, TITLE, Pair, amplification, sheet, to_uint8
from trainers.run.plots import curves, ticks
from trainers.run.table import attacks_table, rounds_table


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
    assert lines[2].split()[3] == "-"
