"""Transfer of per-sample attacks between classifiers, against counts by hand."""

import pytest
import torch
from torch import nn

from attacks import PGD
from augment import Dataset
from trainers.evaluate.transfer import transfer_rows, transfer_table
from trainers.intervals import wilson


class Threshold(nn.Module):
    """Class 1 when the mean of the sample is above a level."""

    def __init__(self, level):
        super().__init__()
        self.level = level

    def forward(self, x):
        score = x.flatten(1).mean(1) - self.level
        return torch.stack([-score, score], 1)


LEVELS, LABELS = [0.3, 0.42, 0.48, 0.55, 0.65, 0.8], [0, 0, 0, 1, 1, 1]


def samples():
    x = torch.tensor(LEVELS).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    return x, torch.tensor(LABELS)


def test_each_pair_counts_those_that_both_had_right():
    """PGD pushes every mean by 0.1 towards its own threshold, past it where it is nearer."""
    x, y = samples()
    ds = Dataset(x, y, [f"s{i}" for i in range(6)], name="levels", classes=["dark", "bright"])
    models = {"half": Threshold(0.5), "high": Threshold(0.6)}
    fooled, attackable = transfer_table(PGD(eps=0.1, steps=5), models, ds)
    # half is right on all; high is wrong on 0.55. From 0.5: .4 .52 .58 | .45 .55 .7; the same from
    # 0.6, for both push dark ones up and bright ones down: half wrong on .52 .58 .45, high on .55.
    assert attackable.tolist() == [[6, 5], [5, 5]]
    assert fooled.tolist() == [[3, 1], [2, 1]]
    rows = transfer_rows(list(models), fooled, attackable)
    assert [(row["made_on"], row["tried_on"]) for row in rows[:2]] == [
        ("half", "half"), ("half", "high"),
    ]  # fmt: skip
    assert rows[1]["success"] == pytest.approx(0.2)
    assert rows[1]["success_interval"] == wilson(1, 5)


def test_a_loader_serves_and_an_iterator_does_not():
    x, y = samples()
    models = {"a": Threshold(0.5), "b": Threshold(0.6)}
    attack, batches = PGD(eps=0.1, steps=5), [(x[:4], y[:4]), (x[4:], y[4:])]
    fooled, _ = transfer_table(attack, models, batches)
    assert fooled.tolist() == [[3, 1], [2, 1]]
    with pytest.raises(ValueError, match="an iterator, which ends with the first classifier"):
        transfer_table(attack, models, iter(batches))


def test_nobody_right_is_no_rate():
    rows = transfer_rows(["a"], torch.tensor([[0]]), torch.tensor([[0]]))
    assert (rows[0]["success"], rows[0]["success_interval"]) == (None, (0, 1))
