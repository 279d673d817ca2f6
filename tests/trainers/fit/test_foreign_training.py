"""Fitting models whose training pass is unlike that of evaluation."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from augment import load_dataset
from trainers.fit.classifier import FitOptions, fit_classifier


class Net(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 16))
            self.head = nn.Linear(16, 10)

    def forward(self, x):
        if self.kind == "in place":
            x = x.sub_(0.5)
        elif self.kind != "reentrant":
            x = x - 0.5
        if self.kind == "reentrant":
            return self.head(checkpoint(self.body, x - 0.5, use_reentrant=True))
        logits = self.head(self.body(x))
        if not self.training:
            return logits
        return {"tuple": (logits, logits), "dict": {"logits": logits}}.get(self.kind, logits)


@pytest.fixture(scope="module")
def train():
    digits = load_dataset("digits", "train")
    return digits.subset(range(64))


def fitted(kind, train):
    model = Net(kind)
    fit_classifier(model, train, FitOptions(epochs=2, batch_size=16), seed=0)
    return model.state_dict()


@pytest.mark.parametrize("kind", ["tuple", "dict", "in place", "reentrant"])
@pytest.mark.filterwarnings("ignore")
def test_it_is_fitted_like_a_plain_model(kind, train):
    before = train.stack(range(4))[0].clone()
    ours, plain = fitted(kind, train), fitted("plain", train)
    assert all(torch.equal(ours[name], plain[name]) for name in plain)
    assert torch.equal(train.stack(range(4))[0], before)


def test_a_training_pass_without_logits_is_named(train):
    class Odd(Net):
        def forward(self, x):
            return (x, super().forward(x))

    with pytest.raises(ValueError, match=r"the model returned tuple; a classifier returns logits"):
        fit_classifier(Odd("plain"), train, FitOptions(epochs=1), seed=0)
