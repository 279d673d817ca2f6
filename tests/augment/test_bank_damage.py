import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from attacks.errors import RefusedInput
from augment import SampleBank
from augment.bank.shards import ShardName

ROOT = Path(__file__).parents[2]


def test_every_flipped_or_missing_byte_is_noticed(tmp_path, entries, images, shard_files):
    bank = SampleBank(tmp_path)
    bank.append("k", images(3, shape=(1, 2, 2)), entries(3))
    path = shard_files(tmp_path)[0]
    good = path.read_bytes()
    expected = SampleBank(tmp_path)
    pixels, known = expected.stack(range(3))[0], expected.entries()
    noticed = 0
    for place in range(0, len(good), 7):
        for bad in (good[:place], good[:place] + bytes([good[place] ^ 0x11]) + good[place + 1 :]):
            path.write_bytes(bad)
            try:
                opened = SampleBank(tmp_path)
                # A flip that JSON does not care for, such as in padding, may go unnoticed.
                assert opened.entries() == known
                assert torch.equal(opened.stack(range(3))[0], pixels)
            except RefusedInput as error:
                noticed += str(path) in str(error) and "delete this file" in str(error)
    assert noticed > 0.95 * 2 * len(range(0, len(good), 7))


def test_a_shard_under_another_name_and_a_file_for_a_folder_are_refused(
    tmp_path, entries, images, shard_files
):
    SampleBank(tmp_path / "bank").append("k", images(1), entries(1))
    (path,) = shard_files(tmp_path / "bank")
    path.rename(path.with_name("other.rank000.1of1.safetensors"))
    with pytest.raises(RefusedInput, match="of this name"):
        SampleBank(tmp_path / "bank")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RefusedInput, match="name another place"):
        SampleBank(tmp_path / "file")


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"float16": torch.zeros(3, 1, 2, 2).half()}, "2 entries|entries but tensors"),
        ({"float16": torch.zeros(2, 1, 2, 2)}, "tensors of types"),
        ({"float16": torch.zeros(()).half()}, "entries but tensors"),
        ({"other": torch.zeros(2, 1, 2, 2).half()}, "entries but tensors"),
        ({}, "entries but tensors"),
    ],
)
def test_a_forged_header_is_refused(tmp_path, tensors, words, entries, images, shard_files):
    SampleBank(tmp_path).append("k", images(2, shape=(1, 2, 2)), entries(2))
    (path,) = shard_files(tmp_path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file(tensors, path, metadata)
    with pytest.raises(RefusedInput, match=words):
        SampleBank(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "{", "[{}]", '[{"encoding": "int4"}]', "null", "[" * 9999])
def test_entries_of_another_kind_are_refused(tmp_path, text):
    name = ShardName("k", 1, 1)
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    metadata = {"format": "sparring-bank-1", "name": str(name), "entries": text, "digest": digest}
    save_file({}, tmp_path / str(name), metadata)
    with pytest.raises(RefusedInput, match="entries cannot be read"):
        SampleBank(tmp_path)


def test_names_round_trip():
    name = ShardName("round001-pgd.v2", parts=12, part=2)
    assert ShardName.parse(str(name)) == name
    assert ShardName.parse("x.safetensors") is None


def test_a_full_disk_leaves_nothing_and_the_bank_usable(tmp_path, monkeypatch, entries, images):
    bank = SampleBank(tmp_path, shard_bytes=1024)
    real, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        bank.append("k", images(9), entries(9))
    assert list(tmp_path.iterdir()) == []
    assert "k" not in bank
    bank.append("k", images(9), entries(9))
    assert len(SampleBank(tmp_path)) == 9


def test_a_file_that_cannot_grow_leaves_nothing(tmp_path, entries, images):
    bank = SampleBank(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            bank.append("k", images(20), entries(20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


WRITER = textwrap.dedent("""
    import sys, torch
    from augment.bank.bank import SampleBank
    bank = SampleBank(sys.argv[1], shard_bytes=8192)
    for step in range(100_000):
        key = f"k{step:06d}"
        if key in bank:
            bank.set_status(bank.indices(status="pending"), "accepted")
            continue
        x = torch.rand(9, 3, 6, 5, generator=torch.Generator().manual_seed(step))
        entry = dict(source=key, label=step % 7, round=0, attack="a", seed=step, loss=0.0,
                     linf=0.0, l2=0.0, l1=0.0)
        bank.append(key, x, [entry] * 9)
        bank.set_status(bank.indices()[-9:], "accepted")
        print(step, flush=True)
""")


@pytest.mark.slow
@pytest.mark.multiprocess
def test_killed_at_random_moments_nothing_is_lost_and_nothing_torn(tmp_path):
    rng = random.Random(0)
    told = -1
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
        )
        first = writer.stdout.readline()
        assert first, "the writer died by itself"
        time.sleep(rng.uniform(0, 0.3))
        writer.send_signal(signal.SIGKILL)
        lines = (first + writer.stdout.read()).split(b"\n")[:-1]
        writer.wait()
        assert int(lines[0]) in (told + 1, told + 2)  # the last one may have been done unsaid
        told = int(lines[-1])
        bank = SampleBank(tmp_path)
        keys = bank.keys()
        assert keys == [f"k{step:06d}" for step in range(len(keys))]
        assert len(keys) in (told + 1, told + 2)
        assert len(bank.indices(status="accepted")) >= 9 * (told + 1)
        for step in range(len(keys)):
            x = torch.rand(9, 3, 6, 5, generator=torch.Generator().manual_seed(step))
            read, labels = bank.stack(range(9 * step, 9 * step + 9))
            assert (read - x).abs().max() <= 2**-12
            assert labels.tolist() == [step % 7] * 9
    assert told >= 8
