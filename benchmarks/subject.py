"""The classifier and the samples that benchmarks/attacks.py attacks."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks import PGD
from augment import Dataset, load_dataset
from trainers import FitOptions, fit_classifier, load_classifier, predict
from trainers.models.networks.resnet_cifar import BasicBlock

CLASSES, SIDE = 10, 32
EPS = 8 / 255


@dataclass(frozen=True)
class Subject:
    """What is attacked: a classifier in eval mode and samples that it gets right.

    Attributes:
        model: maps (B, 3, H, W) in [0, 1] to logits (B, K).
        x: samples (B, 3, H, W).
        y: their labels, int64 (B,).
        clean_accuracy: share of all samples looked at that the classifier gets right.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    clean_accuracy: float

    @property
    def classes(self) -> int:
        """K."""
        return predict(self.model, self.x[:1]).shape[1]

    @property
    def device(self) -> str:
        """Where it is."""
        return self.x.device.type

    def first(self, count: int | None) -> "Subject":
        """Return the same with the first `count` samples, or all."""
        return Subject(self.model, self.x[:count], self.y[:count], self.clean_accuracy)

    def to(self, device: str) -> "Subject":
        """Return a copy elsewhere."""
        x, y = self.x.to(device, copy=True), self.y.to(device, copy=True)
        return Subject(deepcopy(self.model).to(device), x, y, self.clean_accuracy)

    def channels_last(self) -> "Subject":
        """Return a copy with the channels innermost in memory."""
        order = torch.channels_last
        model = deepcopy(self.model).to(memory_format=order)
        return Subject(model, self.x.contiguous(memory_format=order), self.y, self.clean_accuracy)


def small_resnet(*, num_classes: int = CLASSES, width: int = 16) -> nn.Module:
    """Build three residual blocks of 16, 32 and 64 channels: 12 million multiplications a sample.

    A ResNet-18 takes 45 times as many, too many for 5,000 queries a sample on two cores.
    """
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False),  # (B, w, H, W)
        nn.BatchNorm2d(width),
        nn.ReLU(),
        BasicBlock(width, width, 1),
        BasicBlock(width, 2 * width, 2),  # (B, 2w, H/2, W/2)
        BasicBlock(2 * width, 4 * width, 2),  # (B, 4w, H/4, W/4)
        nn.AdaptiveAvgPool2d(1),  # (B, 4w, 1, 1)
        nn.Flatten(),  # (B, 4w)
        nn.Linear(4 * width, num_classes),  # (B, K)
    )


def prepare(
    data: str,
    weights: Path | None,
    *,
    samples: int,
    training: int,
    epochs: int,
    undefended: bool,
    device: str,
) -> Subject:
    """Load or fit the classifier and take samples that it gets right.

    Args:
        data: what `load_dataset` reads, or "synthetic".
        weights: of `small_resnet`; None fits it on `data`.
        samples: how many to attack.
        training: how many to fit on.
        epochs: how often to see each.
        undefended: fit on the samples as they are.
        device: where to compute.
    """
    test = _dataset(data, "test", 4 * samples)
    if weights is None:
        torch.manual_seed(0)
        model = small_resnet(num_classes=test.num_classes).to(device)
        train = _dataset(data, "train", training)
        fitted(model, train, epochs=epochs, undefended=undefended, device=device)
    else:
        name = f"{__file__}:small_resnet"
        model = load_classifier(name, num_classes=test.num_classes, weights=weights).to(device)
    x, y = (t.to(device) for t in test.stack(range(len(test))))
    right = predict(model, x).argmax(1) == y
    if int(right.sum()) < samples:
        raise SystemExit(f"the classifier gets only {int(right.sum())} samples right; fit longer")
    return Subject(
        model.eval(), x[right][:samples], y[right][:samples], right.float().mean().item()
    )


def fitted(model: nn.Module, train: Dataset, *, epochs: int, undefended: bool, device: str) -> None:
    """Fit, unless undefended on one-step attacks, so that later attacks succeed on a part only.

    They start at random and push away from what the model answers, which needs no labels.

    Source: Kurakin et al. 2017 (ICLR), section 3; Wong et al. 2020, algorithm 3.
    """
    attack = PGD(eps=EPS, steps=1, step_size=1.25 * EPS)

    def attacked(x: Tensor, *, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=generator))
        return attack(model, x, predict(model, x).argmax(1), seed=seed).x_adv

    options, augment = FitOptions(epochs=epochs, lr=5e-3), None if undefended else attacked
    fit_classifier(model, train, options, seed=0, augment=augment, device=device)


def _dataset(data: str, split: str, count: int) -> Dataset:
    if data == "synthetic":
        return synthetic(count, seed=("train", "test").index(split))
    return load_dataset(data, split, samples=count, size=SIDE)


def synthetic(count: int, *, seed: int) -> Dataset:
    """Draw coloured clouds, `count` in all, each half its class' cloud and half one of its own."""
    prototypes = _clouds(CLASSES, torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    x = 0.5 + 0.11 * prototypes[labels] + 0.12 * _clouds(count, generator)
    x = (x + 0.04 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    names = [str(i) for i in range(count)]
    return Dataset(x, labels, names, name="synthetic", classes=names[:CLASSES])


def _clouds(count: int, generator: torch.Generator) -> Tensor:
    """Draw smooth noise of unit variance at its knots, (count, 3, 32, 32)."""
    knots = torch.randn((count, 3, 5, 5), generator=generator)
    return F.interpolate(knots, SIDE, mode="bicubic", align_corners=True)  # (count, 3, 32, 32)
