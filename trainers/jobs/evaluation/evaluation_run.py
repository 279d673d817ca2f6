"""One run of `evaluate`: what its parts share."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attacks import Attack
from attacks.common.randomness import derive_seed
from augment import Dataset
from trainers.evaluate.measure_resumable import AttackTask, measure_resumable
from trainers.evaluate.scores import AttackMeasurement
from trainers.evenly_spaced import evenly_spaced
from trainers.run.cli.jobs.evaluate import EvaluateConfig
from trainers.run.cli.specs.attacks import Options
from trainers.run.job_context import JobContext


@dataclass(frozen=True)
class EvaluationRun:
    """One run of `evaluate`.

    Attributes:
        config: its options.
        context: the classifier, and the run folder.
        test: the samples.
        attacks: those of --attacks, by name.
        defaults: options of attacks that are not told otherwise.
        results: what each of `attacks` was measured to do.
    """

    config: EvaluateConfig
    context: JobContext
    test: Dataset
    attacks: Mapping[str, Attack]
    defaults: Options
    results: Mapping[str, AttackMeasurement]

    def some(self, count: int) -> list[int]:
        """Choose test samples at even distances."""
        return evenly_spaced(len(self.test), count)

    def folder(self, name: str) -> Path:
        """Return where items of work are kept."""
        return self.context.folder.checkpoints / name

    def measure(self, name: str, attack: Attack, ds: Dataset, items: str) -> AttackMeasurement:
        """Measure an attack on some samples, item by item."""
        seed = derive_seed(self.context.seed, "measure")
        task = AttackTask(name, attack, ds, self.folder(items), seed)
        return measure_resumable(self.context, task)[0]
