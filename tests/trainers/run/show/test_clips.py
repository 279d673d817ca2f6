"""Pictures of clips, and TensorBoard that plays them."""

import io

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainers.run.folder.metrics import Metrics
from trainers.run.show.images import (
    CAPTION,
    FRAMES,
    PAD,
    TITLE,
    Pair,
    draw_strips,
    encode_gif,
)
from trainers.run.show.tensorboard_writer import TensorBoardWriter


def pair(frames=16, side=32):
    """A clip that grows brighter with time, and 0.09 more of it."""
    x = (torch.arange(frames) / (2 * frames)).view(1, frames, 1, 1).expand(3, -1, side, side)
    return Pair(x, x + 0.09, "left  0.90", "right  0.60")


def test_a_strip_shows_frames_of_original_perturbed_and_difference():
    image = np.asarray(draw_strips([pair(), pair()]).convert("RGB"))
    cell = 96 + 2  # 32 pixels, three times as large
    rows = [TITLE + CAPTION + row * cell + cell // 2 for row in range(3)]
    columns = [PAD + i * cell + cell // 2 for i in range(FRAMES)]
    times = np.arange(0, 16, 2) / 32
    for row, wanted in zip(rows, (times, times + 0.09, times * 0 + 0.5 + 5 * 0.09), strict=True):
        assert np.abs(image[row, columns, 0] / 255 - wanted).max() < 0.5 / 255 + 1e-6


def test_a_short_clip_shows_each_of_its_frames_once():
    width = draw_strips([pair(frames=3)]).size[0]
    assert width == 3 * (96 + 2) + 2 * PAD


def test_tensorboard_gets_an_animation_of_all_frames(tmp_path):
    path = tmp_path / "clips.gif"
    path.write_bytes(encode_gif([pair(), pair()]))
    board = TensorBoardWriter(tmp_path / "board", Metrics(tmp_path / "metrics.jsonl"), "")
    board.picture("pgd/clips", path, step=3)
    board.close({})
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    (event,) = events.Images("pgd/clips")
    with Image.open(io.BytesIO(event.encoded_image_string)) as shown:
        assert (event.step, event.width, event.height) == (3, *shown.size)
        assert shown.n_frames == 16
        shown.seek(8)
        page = np.asarray(shown.convert("RGB"))
    assert abs(int(page[TITLE + 50, PAD + 50, 0]) - 64) <= 2  # a quarter bright at half time
