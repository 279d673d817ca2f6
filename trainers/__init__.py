"""The loops: classifiers and how to load them, fitting, evaluation, rounds.

Names are imported when first asked for, so that ``import trainers.run.main`` (and with it
``--help``) loads neither torch nor kornia.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.evaluate.evaluation import AttackedBatch as AttackedBatch
    from trainers.evaluate.evaluation import attack_batches as attack_batches
    from trainers.evaluate.evaluation import clean_accuracy as clean_accuracy
    from trainers.evaluate.evaluation import evaluate_attack as evaluate_attack
    from trainers.evaluate.evaluation import predict as predict
    from trainers.evaluate.evaluation import score_batch as score_batch
    from trainers.evaluate.robustness import worst_case as worst_case
    from trainers.evaluate.robustness import worst_cases as worst_cases
    from trainers.evaluate.scores import AttackMeasurement as AttackMeasurement
    from trainers.evaluate.scores import summarise as summarise
    from trainers.fit.classifier import FitResult as FitResult
    from trainers.fit.classifier import fit_classifier as fit_classifier
    from trainers.fit.options import FitOptions as FitOptions
    from trainers.fit.state import FitState as FitState
    from trainers.intervals import wilson as wilson
    from trainers.models.load import load_classifier as load_classifier
    from trainers.models.probe import probe_classifier as probe_classifier
    from trainers.reconstruction.files import load_network as load_network
    from trainers.reconstruction.files import network_bytes as network_bytes
    from trainers.reconstruction.files import save_network as save_network
    from trainers.reconstruction.fit import NetworkFit as NetworkFit
    from trainers.reconstruction.fit import coded_steps as coded_steps
    from trainers.reconstruction.fit import fit_network as fit_network
    from trainers.reconstruction.options import ReconstructionOptions as ReconstructionOptions

_HOMES = {
    "AttackMeasurement": "trainers.evaluate.scores",
    "AttackedBatch": "trainers.evaluate.evaluation",
    "FitOptions": "trainers.fit.options",
    "FitResult": "trainers.fit.classifier",
    "FitState": "trainers.fit.state",
    "NetworkFit": "trainers.reconstruction.fit",
    "ReconstructionOptions": "trainers.reconstruction.options",
    "attack_batches": "trainers.evaluate.evaluation",
    "clean_accuracy": "trainers.evaluate.evaluation",
    "coded_steps": "trainers.reconstruction.fit",
    "evaluate_attack": "trainers.evaluate.evaluation",
    "fit_classifier": "trainers.fit.classifier",
    "fit_network": "trainers.reconstruction.fit",
    "load_classifier": "trainers.models.load",
    "load_network": "trainers.reconstruction.files",
    "network_bytes": "trainers.reconstruction.files",
    "predict": "trainers.evaluate.evaluation",
    "probe_classifier": "trainers.models.probe",
    "save_network": "trainers.reconstruction.files",
    "score_batch": "trainers.evaluate.evaluation",
    "summarise": "trainers.evaluate.scores",
    "wilson": "trainers.intervals",
    "worst_case": "trainers.evaluate.robustness",
    "worst_cases": "trainers.evaluate.robustness",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import an exported name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
