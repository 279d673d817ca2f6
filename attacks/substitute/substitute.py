"""Black-box attack through a substitute: the model is known by its predicted labels alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.attack import Attack
from attacks.common.goal import Goal, detached_logits, logits_of, value_and_gradient
from attacks.common.optimizers import descend
from attacks.common.options import Count, Positive
from attacks.common.randomness import derive_seed, generator_for
from attacks.gradient.fgsm import FGSM
from attacks.substitute.substitute_attack import Substitute
from attacks.substitute.substitute_network import SubstituteShape
from attacks.universal.fitting import EpochFit, FitByEpochs, add_prefix, take_prefix
from attacks.universal.sample_loader import SampleLoader
from attacks.universal.saved_attack import Record
from attacks.universal.transfer import predict_labels


@dataclass(frozen=True)
class BlackBoxSubstitute(FitByEpochs[Substitute]):
    """Train a substitute classifier on a model's predicted labels, and attack the substitute.

    Each round trains the substitute on all labelled samples. The next round adds a neighbour of
    each sample, one step along the sign of the substitute's gradient for the sample's label, and
    queries the model for the neighbours' labels (Jacobian-based dataset augmentation).

    `fit` returns a `Substitute`. Each record of its `history` holds "queries", the labels queried
    so far, and "agreement", the share of the samples to which the substitute gives the model's
    label.

    Args:
        attack: on the substitute, any of ATTACKS.
        rounds: of augmentation and training.
        samples: number of initial samples, the first of the loader: they should hold all classes.
        budget: largest number of label queries, at least `samples`; the last round draws the
            samples that get neighbours at random.
        lam: step to a neighbour, in each value, in pixel units.
        epochs: of training in each round.
        lr: Adam's learning rate.
        width: channels of the substitute's first convolution.

    Source: Papernot et al. 2017, algorithm 1.
    """

    attack: Attack = field(default_factory=FGSM)
    rounds: Count = 6
    samples: Count = 150
    budget: Count = 6400
    lam: Positive = 0.1
    epochs: Count = 10
    lr: Positive = 1e-3
    width: Count = 32

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        if self.budget < self.samples:
            raise ValueError(
                f"budget is {self.budget}, and the first {self.samples} samples cost a label each; "
                "give at least as much, or fewer samples"
            )

    @property
    def passes(self) -> int:
        """The number of rounds: a round is the epoch of this fit."""
        return self.rounds

    def start_fit(self, model: nn.Module, samples: SampleLoader, *, seed: int) -> SubstituteFit:
        """Return the fit with random weights and no label."""
        return SubstituteFit(self, model, samples, seed=seed)


BATCH = 64


class SubstituteFit(EpochFit[Substitute]):
    """A substitute in progress, and its labelled samples.

    Attributes:
        x: samples (N, ...) in [0, 1], on the CPU.
        labels: the model's predicted labels, int64 (N,), -1 for NaN logits; one query each.
    """

    def __init__(
        self, options: BlackBoxSubstitute, model: nn.Module, samples: SampleLoader, *, seed: int
    ) -> None:
        """Begin with the initial samples and a random network."""
        self.options, self.model, self.seed = options, model, seed
        first = samples.like()
        classes = detached_logits(model, first[:1]).shape[1]
        self.shape = SubstituteShape(first.shape[1], classes, first.ndim - 2, width=options.width)
        self.network = self.shape.build(derive_seed(seed, "weights")).to(first)
        self.device = first.device
        self.x = _take_first(samples, options.samples)
        self.labels = torch.empty(0, dtype=torch.int64)

    def run_epoch(self, epoch: int) -> Record:
        """Run a round: augment the samples, query their labels, train on all of them."""
        if epoch:
            self.x = torch.cat([self.x, self._augment(epoch)])  # (N + M, ...)
        new = self._predict(self.model, self.x[len(self.labels) :])
        self.labels = torch.cat([self.labels, new])  # (N + M,)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.options.lr)
        for number in range(self.options.epochs):
            self._train(optimizer, generator_for(self.seed, "order", epoch, number))
        agrees = self._predict(self.network, self.x) == self.labels
        return {"queries": len(self.labels), "agreement": float(agrees.double().mean())}

    def _augment(self, epoch: int) -> Tensor:
        """Return a neighbour of each sample, or of as many as the budget allows, (M, ...).

        Source: Papernot et al. 2017, eq. (4); for the random choice Papernot et al. 2016,
        section 3.2.
        """
        room = self.options.budget - len(self.x)
        order = torch.randperm(len(self.x), generator=generator_for(self.seed, "choose", epoch))
        parts = []
        for rows in torch.split(order[:room].sort().values, BATCH):
            x, label = self.x[rows].to(self.device), self.labels[rows].to(self.device)
            own = label.clamp_min(0)
            _, _, gradient = value_and_gradient(self.network, x, Goal(own, own).objective)
            parts.append((x + self.options.lam * gradient.sign()).clamp(0, 1).cpu())
        return torch.cat(parts)

    def _train(self, optimizer: torch.optim.Optimizer, generator: torch.Generator) -> None:
        """Train on every sample once, in an order drawn from a generator."""
        for rows in torch.split(torch.randperm(len(self.x), generator=generator), BATCH):
            logits = logits_of(self.network, self.x[rows].to(self.device))
            label = self.labels[rows].to(self.device)
            descend(F.cross_entropy(logits, label, ignore_index=-1), optimizer)

    def _predict(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return a classifier's predictions of samples (N, ...) on the CPU, int64 (N,)."""
        parts = torch.split(x, BATCH)
        return torch.cat([predict_labels(model, part.to(self.device)).cpu() for part in parts])

    def should_stop(self, record: Record) -> bool:
        """Tell whether the budget is spent."""
        return record["queries"] >= self.options.budget

    def state_dict(self) -> dict[str, Tensor]:
        """Return the substitute's weights, the samples and their labels."""
        weights = add_prefix("network.", self.network.state_dict())
        return weights | {"x": self.x, "labels": self.labels}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Continue from the tensors of an earlier `state_dict`."""
        self.x, self.labels = tensors["x"], tensors["labels"]
        self.network.load_state_dict(take_prefix("network.", tensors))

    def result(self, history: tuple[Record, ...]) -> Substitute:
        """Return the trained substitute with the attack on it."""
        weights = self.network.cpu().state_dict()
        return Substitute(weights, self.shape, self.options.attack, history)


def _take_first(samples: SampleLoader, count: int) -> Tensor:
    """Return the first `count` samples, or all if there are fewer, on the CPU."""
    parts: list[Tensor] = []
    for x in samples:
        parts.append(x.cpu())
        if sum(map(len, parts)) >= count:
            break
    return torch.cat(parts)[:count]
