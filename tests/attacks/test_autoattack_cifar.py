"""The whole AutoAttack on CIFAR-10, against the members of torchattacks at 100 steps.

    python -m pytest -m soak -s tests/attacks/test_autoattack_cifar.py

takes about half an hour on two cores and prints the table that docs/benchmarks.md shows.
"""

import tarfile
import time
from copy import deepcopy

import pytest
import torch

from attacks import PGD, AutoAttack
from augment import load_dataset
from trainers import FitOptions, fit_classifier, load_classifier, predict

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]
SAMPLES, TRAINING = 200, 10_000
THEIRS = {  # the members of the standard, by their names in ours
    "apgd-ce": ("APGD", dict(steps=100, n_restarts=1, loss="ce")),
    "apgd-t": ("APGDT", dict(steps=100, n_restarts=1, n_classes=10)),
    "fab-t": ("FAB", dict(steps=100, n_restarts=1, n_classes=10, multi_targeted=True)),
    "square": ("Square", dict(n_queries=5000, n_restarts=1)),
}


@pytest.fixture(scope="module")
def cifar(real_data, tmp_path_factory):
    """Return its training and test images."""
    root = tmp_path_factory.mktemp("cifar10")
    for split in ("train", "test"):
        with tarfile.open(real_data("cifar10") / f"{split}.tar.xz") as archive:
            archive.extractall(root, filter="data")
    return [
        load_dataset(f"cifar10:{root}", split, samples=count)
        for split, count in (("train", TRAINING), ("test", 4 * SAMPLES))
    ]


def fitted(train, *, epochs, eps=0.0):
    """Return a small CNN fitted to the training images, attacked by two steps of PGD each."""
    torch.manual_seed(0)
    model = load_classifier("smallcnn", num_classes=10, image_size=(32, 32), in_channels=3)
    attack = PGD(eps=eps, steps=2)

    def attacked(x, *, generator):
        seed = int(torch.randint(2**31, (), generator=generator))
        return attack(model, x, predict(model, x).argmax(1), seed=seed).x_adv

    options, augment = FitOptions(epochs=epochs), attacked if eps else None
    fit_classifier(model, train, options, seed=0, augment=augment)
    return model


def right(model, test):
    """Return samples that the model gets right."""
    x, y = test.stack(range(len(test)))
    rows = (predict(model, x).argmax(1) == y).nonzero().flatten()[:SAMPLES]
    assert len(rows) == SAMPLES
    return x[rows], y[rows]


def test_nothing_is_left_of_an_undefended_classifier(cifar):
    train, test = cifar
    x, y = right(model := fitted(train, epochs=8), test)
    result = AutoAttack(eps=8 / 255)(model, x, y)
    print(f"\nundefended, 8/255: {result.info['members']}")
    assert result.success.all()


def test_on_a_robust_classifier_the_members_agree_with_theirs(cifar):
    """Each on all samples, by itself; then the worst case of the four, and the whole of ours."""
    torchattacks = pytest.importorskip("torchattacks")
    train, test = cifar
    eps, began = 4 / 255, time.perf_counter()
    x, y = right(model := fitted(train, epochs=10, eps=eps), test)
    print(f"\nfitted in {time.perf_counter() - began:.0f} s; robust accuracy, ours and theirs:")
    members, left = AutoAttack(eps=eps).members(), {"ours": True, "theirs": True}
    for name, (theirs, options) in THEIRS.items():
        other = getattr(torchattacks, theirs)(deepcopy(model), eps=eps, **options)
        runs = {
            "ours": lambda name=name: members[name](model, x, y).x_adv,
            "theirs": lambda other=other: other(x, y).detach(),
        }
        shares = {}
        for side, run in runs.items():
            began = time.perf_counter()
            stands = predict(model, run()).argmax(1) == y
            left[side] = left[side] & stands
            shares[side] = float(stands.double().mean())
            print(f"{name} {side}: {shares[side]:.3f} in {time.perf_counter() - began:.0f} s")
        assert agree(**shares), (name, shares)
    shares = {side: float(stands.double().mean()) for side, stands in left.items()}
    print(f"worst case: {shares}")
    assert 0.1 < shares["ours"] < 0.9, "neither all nor none, or this compares nothing"
    assert agree(**shares)
    began = time.perf_counter()
    whole = AutoAttack(eps=eps)(model, x, y)
    stands = float((~whole.success).double().mean())
    print(
        f"autoattack: {stands:.3f} in {time.perf_counter() - began:.0f} s, {whole.info['members']}"
    )
    assert agree(stands, shares["theirs"])


def agree(ours, theirs):
    """Whether two shares differ by two standard errors at most."""
    return abs(ours - theirs) <= 2 * (theirs * (1 - theirs) / SAMPLES) ** 0.5
