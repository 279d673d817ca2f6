"""Time a step of each training method against the bare passes that it cannot do without.

    python benchmarks/training.py [--rounds 9]

The limit is the model alone: as many gradients in the samples, in eval mode with constant
parameters, and in the weights as the method takes. Both take turns on one thread; what is told is
the median over the rounds of the quotient of their processor times.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# This file's folder comes first on the path, and has an attacks.py of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attacks.common.goal import logits_of
from trainers import FitOptions, load_classifier
from trainers.fit.methods import METHODS
from trainers.fit.methods.method import TrainingStep

# Passes in eval mode without a gradient, gradients in the samples, gradients in the weights.
PASSES = {
    "standard": (0, 0, 1),
    "fast": (0, 1, 1),
    "pgd-at": (0, 7, 1),
    "trades": (1, 10, 2),
    "mart": (0, 10, 2),
    "free": (0, 0, 1),
    "ensemble": (0, 1, 1),
}
SUBJECTS = {
    "smallcnn, 64 of 1x8x8": ("smallcnn", (64, 1, 8, 8)),
    "smallcnn, 64 of 3x32x32": ("smallcnn", (64, 3, 32, 32)),
    "resnet18-cifar, 8 of 3x32x32": ("resnet18-cifar", (8, 3, 32, 32)),
}


def bare(model: nn.Module, x: Tensor, y: Tensor, passes: tuple[int, int, int]) -> None:
    """Make so many passes of the model."""
    forward, inputs, weights = passes
    model.eval().requires_grad_(False)
    with torch.no_grad():
        for _ in range(forward):
            model(x)
    for _ in range(inputs):
        leaf = x.clone().requires_grad_()
        torch.autograd.grad(F.cross_entropy(model(leaf), y), leaf)
    model.train().requires_grad_(True)
    sum(F.cross_entropy(model(x), y) for _ in range(weights)).backward()


def ours(model: nn.Module, x: Tensor, y: Tensor, method: str) -> None:
    """Take a method's loss, and its gradient in the weights."""
    model.train()
    options = FitOptions(method=method, train_eps=8 / 255)
    step = TrainingStep(model, lambda x: logits_of(model, x), options, torch.Generator())
    chosen = METHODS[method]
    _, loss = chosen.loss(step, x, chosen.perturb(step, x, y), y)
    loss.backward()


def seconds(work: Callable[[], None]) -> float:
    """Return the processor time that some work takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print a line for each model and method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    for title, (name, shape) in SUBJECTS.items():
        model = load_classifier(name, in_channels=shape[1], num_classes=10)
        x, y = torch.rand(shape), torch.randint(0, 10, shape[:1])
        for method, passes in PASSES.items():
            quotients = []
            for _ in range(rounds + 1):
                limit = seconds(partial(bare, model, x, y, passes))
                quotients.append(seconds(partial(ours, model, x, y, method)) / limit)
            print(f"{title:<30}{method:<10}{statistics.median(quotients[1:]):.3f} of the limit")


if __name__ == "__main__":
    main()
