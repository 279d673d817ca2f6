"""The loops: classifiers and how to load them, fitting, evaluation, rounds.

Names are imported when first asked for, so that ``import trainers.run.cli`` (and with it
``--help``) loads neither torch nor kornia.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.classifier import FitResult, FitState, fit_classifier
    from trainers.evaluation import (
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
    from trainers.fit_options import FitOptions
    from trainers.models.load import load_classifier
    from trainers.models.probe import probe_classifier
    from trainers.reconstruction import NetworkFit, coded_steps, fit_network
    from trainers.reconstruction_files import load_network, network_bytes, save_network
    from trainers.reconstruction_options import ReconstructionOptions
    from trainers.robustness import worst_cases
    from trainers.scores import wilson

_HOMES = {
    "FitOptions": "trainers.fit_options",
    "FitResult": "trainers.classifier",
    "FitState": "trainers.classifier",
    "fit_classifier": "trainers.classifier",
    "AttackMeasurement": "trainers.evaluation",
    "AttackedBatch": "trainers.evaluation",
    "attack_batches": "trainers.evaluation",
    "clean_accuracy": "trainers.evaluation",
    "evaluate_attack": "trainers.evaluation",
    "predict": "trainers.evaluation",
    "score_batch": "trainers.evaluation",
    "summarise": "trainers.evaluation",
    "worst_case": "trainers.evaluation",
    "load_classifier": "trainers.models.load",
    "probe_classifier": "trainers.models.probe",
    "NetworkFit": "trainers.reconstruction",
    "coded_steps": "trainers.reconstruction",
    "fit_network": "trainers.reconstruction",
    "load_network": "trainers.reconstruction_files",
    "network_bytes": "trainers.reconstruction_files",
    "save_network": "trainers.reconstruction_files",
    "ReconstructionOptions": "trainers.reconstruction_options",
    "wilson": "trainers.scores",
    "worst_cases": "trainers.robustness",
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
