"""Real photographs, where they are: SPARRING_DATA, or shared/data beside the checkout."""

import tarfile

import torch

from augment import load_dataset


def test_photographs_of_differing_sizes_without_classes(real_data):
    data = load_dataset(f"imagefolder:{real_data('paper_samples/images')}", "test")
    assert data.ids == ["car.jpg", "cat.jpg", "cat2.jpg", "dog.jpg"]
    assert data.shape == (3, 224, 224)
    assert data.labels.tolist() == [-1] * 4


def test_imagenet_samples_take_their_ids_from_the_class_list(real_data):
    root = real_data("imagenet")
    data = load_dataset(
        f"imagefolder:{root / 'samples'}", "test", classes=str(root / "classes.txt")
    )
    assert len(data) == 150
    assert data.num_classes == 1000
    lines = (root / "classes.txt").read_text().splitlines()
    assert [i.split("/")[0] for i in data.ids] == [lines[y].split()[0] for y in data.labels]


def test_cifar_as_an_image_folder(tmp_path, real_data):
    with tarfile.open(real_data("cifar10") / "test.tar.xz") as archive:
        members = [m for m in archive if m.isfile()][::100]
        archive.extractall(tmp_path, members=members, filter="data")
    data = load_dataset(f"cifar10:{tmp_path}", "test")
    assert len(data) == len(members) == 50
    assert (data.name, data.shape) == ("cifar10", (3, 32, 32))
    assert data.classes[:2] == ["airplane", "automobile"]
    x, _ = data.stack(range(50))
    assert 0.4 < float(x.mean()) < 0.55  # the mean of the official test set is 0.475
    assert torch.isfinite(x).all()
