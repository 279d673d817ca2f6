"""What the tests of the sample bank put into it, and where it ends up."""

from pathlib import Path

import pytest
import torch


def make_entries(count, **changes):
    """Return what is known of so many samples; changes apply to each."""
    given = dict(source="s", label=3, round=1, attack="pgd", seed=7, loss=0.5, linf=0.1, l2=1, l1=9)
    return [{**given, "source": f"s{i}", **changes} for i in range(count)]


@pytest.fixture(scope="session")
def entries():
    return make_entries


def make_images(count=1, seed=0, shape=(3, 6, 5), shift=0.0):
    """Return so many samples of noise, in [0, 1] unless shifted."""
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.fixture(scope="session")
def images():
    return make_images


def find_shard_files(folder):
    """Return the shards of a bank's folder, in order."""
    return sorted(path for path in Path(folder).iterdir() if path.suffix == ".safetensors")


@pytest.fixture(scope="session")
def shard_files():
    return find_shard_files
