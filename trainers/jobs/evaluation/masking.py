"""Signs of gradient masking in a run of `evaluate`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from attacks.common.randomness import derive_seed
from trainers.evaluate.masking.check_masking import QUERIES, check_masking
from trainers.evaluate.masking.compare_attacks import MaskingCheck, compare_measured
from trainers.jobs.evaluation.evaluation_run import EvaluationRun
from trainers.run.folder.atomic import cached_json
from trainers.run.show.progress import Progress


def find_masking(run: EvaluationRun) -> list[MaskingCheck]:
    """Check for gradient masking, by probes on some samples and by the attacks measured."""
    flags = run.config.measure
    rows = run.some(flags.masking_samples)

    def probe() -> list[dict[str, Any]]:
        x, y = (part.to(run.context.device) for part in run.test.stack(rows))
        with Progress(run.context.folder, "look for gradient masking", total=1) as bar:
            found = check_masking(
                run.context.model,
                x,
                y,
                norm=flags.norm,
                eps=flags.eps,
                queries=run.defaults.get("queries", QUERIES),  # fewer in a smoke test
                bpda=run.defaults.get("bpda"),
                eot=run.defaults.get("eot", 1),
                batch_size=run.context.batch_size,
                seed=derive_seed(run.context.seed, "masking"),
                sample_ids=[derive_seed(run.test.ids[row]) for row in rows],
                progress=bar.within,
            )
            bar.step()
        return [asdict(check) for check in found]

    kept = cached_json(run.folder("masking.json"), probe) if rows else []
    return [MaskingCheck(**one) for one in kept] + compare_measured(run.attacks, run.results)


def masking_summary(run: EvaluationRun, checks: Sequence[MaskingCheck]) -> dict[str, Any]:
    """Return what summary.json says of gradient masking: all checks, and the signs as warnings."""
    return {
        "samples": len(run.some(run.config.measure.masking_samples)),
        "checks": [asdict(check) for check in checks],
        "signs": [str(check) for check in checks if check.sign],
    }
