"""The loops: classifiers and how to load them, fitting, evaluation, rounds.

Names are imported when first asked for, so that ``import trainers.run.main`` (and with it
``--help``) loads neither torch nor kornia.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.evaluate.evaluation import (
        AttackedBatch,
        AttackMeasurement,
        attack_batches,
        clean_accuracy,
        evaluate_attack,
        predict,
        score_batch,
        summarise,
        worst_case,
    )
    from trainers.evaluate.robustness import worst_cases
    from trainers.fit.classifier import FitResult, FitState, fit_classifier
    from trainers.fit.options import FitOptions
    from trainers.intervals import wilson
    from trainers.models.load import load_classifier
    from trainers.models.probe import probe_classifier
    from trainers.reconstruction.files import load_network, network_bytes, save_network
    from trainers.reconstruction.fit import NetworkFit, coded_steps, fit_network
    from trainers.reconstruction.options import ReconstructionOptions

_HOMES = {
    "FitOptions": "trainers.fit.options",
    "FitResult": "trainers.fit.classifier",
    "FitState": "trainers.fit.classifier",
    "fit_classifier": "trainers.fit.classifier",
    "AttackMeasurement": "trainers.evaluate.evaluation",
    "AttackedBatch": "trainers.evaluate.evaluation",
    "attack_batches": "trainers.evaluate.evaluation",
    "clean_accuracy": "trainers.evaluate.evaluation",
    "evaluate_attack": "trainers.evaluate.evaluation",
    "predict": "trainers.evaluate.evaluation",
    "score_batch": "trainers.evaluate.evaluation",
    "summarise": "trainers.evaluate.evaluation",
    "worst_case": "trainers.evaluate.evaluation",
    "load_classifier": "trainers.models.load",
    "probe_classifier": "trainers.models.probe",
    "NetworkFit": "trainers.reconstruction.fit",
    "coded_steps": "trainers.reconstruction.fit",
    "fit_network": "trainers.reconstruction.fit",
    "load_network": "trainers.reconstruction.files",
    "network_bytes": "trainers.reconstruction.files",
    "save_network": "trainers.reconstruction.files",
    "ReconstructionOptions": "trainers.reconstruction.options",
    "wilson": "trainers.intervals",
    "worst_cases": "trainers.evaluate.robustness",
}

__all__ = [
    "AttackMeasurement",
    "AttackedBatch",
    "FitOptions",
    "FitResult",
    "FitState",
    "NetworkFit",
    "ReconstructionOptions",
    "attack_batches",
    "clean_accuracy",
    "coded_steps",
    "evaluate_attack",
    "fit_classifier",
    "fit_network",
    "load_classifier",
    "load_network",
    "network_bytes",
    "predict",
    "probe_classifier",
    "save_network",
    "score_batch",
    "summarise",
    "wilson",
    "worst_case",
    "worst_cases",
]


def __getattr__(name: str) -> Any:
    """Import an exported name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
