import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from attacks import FGSM, PGD, AttackResult
from augment import Dataset
from trainers import (
    attack_batches,
    clean_accuracy,
    evaluate_attack,
    predict,
    score_batch,
    summarise,
    worst_case,
)


@dataclass(frozen=True)
class Push:
    """Adds a constant to the first sample of every pair; success in closed form."""

    by: float = 0.25
    warning: str | None = None

    def __call__(self, model, x, y, *, target=None, seed=0, sample_ids=None, progress=None):
        odd = torch.tensor([i % 2 for i in range(len(x))], dtype=torch.bool)
        x_adv = torch.where(odd.view(-1, 1, 1, 1), x, x + self.by)
        before, answer = model(x).argmax(1), model(x_adv).argmax(1)
        return AttackResult(
            x=x,
            x_adv=x_adv,
            success=answer != y if target is None else answer == target,
            already=before != y if target is None else before == target,
            queries=torch.full_like(y, 3),
            loss=torch.arange(len(x)).float(),
            info={"warnings": [self.warning]} if self.warning else {},
        )


class Threshold(nn.Module):
    """Class 1 when the mean of the sample is above one half: an exact linear classifier."""

    def forward(self, x):
        score = x.flatten(1).mean(1) - 0.5
        return torch.stack([-score, score], 1)


def dataset(levels, labels):
    x = torch.tensor(levels).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    names = [f"s{i}" for i in range(len(levels))]
    return Dataset(x, torch.tensor(labels), names, name="levels", classes=["dark", "bright"])


LEVELS, LABELS = [0.3, 0.4, 0.1, 0.7, 0.7, 0.7], [0, 0, 0, 1, 0, 1]


def test_an_attack_is_measured_as_counted_by_hand():
    # pushed by 0.25: 0.3 -> 0.55 fooled; 0.1 -> 0.35 not; sample 4 is wrong from the start.
    m = evaluate_attack(Push(), Threshold(), dataset(LEVELS, LABELS), batch_size=6, seed=0)
    assert m.samples == 6
    assert m.clean_accuracy == pytest.approx(5 / 6)
    assert m.robust_accuracy == pytest.approx(4 / 6)
    assert m.success == pytest.approx(1 / 5)
    assert m.median_l2 == pytest.approx(0.25 * 4)
    assert m.delta_l1 == pytest.approx(0.25)  # of the one that was fooled
    assert m.delta_sparsity == 0
    assert m.loss == pytest.approx(2.5)
    assert m.queries == 3
    assert m.survived.tolist() == [False, True, True, True, False, True]
    assert m.warnings == []
    assert m.seconds > 0


def test_nothing_fooled_gives_no_median_and_all_wrong_no_success():
    m = evaluate_attack(Push(by=0.0), Threshold(), dataset([0.3], [0]), batch_size=1, seed=0)
    assert math.isnan(m.median_l2)
    assert m.success == 0
    wrong = evaluate_attack(Push(), Threshold(), dataset([0.3], [1]), batch_size=1, seed=0)
    assert math.isnan(wrong.success)
    assert wrong.robust_accuracy == 0


def test_pgd_on_a_linear_classifier_fools_exactly_those_within_eps():
    g = torch.Generator().manual_seed(0)
    levels = torch.rand(64, generator=g).tolist()
    ds = dataset(levels, [int(v > 0.5) for v in levels])
    m = evaluate_attack(PGD(eps=0.2, steps=5), Threshold(), ds, batch_size=10, seed=0)
    expected = [abs(v - 0.5) > 0.2 for v in levels]
    assert m.survived.tolist() == expected
    assert m.robust_accuracy == pytest.approx(sum(expected) / 64)


def test_batch_size_and_resume_change_nothing():
    g = torch.Generator().manual_seed(1)
    x, y = torch.rand(11, 1, 8, 8, generator=g), torch.arange(11) % 3
    ds = Dataset(x, y, [f"id{i}" for i in range(11)], name="toy", classes=list("abc"))
    torch.manual_seed(0)
    model, attack = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), PGD(eps=0.05, steps=3)

    def columns(batch_size, numbers=None):
        batches = attack_batches(attack, model, ds, batch_size=batch_size, seed=4, numbers=numbers)
        parts = [score_batch(b) for b in batches]
        return {k: torch.cat([p[k] for p in parts]) for k in parts[0]}

    whole, small, rest = columns(11), columns(4), columns(4, [0, 2])
    for key, value in whole.items():
        torch.testing.assert_close(small[key], value)
        assert torch.equal(rest[key], torch.cat([small[key][:4], small[key][8:]]))
    assert whole["index"].tolist() == list(range(11))
    assert list(attack_batches(attack, model, ds, batch_size=4, seed=4, numbers=[])) == []


def test_columns_survive_safetensors_and_give_the_same_measurement(tmp_path):
    from safetensors.torch import load_file, save_file

    ds = dataset(LEVELS, LABELS)
    parts = []
    for i, batch in enumerate(attack_batches(Push(), Threshold(), ds, batch_size=4, seed=0)):
        save_file(score_batch(batch), tmp_path / f"{i}.safetensors")
        parts.append(load_file(tmp_path / f"{i}.safetensors"))
    again = summarise(parts)
    direct = evaluate_attack(Push(), Threshold(), ds, batch_size=4, seed=0)
    assert torch.equal(again.survived, direct.survived)
    assert (again.median_l2, again.delta_l1) == (direct.median_l2, direct.delta_l1)


def test_a_target_counts_as_reached_or_not():
    ds = dataset([0.3, 0.3, 0.1], [0, 0, 0])
    m = evaluate_attack(Push(), Threshold(), ds, batch_size=3, seed=0, target=1)
    assert m.success == pytest.approx(1 / 3)
    assert m.robust_accuracy == pytest.approx(2 / 3)


def test_unlabelled_samples_take_the_classifiers_answer():
    batches = attack_batches(
        FGSM(), Threshold(), dataset([0.2, 0.8], [-1, -1]), batch_size=2, seed=0
    )
    (batch,) = batches
    assert batch.y.tolist() == [0, 1]
    assert batch.clean.all()


def test_a_non_finite_logit_is_never_right():
    class Broken(Threshold):
        def forward(self, x):
            logits = super().forward(x)
            return torch.where(
                x.flatten(1)[:, :1] < 0.2, torch.full_like(logits, torch.nan), logits
            )

    assert clean_accuracy(Broken(), dataset([0.1, 0.3], [0, 0])) == 0.5


def test_warnings_are_reported_once():
    ds = dataset([0.3] * 4, [0] * 4)
    m = evaluate_attack(Push(warning="odd"), Threshold(), ds, batch_size=1, seed=0)
    assert m.warnings == ["odd"]


def test_the_worst_case_is_what_survives_all():
    ds, model = dataset(LEVELS, LABELS), Threshold()
    one = evaluate_attack(Push(), model, ds, batch_size=6, seed=0)
    two = evaluate_attack(Push(by=-0.25), model, ds, batch_size=1, seed=0)  # 0.7 -> 0.45 fooled
    assert worst_case([one]) == one.robust_accuracy
    both = [a and b for a, b in zip(one.survived.tolist(), two.survived.tolist(), strict=True)]
    assert worst_case([one, two]) == pytest.approx(sum(both) / 6)
    assert worst_case([one, two]) < min(one.robust_accuracy, two.robust_accuracy)


def test_nothing_to_measure_is_refused():
    empty = dataset(LEVELS, LABELS).subset([])
    with pytest.raises(ValueError, match="no samples"):
        clean_accuracy(Threshold(), empty)
    with pytest.raises(ValueError, match="no samples"):
        evaluate_attack(Push(), Threshold(), empty, batch_size=1, seed=0)
    with pytest.raises(ValueError, match="at least one"):
        summarise([])
    with pytest.raises(ValueError, match="at least one"):
        worst_case([])


def test_predict_works_in_eval_mode_and_leaves_the_model_alone():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten())
    x = torch.rand(3, 1, 5, 5)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    logits = predict(model.train(), x)
    assert all(m.training for m in model.modules())
    assert not logits.requires_grad
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    torch.testing.assert_close(logits, model.eval()(x).detach())


def test_clean_accuracy_equals_a_count():
    assert clean_accuracy(Threshold(), dataset(LEVELS, LABELS), batch_size=4) == pytest.approx(
        5 / 6
    )
