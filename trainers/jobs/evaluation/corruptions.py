"""Common corruptions in a run of `evaluate`: measured, noted, drawn."""

from typing import Any

from trainers.evaluate.corruption_accuracy import measure_corruptions
from trainers.jobs.evaluation.evaluation_run import EvaluationRun
from trainers.run.cli.specs.corruptions import corruption_names
from trainers.run.show.figures.corruption import corruption_chart
from trainers.run.show.plots import write_chart


def measure_common_corruptions(run: EvaluationRun, clean_accuracy: float) -> dict[str, Any] | None:
    """Measure with the corruptions of --corruptions, and draw their heat map.

    Returns:
        What summary.json says; None where no corruption is asked for.
    """
    flags, context = run.config.measure, run.context
    names = corruption_names(flags.corruptions)
    if not names:
        return None
    found = measure_corruptions(context, run.test, names=names, severities=flags.severities)
    for name, one in found["corruptions"].items():
        values = {f"corrupted/{name}": one["accuracy"]}
        context.folder.metrics.add(f"corruption {name}", step=0, values=values)
    chart = corruption_chart(found, clean_accuracy=clean_accuracy)
    write_chart(context.folder.figures / "corruptions.png", chart)
    return found
