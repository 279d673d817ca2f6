"""Time the learned generator against a one-sample loop and against the classifier alone.

    python benchmarks/generator.py [--photos DIR --model FILE:FACTORY --weights FILE]

Three things are timed in turn, several rounds of each in one run, per iteration and sample:

- ours: `attacks.LearnedGenerator` on the whole batch;
- loop: the published way with the same hyper-parameters, an nn.Sequential of convolutions and
  torch.optim.Adam for one sample after the other;
- limit: the classifier's bare forward pass and input gradient for as many sample-steps.

With --photos also: how long ours takes to reach the loss that the published setting ends with
after 2,000 iterations. Ratios hold on any machine; absolute times do not.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

# This file's folder comes first on the path, and has an attacks.py of its own.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attacks import LearnedGenerator
from attacks.common.frozen import frozen
from augment import load_dataset
from trainers import load_classifier

STD = (0.229, 0.224, 0.225)


def one_sample_loop(model: nn.Module, x: Tensor, *, steps: int, lr: float) -> Tensor:
    """Train one P after the other as published, in pixel space; return the last eq. (1) values."""
    std = torch.tensor(STD)[:, None, None]
    values = []
    for row in x.split(1):
        convolutions = [nn.Conv2d(3, 3, 3, padding="same") for _ in range(9)]
        for convolution in convolutions:
            nn.init.dirac_(convolution.weight)
            nn.init.zeros_(convolution.bias)
        blocks = [m for i in range(0, 9, 3) for m in (*convolutions[i : i + 3], nn.ReLU())]
        generator = nn.Sequential(*blocks)
        optimiser = torch.optim.Adam(generator.parameters(), lr=lr)
        with torch.no_grad():
            top = model(row).topk(5).indices[0]
        for _ in range(steps):
            output = generator(row)
            x_adv = output.detach().clamp(0, 1) + (output - output.detach())
            scores = model(x_adv).softmax(1)[0]
            distance = ((x_adv - row).abs() / std).mean()
            total = scores[top].sum()
            loss = -torch.log1p(-total.clamp_max(1 - 1e-7)) + distance
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        values.append((total + distance).detach())
    return torch.stack(values)


def bare_gradients(model: nn.Module, x: Tensor, *, steps: int) -> None:
    """Run the classifier forward and back to its input, `steps` times."""
    for _ in range(steps):
        leaf = x.detach().requires_grad_()
        torch.autograd.grad(model(leaf).logsumexp(1).sum(), leaf)


def seconds(job: Callable[[], object]) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def compare(name: str, model: nn.Module, x: Tensor, *, steps: int, rounds: int) -> dict[str, float]:
    """Time ours, the loop and the limit in turn; return medians in ms per iteration and sample."""
    y = torch.zeros(len(x), dtype=torch.int64)
    attack = LearnedGenerator(steps=steps, optimizer="adam", lr=1e-3)
    jobs: dict[str, Callable[[], object]] = {
        "ours": lambda: attack(model, x, y),
        "ours whitened": lambda: LearnedGenerator(steps=steps)(model, x, y),
        "loop": lambda: one_sample_loop(model, x, steps=steps, lr=1e-3),
        "limit": lambda: bare_gradients(model, x, steps=steps),
    }
    taken: dict[str, list[float]] = {key: [] for key in jobs}
    with frozen(model):
        for repeat in range(rounds + 1):
            for key, job in jobs.items():
                took = seconds(job)
                if repeat:  # the first round warms up
                    taken[key].append(took * 1e3 / (steps * len(x)))
    row = {key: statistics.median(values) for key, values in taken.items()}
    row["loop / ours"] = statistics.median(
        a / b for a, b in zip(taken["loop"], taken["ours"], strict=True)
    )
    row["ours / limit"] = statistics.median(
        a / b for a, b in zip(taken["ours"], taken["limit"], strict=True)
    )
    print(name, *(f"{key}: {value:.2f}" for key, value in row.items()), sep="\n  ")
    return row


def time_to_loss(
    model: nn.Module, x: Tensor, y: Tensor, *, published_steps: int
) -> dict[str, float]:
    """Compare the published setting's final loss and time with ours reaching the same mean."""
    published = LearnedGenerator(optimizer="adam", steps=published_steps)
    start = time.perf_counter()
    theirs = published(model, x, y)
    their_seconds = time.perf_counter() - start
    marks: list[float] = []
    start = time.perf_counter()
    ours = LearnedGenerator()(
        model, x, y, progress=lambda done, of: marks.append(time.perf_counter() - start)
    )
    our_seconds = time.perf_counter() - start
    best = ours.history.cummin(0).values.mean(1)
    reached = (best <= theirs.loss.mean()).nonzero().flatten()
    at = marks[int(reached[0])] if len(reached) else float("inf")
    row = {
        "published loss": theirs.loss.mean().item(),
        "published seconds": their_seconds,
        "published mean |difference| of 255": theirs.info["mean_abs"].mean().item() * 255,
        "our final loss": ours.loss.mean().item(),
        "our seconds": our_seconds,
        "our mean |difference| of 255": ours.info["mean_abs"].mean().item() * 255,
        "seconds to the published loss": at,
        "share of the published time": at / their_seconds,
        "whole run / published time": our_seconds / their_seconds,
    }
    print("time to the published loss", *(f"{k}: {v:.3f}" for k, v in row.items()), sep="\n  ")
    return row


def main() -> None:
    """Run the comparisons asked for and write generator.json beside this file's results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", help="folder of photographs, for the comparisons at 224 pixels")
    parser.add_argument("--model", default="mobilenet_v2", help="classifier for --photos")
    parser.add_argument("--weights", help="its weights")
    parser.add_argument("--published-steps", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/generator.json"))
    options = parser.parse_args()
    torch.manual_seed(0)
    rows = {"machine": {"torch": torch.__version__, "cpu": platform.processor() or "cpu"}}
    rows["machine"]["threads"] = torch.get_num_threads()
    small = load_classifier("smallcnn", num_classes=10).eval()
    rows["32x32, batch 16, smallcnn"] = compare(
        "32x32, batch 16, smallcnn",
        small,
        torch.rand(16, 3, 32, 32),
        steps=40,
        rounds=options.rounds,
    )
    if options.photos:
        model = load_classifier(options.model, num_classes=1000, weights=options.weights).eval()
        photos = load_dataset(f"imagefolder:{options.photos}", "test", size=224)
        x, _ = photos.stack(range(len(photos)))
        rows["224x224"] = compare("224x224", model, x, steps=20, rounds=options.rounds)
        with torch.no_grad():
            y = model(x).argmax(1)
        rows["time to loss"] = time_to_loss(model, x, y, published_steps=options.published_steps)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=2))
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
