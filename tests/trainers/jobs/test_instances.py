"""`rounds --instances N`: what the bank then holds of a sample."""

from collections import defaultdict

import pytest
import torch

from attacks import ATTACKS
from attacks.feature.guided_attack import GuidedAttack
from augment import SampleBank
from trainers import load_classifier
from trainers.jobs.rounds.collect_samples import vary_start
from trainers.run.main import main

WORDS = ["rounds", "--smoke", "--threads", "1", "--rounds", "1", "--train-samples", "60",
         "--test-samples", "40", "--attack-samples", "generator=8", "--instances", "3"]  # fmt: skip


def stored(folder):
    """The instances of each sample in the bank, by its id."""
    found = defaultdict(list)
    for x, entry in SampleBank(folder / "bank"):
        found[entry.source].append((x, entry))
    return found


@pytest.mark.slow
def test_the_instances_of_a_sample_differ_and_fool(tmp_path):
    words = [*WORDS, "--attacks", "generator:top_k=1,lam=1,steps=60"]
    words += ["--epochs", "8", "--batch-size", "5"]
    assert main([*words, "--run-dir", str(tmp_path / "r")]) == 0
    model = load_classifier(
        "smallcnn", in_channels=1, weights=tmp_path / "r/checkpoints/round-000.safetensors"
    )
    found = stored(tmp_path / "r")
    assert len(found) == 8
    fooled = []
    for instances in found.values():
        pixels = torch.stack([x for x, _ in instances])
        labels = torch.tensor([entry.label for _, entry in instances])
        fooled.append(model(pixels).argmax(1) != labels)
        assert len({x.numpy().tobytes() for x, _ in instances}) == 3
        assert torch.pdist(pixels.flatten(1), torch.inf).min() > 1 / 255
    assert torch.stack(fooled).float().mean(0).min() > 0.9  # as many in each instance


def test_what_draws_nothing_is_said(tmp_path, caplog):
    words = [*WORDS, "--attacks", "fgsm", "pgd", "--attack-samples", "fgsm=4", "pgd=4"]
    assert main([*words, "--epochs", "1", "--run-dir", str(tmp_path / "r")]) == 0
    log = (tmp_path / "r/log.txt").read_text()
    assert "fgsm draws nothing at random" in log
    assert "pgd draws nothing" not in log


@pytest.mark.parametrize("name", [n for n in ATTACKS if n not in ("autoattack", "fooling")])
def test_who_draws_nothing_is_known(name):
    kind = ATTACKS[name]
    names = kind.__dataclass_fields__
    small = {"steps": 2, "queries": 9, "noise": 0.0, "eps": 0.05, "random_start": True}
    attack = kind(**{k: v for k, v in small.items() if k in names})
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 64, 4))
    x = torch.rand(2, 3, 4, 8, 8) if getattr(kind, "needs_videos", False) else None
    x = torch.rand(2, 3, 16, 16) if x is None else x
    y = model(x).argmax(1)
    guide = {"guide": 1 - x} if isinstance(attack, GuidedAttack) else {}
    results = [vary_start(attack, 1)(model, x, y, seed=seed, **guide).x_adv for seed in (1, 2)]
    assert torch.equal(*results) == (not kind.draws)
