import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from augment.corruptions import CORRUPTIONS
from augment.corruptions.corruption import Corruption

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_sheet_shows_each_corruption_at_its_place(tmp_path):
    """Severities 1 and 5 of contrast deviate from grey in the ratio of its numbers."""
    words = ["--output", str(tmp_path / "sheet.png"), "--size", "32", "--shown", "32"]
    subprocess.run([sys.executable, "examples/corruptions.py", *words], cwd=ROOT, check=True)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(float)
    assert sheet.shape == (5 * 48, 3 * 172 - 12, 3)
    place = list(CORRUPTIONS).index("contrast")
    top, left = place % 5 * 48 + 16, place // 5 * 172
    first, last = (
        sheet[top : top + 32, left + 32 * s : left + 32 * s + 32].std((0, 1)) for s in (0, 4)
    )
    contrast = CORRUPTIONS["contrast"]
    assert isinstance(contrast, Corruption)
    levels = contrast.levels["cifar10-c"]
    assert np.allclose(last / first, levels[4] / levels[0], rtol=0.05)
