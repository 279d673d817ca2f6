"""The photographs of scikit-learn, for classifiers of ImageNet."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from attacks import RefusedInput
from augment import load_dataset


def test_there_are_two_photographs_with_the_classes_of_imagenet():
    ds = load_dataset("photos", "test")
    assert ds.ids == ["china", "flower"]
    assert ds.shape == (3, 224, 224)
    assert ds.labels.tolist() == [-1, -1]
    assert len(ds.classes) == 1000
    assert ds.classes[985] == "daisy"


def test_pixels_are_those_of_scikit_learn():
    x, _ = load_dataset("photos", "test", size=427).stack([1])  # as high as they are
    theirs = torch.from_numpy(load_sample_image("flower.jpg") / np.float32(255)).permute(2, 0, 1)
    middle = [theirs[:, :, left : left + 427] for left in (106, 107)]
    assert min(float((x[0] - each).abs().max()) for each in middle) < 1e-6


def test_there_is_nothing_to_train_with():
    with pytest.raises(RefusedInput, match="such as --model efficientnet-lite0"):
        load_dataset("photos", "train")
    with pytest.raises(ValueError, match="photos takes no folder"):
        load_dataset("photos:here", "test")


def test_a_classifier_of_imagenet_knows_them():
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra imagenet is not installed")
    from trainers import load_classifier

    ds = load_dataset("photos", "test")
    with torch.no_grad():
        answers = load_classifier("efficientnet-lite0")(ds.stack([0, 1])[0]).argmax(1)
    assert [ds.classes[i] for i in answers] == ["palace", "daisy"]
