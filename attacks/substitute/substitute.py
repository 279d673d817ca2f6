"""Black-box attack through a substitute: the model is known by the labels it gives, no more."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.attack import Attack, Progress
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, logits_of, value_and_gradient
from attacks.common.optimizers import descend
from attacks.common.options import check_kinds
from attacks.common.randomness import derive_seed, generator_for
from attacks.gradient.fgsm import FGSM
from attacks.substitute.substitute_attack import Substitute
from attacks.substitute.substitute_network import SubstituteShape
from attacks.universal.fitting import (
    FitCheckpoint,
    Loader,
    OnEpoch,
    Record,
    SampleLoader,
    run_epochs,
)
from attacks.universal.transfer import predict_labels


@dataclass(frozen=True)
class BlackBoxSubstitute:
    """Options of a fit that gives a stand-in for a model and attacks it, a `Substitute`.

    The model is asked for labels alone. In each round the substitute is fitted to all labels so
    far; then every sample gets a neighbour, a step along the sign of the substitute's gradient
    for the sample's label, and the model is asked for the neighbours' labels.

    Args:
        attack: on the substitute, any of ATTACKS.
        rounds: of asking and fitting.
        samples: to begin with, the first of the loader: they should hold all classes.
        budget: labels to ask for at most, no fewer than `samples`; the last round draws the
            samples that get neighbours.
        lam: length of the step to a neighbour, in each value.
        epochs: of the fit in each round.
        lr: Adam's learning rate.
        width: channels of the substitute's first convolution.

    Source: Papernot et al. 2017, algorithm 1.
    """

    attack: Attack = field(default_factory=FGSM)
    rounds: int = 6
    samples: int = 150
    budget: int = 6400
    lam: float = 0.1
    epochs: int = 10
    lr: float = 1e-3
    width: int = 32

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        for name in ("rounds", "samples", "budget", "epochs", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number >= 1")
        if self.budget < self.samples:
            raise ValueError(
                f"budget is {self.budget}, and the first {self.samples} samples cost a label each; "
                "give at least as much, or fewer samples"
            )
        for name in ("lam", "lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; give a finite number > 0")

    @property
    def passes(self) -> int:
        """Rounds, as other fits count their passes over the samples."""
        return self.rounds

    def fit(
        self,
        model: nn.Module,
        loader: Loader,
        *,
        seed: int = 0,
        progress: Progress | None = None,
        checkpoint: FitCheckpoint | None = None,
        on_epoch: OnEpoch | None = None,
    ) -> Substitute:
        """Ask `model` for labels and fit a substitute; see `Fittable.fit`.

        Returns:
            The substitute; its `history` holds, for each round, the labels asked for so far as
            "queries", and the share of these samples on which both agree as "agreement".
        """
        with frozen(model):
            fit = SubstituteFit(self, model, SampleLoader.of(loader, model), seed=seed)
            history = run_epochs(
                fit, passes=self.rounds, progress=progress, checkpoint=checkpoint, on_epoch=on_epoch
            )
        weights = fit.network.cpu().state_dict()
        return Substitute(weights, fit.shape, self.attack, tuple(history))


BATCH = 64


class SubstituteFit:
    """A substitute, and the samples whose labels have been asked for.

    Attributes:
        x: samples (N, ...) in [0, 1], on the CPU.
        labels: what the model calls them, (N,) int64; each was one query.
    """

    def __init__(
        self, options: BlackBoxSubstitute, model: nn.Module, samples: SampleLoader, *, seed: int
    ) -> None:
        """Begin with some samples and a random network."""
        self.options, self.model, self.seed = options, model, seed
        first = samples.like()
        with torch.no_grad():
            classes = logits_of(model, first[:1]).shape[1]
        self.shape = SubstituteShape(first.shape[1], classes, first.ndim - 2, width=options.width)
        self.network = self.shape.build(derive_seed(seed, "weights")).to(first)
        self.device = first.device
        self.x = _first(samples, options.samples)
        self.labels = torch.empty(0, dtype=torch.int64)

    def run_epoch(self, number: int) -> Record:
        """Play a round: new samples, their labels, and a fit to all samples so far."""
        if number:
            self.x = torch.cat([self.x, self._moved(number)])  # (N + M, ...)
        new = self.x[len(self.labels) :]
        asked = [
            predict_labels(self.model, x.to(self.device)).cpu() for x in torch.split(new, BATCH)
        ]
        self.labels = torch.cat([self.labels, *asked])  # (N + M,)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.options.lr)
        for epoch in range(self.options.epochs):
            self._epoch(optimizer, generator_for(self.seed, "order", number, epoch))
        return {"queries": len(self.labels), "agreement": self._agreement()}

    def _moved(self, number: int) -> Tensor:
        """Return a new sample for each old one, or for as many as the budget allows, (M, ...).

        Source: Papernot et al. 2017, eq. (4); past the budget Papernot et al. 2016, section 3.2,
        which draws the samples to go on with.
        """
        room = self.options.budget - len(self.x)
        order = torch.randperm(len(self.x), generator=generator_for(self.seed, "choose", number))
        parts = []
        for rows in torch.split(order[:room].sort().values, BATCH):
            x, label = self.x[rows].to(self.device), self.labels[rows].to(self.device)
            own = label.clamp_min(0)  # -1 where the model gave no finite answer
            _, _, gradient = value_and_gradient(self.network, x, Goal(own, own).objective)
            parts.append((x + self.options.lam * gradient.sign()).clamp(0, 1).cpu())
        return torch.cat(parts)

    def _epoch(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Fit the network to all samples once, in an order drawn from a generator."""
        for rows in torch.split(torch.randperm(len(self.x), generator=generator), BATCH):
            logits = logits_of(self.network, self.x[rows].to(self.device))
            label = self.labels[rows].to(self.device)
            descend(F.cross_entropy(logits, label, ignore_index=-1), optimizer)

    def _agreement(self) -> float:
        """Return the share of the samples that the substitute gives the model's label."""
        own = [
            predict_labels(self.network, x.to(self.device)).cpu()
            for x in torch.split(self.x, BATCH)
        ]
        return float((torch.cat(own) == self.labels).double().mean())

    def should_stop(self, record: Record) -> bool:
        """Tell whether the budget is spent."""
        return record["queries"] >= self.options.budget

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state."""
        weights = {f"network.{name}": t for name, t in self.network.state_dict().items()}
        return weights | {"x": self.x, "labels": self.labels}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state."""
        self.x, self.labels = tensors["x"], tensors["labels"]
        prefix = "network."
        weights = {n: t for n, t in tensors.items() if n.startswith(prefix)}
        self.network.load_state_dict({n.removeprefix(prefix): t for n, t in weights.items()})


def _first(samples: SampleLoader, count: int) -> Tensor:
    """Return the first `count` samples, or all there are, on the CPU."""
    parts: list[Tensor] = []
    for x in samples:
        parts.append(x.cpu())
        if sum(map(len, parts)) >= count:
            break
    return torch.cat(parts)[:count]
