"""Two photographs that come with scikit-learn: a temple in China, and a flower."""

from pathlib import Path

import torch

from attacks.errors import RefusedInput
from augment.dataset import Dataset
from augment.datasets.arrays.arrays import class_names
from augment.datasets.images.conversion import resize_dataset
from augment.datasets.request import Request

SIDE = 224  # pixels, of classifiers of ImageNet


def read_photos(request: Request) -> Dataset:
    """Read the photographs, unlabelled, for a classifier of ImageNet, whose classes they have.

    Raises:
        ValueError: Something stands after `photos:`.
        RefusedInput: Another split than `test` is asked for.
    """
    # scikit-learn takes a second to import, which other sources need not wait.
    from sklearn.datasets import load_sample_images
    from torchvision.models import MobileNet_V2_Weights

    if request.target:
        raise ValueError(f"photos:{request.target}: photos takes no folder; write `photos`")
    if request.split != "test":
        raise RefusedInput(
            f"photos are two photographs without labels, and none to {request.split} with; give a "
            "classifier that is fitted, such as --model efficientnet-lite0"
        )
    found = load_sample_images()  # (427, 640, 3) each, in bytes
    images = [torch.from_numpy(image.copy()).permute(2, 0, 1) for image in found.images]
    categories = list(MobileNet_V2_Weights.DEFAULT.meta["categories"])
    photos = Dataset(
        torch.stack(images),  # (2, 3, 427, 640)
        torch.full((len(images),), -1),
        [Path(name).stem for name in found.filenames],
        name="photos",
        classes=class_names(request, highest=len(categories) - 1, known=categories),
    )
    return resize_dataset(photos, SIDE) if request.size is None else photos
