"""The job `evaluate`: a classifier's accuracy, clean and under each attack, and what it says."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
from typing import Any

from attacks import Attack
from attacks.common.randomness import derive_seed
from augment import Dataset
from trainers.defences.defended_classifier import DefendedClassifier
from trainers.evaluate.budgets import Budget, budget_of
from trainers.evaluate.failures import keep_failures, worst_failures
from trainers.evaluate.masking.check_masking import TRIED, check_randomness, missing_gradient
from trainers.evaluate.measure_resumable import AttackTask, measure_resumable
from trainers.evaluate.per_class import rate
from trainers.evaluate.robustness import WorstCase, outsiders, worst_cases
from trainers.evaluate.scores import AttackMeasurement, finite_or_none
from trainers.fit.fit_or_load import load_or_fit_classifier
from trainers.jobs.defended import compare_knowledge, measure_anew
from trainers.jobs.evaluation.answers import draw_answers, summarise_answers
from trainers.jobs.evaluation.corruptions import measure_common_corruptions
from trainers.jobs.evaluation.curve import build_curve_attacks, measure_curve
from trainers.jobs.evaluation.evaluation_run import EvaluationRun
from trainers.jobs.evaluation.masking import find_masking, masking_summary
from trainers.jobs.evaluation.transfer import load_others, measure_transfer
from trainers.run.cli.jobs.evaluate import EvaluateConfig
from trainers.run.cli.specs.attacks import attack_defaults, build_attack, build_attacks, slug
from trainers.run.cli.toml import dump
from trainers.run.folder.atomic import write_summary
from trainers.run.folder.folder import RunFolder
from trainers.run.job_context import JobContext, check_attacks, check_labelled, load_split
from trainers.run.show.outcome import (
    ATTACK_TERMS,
    evaluation_table,
    legend,
    outcome,
)
from trainers.run.show.outcomes.evaluation import EVALUATION_TERMS
from trainers.run.show.report import write_report
from trainers.run.show.tensorboard_writer import TensorBoardWriter

log = logging.getLogger(__name__)
ANEW = (
    "the classifier answers at random: it was asked anew about what each attack made of a sample, "
    "and that one answer counts; a worst case joins one draw for each attack, so it is the lower "
    "the more attacks there are"
)


def run_evaluate(config: EvaluateConfig, folder: RunFolder) -> None:
    """Measure with each attack in turn, look closer, and write what came of it."""
    flags = config.measure
    defaults = evaluation_defaults(config, random=bool(config.classifier.defence))
    attacks = build_attacks(flags.attacks, defaults=defaults)
    curve_attacks = build_curve_attacks(config, defaults)
    transfer_attack = {"--transfer-attack": build_attack(flags.transfer_attack, defaults=defaults)}
    test = load_split(config, "test", folder)
    check_labelled(test)
    check_attacks({**attacks, **curve_attacks, **transfer_attack}, test)
    others = load_others(config, folder, test)
    context = load_or_fit_classifier(config, folder, test)
    text = dump(folder.job, config)
    board = TensorBoardWriter(folder.path / "tensorboard", folder.metrics, text)
    defended = isinstance(context.model, DefendedClassifier)
    random = defended or answers_at_random(context, test)
    if random:
        defaults = evaluation_defaults(config, random=True)
        attacks = build_attacks(flags.attacks, defaults=defaults)
    measure = partial(measure_anew, context) if random else None
    results = measure_attacks(context, attacks, test, measure=measure)
    run = EvaluationRun(config, context, test, attacks, defaults, results)
    summary = make_summary(results, usual_budget=budget_of(flags))
    case = next(iter(worst_cases(results, first=budget_of(flags))), None)
    summary |= summarise_answers(results, test.classes, case)
    summary["failures"] = show_failures(context, attacks, test, summary["strongest"])
    x, y = (part.to(context.device) for part in test.stack([0]))
    bpda = defaults.get("bpda")
    missing = missing_gradient(context.model, x, y, bpda=bpda) if curve_attacks else None
    summary["curve"] = measure_curve(run, {} if missing else curve_attacks)
    if missing:
        summary["warnings"].append(f"no curve by {' '.join(curve_attacks)}: {missing}")
    summary["transfer"], found = measure_transfer(run, others)
    if random and not defended:
        summary["warnings"].append(ANEW)
    summary["masking"] = masking_summary(run, [*find_masking(run), *found])
    summary["corruptions"] = measure_common_corruptions(run, summary["clean_accuracy"])
    if defended:
        summary["defence"] = compare_knowledge(context, attacks, test)
    note_numbers(folder, summary)
    draw_answers(folder.figures, results, summary, test.classes)
    publish_evaluation(folder, board, summary)


def evaluation_defaults(config: EvaluateConfig, *, random: bool) -> dict[str, Any]:
    """Return the options that attacks take by default; of a random classifier no draw decides."""
    flags = config.measure
    return attack_defaults(config, eps=flags.eps, norm=flags.norm, measuring=not random)


def answers_at_random(context: JobContext, ds: Dataset) -> bool:
    """Tell whether two passes of the same samples differ."""
    x, _ = ds.stack(range(min(len(ds), TRIED)))
    return check_randomness(context.model, x.to(context.device)).sign


def measure_attacks(
    context: JobContext,
    attacks: Mapping[str, Attack],
    test: Dataset,
    *,
    measure: Callable[[AttackTask], AttackMeasurement] | None = None,
) -> dict[str, AttackMeasurement]:
    """Measure with each attack in turn, by name; the rates are noted as metrics.

    Args:
        context: the job's classifier.
        attacks: by name.
        test: labelled samples.
        measure: makes each measurement; None takes `measure_resumable`.
    """
    results: dict[str, AttackMeasurement] = {}
    for name, attack in attacks.items():
        task = attack_task(context, name, attack, test)
        results[name] = measure(task) if measure else measure_with_failures(context, task)
        values = {"robust": results[name].robust_accuracy, "success": results[name].success}
        values = {f"{kind}/{name}": value for kind, value in values.items() if isfinite(value)}
        context.folder.metrics.add(name, step=0, values=values)
    for doubt in next(iter(results.values())).doubts:
        log.warning("%s", doubt)
    return results


def measure_with_failures(context: JobContext, task: AttackTask) -> AttackMeasurement:
    """Measure an attack, and keep the worst failures for `show_failures`."""
    watch = partial(keep_failures, context.model, task)
    return measure_resumable(context, task, watch=watch)[0]


def show_failures(
    context: JobContext, attacks: Mapping[str, Attack], test: Dataset, name: str
) -> list[dict[str, Any]]:
    """Draw the worst failures under an attack that `measure_attacks` measured; see there."""
    task = attack_task(context, name, attacks[name], test)
    return worst_failures(task, context.folder.figures, root=context.folder.path)


def attack_task(context: JobContext, name: str, attack: Attack, test: Dataset) -> AttackTask:
    """Return the task of measuring one of the job's attacks."""
    items = context.folder.checkpoints / f"test-{slug(name)}"
    return AttackTask(name, attack, test, items, derive_seed(context.seed, "measure"))


def publish(
    folder: RunFolder,
    board: TensorBoardWriter,
    summary: dict[str, Any],
    table: str,
) -> None:
    """Write summary, TensorBoard and report of attacks measured, and show the table."""
    write_summary(folder.path / "summary.json", summary)
    board.text("results", table)
    board.close(summary)
    write_report(folder.path)
    log.info("%s\n", legend(ATTACK_TERMS))
    log.info("%s", outcome(folder))


def note_numbers(folder: RunFolder, summary: Mapping[str, Any]) -> None:
    """Note the numbers beside those of single attacks, and of the whole, as metrics."""
    curve, calibration = summary["curve"], summary["calibration"]
    values = {
        "curve/area": curve and curve["area"],
        "masking/signs": len(summary["masking"]["signs"]),
        "ece/clean": calibration["clean"] and calibration["clean"]["ece"],
        **{f"ece/{name}": one and one["ece"] for name, one in calibration["attacks"].items()},
    }
    known = {name: value for name, value in values.items() if value is not None}
    folder.metrics.add("evaluate", step=0, values=known)


def publish_evaluation(
    folder: RunFolder, board: TensorBoardWriter, summary: dict[str, Any]
) -> None:
    """Write summary, TensorBoard and the report of the whole job, and show it."""
    doubts = summary["curve"]["warnings"] if summary["curve"] else []
    summary["warnings"] = [*summary["masking"]["signs"], *doubts, *summary["warnings"]]
    write_summary(folder.path / "summary.json", summary)
    board.text("results", evaluation_table(summary))
    for picture in sorted(folder.figures.glob("*.png")):
        board.picture(f"evaluate/{picture.stem}", picture, step=0)
    board.close(summary)
    write_report(folder.path)
    log.info("%s\n", legend({**ATTACK_TERMS, **EVALUATION_TERMS}))
    log.info("%s", outcome(folder))


def make_summary(
    results: Mapping[str, AttackMeasurement],
    *,
    usual_budget: Budget | None = None,
    job: str = "evaluate",
) -> dict[str, Any]:
    """Return summary.json of a job; what is undefined (the size of no success) is null.

    `worst_case` is the first of `worst_cases`, see there; null where no attack has a budget.
    """
    first = next(iter(results.values()))
    cases = [worst_case_entry(case) for case in worst_cases(results, first=usual_budget)]
    reported = (f"{name}: {text}" for name, m in results.items() for text in m.warnings)
    return {
        "job": job,
        "samples": first.samples,
        "clean_accuracy": first.clean_accuracy,
        "clean_accuracy_interval": first.clean_accuracy_interval,
        "attacks": {name: attack_entry(m) for name, m in results.items()},
        "worst_case": cases[0]["accuracy"] if cases else None,
        "worst_cases": cases,
        "outside_worst_cases": outsiders(results),
        "warnings": [*first.doubts, *reported],
    }


def attack_entry(m: AttackMeasurement) -> dict[str, Any]:
    """Return what summary.json says of an attack."""
    return {
        "budget": None if m.budget is None else str(m.budget),
        "robust_accuracy": m.robust_accuracy,
        "robust_accuracy_interval": m.robust_accuracy_interval,
        "success": finite_or_none(m.success),
        "success_interval": m.success_interval,
        "attackable": m.attackable,
        "fooled": m.fooled,
        "median_l2": finite_or_none(m.median_l2),
        "queries": m.queries,
        "seconds": m.seconds,
    }


def worst_case_entry(case: WorstCase) -> dict[str, Any]:
    """Return what summary.json says of a worst case."""
    return {
        "norm": case.budget.norm,
        "eps": case.budget.eps,
        "budget": str(case.budget),
        "attacks": case.attacks,
        **rate(int(case.survived.sum()), len(case.survived)),
    }
