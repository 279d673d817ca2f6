import io
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from trainers.run.show.figures.followed import (
    HEADING,
    FollowedSample,
    draw_followed,
    encode_followed,
)
from trainers.run.show.images import CAPTION, PAD, TITLE, Pair, amplification, draw_sheet, to_uint8
from trainers.run.show.outcome import attacks_table, rounds_table
from trainers.run.show.plots import line_chart, log_ticks, to_picture, to_svg

ROOT = Path(__file__).parents[4]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("channels", "side", "scale"), [(1, 8, 15), (3, 32, 4), (3, 224, 1)])
def test_a_sheet_shows_original_perturbed_and_difference(
    channels: int, side: int, scale: int
) -> None:
    x = torch.full((channels, side, side), 0.25)
    image = np.asarray(draw_sheet([Pair(x, x + 0.1, "cat  0.90", "dog  0.60")]).convert("RGB"))
    cell, middle = side * scale + PAD, TITLE + side * scale // 2
    seen = [image[middle, PAD + i * cell + 5, 0] for i in range(3)]
    assert seen == [64, 89, 255 // 2 + 1 + round(5 * 0.1 * 255) - 1]
    assert image.shape[0] == TITLE + side * scale + CAPTION + 2 * PAD


@pytest.mark.parametrize("side", [8, 224])
def test_a_followed_sample_shows_three_tiles_and_its_outcome_in_colour(side: int) -> None:
    x = torch.full((1, side, side), 0.25)
    said = {"label": "a name that is far too long for one line of it", "before": ("cat", 0.9)}
    for outcome, colour in (("fooled", (220, 38, 38)), ("held", (4, 120, 87))):
        sample = FollowedSample(x, x + 0.1, after=("dog", 0.6), outcome=outcome, **said)
        image = draw_followed(sample)
        pixels = np.asarray(image)
        seen = [pixels[HEADING + 40, PAD + i * (128 + PAD) + 5, 0] for i in range(3)]
        assert seen == [64, 89, 255]
        assert colour in {c for _, c in image.getcolors(1 << 20)}
        assert image.width < 440  # a card of TensorBoard shows it whole
        assert (pixels[:, -PAD:] == 255).all()  # nothing runs out of it
    frames = x[:, None] + torch.tensor([0.0, 0.2, 0.4]).view(1, 3, 1, 1)  # (C, T, H, W)
    clip = sample._replace(x=frames, x_adv=frames + 0.1)
    with Image.open(io.BytesIO(encode_followed(clip))) as shown:
        assert (shown.format, shown.n_frames) == ("GIF", 3)


def test_bytes_are_rounded_and_clamped() -> None:
    x = torch.tensor([-1.0, 0.4999 / 255, 0.5001 / 255, 2.0]).reshape(1, 2, 2)
    assert to_uint8(x).ravel().tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(("largest", "factor"), [(0.0, 500), (0.03, 10), (0.5, 1), (1.0, 1)])
def test_amplification(largest: float, factor: int) -> None:
    assert amplification(largest) == factor


def axes_of(figure):
    """The axes of a chart, drawn."""
    to_picture(figure)
    return figure.axes[0]


def test_a_chart_has_each_line_in_its_colour_and_a_gap_where_a_value_is_not_finite() -> None:
    lines = {"a": [(0, 0.0), (1, 1.0)], "b": [(0, 1.0), (1, float("nan")), (2, 0.5)]}
    chart = line_chart(lines, title="t", x_label="round", y_label="share")
    image = to_picture(chart)
    assert image.size == (960, 540)
    colours = {colour for _, colour in image.getcolors(1 << 20)}
    assert {(37, 99, 235), (220, 38, 38)} <= colours
    axes = axes_of(chart)
    found = (axes.get_title("left"), axes.get_xlabel(), axes.get_ylabel())
    assert found == ("t", "round", "share")
    assert [text.get_text() for text in chart.legends[0].get_texts()] == ["a", "b"]
    assert all(float(tick).is_integer() for tick in axes.get_xticks())  # rounds are counted


@pytest.mark.parametrize("points", [[], [(0, 1.0)], [(0, float("nan"))]])
def test_a_chart_of_next_to_nothing_is_drawn(points: list[tuple[float, float]]) -> None:
    for log_x in (False, True):
        shifted = [(x + 1, y) for x, y in points]
        chart = line_chart({"none": shifted}, title="t", x_label="x", log_x=log_x)
        assert isinstance(to_picture(chart), Image.Image)
        assert not chart.legends


def test_a_logarithmic_axis_has_round_ticks() -> None:
    lines = {"a": [(6, 1.0), (300, 2.0)]}
    axes = axes_of(line_chart(lines, title="t", x_label="bytes", log_x=True))
    assert axes.get_xscale() == "log"
    shown = [text.get_text() for text in axes.get_xticklabels()]
    assert shown == ["10", "20", "50", "100", "200"]


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.3), (1, 10), (3, 4000), (0.02, 90), (5, 7)])
def test_logarithmic_ticks_are_round_and_within_the_values(low: float, high: float) -> None:
    ticks = log_ticks(low, high)
    assert ticks == sorted(set(ticks))
    assert all(low / 1.01 <= tick <= high * 1.01 for tick in ticks)
    assert len(ticks) <= 12
    assert all(len(f"{tick:e}".rstrip("0").partition("e")[0].rstrip("0.")) == 1 for tick in ticks)


def test_the_range_of_a_point_is_an_upright_stroke_that_the_axis_covers() -> None:
    lines = {"a": [(1, 0.5), (2, 0.5)]}
    ranges = {"a": [(0.0, 1.0), (0.5, 0.5)]}
    axes = axes_of(line_chart(lines, title="t", x_label="round", ranges=ranges))
    strokes = axes.collections[0].get_segments()
    assert [stroke.tolist() for stroke in strokes] == [[[1, 0], [1, 1]], [[2, 0.5], [2, 0.5]]]
    assert axes.get_ylim()[0] <= 0
    assert axes.get_ylim()[1] >= 1


def row(number: int) -> dict:
    return {
        "round": number, "clean_accuracy": 0.98, "robust_accuracy": {"pgd": 0.5, "fgsm": 0.7},
        "attack": "generator", "attack_success": 0.25, "attack_loss": 0.1, "delta_l1": 0.02,
        "worst_case": 0.4,
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


def chart():
    """A chart with a line of a style of its own, and one that the legend leaves out."""
    lines = {"a & b": [(1, 0.0), (10, 1.0)], "c": [(1, 1.0), (10, 0.0)], "_d": [(1, 0.5)]}
    styles = {"c": {"linestyle": "--", "color": "#123456"}}
    return line_chart(lines, title="t", x_label="bytes", log_x=True, styles=styles)


def test_a_chart_in_svg_has_its_words_and_lines() -> None:
    text = to_svg(chart())
    root = ElementTree.fromstring(text)
    words = {"".join(found.itertext()) for found in root.iter(f"{SVG}text")}
    assert {"t", "bytes", "a & b", "c", "1", "2", "5", "10"} <= words
    assert "_d" not in words
    dashed = [path for path in root.iter(f"{SVG}path") if "#123456" in path.get("style", "")]
    assert len(dashed) == 2  # the line and its key
    assert all("stroke-dasharray" in path.get("style") for path in dashed)


@pytest.mark.slow
def test_charts_have_the_same_bytes_in_every_process_whatever_the_users_settings(tmp_path) -> None:
    """Neither a date nor a version nor an id drawn at random may be in them."""
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfont.size: 30\n")
    code = (
        "import sys; sys.path[:0] = ['.', sys.argv[1]]\n"
        "from hashlib import sha256\nimport test_pictures as t\n"
        "from trainers.run.show.plots import to_picture, to_svg\n"
        "print(sha256(to_svg(t.chart()).encode() + to_picture(t.chart()).tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    env = os.environ | {"MATPLOTLIBRC": str(tmp_path)}
    options = {"capture_output": True, "text": True, "timeout": 120, "check": True}
    found = subprocess.run(command, env=env, cwd=ROOT, **options).stdout.strip()
    own = sha256(to_svg(chart()).encode() + to_picture(chart()).tobytes()).hexdigest()
    assert found == own
    assert not any(sign in to_svg(chart()) for sign in ("dc:date", "dc:creator", "Matplotlib v"))
