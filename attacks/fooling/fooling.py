"""Fooling images: noise to a human, a class with high confidence to the model."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from attacks.attack import AttackResult
from attacks.common.active_set import ActiveSet, is_check_step
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.best_by_loss import BestByLoss, verify
from attacks.common.goal import Goal
from attacks.common.options import Count, Positive, Share, at_least, between
from attacks.common.randomness import uniform
from attacks.fooling.activation_maximization import ActivationMaximization
from attacks.fooling.evolution import Evolution

Method = Literal["gradient", "evolution"]

DEFAULTS: dict[str, dict[str, Any]] = {
    "gradient": {"steps": 200, "step_size": 0.02, "decay": 0.01},
    "evolution": {"steps": 2000, "population": 16, "mutation": 0.1},
}


@dataclass(frozen=True)
class FoolingImage(GradientAttack):
    """Turn uniform noise into an image that the model predicts as the target with confidence.

    Of x the shape alone is used. A target is required.

    "gradient" ascends the target's log softmax score and decays the image towards grey.
    "evolution" queries scores alone: the fittest of parents and children survive. The paper keeps
    one champion for each class (MAP-Elites); here each sample has a population of its own and one
    target.

    The result's `info["confidence"]` (B,) is the target's softmax score, NaN where the logits are
    not finite.

    Args:
        method: "gradient" or "evolution".
        steps: gradient steps, or generations; None takes 200 or 2,000.
        confidence: target score, 0.5 to 1, at which a sample is done.
        step_size: of "gradient": root mean square change of a value in a step, in pixel units;
            None takes 0.02.
        decay: of "gradient": share of its distance to grey that a value loses in a step; None
            takes 0.01.
        population: of "evolution": members, and children in a generation; None takes 16.
        mutation: of "evolution": share of a child's values that mutate, halved every 1,000
            generations; None takes 0.1.

    Source: Nguyen et al. 2015, sections 2.2 and 2.3.
    """

    method: Method = "gradient"
    steps: Count | None = None
    confidence: Annotated[float, between(0.5, 1)] = 0.99
    step_size: Positive | None = None
    decay: Annotated[float, between(0, 1)] | None = None
    population: Annotated[int, at_least(2)] | None = None
    mutation: Share | None = None

    needs_target: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        for name in ("step_size", "decay", "population", "mutation"):
            if getattr(self, name) is not None and name not in DEFAULTS[self.method]:
                raise ValueError(f"{name} is no option of method={self.method!r}; leave it out")
        if self.method == "evolution" and (self.eot > 1 or self.bpda):
            raise ValueError("eot and bpda are for gradients, method='evolution' takes none")

    def check_target(self, target: Tensor | int | None) -> None:
        """Refuse a call without a target."""
        if target is None:
            raise ValueError("fooling needs a target, (B,): the class that noise shall become")

    def perturb(self, call: Call) -> AttackResult:
        """Search for an image for each target of a batch, and evaluate the model on the images."""
        goal, generators = Goal(call.y, call.target), call.generators
        start = self._start(goal, call.x, generators)
        active = ActiveSet(start, torch.arange(len(call.x), device=call.x.device))
        queries, latest = torch.zeros_like(call.y), torch.zeros_like(start.value)
        history, steps, streams = [], self._option("steps"), generators
        for number in range(steps):
            if is_check_step(number):
                active.drop(self._is_done(active.now))
                streams = [generators[row] for row in active.rows.tolist()]
            if len(active.rows):
                done = self._is_done(active.now)
                active.now.step(call.forward, number, streams, done)
                latest = latest.index_copy(0, active.rows, -active.now.value)
                queries = queries.index_add(0, active.rows, active.now.cost * (~done).long())
            history.append(latest)
            call.progress(number + 1, steps)
        end = active.everything()
        result = verify(
            call,
            end.image,
            goal,
            queries=queries,
            random=call.random,
            history=torch.stack(history),  # (steps, B)
            stuck=end.stuck if isinstance(end, ActivationMaximization) else None,
        )
        result.info["confidence"] = (-result.loss).exp()
        return result

    def _start(
        self, goal: Goal, x: Tensor, generators: list[torch.Generator]
    ) -> ActivationMaximization | Evolution:
        """Return the method's state with uniform noise like x (B, C, ...) in [0, 1]."""
        count = self._option("population") if self.method == "evolution" else 1
        noise = torch.stack([(uniform(x, generators) + 1) / 2 for _ in range(count)], 1)
        if self.method == "evolution":
            unknown = noise.new_full(noise.shape[:2], -torch.inf)  # (B, P)
            return Evolution(goal, noise, unknown, self._option("mutation"))
        still, best = torch.zeros_like(noise[:, 0]), BestByLoss.start(noise[:, 0])
        step_size, decay = self._option("step_size"), self._option("decay")
        return ActivationMaximization(
            goal, noise[:, 0], still, best, best.success, step_size, decay
        )

    def _option(self, name: str) -> Any:
        """Return an option's value, or the method's default where it is None."""
        value = getattr(self, name)
        return DEFAULTS[self.method][name] if value is None else value

    def _is_done(self, state: ActivationMaximization | Evolution) -> Tensor:
        """Tell which samples have reached the confidence, bool (A,)."""
        return state.value >= math.log(self.confidence)
