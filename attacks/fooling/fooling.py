"""Fooling images: noise to us, and with confidence a class to the model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from attacks.attack import AttackResult, Progress
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.forward import wrap_forward
from attacks.common.frozen import frozen
from attacks.common.goal import Classifier, Goal
from attacks.common.inputs import check_call, clone_inputs
from attacks.common.options import check_kinds
from attacks.common.randomness import sample_generators
from attacks.common.verify import verify
from attacks.fooling.activation_maximization import ActivationMaximization
from attacks.fooling.evolution import Evolution

Method = Literal["gradient", "evolution"]

USUAL: dict[str, dict[str, Any]] = {
    "gradient": {"steps": 200, "step_size": 0.02, "decay": 0.01},
    "evolution": {"steps": 2000, "population": 16, "mutation": 0.1},
}
RANGES = {
    "steps": (1, math.inf),
    "step_size": (1e-9, math.inf),
    "decay": (0, 1),
    "population": (2, math.inf),
    "mutation": (1e-9, 1),
    "confidence": (0.5, 1),
}


@dataclass(frozen=True)
class FoolingImage:
    """From noise to an image that the model takes, with confidence, for the target class.

    The search begins at uniform noise; of x only the shape counts. It needs a target.

    "gradient" climbs the target's softmax score, and lets the image decay towards grey.
    "evolution" asks for scores alone: of a population, the fittest parents and children survive.
    The paper keeps one champion for each class (MAP-Elites); here each sample has a population
    of its own, and its target.

    Args:
        method: "gradient" or "evolution".
        steps: gradient steps, or generations; None takes 200 or 2,000.
        confidence: a sample is done as soon as the target's score reaches it, 0.5 to 1.
        step_size: of "gradient" alone, root mean square change of a value in a step; None
            takes 0.02.
        decay: of "gradient" alone, share of its distance to grey that a value loses in a step;
            None takes 0.01.
        population: of "evolution" alone, members, and children in a generation; None takes 16.
        mutation: of "evolution" alone, share of a child's values that change, halved every
            1,000 generations; None takes 0.1.

    Source: Nguyen et al. 2015, sections 2.2 and 2.3.
    """

    method: Method = "gradient"
    steps: int | None = None
    confidence: float = 0.99
    step_size: float | None = None
    decay: float | None = None
    population: int | None = None
    mutation: float | None = None

    needs_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse impossible options at once."""
        check_kinds(self)
        if self.method not in USUAL:
            raise ValueError(f"method is {self.method!r}; allowed: {', '.join(get_args(Method))}")
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if value is None:
                continue
            if name != "confidence" and name not in USUAL[self.method]:
                raise ValueError(f"{name} is no option of method={self.method!r}; leave it out")
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; give a number from {low:g} to {high:g}")

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor | None,
        *,
        target: Tensor | int | None = None,
        seed: int = 0,
        sample_ids: Sequence[int] | Tensor | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Find an image of x's shape for each target; see `Attack.__call__`.

        Returns:
            The result; `info["confidence"]` (B,) is the target's softmax score, NaN where the
            logits are not finite.
        """
        if target is None:
            raise ValueError("fooling needs a target, (B,): the class that noise shall become")
        check_call(model, x, y, target=target, seed=seed, sample_ids=sample_ids)
        generators = sample_generators(x, seed=seed, sample_ids=sample_ids)
        with frozen(model):
            x, y, target = clone_inputs(model, x, y, target)
            goal = Goal(y, target)
            forward, random = wrap_forward(model, x)
            start = self._noise(goal, x, generators)
            search, queries, history = self._run(forward, start, generators, progress)
            result = verify(
                model,
                x,
                search.image,
                goal=goal,
                queries=queries,
                random=random,
                history=history,
                stuck=search.stuck if isinstance(search, ActivationMaximization) else None,
            )
        result.info["confidence"] = (-result.loss).exp()
        return result

    def _noise(
        self, goal: Goal, x: Tensor, generators: Sequence[torch.Generator]
    ) -> ActivationMaximization | Evolution:
        """Return noise like x, and how it is to change."""
        if self.method == "gradient":
            step_size, decay = self._option("step_size"), self._option("decay")
            return ActivationMaximization.of_noise(
                goal, x, generators, step_size=step_size, decay=decay
            )
        size, mutation = self._option("population"), self._option("mutation")
        return Evolution.of_noise(goal, x, generators, population=size, mutation=mutation)

    def _option(self, name: str) -> Any:
        """Return an option's value, the method's usual one where it is None."""
        value = getattr(self, name)
        return USUAL[self.method][name] if value is None else value

    def _run(
        self,
        model: Classifier,
        start: ActivationMaximization | Evolution,
        generators: Sequence[torch.Generator],
        progress: Progress | None,
    ) -> tuple[ActivationMaximization | Evolution, Tensor, Tensor]:
        """Search until all samples are done or the steps are spent.

        Returns:
            The search at its end, queries (B,), and the loss after each step (steps, B).
        """
        active = ActiveSet(start, torch.arange(len(generators), device=start.value.device))
        queries, latest = torch.zeros_like(active.rows), torch.zeros_like(start.value)
        history, steps, streams = [], self._option("steps"), generators
        for number in range(steps):
            if is_check_step(number):
                active.drop(self._done(active.now))
                streams = [generators[row] for row in active.rows.tolist()]
            if len(active.rows):
                done = self._done(active.now)
                active.now.step(model, number, streams, done)
                latest = latest.index_copy(0, active.rows, -active.now.value)
                queries = queries.index_add(0, active.rows, active.now.cost * (~done).long())
            history.append(latest)
            if progress:
                progress(number + 1, steps)
        return active.everything(), queries, torch.stack(history)  # (steps, B)

    def _done(self, search: ActivationMaximization | Evolution) -> Tensor:
        """Return which samples have the confidence they need, (A,) bool."""
        return search.value >= math.log(self.confidence)
