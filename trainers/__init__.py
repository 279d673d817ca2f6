"""The loops: classifiers and how to load them, fitting, evaluation, rounds.

Names are imported when first asked for, so that ``import trainers.run.main`` (and with it
``--help``) loads neither torch nor kornia.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.evaluate.calibration import Calibration as Calibration
    from trainers.evaluate.calibration import measure_calibration as measure_calibration
    from trainers.evaluate.curve import RobustnessCurve as RobustnessCurve
    from trainers.evaluate.curve import curve_of as curve_of
    from trainers.evaluate.curve import join_curves as join_curves
    from trainers.evaluate.evaluation import AttackedBatch as AttackedBatch
    from trainers.evaluate.evaluation import attack_batches as attack_batches
    from trainers.evaluate.evaluation import clean_accuracy as clean_accuracy
    from trainers.evaluate.evaluation import evaluate_attack as evaluate_attack
    from trainers.evaluate.evaluation import predict as predict
    from trainers.evaluate.evaluation import score_batch as score_batch
    from trainers.evaluate.masking.check_masking import check_masking as check_masking
    from trainers.evaluate.masking.compare_attacks import MaskingCheck as MaskingCheck
    from trainers.evaluate.per_class import class_table as class_table
    from trainers.evaluate.per_class import confusion_matrix as confusion_matrix
    from trainers.evaluate.robustness import worst_case as worst_case
    from trainers.evaluate.robustness import worst_cases as worst_cases
    from trainers.evaluate.scores import AttackMeasurement as AttackMeasurement
    from trainers.evaluate.scores import summarise as summarise
    from trainers.evaluate.transfer import transfer_table as transfer_table
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
    "Calibration": "trainers.evaluate.calibration",
    "FitOptions": "trainers.fit.options",
    "FitResult": "trainers.fit.classifier",
    "FitState": "trainers.fit.state",
    "MaskingCheck": "trainers.evaluate.masking.compare_attacks",
    "NetworkFit": "trainers.reconstruction.fit",
    "ReconstructionOptions": "trainers.reconstruction.options",
    "RobustnessCurve": "trainers.evaluate.curve",
    "attack_batches": "trainers.evaluate.evaluation",
    "check_masking": "trainers.evaluate.masking.check_masking",
    "class_table": "trainers.evaluate.per_class",
    "clean_accuracy": "trainers.evaluate.evaluation",
    "coded_steps": "trainers.reconstruction.fit",
    "confusion_matrix": "trainers.evaluate.per_class",
    "curve_of": "trainers.evaluate.curve",
    "evaluate_attack": "trainers.evaluate.evaluation",
    "fit_classifier": "trainers.fit.classifier",
    "fit_network": "trainers.reconstruction.fit",
    "join_curves": "trainers.evaluate.curve",
    "load_classifier": "trainers.models.load",
    "load_network": "trainers.reconstruction.files",
    "measure_calibration": "trainers.evaluate.calibration",
    "network_bytes": "trainers.reconstruction.files",
    "predict": "trainers.evaluate.evaluation",
    "probe_classifier": "trainers.models.probe",
    "save_network": "trainers.reconstruction.files",
    "score_batch": "trainers.evaluate.evaluation",
    "summarise": "trainers.evaluate.scores",
    "transfer_table": "trainers.evaluate.transfer",
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
