"""Attacks that should be weaker beside those that should be stronger, on the same samples.

Source: Athalye et al. 2018, section 3.1; Carlini et al. 2019, sections 4 and 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks import APGD, BIM, FGSM, MIFGSM, PGD, Attack, Square
from attacks.substitute.substitute_attack import Substitute
from attacks.video.keyframe_square import KeyframeSquare
from trainers.evaluate.scores import AttackMeasurement
from trainers.intervals import sign_test

WHITE_BOX = (PGD, APGD, BIM, MIFGSM)
BLACK_BOX = (Square, KeyframeSquare, Substitute)  # they take no gradient of the classifier
SURPRISE = 0.01  # chance of a comparison as lopsided between two attacks that are alike
RUN = "run --attacks pgd:bpda=identity autoattack"
# What is compared, and what to run when the weaker wins.
BLACK = ("black box beats white box", f"gradients mislead: {RUN}")
ONE_STEP = (
    "one step beats many",
    "the loss misleads beyond one step: run --attacks pgd:loss=dlr,steps=100 autoattack",
)
RANDOM = ("random search beats white box", f"gradients mislead: {RUN}")
TRANSFER = ("transfer beats white box", f"gradients mislead: {RUN}")


@dataclass(frozen=True)
class MaskingCheck:
    """One of the checks for gradient masking.

    Attributes:
        check: its name.
        seen: what was seen, with the numbers.
        sign: whether that is a sign of masking.
        advice: what to run next; empty where it is none.
    """

    check: str
    seen: str
    sign: bool
    advice: str = ""

    def __str__(self) -> str:
        """Return the check as a warning."""
        return f"sign of gradient masking, {self.check}: {self.seen}; {self.advice}"


def compare(
    kind: tuple[str, str], weak: Mapping[str, Tensor], strong: Mapping[str, Tensor]
) -> MaskingCheck:
    """Tell whether attacks that should be weaker fool more than those that should be stronger.

    Attacks are compared on the same samples, so that those that both or neither fool say
    nothing: of the others, each half would be expected of equals (a sign test).

    Args:
        kind: the name of the check, and what to run next.
        weak: (N,) bool by name, whom each of the former fooled; a sample counts for any of them.
        strong: the same of the latter.
    """
    a = torch.stack(list(weak.values())).any(0)
    b = torch.stack(list(strong.values())).any(0)
    more, less = int((a & ~b).sum()), int((b & ~a).sum())
    chance = sign_test(more, less)
    first, second = " or ".join(weak), " or ".join(strong)
    sign = chance < SURPRISE
    seen = (
        f"{first} fooled {int(a.sum())} and {second} {int(b.sum())} of {len(a)} samples; {more} "
        f"the former alone, {less} the latter alone"
    )
    if sign:
        seen += f" (chance {chance:.2g} for attacks that are alike)"
    return MaskingCheck(kind[0], seen, sign, kind[1] if sign else "")


def compare_measured(
    attacks: Mapping[str, Attack], results: Mapping[str, AttackMeasurement]
) -> list[MaskingCheck]:
    """Compare attacks that were measured, black box with white and one step with many.

    Only attacks of one budget are compared, and none by which nobody could have been fooled.
    """
    found = []
    for budget in dict.fromkeys(m.budget for m in results.values() if m.budget):
        if budget.eps is None:
            continue
        same = [name for name, m in results.items() if m.budget == budget]
        fooled = {name: results[name].clean & ~results[name].survived for name in same}
        black = {n: fooled[n] for n in same if isinstance(attacks[n], BLACK_BOX)}
        one = {n: fooled[n] for n in same if n not in black and is_one_step(attacks[n])}
        many = {n: fooled[n] for n in same if n not in black and is_iterative(attacks[n])}
        for kind, weak in ((BLACK, black), (ONE_STEP, one)):
            if weak and many:
                found.append(compare(kind, weak, many))
    return found


def is_one_step(attack: Attack) -> bool:
    """Tell whether an attack takes a single step along a gradient."""
    return isinstance(attack, FGSM) or (isinstance(attack, WHITE_BOX) and attack.steps == 1)


def is_iterative(attack: Attack) -> bool:
    """Tell whether an attack takes several steps along gradients to any wrong class."""
    return isinstance(attack, WHITE_BOX) and attack.steps > 1
