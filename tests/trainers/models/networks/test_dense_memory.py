"""Dense associative memory beside the energies of its states, one neuron at a time."""

import numpy as np
import pytest
import torch

from attacks.errors import RefusedInput
from augment import iterate, load_dataset
from trainers import FitOptions, fit_classifier, load_classifier
from trainers.models.networks.dense_memory import DenseMemory


def energy(visible, labels, pixels, neurons, n):
    """E of Krotov & Hopfield 2016, eq. (1) and (3), of one state, in loops and in double."""
    total = 0.0
    for m in range(len(visible)):
        overlap = sum(visible[m, i] * v for i, v in enumerate(pixels))
        overlap += sum(labels[k, m] * x for k, x in enumerate(neurons))
        total -= max(overlap / np.sqrt(len(pixels)), 0) ** n
    return total


@pytest.mark.parametrize("n", [2, 3, 7])
def test_logits_are_what_turning_a_neuron_on_saves(n):
    torch.manual_seed(n)
    model = DenseMemory(num_classes=4, in_channels=2, image_size=(2, 3), memories=5, n=n)
    x = torch.rand(3, 2, 2, 3)
    visible, labels = (w.detach().double().numpy() for w in model.parameters())
    for image, logits in zip(x.double().numpy(), model(x), strict=True):
        pixels = 2 * image.ravel() - 1
        off = -np.ones(4)
        saved = [
            energy(visible, labels, pixels, off, n)
            - energy(visible, labels, pixels, np.where(np.arange(4) == k, 1, off), n)
            for k in range(4)
        ]
        np.testing.assert_allclose(logits.detach().numpy(), saved, rtol=1e-4, atol=1e-5)


def test_an_image_that_was_stored_is_completed_by_its_label():
    torch.manual_seed(0)
    images = (torch.rand(3, 1, 4, 4) > 0.5).float()
    model = DenseMemory(num_classes=3, image_size=(4, 4), memories=3, n=3)
    with torch.no_grad():
        model.visible.weight.copy_(2 * images.flatten(1) - 1)
        model.labels.weight.copy_(2 * torch.eye(3) - 1)
    assert model(images).argmax(1).tolist() == [0, 1, 2]
    assert model(0.3 + 0.4 * images).argmax(1).tolist() == [0, 1, 2]  # and a faint one too


def test_it_learns_the_digits():
    train, test = (load_dataset("digits", split) for split in ("train", "test"))
    torch.manual_seed(0)
    model = load_classifier("dense-memory", num_classes=10, in_channels=1, image_size=8)
    fit_classifier(model, train, FitOptions(), seed=0)
    with torch.no_grad():
        right = [model.eval()(x).argmax(1) == y for x, y, _ in iterate(test, batch_size=64)]
    assert float(torch.cat(right).float().mean()) > 0.92


def test_it_is_built_for_the_samples_and_takes_no_others(tmp_path):
    model = load_classifier("dense-memory", num_classes=3, in_channels=3, image_size=(5, 7))
    assert model(torch.rand(2, 3, 5, 7)).shape == (2, 3)
    with pytest.raises(ValueError, match=r"takes images of shape \(3, 5, 7\) and got \(3, 7, 5\)"):
        model(torch.rand(2, 3, 7, 5))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    loaded = load_classifier(
        "dense-memory", weights=tmp_path / "w.pt", in_channels=3, image_size=(5, 7)
    )
    x = torch.rand(2, 3, 5, 7)
    torch.testing.assert_close(loaded(x), model(x))
    with pytest.raises(RefusedInput, match=r"visible.weight has shape \(512, 105\) where"):
        load_classifier("dense-memory", weights=tmp_path / "w.pt", image_size=8)
