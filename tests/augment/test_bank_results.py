"""What an attack returned goes into the bank as it is."""

import pytest
import torch

from attacks import AttackResult
from augment import SampleBank

GIVEN = {"labels": torch.tensor([1, 0, 2]), "sources": ["a", "b", "c"], "attack": "pgd"}


def result() -> AttackResult:
    x = torch.zeros(3, 1, 2, 2)
    x_adv = torch.tensor([0.0, 1.0, 3.0]).view(3, 1, 1, 1).expand_as(x) * 51 / 255
    yes = torch.ones(3, dtype=torch.bool)
    return AttackResult(x, x_adv, yes, ~yes, torch.ones(3).long(), torch.tensor([0.5, 1, 2]))


def test_a_result_is_stored_with_what_it_was_made_of(tmp_path):
    assert SampleBank(tmp_path).append("k", result(), **GIVEN, round=4, seed=9) == 3
    bank = SampleBank(tmp_path)
    x, labels = bank.stack(range(3))
    assert torch.equal(x, result().x_adv)
    assert labels.tolist() == [1, 0, 2]
    last = bank.entries()[2]
    assert (last.source, last.label, last.attack, last.round, last.seed) == ("c", 2, "pgd", 4, 9)
    assert (last.loss, last.linf, last.l2, last.l1) == pytest.approx((2, 0.6, 1.2, 2.4))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (GIVEN | {"sources": None}, "give all three"),
        (GIVEN | {"attack": None}, "give all three"),
        (GIVEN | {"labels": torch.tensor([1, 0])}, "'labels': 2"),
        (GIVEN | {"entries": [{}] * 3}, "entries with a tensor"),
    ],
)
def test_a_result_that_lacks_something_is_refused(tmp_path, given, words):
    with pytest.raises(ValueError, match=words):
        SampleBank(tmp_path / "b").append("k", result(), **given)
    assert not (tmp_path / "b").exists()


def test_a_tensor_needs_entries_and_nothing_else(tmp_path, entries, images):
    bank = SampleBank(tmp_path)
    with pytest.raises(ValueError, match="entries with a tensor"):
        bank.append("k", images(3))
    with pytest.raises(ValueError, match="entries with a tensor"):
        bank.append("k", images(3), entries(3), labels=[1, 2, 3])
