"""The attacks that are fitted to samples before they attack others, by name."""

from collections.abc import Callable
from pathlib import Path

from attacks.artefact import kind_of
from attacks.atn import AdversarialTransformer
from attacks.atn_attack import Transformer
from attacks.errors import RefusedInput
from attacks.fitting import Fittable, Fitted
from attacks.flicker_universal import FlickerUniversal
from attacks.perturbation import Perturbation
from attacks.substitute import BlackBoxSubstitute
from attacks.substitute_attack import Substitute
from attacks.sup import SparseUniversalPerturbation
from attacks.universal import UniversalPerturbation

FITTED: dict[str, type[Fittable]] = {
    "universal": UniversalPerturbation,
    "sup": SparseUniversalPerturbation,
    "atn": AdversarialTransformer,
    "substitute": BlackBoxSubstitute,
    "flicker-universal": FlickerUniversal,
}
LOADERS: dict[str, Callable[[str | Path], Fitted]] = {
    Perturbation.kind: Perturbation.load,
    Transformer.kind: Transformer.load,
    Substitute.kind: Substitute.load,
}


def load_fitted(path: str | Path) -> Fitted:
    """Read a fitted attack of any kind, as its `save` wrote it.

    Raises:
        RefusedInput: when the file is missing, damaged, or holds something else.
    """
    kind = kind_of(path)
    if kind not in LOADERS:
        raise RefusedInput(f"{path} holds a fitted {kind!r}; known are {', '.join(LOADERS)}")
    return LOADERS[kind](path)
