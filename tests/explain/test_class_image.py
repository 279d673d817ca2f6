"""Class images: the ascent is that of fooling images, and finds what the model looks for."""

import pytest
import torch

from attacks import FoolingImage
from explain.network.class_image import class_images


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_of_a_linear_model_it_is_a_walk_along_the_weights_of_the_class(linear):
    model, x = linear((3, 6, 6)), random(1, 3, 6, 6)
    start = class_images(model, [0, 2], like=x, steps=0)
    weight = model.of(torch.tensor([0, 2])).detach()
    walk = 0.02 * weight / weight.square().mean((1, 2, 3), keepdim=True).sqrt()
    images = class_images(model, [0, 2], like=x, steps=30, decay=0.1, seed=0)
    wanted = start
    for _ in range(30):
        wanted = (0.5 + 0.9 * (wanted - 0.5) + walk).clamp(0, 1)
    torch.testing.assert_close(images, wanted)
    assert torch.equal(model(images).argmax(1), torch.tensor([0, 2]))


def test_the_planted_patch_is_bright_and_the_rest_fades_to_grey(patch):
    model, x = patch(), random(1, 3, 12, 12)
    (image,) = class_images(model, [1], like=x, steps=150)
    mask = model.mask(x)
    assert image[:, mask].mean() > 0.9
    outside = (image[:, ~mask] - 0.5).abs().mean()
    assert outside < 0.05


def test_a_step_is_that_of_a_fooling_image(patch):
    model, x = patch(), random(1, 3, 12, 12)
    options = {"steps": 1, "step_size": 0.05, "decay": 0.01}
    attack = FoolingImage(**options | {"steps": 2, "confidence": 1.0})
    fooling = attack(model, x, None, target=1, seed=3, sample_ids=[1])
    assert torch.equal(class_images(model, [1], like=x, seed=3, **options), fooling.x_adv)


def test_an_image_does_not_depend_on_the_other_classes(linear):
    model, x = linear((3, 6, 6)), random(1, 3, 6, 6)
    both = class_images(model, [2, 0], like=x, steps=10)
    torch.testing.assert_close(class_images(model, [0], like=x, steps=10)[0], both[1])


def test_videos_have_class_clips_and_unknown_classes_are_refused(patch):
    x = random(1, 3, 4, 12, 12)
    assert class_images(patch(), [0, 1], like=x, steps=2).shape == (2, 3, 4, 12, 12)
    with pytest.raises(ValueError, match="class 7"):
        class_images(patch(), [7], like=x, steps=2)
