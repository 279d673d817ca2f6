"""What TensorBoard's projector reads: vectors, names a line each, and one square of pictures."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from explain.network.projector import sprites, write_embedding


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 3, 12, 6), (5, 1, 6, 12), (5, 3, 3, 8, 8)])
def test_the_folder_has_what_the_projector_reads(tmp_path, shape):
    writer = SummaryWriter(str(tmp_path))
    vectors = random(5, 4)
    labels = [f"class {i}\tor\nso" for i in range(5)]
    write_embedding(writer, vectors, labels=labels, x=random(*shape), tag="last")
    writer.close()
    config = (tmp_path / "projector_config.pbtxt").read_text()
    folder = tmp_path / "00000/last"
    assert '"00000/last/tensors.tsv"' in config
    np.testing.assert_allclose(np.loadtxt(folder / "tensors.tsv"), vectors, rtol=1e-6)
    assert (folder / "metadata.tsv").read_text().splitlines() == [
        f"class {i} or so" for i in range(5)
    ]
    side = max(shape[-2:])
    assert f"single_image_dim: {side}" in config
    with Image.open(folder / "sprite.png") as sprite:
        assert sprite.size == (3 * side, 3 * side)
        pixels = np.asarray(sprite.convert("RGB")).astype(float) / 255
    pictures = sprites(random(*shape))
    for i in range(5):
        row, column = side * (i // 3), side * (i % 3)
        cell = pixels[row : row + side, column : column + side]
        np.testing.assert_allclose(cell, pictures[i].permute(1, 2, 0), atol=1 / 255)


def test_pictures_are_square_with_the_sample_in_the_middle():
    x = random(2, 1, 6, 4)
    found = sprites(x)
    assert found.shape == (2, 3, 6, 6)
    assert torch.equal(found[:, 2, :, 1:5], x[:, 0])
    assert not found[..., 0].any()
    assert not found[..., 5].any()


def test_of_a_clip_the_middle_frame_is_shown():
    x = random(2, 3, 5, 4, 4)
    assert torch.equal(sprites(x), x[:, :, 2])


def test_many_or_large_pictures_are_made_small_enough_for_tensorboard():
    assert sprites(torch.zeros(1, 1, 200, 100)).shape == (1, 3, 64, 64)
    assert sprites(torch.zeros(1).expand(130 * 130, 1, 64, 1)).shape[-1] == 63  # 130 * 63 < 8192


def test_numbers_that_differ_are_refused(tmp_path):
    with pytest.raises(ValueError, match="3 vectors, 2 labels and 3 samples"):
        write_embedding(
            SummaryWriter(str(tmp_path)),
            random(3, 4),
            labels=["a", "b"],
            x=random(3, 1, 4, 4),
            tag="last",
        )
