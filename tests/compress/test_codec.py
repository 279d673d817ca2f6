"""The codec: what comes back, how large it is, and what it refuses."""

import lzma
import subprocess
import sys
from itertools import product

import numpy as np
import pytest
import torch

from compress import Codec, FormatError, TaskQuantiser, decode
from compress.decoding import decode_chunks
from compress.file_format import parse
from compress.quantise.quantise import to_array
from compress.quantise.signals import dequantise_and_invert, to_signal
from tests.slow_but import slow_but

WAVELETS = ("cdf97", "cdf53", "haar")


def psnr(a, b):
    return -10 * torch.log10(((a - b) ** 2).flatten(1).mean(1)).mean().item()


def test_what_comes_back_is_what_was_quantised(codec, photographs):
    x = photographs[300:]
    for step in (1 / 64, 0.125, 0.5):  # exact in the file's 32 bits
        got = codec.decode(codec.encode(x, step=step))
        q = codec.quantise_signal(to_signal(x, "x", None), step)
        assert torch.equal(got, dequantise_and_invert(q, step, "x"))
        assert got.min() >= 0
        assert got.max() <= 1


def test_finer_steps_are_larger_and_better(codec, photographs):
    x = photographs[300:]
    files = [codec.encode(x, step=step) for step in (0.02, 0.05, 0.1, 0.3, 1.0)]
    sizes = [len(file) for file in files]
    quality = [psnr(codec.decode(file), x) for file in files]
    assert sizes == sorted(sizes, reverse=True)
    assert quality == sorted(quality, reverse=True)
    # an error uniform within a step: 20 log10(12^.5 / step); more where most errors are clamped
    assert abs(quality[0] - 20 * np.log10(12**0.5 / 0.02)) < 3


SHAPES = [
    (1, 1, 1, 1),
    (3, 1, 17, 5),
    (2, 4, 8, 8),
    (2, 3, 7, 9, 12),
    (1, 1, 1, 4, 4),
    (2, 3, 16, 8, 8),
]


@pytest.mark.parametrize(
    ("shape", "wavelet"),
    slow_but(
        [*product(SHAPES[:3], WAVELETS), (SHAPES[3], "cdf97"), (SHAPES[4], "haar")],
        product(SHAPES, WAVELETS),
    ),
)
def test_every_shape_comes_back(shape, wavelet):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    codec = Codec.fit(x, step=0.01, wavelet=wavelet)
    got = codec.decode(codec.encode(x))
    assert got.shape == x.shape
    assert (got - x).abs().mean() < 0.01


def test_large_values_escape():
    codec = Codec.fit(torch.full((4, 1, 8, 8), 0.5), step=0.05)  # has seen nothing but zeros
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    got = codec.decode(codec.encode(x, step=1e-4))
    assert (got - x).abs().max() < 1e-3


def test_differences(codec, photographs):
    x = photographs[300:]
    x_adv = x + 0.1 * torch.sign(torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
    x_adv = x_adv.clamp(0, 1)
    gamma = codec.decode(codec.encode(x, kind="delta", x_adv=x_adv, step=0.02))
    assert (gamma - (x - x_adv)).abs().mean() < 0.01
    same = codec.decode(codec.encode(x, kind="delta", x_adv=x))
    assert not same.any()


def test_a_file_with_tables_stands_alone(codec, photographs):
    x = photographs[300:310]
    alone, not_alone = (codec.encode(x, embed_tables=flag) for flag in (True, False))
    assert torch.equal(decode(alone), codec.decode(not_alone))
    other = Codec.fit(photographs[:20])
    assert torch.equal(other.decode(alone), decode(alone))
    with pytest.raises(FormatError, match="no tables of its own"):
        decode(not_alone)
    with pytest.raises(FormatError, match="was coded with tables"):
        other.decode(not_alone)


def test_chunks_stream_and_make_no_difference(codec, photographs):
    x = photographs.repeat(2, 1, 1, 1)[:900]  # a chunk has 682
    file = codec.encode(x, step=0.3)
    parts = list(decode_chunks(file, codec.tables))
    assert [len(part) for part in parts] == [682, 218]
    assert torch.equal(torch.cat(parts), codec.decode(file))
    single = torch.cat([codec.decode(codec.encode(x[i : i + 1], step=0.3)) for i in (0, 700)])
    assert torch.equal(single, codec.decode(file)[[0, 700]])


def test_a_wanted_size(codec, photographs):
    x = photographs[300:400]
    for wanted in (30, 200):
        size = len(codec.encode(x, bytes_per_sample=wanted)) / len(x)
        assert 0.95 * wanted < size < 1.05 * wanted + 0.7  # the head is 65 bytes
    with pytest.raises(ValueError, match="nearest"):
        codec.encode(x, bytes_per_sample=1e9)


def test_smaller_than_a_general_compressor(codec, photographs):
    x = photographs[300:]
    for step in (0.1, 0.4):
        q = to_array(codec.quantise_signal(to_signal(x, "x", None), step)).clip(-128, 127)
        general = len(lzma.compress(q.astype(np.int8).tobytes(), preset=9 | lzma.PRESET_EXTREME))
        assert len(codec.encode(x, step=step)) < 0.85 * general


def test_saved_and_loaded(codec, photographs, tmp_path):
    file = tmp_path / "codec.sprt"
    codec.save(file)
    again = Codec.load(file)
    x = photographs[300:320]
    assert again.encode(x) == codec.encode(x)
    assert (again.step, again.wavelet, again.levels) == (
        pytest.approx(codec.step),
        codec.wavelet,
        codec.levels,
    )
    data = file.read_bytes()
    for place in range(0, len(data), 97):
        file.write_bytes(data[:place] + bytes([data[place] ^ 64]) + data[place + 1 :])
        with pytest.raises(FormatError):
            Codec.load(file)
        file.write_bytes(data[:place])
        with pytest.raises(FormatError):
            Codec.load(file)
    assert [path.name for path in tmp_path.iterdir()] == ["codec.sprt"]
    other = tmp_path / "other"
    other.touch()
    assert file.stat().st_mode == other.stat().st_mode  # who receives codes needs it too


class Probe(torch.nn.Module):
    """Looks at how rough a stripe is."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 3)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[60.0], [-60.0], [0.0]]))
            self.layer.bias.copy_(torch.tensor([-3.0, 3.0, 0.0]))

    def forward(self, x):
        stripe = x[:, :, 8:12]
        return self.layer((stripe[..., 1:] - stripe[..., :-1]).abs().mean((1, 2, 3))[:, None])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_search_needs_no_gradients_of_the_caller(codec, photographs, mode):
    x, options = (
        photographs[300:304],
        dict(kind="x-task", model=Probe(), task=TaskQuantiser(steps=3)),
    )
    with mode():
        file = codec.encode(x.clone(), **options)
    assert file == codec.encode(x, **options)


@pytest.mark.parametrize(
    ("loss", "views"), slow_but([("kl", 0)], product(["kl", "feature"], [0, 2]))
)
def test_a_classifier_gets_what_it_needs(codec, photographs, loss, views):
    x, model = photographs[300:], Probe().train()
    with torch.no_grad():
        wanted = model(x).softmax(1)
    before = {key: value.clone() for key, value in model.state_dict().items()}

    def missed(file):
        with torch.no_grad():
            return (model(codec.decode(file)).softmax(1) - wanted).abs().sum(1).mean().item()

    plain = codec.encode(x, step=1.0)
    state = torch.get_rng_state()
    task = codec.encode(
        x, kind="x-task", model=model, task=TaskQuantiser(loss=loss, views=views), step=1.0
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not model.layer._forward_pre_hooks
    assert model.layer.weight.grad is None
    if not views:  # shifts move the stripe, so that much of it is no longer seen
        assert missed(task) < 0.5 * missed(plain)
    assert len(task) < 1.2 * len(plain)
    assert parse(task).head.kind == "x-task"


@pytest.mark.slow
def test_what_is_coded_depends_on_no_threads(codec, photographs, tmp_path):
    codec.save(tmp_path / "codec")
    torch.save(photographs[300:], tmp_path / "x.pt")
    program = (
        "import sys, torch; from compress import Codec; torch.set_num_threads(int(sys.argv[1]))\n"
        "c = Codec.load('codec'); f = c.encode(torch.load('x.pt'), step=0.3)\n"
        "torch.save((f, c.decode(f)), sys.argv[2])"
    )
    found = []
    for threads in (1, 3):
        command = [sys.executable, "-c", program, str(threads), f"{threads}.pt"]
        subprocess.run(command, cwd=tmp_path, check=True, env=_environment())
        found.append(torch.load(tmp_path / f"{threads}.pt"))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1])


def _environment():
    import os
    from pathlib import Path

    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(x=torch.full((1, 1, 4, 4), 255.0)), "from 255 to 255"),
        (dict(x=torch.full((1, 1, 4, 4), torch.nan)), "nan"),
        (dict(x=torch.zeros(1, 4, 4)), r"\(B, C, H, W\)"),
        (dict(x=torch.zeros(0, 1, 4, 4)), "none of them 0"),
        (dict(kind="y"), "kind is 'y'.*delta"),
        (dict(kind="delta"), "give x_adv"),
        (dict(x_adv=torch.zeros(1, 1, 4, 4)), "leave it out"),
        (dict(kind="delta", x_adv=torch.zeros(1, 1, 4, 5)), "the same shape"),
        (dict(kind="x-task"), "model"),
        (dict(task=TaskQuantiser()), "task"),
        (dict(model=Probe()), "model"),
        (dict(step=0.0), "step is 0"),
        (dict(step=0.1, bytes_per_sample=10), "give one of them"),
    ],
)
def test_bad_input(codec, options, words):
    with pytest.raises(ValueError, match=words):
        codec.encode(**({"x": torch.zeros(1, 1, 4, 4)} | options))


@pytest.mark.parametrize(
    "options",
    [dict(loss="l2"), dict(steps=0), dict(data_weight=2.0), dict(views=-1), dict(rate=-1.0)],
)
def test_bad_tasks(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TaskQuantiser(**options)


def test_bad_codecs(codec):
    with pytest.raises(ValueError, match=r"db2.*cdf97"):
        Codec(codec.tables, wavelet="db2")
    with pytest.raises(ValueError, match="step is nan"):
        Codec(codec.tables, step=float("nan"))
    with pytest.raises(ValueError, match="levels is 17; give 0 to 16"):
        Codec(codec.tables, levels=17)
    with pytest.raises(ValueError, match="time_levels is -1; give 0 to 16"):
        Codec(codec.tables, time_levels=-1)
