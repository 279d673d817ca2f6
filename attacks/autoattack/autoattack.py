"""AutoAttack: an ensemble of attacks without parameters, the worst case of each sample."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from attacks.attack import AttackResult, Norm, Progress
from attacks.autoattack.evaluation_state import NOBODY, EvaluationState, fingerprint
from attacks.black_box.square import SCHEDULE, Square
from attacks.common.active_set import index_rows
from attacks.common.batch_attack import Call, GradientAttack
from attacks.common.forward import REPEATS, is_random
from attacks.common.goal import Goal, detached_logits, warnings_of
from attacks.common.options import Count
from attacks.common.progress import PartProgress
from attacks.common.randomness import derive_seed
from attacks.common.threat import check_eps
from attacks.gradient.apgd import APGD
from attacks.minimum_norm.fab import FAB

Version = Literal["standard", "plus", "rand", "custom"]
Member = APGD | FAB | Square
MEMBERS: dict[Version, tuple[str, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
    "custom": ("apgd-ce", "apgd-t", "fab-t", "square"),
}
PASSES = 20  # of "rand"
# Above this share of samples that only the Square Attack fooled, gradients are to be doubted.
SQUARE_SHARE = 0.002


@dataclass(frozen=True)
class AutoAttack(GradientAttack):
    """APGD on the cross-entropy, targeted APGD on the DLR loss, targeted FAB, Square; or others.

    Each runs on the samples that were right and that none before it fooled.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius in pixel units, a number or one a sample (B,).
        version: "standard" has the published parameters: 100 steps, 9 targets, 5,000 queries,
            one start each; in l1, 5 starts of APGD and 5 targets of targeted APGD. "plus" has 5
            starts of APGD on the cross-entropy, APGD on the DLR loss and untargeted FAB, then
            Square, targeted APGD and targeted FAB. "rand", for random models, has both untargeted
            APGD with the mean of 20 passes; one pass then says whether a sample is fooled.
            "custom" is "standard" with what follows, and may be given a target.
        steps: of APGD and FAB.
        targets: classes that targeted APGD and FAB try.
        queries: of Square, whose squares then shrink over so many.
        eot: passes of a random model of which each gradient is the mean; "custom" alone takes it.
        folder: where to keep the state of unfinished batches. A run that was killed, called
            again with the same folder, goes on after the last member that was done.

    Source: Croce & Hein 2020 (AutoAttack), section 5; l1: Croce & Hein 2021 (Mind the Box).
    """

    norm: Norm = "linf"
    eps: float | Tensor = 8 / 255
    version: Version = "standard"
    steps: Count | None = None
    targets: Count | None = None
    queries: Count | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for impossible options."""
        super().__post_init__()
        own = {name: getattr(self, name) for name in ("steps", "targets", "queries")}
        own["eot"] = None if self.eot == 1 else self.eot
        given = [f"{name}={value}" for name, value in own.items() if value is not None]
        if given and self.version != "custom":
            raise ValueError(
                f"{', '.join(given)} with version={self.version!r}, whose parameters are "
                "published; leave them out, or give version='custom'"
            )
        self.members()  # they check the options

    def members(self) -> dict[str, Member]:
        """Return the attacks in the order they run in; each can be called by itself."""
        l1, plus = self.norm == "l1", self.version == "plus"
        steps = 100 if self.steps is None else self.steps
        restarts = 5 if plus or (l1 and self.version == "standard") else 1
        aimed, fab = (9 if plus or not l1 else 5, 9)
        if self.targets is not None:
            aimed = fab = self.targets
        # The published versions have 5,000 queries in a schedule for 10,000.
        queries, over = (5000, SCHEDULE) if self.queries is None else (self.queries, None)
        shared: Any = {"norm": self.norm, "eps": self.eps}
        sloped: Any = shared | {"steps": steps, "eot": self.eot, "bpda": self.bpda}
        apgd = APGD(**sloped, restarts=restarts, early_stop=True)
        if self.version == "rand":
            apgd = replace(apgd, eot=PASSES)
        members: dict[str, Member] = {
            "apgd-ce": apgd,
            "apgd-dlr": replace(apgd, loss="dlr"),
            "fab": FAB(**sloped, targets=0, restarts=restarts),
            "apgd-t": replace(apgd, loss="dlr", targets=aimed, restarts=1),
            "fab-t": FAB(**sloped, targets=fab),
            "square": Square(**shared, queries=queries, shrink_over=over),
        }
        return {name: members[name] for name in MEMBERS[self.version]}

    def run(self, call: Call) -> AttackResult:
        """Leave means and stand-ins to the members."""
        return self.perturb(call)

    def check_target(self, target: Tensor | int | None) -> None:
        """Refuse a target in the published versions."""
        if target is not None and self.version != "custom":
            raise ValueError(f"target is given; {self.version} is untargeted, use version='custom'")

    def perturb(self, call: Call) -> AttackResult:
        """Perturb x within the ball; see `Attack.__call__`.

        `info` holds how many samples each member fooled ("members"; "clean" are those wrong by
        themselves), and the number of the member that fooled each sample ("fooled_by", int64 (B,);
        0 for clean, -1 for none).

        Raises:
            ValueError: also for a target, unless version is "custom".
            RefusedInput: when the state in `folder` is damaged.
        """
        members, averaged = self.members(), self.eot > 1 or self.version == "rand"
        run = EnsembleRun(call, self.eps, averaged=averaged)
        path = self._path(run)
        state = run.begin(path)
        told = PartProgress(call.progress, [passes_of(member) for member in members.values()])
        for number, (name, member) in enumerate(members.items(), 1):
            if number > state.members:
                run.attack(member, name, state, progress=told.within)
                if path:
                    state.save(path)
            told.end_part()
        return run.result(state, list(members))

    def _path(self, run: "EnsembleRun") -> Path | None:
        """Return where the state of this very call is kept: same options, samples and answers."""
        if self.folder is None:
            return None
        call = run.call
        text = repr((replace(self, eps=0.0, folder=None), call.seed, call.ids))
        name = fingerprint(text, call.x, call.y, call.target, run.eps, run.logits)
        return Path(self.folder) / f"autoattack-{name}.safetensors"


def passes_of(member: Member) -> int:
    """Return the forward passes of a sample that a member takes at most, about; a backward is two.

    >>> passes_of(Square(queries=50)), passes_of(APGD(steps=10, targets=9, loss="dlr"))
    (50, 270)
    """
    if isinstance(member, Square):
        return member.queries
    return 3 * member.steps * member.restarts * max(1, member.targets) * member.eot


class EnsembleRun:
    """One call of AutoAttack.

    Attributes:
        call: with the frozen model and the clean samples.
        goal: what is pursued, with the loss "margin".
        eps: the radii, (B,).
        logits: of the clean samples, (B, K).
        random: whether the model is, and no member takes the mean of passes.
    """

    def __init__(self, call: Call, eps: float | Tensor, *, averaged: bool) -> None:
        """Evaluate the clean samples, and whether the model is random."""
        self.call, self.goal = call, Goal(call.y, call.target, "margin")
        self.eps = check_eps(eps, call.x).flatten()  # (B,)
        self.logits = detached_logits(call.model, call.x)
        # With the one before, five passes, as many as the published check has.
        repeats = 0 if averaged else REPEATS - 1
        self.random = is_random(call.model, call.x, usual=self.logits, repeats=repeats)

    def begin(self, path: Path | None) -> EvaluationState:
        """Load the state kept at `path`, or start one from the clean samples."""
        if path and path.exists():
            return EvaluationState.load(path, self.call.x.device)
        return EvaluationState.start(self.call.x, self.goal, self.logits)

    def attack(
        self, member: Member, name: str, state: EvaluationState, *, progress: Progress
    ) -> None:
        """Attack the samples that nobody has fooled; those with broken logits are left alone."""
        open_ = (state.fooled_by == NOBODY) & torch.isfinite(self.logits).all(1)
        rows = open_.nonzero().flatten()  # (A,); waits for the device, once a member
        if not len(rows):
            state.members += 1
            return
        goal = index_rows(self.goal, rows)
        if isinstance(member, Square):  # memory for all is there, even if few are left
            member = replace(member, batch_size=len(self.call.x))
        result = replace(member, eps=self.eps[rows])(
            self.call.model,
            self.call.x[rows],
            goal.y,
            target=goal.target,
            seed=derive_seed(self.call.seed, name),
            sample_ids=[self.call.ids[row] for row in rows.tolist()],
            progress=progress,
        )
        state.add(name, rows, result)

    def result(self, state: EvaluationState, names: list[str]) -> AttackResult:
        """Return the worst case of each sample."""
        logits = detached_logits(self.call.model, state.x_adv)
        finite = torch.isfinite(logits).all(1) & torch.isfinite(self.logits).all(1)
        value = self.goal.objective(logits).masked_fill(~finite, torch.nan)
        counts = state.counts(names)
        warnings = self._warnings(state, finite, counts)
        return AttackResult(
            x=self.call.x,
            x_adv=state.x_adv.clone(),
            success=state.fooled_by != NOBODY,
            already=self.goal.is_adversarial(self.logits),
            queries=state.queries + 1,
            loss=self.goal.as_loss(value),
            info={"members": counts, "fooled_by": state.fooled_by}
            | ({"warnings": warnings} if warnings else {}),
        )

    def _warnings(
        self, state: EvaluationState, finite: Tensor, counts: dict[str, int]
    ) -> list[str]:
        """List the warnings about the model, then those of single members."""
        own = warnings_of(self.goal, self.logits, finite=finite, random=self.random)
        texts = own.get("warnings", [])
        texts += [w for w in state.warnings if w.partition(": ")[2] not in texts]
        squared, all_ = counts.get("square", 0), len(self.call.x)
        if squared > SQUARE_SHARE * all_:
            texts.append(
                f"square, which takes no gradient, fooled {squared} of {all_} samples that the "
                "others had not"
            )
        return texts
