"""Labels and arrays of npz files: what is taken, and what is refused in one sentence."""

import io
import resource
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from attacks.errors import RefusedInput
from augment import load_dataset
from augment.datasets.arrays import npz

X = np.zeros((40, 8, 8), np.uint8)
Y = np.arange(40) % 4
SPLITS = ("train", "test")


def spec_of(tmp_path, **arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    return f"npz:{tmp_path / 'a.npz'}"


def refusal(spec, split="test"):
    with pytest.raises(RefusedInput) as error:
        load_dataset(spec, split)
    text = str(error.value)
    assert "a.npz" in text
    assert "\n" not in text
    assert len(text) < 600
    return text


@pytest.mark.parametrize(
    "labels",
    [
        Y.astype(np.float32), Y.astype(np.float64), Y.astype(np.float16), Y.astype(np.uint64),
        Y.astype(np.int8), Y[:, None], Y[:, None].astype(float), np.eye(4)[Y],
        np.eye(4, dtype=bool)[Y], np.eye(4, dtype=np.uint8)[Y], np.eye(4, dtype=np.int64)[Y],
    ],
    ids=lambda y: f"{y.dtype}{y.shape}",
)  # fmt: skip
def test_whole_numbers_of_any_type_and_one_hot_rows_are_class_ids(tmp_path, labels):
    data = load_dataset(spec_of(tmp_path, x_test=X, y_test=labels), "test")
    assert (data.labels.tolist(), data.num_classes) == (Y.tolist(), 4)


def test_two_classes_may_be_booleans(tmp_path):
    data = load_dataset(spec_of(tmp_path, x_test=X, y_test=Y > 1), "test")
    assert data.labels.tolist() == (Y > 1).astype(int).tolist()


def changed(place, value, kind=float):
    labels = Y.astype(kind)
    labels[place] = value
    return labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array(["cat", "dog"])[Y % 2], r"text \(<U3\); store 40 whole numbers"),
        (np.array([b"cat", b"dog"])[Y % 2], r"text \(\|S3\)"),
        (np.array(["", ""])[Y % 2], "text"),
        (changed(3, np.nan), "1 of 40 are NaN or infinite"),
        (changed(slice(None), np.nan), "40 of 40 are NaN"),
        (changed(0, np.inf), "1 of 40 are NaN or infinite"),
        (changed(0, 0.5), "float64 of shape .*store 40 whole numbers"),
        (changed(5, 2_000_000_000, np.int64), "values from 0 to 2000000000; class ids"),
        (changed(5, 2**31 - 2, np.int64), "values from 0 to 2147483646"),
        (changed(5, 2**63, np.uint64), "values from 0 to 9223372036854775808"),
        (changed(5, 1e300), "values from 0.0 to 1e.300"),
        (changed(5, -2, np.int64), "values from -2 to 3"),
        (changed(5, -(2**63), np.int64), "values from -9223372036854775808"),
        (Y[:-1], r"shape \(39,\); store 40 whole"),
        (Y[:, None, None], "store 40 whole"),
        (np.eye(4)[Y] * 0.5, "or one-hot rows"),
        (np.ones((40, 4)), "or one-hot rows"),
        (np.zeros((40, 4), int), "or one-hot rows"),
        (np.full((40, 3), np.nan), "or one-hot rows"),
        (np.float64(1), r"shape \(\)"),
        (Y.astype(complex), "complex128"),
        (np.array(["2020-01-01"] * 40, "datetime64[D]"), "datetime64"),
        (np.zeros(40, [("a", "i4")]), "store 40 whole"),
        (np.zeros((40, 0)), "store 40 whole"),
    ],
)  # fmt: skip
def test_other_labels_are_refused_in_one_sentence_for_every_split(tmp_path, labels, words):
    spec = spec_of(tmp_path, x_train=X, y_train=Y, x_test=X, y_test=labels)
    for split in SPLITS:
        with pytest.raises(RefusedInput, match=words) as error:
            load_dataset(spec, split)
        assert "y_test" in str(error.value)


def test_objects_are_refused(tmp_path):
    spec = spec_of(tmp_path, x_train=X, y_train=np.array(["a", 1] * 20, object))
    assert "y_train.npy holds pickled objects, which could run code" in refusal(spec, "train")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y_test": Y}, r"y_test has no x_test beside it"),
        ({"x_train": X, "y_train": Y, "y_test": Y}, r"y_test has no x_test .* \['x_train'"),
        ({"X_test": X, "Y_test": Y}, r"\['X_test', 'Y_test'\]; name the arrays x_train"),
        ({"arr_0": X, "arr_1": Y}, "name the arrays x_train"),
        ({}, r"holds \[\]; name the arrays"),
        ({"x_train": X, "y_train": Y}, "no test split, there is only train"),
        ({"x_test": changed(0, np.inf)[:, None, None]}, "values from 0 to inf"),
        ({"x_test": changed(0, -np.inf)[:, None, None]}, "values from -inf"),
        ({"x_test": changed(0, np.nan)[:, None, None]}, "holds NaN"),
        ({"x_test": X.astype(np.int32)}, "type int32; store uint8"),
        ({"x_test": X > 0}, "type bool; store uint8"),
        ({"x_test": X.astype(complex)}, "type complex128"),
        ({"x_test": np.array("abc")}, r"shape \(\)"),
        ({f"x{i}" * 99: X for i in range(30)}, "holds"),
    ],
)
def test_missing_keys_wrong_names_and_pixels_are_refused_in_one_sentence(tmp_path, arrays, words):
    with pytest.raises(RefusedInput, match=words):
        load_dataset(spec_of(tmp_path, **arrays), "test")
    refusal(f"npz:{tmp_path / 'a.npz'}")


def test_plain_arrays_beside_those_of_splits_are_said_not_to_be_read(tmp_path, caplog):
    spec = spec_of(tmp_path, x_test=X, y_test=Y, x=X, y=Y)
    assert len(load_dataset(spec, "test")) == 40
    assert "x is not read" in caplog.text


def member(header, body=b"", version=1):
    """One array of an npz, byte by byte."""
    text = header.encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + body


def header(descr, shape):
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}\n"


def with_member(path, content, *, name="x_test.npy", method=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    np.save(buffer, Y)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("y_test.npy", buffer.getvalue())
        archive.writestr(name, content)
    return f"npz:{path}"


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("|u1", "(1000000000000, 3, 8, 8)"), ("<f8", "(40, 999999999, 999999999, 8)"),
        ("|u1", "(-1, -40)"), ("|u1", "(0, 3, 1000000000000, 8)"),
        ("|S0", "(10000000000, 3, 8, 8)"),
        ("<U0", "(10000000000,)"), ("|V0", "(1000000000000,)"), ("|u1", f"({'9' * 4000}, 1)"),
        ("|u1", f"({'(' * 500}{')' * 500})"), ("|u1", "(1e9, 3)"), ("|u1", f"({'1, ' * 900})"),
        ("|O", "(40,)"), ("(2147483647,)f8", "(1,)"),
    ],
)  # fmt: skip
def test_headers_of_huge_shapes_are_refused_before_memory_is_taken(tmp_path, descr, shape):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("x_test.npy", "y_test.npy"):
        spec = with_member(tmp_path / "a.npz", member(header(descr, shape)), name=name)
        refusal(spec)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


@pytest.mark.slow
def test_a_bomb_is_refused_before_memory_is_taken(tmp_path):
    size = 1200 * 2**20
    path = tmp_path / "a.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x_test.npy", "w", force_zip64=True) as file,
    ):
        file.write(member(header("|u1", f"({size // 64}, 8, 8)")))
        for _ in range(size >> 24):
            file.write(bytes(2**24))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "as bombs do" in refusal(f"npz:{path}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_plain_black_pictures_are_no_bomb(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x_test=np.zeros((20000, 28, 28), np.uint8))
    assert len(load_dataset(f"npz:{tmp_path / 'a.npz'}", "test")) == 20000


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_other_ways_of_packing_are_refused(tmp_path, method):
    spec = with_member(tmp_path / "a.npz", member(header("|u1", "(1, 1, 1)"), b"a"), method=method)
    assert f"packed by method {method}" in refusal(spec)


def test_too_many_arrays_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MOST_MEMBERS", 1)
    assert "2 arrays, at most 1" in refusal(spec_of(tmp_path, x_test=X, y_test=Y))


def test_the_command_line_answers_with_a_sentence_and_3(tmp_path):
    spec = spec_of(tmp_path, x_test=X, y_test=changed(0, 2_000_000_000, np.int64))
    (tmp_path / "w.safetensors").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "train.py", "evaluate", "--data", spec, "--weights",
         tmp_path / "w.safetensors", "--run-dir", tmp_path / "r"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3
    assert "values from 0 to 2000000000; class ids count from 0" in done.stderr
    assert "Traceback" not in done.stderr
