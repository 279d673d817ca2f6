"""What tests of the codec share."""

import pytest
import torch
from sklearn.datasets import load_sample_images

from compress import Codec


@pytest.fixture(scope="session")
def photographs():
    """Return 32x32 crops of scikit-learn's two photographs, (B, 3, 32, 32), shuffled."""
    whole = torch.stack([torch.tensor(image) for image in load_sample_images().images])
    whole = whole.permute(0, 3, 1, 2).float() / 255  # (2, 3, 427, 640)
    crops = whole.unfold(2, 32, 32).unfold(3, 32, 32)  # (2, 3, 13, 20, 32, 32)
    crops = crops.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # (520, 3, 32, 32)
    return crops[torch.randperm(len(crops), generator=torch.Generator().manual_seed(0))]


@pytest.fixture(scope="session")
def codec(photographs):
    """Return a codec fitted to 300 of them; the last 220 are for tests."""
    return Codec.fit(photographs[:300], step=0.05)
