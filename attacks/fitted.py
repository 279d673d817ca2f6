"""The attacks that are fitted to samples before they attack others, by name."""

from collections.abc import Callable
from pathlib import Path

from attacks.errors import RefusedInput
from attacks.substitute.substitute import BlackBoxSubstitute
from attacks.substitute.substitute_attack import Substitute
from attacks.transformer.atn import AdversarialTransformer
from attacks.transformer.atn_attack import Transformer
from attacks.universal.fitting import Fittable, Fitted
from attacks.universal.perturbation import Perturbation
from attacks.universal.saved_attack import kind_of
from attacks.universal.universal import UniversalPerturbation
from attacks.video.flicker_universal import FlickerUniversal
from attacks.video.sup import SparseUniversalPerturbation

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
