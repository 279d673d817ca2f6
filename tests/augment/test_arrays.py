import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from attacks.errors import RefusedInput
from augment import load_dataset

BYTES = np.random.default_rng(0).integers(0, 256, (40, 3, 5, 4), dtype=np.uint8)
LABELS = np.arange(40) % 4


def write(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return f"npz:{tmp_path / 'a.npz'}"


def test_digits_are_complete_disjoint_and_stratified():
    parts = [load_dataset("digits", split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [1257, 180, 360]
    assert len({i for part in parts for i in part.ids}) == 1797
    for part in parts:
        assert (part.shape, part.num_classes) == ((1, 8, 8), 10)
        assert part.labels.bincount().float().std() < 3
    x, _ = parts[0].stack(range(1257))
    assert (float(x.min()), float(x.max())) == (0, 1)
    assert torch.equal((x * 16).round() / 16, x)


@pytest.mark.parametrize(
    "images",
    [BYTES, BYTES.transpose(0, 2, 3, 1), BYTES[:, 0], (BYTES / 255).astype(np.float64)],
    ids=["nchw", "nhwc", "nhw", "float64"],
)
def test_npz_layouts_and_types(tmp_path, images):
    spec = write(tmp_path, x_train=BYTES, y_train=LABELS, x_test=images, y_test=LABELS[:, None])
    data = load_dataset(spec, "test")
    expected = torch.from_numpy(BYTES[:, :1] if images.ndim == 3 else BYTES) / 255
    assert torch.allclose(data.stack(range(40))[0], expected)
    assert data.labels.tolist() == LABELS.tolist()
    assert data.classes == ["0", "1", "2", "3"]


def test_floats_that_rounding_brought_out_of_range_are_clamped(tmp_path):
    images = (BYTES / 255).astype(np.float32)
    images[0, 0, 0, :2] = -1e-6, np.nextafter(np.float32(1), np.float32(2))
    data = load_dataset(write(tmp_path, x_test=images, y_test=LABELS), "test")
    x, _ = data.stack(range(40))
    assert x[0, 0, 0, :2].tolist() == [0, 1]
    assert torch.equal(x, torch.from_numpy(images).clamp(0, 1))


def test_bytes_of_0_and_1_are_named(tmp_path, caplog):
    load_dataset(write(tmp_path, x_test=BYTES, y_test=LABELS), "test")
    assert not caplog.records
    load_dataset(write(tmp_path, x_test=BYTES // 128, y_test=LABELS), "test")
    assert "images: bytes of 0 and 1 alone" in caplog.text


CLIPS = np.random.default_rng(1).integers(0, 256, (6, 3, 9, 5, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    "videos",
    [CLIPS, CLIPS.transpose(0, 2, 3, 4, 1), (CLIPS / 255).astype(np.float32)],
    ids=["ncthw", "nthwc", "float32"],
)
def test_npz_videos(tmp_path, videos):
    spec = write(tmp_path, x_test=videos, y_test=LABELS[:6])
    data = load_dataset(spec, "test")
    assert (data.shape, data.is_video) == ((3, 9, 5, 4), True)
    assert torch.allclose(data.stack(range(6))[0], torch.from_numpy(CLIPS) / 255)
    some = load_dataset(spec, "test", frames=3, stride=2, clips=2)
    expected = torch.from_numpy(np.stack([CLIPS[:, :, 0:5:2], CLIPS[:, :, 4:9:2]], 1)) / 255
    assert torch.allclose(some.stack(range(12))[0], expected.flatten(0, 1))
    assert some.ids[:3] == ["000000#0", "000000#1", "000001#0"]
    assert some.labels.tolist() == LABELS[:6].repeat(2).tolist()
    assert load_dataset(spec, "test", stride=2).shape == (3, 5, 5, 4)
    assert load_dataset(spec, "test", frames=12).shape == (3, 12, 5, 4)  # looped


def test_frames_are_resized_one_by_one_as_images_are(tmp_path):
    frames = CLIPS.transpose(0, 2, 1, 3, 4).reshape(-1, 3, 5, 4)
    as_images = load_dataset(write(tmp_path, x_test=frames), "test", size=7)
    videos = load_dataset(write(tmp_path, x_test=CLIPS), "test", size=7)
    resize_dataset = videos.raw(range(6)).transpose(1, 2).flatten(0, 1)
    assert torch.equal(resize_dataset, as_images.raw(range(54)))
    assert resize_dataset.shape[-2:] == (7, 7)


def test_npz_splits(tmp_path):
    spec = write(tmp_path, x_train=BYTES, y_train=LABELS)
    train, val = load_dataset(spec, "train"), load_dataset(spec, "val")
    assert sorted(train.ids + val.ids) == [f"{i:06d}" for i in range(40)]
    with pytest.raises(RefusedInput, match="no test split, there is only train"):
        load_dataset(spec, "test")
    spec = write(tmp_path, x=BYTES, y=LABELS)
    parts = [load_dataset(spec, split).ids for split in ("train", "val", "test")]
    assert len(set(sum(parts, []))) == 40  # noqa: RUF017
    spec = write(tmp_path, x=BYTES)
    for split in ("train", "val", "test"):
        assert load_dataset(spec, split).labels.tolist() == [-1] * 40


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (BYTES.astype(float), LABELS, "divide by 255"),
        (BYTES / 255 * np.nan, LABELS, "holds NaN"),
        (BYTES.astype(np.int64), LABELS, "store uint8"),
        (BYTES[0, 0], LABELS, "store images as"),
        (CLIPS[:, :2], LABELS, r"videos as \(N, C, T, H, W\)"),
        (CLIPS[:, :, :0], LABELS, r"videos as \(N, C, T, H, W\)"),
        (BYTES.reshape(40, 5, 4, 3)[..., :2], LABELS, "store images as"),
        (BYTES, LABELS[:-1], "store 40 whole numbers"),
        (BYTES, LABELS + 0.5, "store 40 whole numbers"),
        (BYTES, LABELS - 2, "count from 0"),
        (BYTES[:0], LABELS[:0], "split is empty"),
    ],
)
def test_npz_of_the_wrong_kind_is_refused(tmp_path, images, labels, words):
    spec = write(tmp_path, x_test=images, y_test=labels)
    with pytest.raises(RefusedInput, match=words):
        load_dataset(spec, "test")


def raw_npz(path, header, body=b"", version=b"\x01\x00"):
    """An npz with one member written byte by byte."""
    size = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_test.npy", b"\x93NUMPY" + version + size + header + body)


@pytest.mark.parametrize(
    ("header", "body", "version", "words"),
    [
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 3, 4, 4)}\n", b"", 1,
         "is not as long"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 3, 4, 4)}\n", b"a" * 95, 1,
         "is not as long"),
        (b" " * 60000, b"", 1, "EOF"),
        (b" " * 3_000_000, b"", 2, "EOF"),
        (b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n", b"a" * 8, 1, "run code"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 3)}\n", b"", 1, "is not as long"),
        (b"__import__('os')\n", b"", 1, "malformed"),
        (b"", b"", 9, "version"),
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(tmp_path, header, body, version, words):
    raw_npz(tmp_path / "a.npz", header, body, bytes([version, 0]))
    with pytest.raises(RefusedInput, match=rf"a\.npz: .*{words}.*numpy\.savez"):
        load_dataset(f"npz:{tmp_path / 'a.npz'}", "test")


def test_pickles_and_broken_archives_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x_test=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(RefusedInput, match="pickled objects, which could run code"):
        load_dataset(f"npz:{path}", "test")
    np.savez_compressed(path, x_test=BYTES, y_test=LABELS)
    good = path.read_bytes()
    for bad in (b"", good[:200], b"PK" + good[2:100], good[:80] + b"\x00" * 40 + good[120:]):
        path.write_bytes(bad)
        with pytest.raises(RefusedInput, match=r"a\.npz"):
            load_dataset(f"npz:{path}", "test")
    with pytest.raises(RefusedInput, match="no such file"):
        load_dataset("npz:nowhere.npz", "test")
    np.savez(path, images=BYTES)
    with pytest.raises(RefusedInput, match=r"holds \['images'\]; name the arrays x_train"):
        load_dataset(f"npz:{path}", "test")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    spec = write(tmp_path, x_test=BYTES)
    monkeypatch.setattr("augment.datasets.arrays.npz.MOST_BYTES", 1000)
    with pytest.raises(RefusedInput, match="at most 1000 are read"):
        load_dataset(spec, "test")


def cifar(folder, changes=None):
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        data = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        batch = {b"data": data, b"labels": [i % 10 for i in range(20)], b"batch_label": b"x"}
        batch.update(changes or {})
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def test_cifar_batches_are_read_without_running_anything(tmp_path):
    cifar(tmp_path / "cifar-10-batches-py")
    train, val, test = (load_dataset(f"cifar10:{tmp_path}", s) for s in ("train", "val", "test"))
    assert len(train) + len(val) == 100
    assert not set(train.ids) & set(val.ids)
    assert (test.shape, test.name, test.classes[3]) == ((3, 32, 32), "cifar10", "cat")
    content = pickle.loads((tmp_path / "cifar-10-batches-py/test_batch").read_bytes())
    expected = torch.from_numpy(content[b"data"].reshape(-1, 3, 32, 32))
    assert torch.equal(test.raw(range(20)), expected)
    assert test.labels.tolist() == content[b"labels"]


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({b"data": Evil()}, "mkdir, which could run code"),
        ({b"labels": Evil()}, "mkdir, which could run code"),
        ({b"data": [1, 2]}, "3072 an image"),
        ({b"data": np.zeros((20, 3072))}, "3072 an image"),
        ({b"labels": [0] * 19}, "3072 an image"),
        ({b"labels": [10] * 20}, "from 0 to 9"),
        ({b"labels": ["a"] * 20}, "from 0 to 9"),
    ],
)
def test_hostile_batches_are_refused(tmp_path, monkeypatch, changes, words):
    cifar(tmp_path / "c", changes)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedInput, match=rf"batch.*{words}.*official"):
        load_dataset(f"cifar10:{tmp_path / 'c'}", "test")
    assert not (tmp_path / "pwned").exists()


def test_torn_batches_and_missing_folders_are_refused(tmp_path):
    cifar(tmp_path / "c")
    batch = tmp_path / "c/test_batch"
    good = batch.read_bytes()
    for bad in (b"", good[:1000], b"\x80\x02}q\x00.", b"nonsense", good[:-1]):
        batch.write_bytes(bad)
        with pytest.raises(RefusedInput, match="unpack the official"):
            load_dataset(f"cifar10:{tmp_path / 'c'}", "test")
    with pytest.raises(RefusedInput, match="no such folder"):
        load_dataset(f"cifar10:{tmp_path / 'none'}", "test")
    with pytest.raises(ValueError, match="cifar10:DIR"):
        load_dataset("cifar10", "test")


def idx(array):
    """MNIST's file format: type 8 (bytes), number of dimensions, their sizes, the bytes."""
    sizes = struct.pack(f">{array.ndim}i", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def test_torchvision_datasets_by_name(tmp_path):
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(30) % 10))
    for spec in (f"torchvision:MNIST:{tmp_path}", f"MNIST:{tmp_path}"):
        data = load_dataset(spec, "test")
        assert torch.equal(data.raw(range(30))[:, 0], torch.from_numpy(images))
        assert (data.shape, data.name, data.classes[7]) == ((1, 28, 28), "MNIST", "7 - seven")
    assert len(load_dataset(spec, "train")) + len(load_dataset(spec, "val")) == 30
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"\x00")
    with pytest.raises(RefusedInput, match="cannot read MNIST there"):
        load_dataset(spec, "test")
    with pytest.raises(RefusedInput, match="add --download"):
        load_dataset(f"CIFAR10:{tmp_path}", "test")
    with pytest.raises(ValueError, match="known are CIFAR10"):
        load_dataset("torchvision:Nothing", "test")


def test_size_samples_and_class_list_hold_for_every_source(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"class{i}" for i in range(10)))
    data = load_dataset("digits", "train", size=16, samples=20, classes=str(names))
    assert (data.shape, len(data), data.classes[3]) == ((1, 16, 16), 20, "class3")
    assert data.labels.bincount().tolist() == [2] * 10
    small = load_dataset("digits", "train", samples=20)
    pooled = torch.nn.functional.avg_pool2d(data.stack(range(20))[0], 2)
    assert (pooled - small.stack(range(20))[0]).abs().mean() < 0.05
    assert data.ids == small.ids
    names.write_text("one\ntwo\n")
    with pytest.raises(RefusedInput, match="2 classes, but there is a label 9"):
        load_dataset("digits", "train", classes=str(names))
    spec = write(tmp_path, x_test=BYTES, y_test=LABELS)
    assert load_dataset(spec, "test", size=4).raw([0]).dtype == torch.uint8
    with pytest.raises(RefusedInput, match="fewer samples"):
        load_dataset(spec, "test", size=100_000)


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        ("digitz", {}, "known are digits, photos, imagefolder"),
        ("digits:3", {}, "write `digits`"),
        ("digits", {"split": "training"}, "choose one of train, val, test"),
        ("digits", {"size": 0}, "size=0"),
        ("digits", {"samples": -3}, "samples=-3"),
        ("npz", {}, "npz:FILE"),
    ],
)
def test_misuse_is_a_value_error(spec, options, words):
    with pytest.raises(ValueError, match=words):
        load_dataset(spec, **{"split": "test", **options})


def test_an_npz_is_read_without_trusting_its_names(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, BYTES)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("../x_test.npy", buffer.getvalue())
        archive.writestr("readme.txt", "x")
    with pytest.raises(RefusedInput, match="name the arrays"):
        load_dataset(f"npz:{tmp_path / 'a.npz'}", "test")
