"""Wrong files of R, and what `compress decode` says of parts that do not fit, before it works."""

import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from attacks import RefusedInput
from compress import BlendWeight, Codec, NetworkConfig, RestorationNet
from trainers.reconstruction.files import load_network, save_network
from trainers.run.main import main


def network(channels=3):
    return RestorationNet(
        NetworkConfig(channels=channels, width=2, depth=1), BlendWeight((0.1,), (1.0,))
    )


def wrong(data, rng):
    """Return a safetensors file with changed bytes, or with a changed head of the right length."""
    data = bytearray(data)
    size = struct.unpack_from("<Q", data)[0]
    way = rng.integers(4)
    if way == 0:
        return bytes(data[: rng.integers(len(data))])
    if way == 1:
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        return bytes(data)
    if way == 2:
        struct.pack_into("<Q", data, 0, int(rng.choice((0, 1, size + 1, 2**31, 2**63))))
        return bytes(data)
    head = json.loads(bytes(data[8 : 8 + size]))
    name = list(head)[rng.integers(len(head))]
    head[name] = [{}, [], None, 3, "x", {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 8]}][
        rng.integers(6)
    ]
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data[8 + size :])


def test_wrong_networks_are_refused(tmp_path):
    save_network(tmp_path / "good", network())
    good, rng = (tmp_path / "good").read_bytes(), np.random.default_rng(0)
    loaded = 0
    for _ in range(400):
        (tmp_path / "bad").write_bytes(wrong(good, rng))
        try:
            load_network(tmp_path / "bad")
        except RefusedInput:
            continue
        loaded += 1
    assert loaded < 200


@pytest.fixture
def coded(tmp_path):
    """Return a folder of codes of a grey and a coloured picture, and their codec."""
    codec = Codec.fit(torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    codec.save(tmp_path / "codec.sprt")
    (tmp_path / "codes").mkdir()
    for name, channels in (("a.png", 3), ("b.png", 1)):
        data = codec.encode(torch.rand(1, channels, 9, 8), step=0.1)
        (tmp_path / "codes" / f"{name}.sprc").write_bytes(data)
    return tmp_path / "codes", tmp_path / "codec.sprt"


def test_what_fits_only_some_files_is_refused_at_once(coded, tmp_path, capsys):
    codes, codec = coded
    save_network(tmp_path / "r", network())
    words = ["--code", str(codes), "--codec", str(codec), "--run-dir", str(tmp_path / "run")]
    assert main(["compress", "decode", *words, "--network", str(tmp_path / "r")]) == 3
    said = capsys.readouterr().err
    assert f"{codes / 'b.png.sprc'}: the file holds kind 'x' in shape (1, 9, 8)" in said
    assert not (tmp_path / "run").exists()
    assert main(["compress", "decode", *words]) == 0
    assert sorted(p.name for p in (tmp_path / "run" / "samples").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("what", ["code", "codec", "network"])
@pytest.mark.parametrize("with_", ["code", "codec", "network", "picture", "folder"])
def test_files_given_for_each_other_are_refused(coded, tmp_path, capsys, what, with_):
    codes, codec = coded
    save_network(tmp_path / "r", network())
    Image.new("L", (4, 4)).save(tmp_path / "p.png")
    files = {"code": codes / "a.png.sprc", "codec": codec, "network": tmp_path / "r"}
    others = files | {"picture": tmp_path / "p.png", "folder": tmp_path / "nothing"}
    others["folder"].mkdir()
    if what == with_:
        return
    words = [
        w for name, f in (files | {what: others[with_]}).items() for w in (f"--{name}", str(f))
    ]
    assert main(["compress", "decode", *words, "--run-dir", str(tmp_path / "run")]) == 3
    assert str(others[with_]) in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
