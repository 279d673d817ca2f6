"""Compare the versions of AutoAttack, sample by sample, with torchattacks' members.

    python benchmarks/autoattack.py [--version standard|plus|rand] [--plant noise|dropout|mirror]
        [--data cifar10:DIR --model smallcnn --weights FILE --eps 4/255] [--samples 500]

Both sides attack the same samples, which the classifier gets right. The members of torchattacks
have the published 100 steps, 20 passes and restarts; its own AutoAttack takes 10 steps. With `rand`
a random layer is planted in front, and accuracies are means over 20 passes of each side's samples.
Without --weights the classifier is fitted to samples that two steps of PGD attack.
"""

import argparse
import sys
import time
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

# This file's folder comes first on the path, where `attacks` would be another file.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks import PGD, AutoAttack
from augment import Dataset, load_dataset
from trainers import FitOptions, fit_classifier, load_classifier, predict

PASSES = 20
STEPS: dict[str, Any] = {"steps": 100}


class Planted(nn.Module):
    """A classifier behind a random layer."""

    def __init__(self, model: nn.Module, kind: str) -> None:
        """Plant "noise", "dropout", or "mirror", which turns samples round one by one."""
        super().__init__()
        self.model, self.kind = model, kind

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) of x (B, ...)."""
        if self.kind == "noise":
            x = x + 0.1 * torch.randn_like(x)
        elif self.kind == "dropout":
            x = F.dropout(x, 0.2, training=True)
        else:
            turned = torch.rand(len(x), 1, 1, 1, device=x.device) < 0.5
            x = torch.where(turned, x.flip(-1), x)
        logits: Tensor = self.model(x)
        return logits


def main() -> None:
    """Attack by ours and by theirs, and print who broke which samples."""
    options = parsed()
    model, x, y = subject(options)
    if options.version == "rand":
        model = Planted(model, options.plant).eval()
    began, passes = time.process_time(), PASSES if options.version == "rand" else 1
    result = AutoAttack(eps=options.eps, version=options.version)(model, x, y)
    print(f"ours: {result.info['members']} in {time.process_time() - began:.0f} s")
    began = time.process_time()
    x_theirs = theirs(options.version, model, options.eps, x, y)
    print(f"theirs: in {time.process_time() - began:.0f} s")
    ours = standing(model, result.x_adv, y, passes)
    other = standing(model, x_theirs, y, passes)
    report(ours, other, claimed=float((~result.success).float().mean()))


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--version", choices=("standard", "plus", "rand"), default="standard")
    parser.add_argument("--plant", choices=("noise", "dropout", "mirror"), default="noise")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--model", default="smallcnn")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--training", type=int, default=10_000, help="samples to fit it to")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--eps", type=lambda text: float(Fraction(text)), default=0.1)
    return parser.parse_args()


def subject(options: argparse.Namespace) -> tuple[nn.Module, Tensor, Tensor]:
    """Load or fit the classifier; return it, and samples that it gets right with their labels."""
    test = load_dataset(options.data, "test", samples=4 * options.samples)
    x, y = test.stack(range(len(test)))
    torch.manual_seed(0)
    size = {"image_size": tuple(x.shape[-2:]), "in_channels": x.shape[1]}
    model = load_classifier(
        options.model, num_classes=test.num_classes, weights=options.weights, **size
    )
    if options.weights is None:
        train = load_dataset(options.data, "train", samples=options.training)
        fit(model, train, eps=options.eps, epochs=options.epochs)
    right = (predict(model.eval(), x).argmax(1) == y).nonzero().flatten()[: options.samples]
    print(f"{len(right)} samples that the classifier gets right")
    return model, x[right], y[right]


def fit(model: nn.Module, train: Dataset, *, eps: float, epochs: int) -> None:
    """Fit to samples that two steps of PGD attack."""
    attack = PGD(eps=eps, steps=2)

    def attacked(x: Tensor, *, generator: torch.Generator) -> Tensor:
        seed = int(torch.randint(2**31, (), generator=generator))
        return attack(model, x, predict(model, x).argmax(1), seed=seed).x_adv

    fit_classifier(model, train, FitOptions(epochs=epochs), seed=0, augment=attacked)


def theirs(version: str, model: nn.Module, eps: float, x: Tensor, y: Tensor) -> Tensor:
    """Return the samples that torchattacks' members make of x, each where those before failed."""
    import torchattacks as library

    shared: dict[str, Any] = {"eps": eps}
    model = deepcopy(model)
    classes = predict(model, x[:1]).shape[1]
    starts = 5 if version == "plus" else 1

    def apgd(loss: str) -> Any:
        passes = PASSES if version == "rand" else 1
        return library.APGD(model, loss=loss, n_restarts=starts, eot_iter=passes, **STEPS, **shared)

    def fab(*, targeted: bool) -> Any:
        restarts = 1 if targeted else starts
        return library.FAB(
            model,
            multi_targeted=targeted,
            n_classes=classes,
            n_restarts=restarts,
            **STEPS,
            **shared,
        )

    aimed = library.APGDT(model, n_classes=classes, **STEPS, **shared)
    square = library.Square(model, n_queries=5000, **shared)
    members = {
        "standard": lambda: [apgd("ce"), aimed, fab(targeted=True), square],
        "plus": lambda: [
            apgd("ce"), apgd("dlr"), fab(targeted=False), square, aimed, fab(targeted=True)
        ],
        "rand": lambda: [apgd("ce"), apgd("dlr")],
    }  # fmt: skip
    x_adv: Tensor = library.MultiAttack(members[version]())(x, y).detach()
    return x_adv


def standing(model: nn.Module, x_adv: Tensor, y: Tensor, passes: int) -> Tensor:
    """Return the share of passes in which each sample is right, (B,)."""
    torch.manual_seed(0)
    return torch.stack(
        [(predict(model, x_adv).argmax(1) == y).float() for _ in range(passes)]
    ).mean(0)


def report(ours: Tensor, other: Tensor, *, claimed: float) -> None:
    """Print accuracies (B,), and how many samples one side alone has broken."""
    error = float((other - ours).std() / len(ours) ** 0.5)
    mine, its = float(ours.mean()), float(other.mean())
    print(f"accuracy: ours {mine:.3f} (claimed {claimed:.3f}), theirs {its:.3f}")
    print(f"difference {mine - its:+.3f}, its standard error {error:.3f}")
    alone = [int(((a < 0.5) & (b >= 0.5)).sum()) for a, b in ((ours, other), (other, ours))]
    print(f"broken by ours alone {alone[0]}, by theirs alone {alone[1]}")


if __name__ == "__main__":
    main()
