"""The checks for gradient masking on a few samples: that gradients are there, and lead somewhere.

Source: Athalye et al. 2018, section 3.1; Carlini et al. 2019, sections 4 and 5; Croce et al. 2022
(optimisation at inference).
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from attacks import FGSM, PGD, Attack, Square
from attacks.attack import Norm, Progress
from attacks.common.bpda import stand_ins
from attacks.common.forward import is_random
from attacks.common.frozen import frozen
from attacks.common.goal import Goal, detached_logits, value_and_gradient, without_slope
from attacks.common.progress import PERCENT, PartProgress
from attacks.common.randomness import generator_for, ids_of
from attacks.common.threat import Threat
from trainers.evaluate.evaluation import top_classes
from trainers.evaluate.masking.compare_attacks import (
    BLACK,
    ONE_STEP,
    RANDOM,
    RUN,
    MaskingCheck,
    compare,
)

PROBES = 6  # of `make_probes`
TRIED = 32  # samples of which two passes are compared
STEPS, QUERIES, POINTS = 20, 300, 50  # of the probing PGD, of Square, of random search
AVERAGE = "average over it: run --attacks pgd:eot=20 autoattack:version=rand"
INNER = (
    "attacks may stop at the inner optimisation: let its result carry a gradient "
    f"(create_graph=True), and {RUN}"
)
FLOW = "put a stand-in where it stops: run --attacks pgd:bpda=identity square"
FLAT = "the slope is hidden: run --attacks pgd:loss=margin pgd:bpda=identity autoattack"
FAILS = f"any sample can be reached there, so the attack fails: {RUN}"


def check_masking(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm = "linf",
    eps: float = 8 / 255,
    steps: int = STEPS,
    queries: int = QUERIES,
    bpda: str | None = None,
    eot: int = 1,
    batch_size: int = 64,
    seed: int = 0,
    sample_ids: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[MaskingCheck]:
    """Look for signs of gradient masking on some samples, those of them that are right.

    A black-box attack, a single step and random search are compared with PGD on the cross-entropy
    on the same samples; PGD with the whole range of pixels must fool all; the gradient must not be
    zero, two passes must not differ, and the forward pass must not optimise anything itself.

    Args:
        model: the classifier; left exactly as it was.
        x: samples (B, ...) in [0, 1].
        y: labels, int64 (B,).
        norm: of the budget.
        eps: its radius.
        steps: of PGD.
        queries: of the Square Attack.
        bpda: of PGD and the single step, for a model that hides its gradient.
        eot: of both, for a random model.
        batch_size: samples that are attacked at a time.
        seed: of the attacks.
        sample_ids: B integers; None derives them from the samples.
        progress: called with (steps done, steps in all), those of all attacks.

    Returns:
        The checks, those that saw nothing wrong too; one alone where no sample is right.
    """
    ids = ids_of(x, sample_ids)
    with frozen(model):
        answers = [top_classes(detached_logits(model, x[rows])) for rows in split(x, batch_size)]
    right = (torch.cat(answers) == y).nonzero().flatten()
    if not len(right):
        return [MaskingCheck("samples", f"none of {len(x)} is right: nothing to check", sign=False)]
    x, y, ids = x[right], y[right], [ids[row] for row in right.tolist()]
    found = [check_optimisation(model, x), check_randomness(model, x)]
    missing = missing_gradient(model, x[:1], y[:1], bpda=bpda)
    if missing:  # so attacks would refuse the model too
        return [*found, MaskingCheck("no gradient", missing, sign=True, advice=FLOW)]
    pgd = PGD(norm=norm, eps=eps, steps=steps, early_stop=True, bpda=bpda, eot=eot)
    told = PartProgress(progress, [PERCENT] * (PROBES * len(split(x, batch_size))))
    seen = {
        name: ask(probe, model, x, y, told=told, batch_size=batch_size, seed=seed, sample_ids=ids)
        for name, probe in make_probes(pgd, queries=queries, progress=told.within).items()
    }
    (white, strong), *weaker, (name, unbounded), (_, flat) = seen.items()
    compared = zip((BLACK, ONE_STEP, RANDOM), weaker, strict=True)
    return [
        *found,
        check_gradients(flat),
        *(compare(kind, {weak: mask}, {white: strong}) for kind, (weak, mask) in compared),
        check_unbounded(unbounded, name),
    ]


class Probe(Protocol):
    """A question about each sample of a batch."""

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, *, seed: int, sample_ids: Sequence[int]
    ) -> Tensor:
        """Answer it for x (B, ...) with labels y, (B,) bool."""
        ...


def make_probes(pgd: PGD, *, queries: int, progress: Progress) -> dict[str, Probe]:
    """Return what is asked of each sample, by name: PGD, what is compared with it, and the rest."""
    norm, eps = pgd.norm, pgd.eps
    fools = partial(success, progress=progress)
    square = Square(norm=norm, eps=eps, queries=queries)
    single = FGSM(norm=norm, eps=eps, bpda=pgd.bpda, eot=pgd.eot)
    return {
        f"pgd ({pgd.steps} steps)": partial(fools, pgd),
        f"square ({queries} queries)": partial(fools, square),
        "fgsm": partial(fools, single),
        f"the best of {POINTS} random points": partial(random_search, norm=norm, eps=eps),
        f"pgd ({pgd.steps} steps) at eps 1": partial(fools, replace(pgd, norm="linf", eps=1.0)),
        "gradients": partial(zero_gradients, bpda=pgd.bpda),
    }


def ask(
    probe: Probe,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    told: PartProgress,
    batch_size: int,
    seed: int,
    sample_ids: Sequence[int],
) -> Tensor:
    """Return the answers of a probe to samples (N, ...), batch by batch, (N,) bool on the CPU."""
    parts = []
    for rows in split(x, batch_size):
        ids = [sample_ids[i] for i in rows.tolist()]
        parts.append(probe(model, x[rows], y[rows], seed=seed, sample_ids=ids))
        told.end_part()
    return torch.cat(parts).cpu()


def success(
    attack: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    seed: int,
    sample_ids: Sequence[int],
    progress: Progress,
) -> Tensor:
    """Tell which samples (B, ...) an attack fools, (B,) bool."""
    return attack(model, x, y, seed=seed, sample_ids=sample_ids, progress=progress).success


def split(x: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return the rows of batches of about equal size, `batch_size` at most."""
    return torch.arange(len(x)).tensor_split(-(-len(x) // batch_size))


def check_optimisation(model: nn.Module, x: Tensor) -> MaskingCheck:
    """Tell whether the forward pass takes gradients itself."""
    with frozen(model), GradientWatch() as watch:
        detached_logits(model, x[:TRIED])
    sign = watch.taken > 0
    seen = f"the forward pass itself takes {watch.taken or 'no'} gradients"
    return MaskingCheck("optimisation at inference", seen, sign, INNER if sign else "")


class GradientWatch(TorchFunctionMode):
    """Counts the gradients that are taken in its body.

    Attributes:
        taken: how many so far.
    """

    def __init__(self) -> None:
        """Begin at none."""
        super().__init__()
        self.taken = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count a call that takes a gradient, and make it as any other."""
        self.taken += func in (torch.autograd.grad, Tensor.backward)
        return func(*args, **(kwargs or {}))


def check_randomness(model: nn.Module, x: Tensor) -> MaskingCheck:
    """Tell whether passes of the same samples differ."""
    with frozen(model):
        random = is_random(model, x[:TRIED])
    seen = f"passes of the same samples {'differ by more than rounding' if random else 'agree'}"
    return MaskingCheck("randomness", seen, random, AVERAGE if random else "")


def zero_gradients(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    bpda: str | None = None,
    seed: int = 0,
    sample_ids: Sequence[int] = (),
) -> Tensor:
    """Tell at which samples (B, ...) the gradient of the cross-entropy is zero or not finite.

    With `bpda` it is the gradient of stand-ins.

    Returns:
        (B,) bool.

    Raises:
        ValueError: when no gradient flows through the model.
    """
    with frozen(model), stand_ins(model, x, bpda) if bpda else nullcontext():
        _, _, gradient = value_and_gradient(model, x, Goal(y).objective)
    return without_slope(gradient)


def missing_gradient(
    model: nn.Module, x: Tensor, y: Tensor, *, bpda: str | None = None
) -> str | None:
    """Say why no gradient flows through the model to x (B, ...); None where one does."""
    try:
        zero_gradients(model, x, y, bpda=bpda)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError) as error:  # NumPy's conversion raises the latter
        return str(error).splitlines()[0]
    return None


def check_gradients(flat: Tensor) -> MaskingCheck:
    """Tell whether the gradient is zero at some of the samples, from (N,) bool."""
    count = int(flat.sum())
    seen = f"the gradient of the loss is zero or not finite at {count} of {len(flat)} samples"
    return MaskingCheck("zero gradients", seen, count > 0, FLAT if count else "")


def check_unbounded(fooled: Tensor, name: str) -> MaskingCheck:
    """Tell whether an attack with the whole range of pixels left some samples (N,) right."""
    left = int((~fooled).sum())
    seen = f"{name}, the whole range of pixels, left {left} of {len(fooled)} samples right"
    return MaskingCheck("accuracy at eps 1", seen, left > 0, FAILS if left else "")


def random_search(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    norm: Norm,
    eps: float | Tensor,
    seed: int,
    sample_ids: Sequence[int],
) -> Tensor:
    """Tell which samples (B, ...) any of `POINTS` random points of the ball fools, (B,) bool."""
    generators = [generator_for(seed, "random search", i) for i in sample_ids]
    threat, goal = Threat.around(x, norm=norm, eps=eps), Goal(y)
    fooled = torch.zeros_like(y, dtype=torch.bool)
    with frozen(model):
        for _ in range(POINTS):
            logits = detached_logits(model, threat.random_start(generators))
            fooled |= goal.is_adversarial(logits)
    return fooled
