"""Robust accuracy against eps in a run of `evaluate`: measured, checked, drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from attacks import Attack
from trainers.evaluate.budgets import Budget, budget_of
from trainers.evaluate.curve import (
    RobustnessCurve,
    compare_with,
    curve_of,
    curve_summary,
    join_curves,
)
from trainers.evaluate.masking.compare_attacks import SURPRISE
from trainers.intervals import sign_test
from trainers.jobs.evaluation.evaluation_run import EvaluationRun
from trainers.run.cli.jobs.evaluate import EvaluateConfig
from trainers.run.cli.specs.attacks import Options, build_attack, slug
from trainers.run.show.figures.evaluation import BoundedPoint, curve_chart
from trainers.run.show.plots import write_chart

CHECK = "apgd:steps=30"  # bounded, and of another family than the attacks of the curve
NONE = "none"
POINTS = 200  # of a curve in its figure


def build_curve_attacks(config: EvaluateConfig, defaults: Options) -> dict[str, Attack]:
    """Make the attacks of --curve that are not among --attacks, by their texts.

    Raises:
        ValueError: for one that does not look for the smallest change of --norm.
    """
    flags = config.measure
    if flags.curve == (NONE,):
        return {}
    found = {text: build_attack(text, defaults=defaults) for text in flags.curve}
    for text, attack in found.items():
        budget = budget_of(attack)
        if budget != Budget(flags.norm, None):
            held = "has no budget" if budget is None else f"is held to {budget}"
            raise ValueError(
                f"--curve {text} {held}; it wants attacks that look for the smallest {flags.norm} "
                "change, such as fmn, deepfool or fab:eps=none (cw and lbfgs with --norm l2), or "
                "none"
            )
    return {text: attack for text, attack in found.items() if text not in flags.attacks}


def measure_curve(run: EvaluationRun, attacks: Mapping[str, Attack]) -> dict[str, Any] | None:
    """Measure robust accuracy against eps, check it with APGD, and draw it.

    Args:
        run: with the attacks that were measured, of which those join that look for the smallest
            change.
        attacks: the others that do, by name.

    Returns:
        What summary.json says; None where no attack looks for the smallest change.
    """
    flags = run.config.measure
    rows = run.some(flags.curve_samples)
    some = run.test.subset(rows)
    curves = {
        name: curve_of(
            run.measure(f"curve: {name}", attack, some, f"curve-{slug(name)}"), rows=None
        )
        for name, attack in attacks.items()
    }
    for name, m in run.results.items():
        if m.budget == Budget(flags.norm, None):
            curves[name] = curve_of(m, rows=torch.tensor(rows))
    if not curves:
        return None
    joint = join_curves(list(curves.values()))
    checks = []
    for number, eps in enumerate(joint.quantile_eps(flags.curve_checks)):
        attack = build_attack(CHECK, defaults={**run.defaults, "eps": eps})
        name = f"curve: {CHECK} at {eps:g}"
        measured = run.measure(name, attack, some, f"curve-check-{number}")
        checks.append(compare_with(joint, eps, measured))
    draw_curve(run, curves, joint, checks)
    found = curve_summary(curves, joint, eps=flags.eps, checks=checks)
    return found | {"checked_by": CHECK, "warnings": doubt_curve(checks)}


def doubt_curve(checks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Warn of radii at which the bounded attack fools more samples than the curve says."""
    return [
        f"the curve is too high at {row['budget']}: {CHECK} fooled {row['attack_alone']} samples "
        f"that it says no change of that size fools, and missed {row['curve_alone']}; give --curve "
        "more steps, such as fmn:steps=200, or another attack beside it"
        for row in checks
        if sign_test(row["attack_alone"], row["curve_alone"]) < SURPRISE
    ]


def draw_curve(
    run: EvaluationRun,
    curves: Mapping[str, RobustnessCurve],
    joint: RobustnessCurve,
    checks: Sequence[Mapping[str, Any]],
) -> None:
    """Write curve.png."""
    flags = run.config.measure
    lines = curves if len(curves) == 1 else {**curves, "all of them": joint}
    wide = max(1.05 * joint.reach, 1.25 * flags.eps)
    radii = [wide * i / POINTS for i in range(POINTS + 1)]
    points = [
        BoundedPoint(name, m.budget.eps, m.robust_accuracy, m.robust_accuracy_interval)
        for name, m in run.results.items()
        if m.budget and m.budget.norm == flags.norm and isinstance(m.budget.eps, float)
    ]
    chart = curve_chart(
        {name: [curve.at(eps) for eps in radii] for name, curve in lines.items()},
        norm=flags.norm,
        eps=flags.eps,
        points=[point for point in points if point.eps <= wide],
        checks=checks,
        checked_by=CHECK,
    )
    write_chart(run.context.folder.figures / "curve.png", chart)
