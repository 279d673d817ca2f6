"""What the classifier looked at before the rounds and after them, in the report of `rounds`."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from augment import load_dataset
from explain.gradient.saliency import Saliency
from trainers import load_classifier
from trainers.evenly_spaced import evenly_spaced
from trainers.run.main import main
from trainers.run.show.figures.explanation_change import LookedAt, change_figure, shares

TINY = [
    "rounds", "--smoke", "--threads", "1", "--train-samples", "80", "--test-samples", "40",
    "--epochs", "2", "--attacks", "pgd", "--attack-samples", "pgd=20", "--augmentation", "none",
    "--test-attacks", "fgsm", "--val-samples", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained") / "run"
    assert main([*TINY, "--run-dir", str(folder)]) == 0
    return folder


def test_the_same_samples_are_explained_before_and_after(run: Path) -> None:
    found = load_file(run / "checkpoints/looked-at.safetensors")
    assert set(found) == {
        f"{name} {when}" for name in ("saliency", "smooth-grad") for when in ("before", "after")
    }
    ds = load_dataset("digits", "test", samples=40)
    x, y = ds.stack(evenly_spaced(len(ds), 4))
    for when, file in (("before", "round-000"), ("after", "best")):
        weights = run / f"checkpoints/{file}.safetensors"
        model = load_classifier("smallcnn", num_classes=10, in_channels=1, weights=str(weights))
        wanted = Saliency()(model, x, y)
        torch.testing.assert_close(found[f"saliency {when}"], wanted, rtol=1e-4, atol=1e-6)
    assert not torch.equal(found["saliency before"], found["saliency after"])


def test_the_figure_is_in_the_report_and_made_again_as_it_was(run: Path) -> None:
    figure, report = run / "figures/looked-at.png", run / "report.html"
    assert "What did the classifier stop looking at?" in report.read_text()
    before = figure.read_bytes(), report.read_text()
    figure.unlink()
    (run / "checkpoints/looked-at.safetensors").unlink()
    assert main([*TINY, "--run-dir", str(run)]) == 0
    assert (figure.read_bytes(), report.read_text()) == before


def test_where_round_0_is_handed_over_there_is_nothing_to_compare(tmp_path: Path) -> None:
    assert main([*TINY, "--rounds", "0", "--run-dir", str(tmp_path / "r")]) == 0
    assert not (tmp_path / "r/figures/looked-at.png").exists()
    assert "stop looking at" not in (tmp_path / "r/report.html").read_text()


def test_shares_sum_to_one_and_an_empty_map_stays_empty() -> None:
    found = shares(torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[0.25, 0.75]], [[0.0, 0.0]]]))


def test_of_clips_the_frame_is_shown_that_is_looked_at_the_most() -> None:
    x, maps = torch.rand(2, 1, 5, 6, 6), torch.zeros(2, 5, 6, 6)
    maps[0, 3, 2, 2] = maps[1, 1, 4, 4] = 1
    looked = LookedAt({"saliency": maps}, torch.tensor([0.5, 0.25]))
    figure = change_figure(x, ["a", "b"], looked, looked, rounds=(0, 2))
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["a\n50% then 50%\nframe 3", "b\n25% then 25%\nframe 1"]
    shown = figure.axes[1].images[0].get_array()
    assert shown[2, 2] == shown[7 + 4, 4] == 1  # a row of pixels lies between the two
    assert float(abs(figure.axes[3].images[0].get_array()).max()) == 0
