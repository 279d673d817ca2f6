"""What the job `attack` keeps of clips can be read again, and still fools where it says so."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from augment import Dataset, load_dataset
from trainers.jobs.attack_files import write_samples


def test_clips_are_kept_without_loss_and_to_look_at(tmp_path: Path) -> None:
    ds = load_dataset("moving-digits", "test", samples=3, frames=5)
    x_adv = ds.stack(range(3))[0] * 0.9 + 0.05
    columns = {"x_adv": x_adv, "y": ds.labels, "success": torch.tensor([True, False, True])}
    write_samples(tmp_path / "samples", columns, ds)
    read = load_dataset(f"videofolder:{tmp_path / 'samples'}", "test", frames=5)
    assert read.ids == [f"{i:05}-{name}.mkv" for i, name in enumerate(ds.ids)]
    assert torch.equal(read.raw(range(3)), (x_adv * 255).round().byte())
    for i, name in enumerate(ds.ids):
        with Image.open(tmp_path / f"gifs/{i:05}-{name}.gif") as gif:
            assert gif.n_frames == 5
    with np.load(tmp_path / "samples.npz") as saved:
        assert np.array_equal(saved["x_adv"], x_adv.numpy())
        assert saved["ids"].tolist() == ds.ids


def test_long_names_of_samples_are_cut(tmp_path: Path) -> None:
    ids = [f"class/{'猫' * 83}.png", f"class/{'猫' * 83}.jpg", "class/a.png"]
    x = torch.rand(3, 1, 8, 8)
    ds = Dataset(x, torch.zeros(3, dtype=torch.int64), ids, name="long", classes=["class"])
    columns = {"x_adv": x, "y": ds.labels, "success": torch.ones(3, dtype=torch.bool)}
    write_samples(tmp_path / "samples", columns, ds)
    names = sorted(file.name for file in (tmp_path / "samples").iterdir())
    assert [name[:12] for name in names] == ["00000-class_", "00001-class_", "00002-class_"]
    assert names[2] == "00002-class_a.png"
