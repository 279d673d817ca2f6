"""What a file may be off by at most, at every size and step."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress import Codec, TaskQuantiser, decode, dwt, idwt
from compress.decoding import decode_quantised
from compress.entropy.chunk import encode_chunk
from compress.entropy.symbols import (
    ESCAPE,
    LARGEST,
    MOST,
    pack_raw_bits,
    to_symbols,
    unpack_raw_bits,
)
from compress.entropy.tables import Tables
from compress.file_format import parse, write
from compress.quantise.error_bound import _ROUNDING, _ROUNDINGS, basis_sums, largest_error
from compress.quantise.quantise import gain, to_array
from compress.wavelet.lifting import STEPS
from compress.wavelet.transform import Coefficients, count_levels, synthesis

GOLDEN = Path(__file__).parent / "golden"
CONTENTS = ("white", "black", "noise", "extremes", "ramp", "dot", "checks")


@pytest.fixture(scope="module")
def codecs():
    """Return a codec of each wavelet, fitted to noise: the promise is not the tables'."""
    x = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return {name: Codec.fit(x, wavelet=name) for name in STEPS}


def content(name, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(shape, generator=generator)
    number = torch.arange(math.prod(shape[-2:])).view(shape[-2:])
    return {
        "white": torch.ones(shape),
        "black": torch.zeros(shape),
        "noise": noise,
        "extremes": (noise > 0.5).float(),
        "ramp": (number / number.max().clamp_min(1)).expand(shape).clone(),
        "dot": (noise == noise.max()).float(),
        "checks": ((number // shape[-1] + number) % 2).float().expand(shape).clone(),
    }[name]


def worst(codec, x, **options):
    """Return the largest error of a sample's values, and what is promised."""
    x_adv = options.get("x_adv")
    wanted = x if x_adv is None else x - x_adv
    step, kind = options["step"], options.get("kind", "x")
    got = codec.decode(codec.encode(x, **options))
    promised = codec.largest_error(
        x.shape[1:],
        step=step,
        kind=kind,
        **({"task": options["task"]} if "task" in options else {}),
    )
    return float((got - wanted).abs().max()), promised


@pytest.mark.parametrize(
    ("shape", "step"),
    [
        ((1, 3, 224, 224), 1e-4),
        ((1, 3, 224, 224), 1e-5),
        ((1, 3, 540, 960), 1e-4),
        ((1, 1, 16384, 40), 1e-5),
        ((1, 3, 16, 64, 64), 1e-4),
        ((1, 1, 4096, 7, 9), 1e-4),
    ],
)
def test_white_is_white_at_fine_steps(codecs, shape, step):
    got, promised = worst(codecs["cdf97"], torch.ones(shape), step=step)
    assert got <= promised
    assert got < 3e-6, "a constant has one coefficient to round"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "step", "kind"),
    [
        ((1, 3, 1080, 1920), 1e-3, "white"),
        ((1, 3, 1080, 1920), 1e-3, "extremes"),
        ((1, 3, 2160, 3840), 0.0048, "white"),
    ],
)
def test_large_pictures_keep_their_pixels(codecs, shape, step, kind):
    got, promised = worst(codecs["cdf97"], content(kind, shape), step=step)
    assert got <= promised


SIDES = st.one_of(st.integers(1, 12), st.integers(13, 70))
SHAPES = st.one_of(
    st.tuples(st.integers(1, 2), st.sampled_from((1, 2, 3, 4)), SIDES, SIDES),
    st.tuples(st.just(1), st.sampled_from((1, 3)), st.integers(1, 9), SIDES, SIDES),
)
POWERS = st.floats(math.log(1.001e-5), math.log(16))


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_no_value_is_farther_off_than_promised(codecs, data):
    shape = data.draw(SHAPES)
    step = math.exp(data.draw(POWERS))
    levels = data.draw(st.sampled_from((None, 0, 1, 3, 16)))
    codec = codecs[data.draw(st.sampled_from(tuple(codecs)))]
    codec = Codec(codec.tables, codec.step, codec.wavelet, levels)
    x = content(data.draw(st.sampled_from(CONTENTS)), shape, seed=data.draw(st.integers(0, 99)))
    options = {"step": step}
    if data.draw(st.booleans()):
        options |= {"kind": "delta", "x_adv": content(data.draw(st.sampled_from(CONTENTS)), shape)}
    got, promised = worst(codec, x, **options)
    assert got <= promised


class Blind(torch.nn.Module):
    """Answers by one pixel of each channel, and steeply."""

    def forward(self, x):
        return 1e3 * torch.cat([x.flatten(1)[:, :1], 1 - x.flatten(1)[:, -1:]], 1)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_search_moves_no_value_farther_than_promised(codecs, data):
    shape = data.draw(SHAPES)
    step = math.exp(data.draw(POWERS))
    task = TaskQuantiser(
        steps=data.draw(st.integers(1, 6)),
        rate=data.draw(st.sampled_from((0.0, 1.5, 30.0))),
        data_weight=data.draw(st.sampled_from((0.0, 0.15, 1.0))),
        l1=data.draw(st.sampled_from((0.0, 0.02, 0.9))),
        views=data.draw(st.integers(0, 1)),
    )
    codec = codecs[data.draw(st.sampled_from(tuple(codecs)))]
    x = content(data.draw(st.sampled_from(CONTENTS)), shape)
    got, promised = worst(codec, x, kind="x-task", model=Blind(), task=task, step=step)
    assert got <= promised


@pytest.mark.parametrize("wavelet", [*STEPS])
@pytest.mark.parametrize("shape", [(1, 9, 13), (3, 32, 32), (1, 4, 8, 8)])
def test_the_promise_is_near_what_can_be(wavelet, shape):
    """Errors of one unit, each of the sign that adds up at one place, reach most of it."""
    step = 1.0
    levels, time_levels = count_levels(shape, None, None)
    blank = Coefficients(torch.zeros(1, *shape).double(), wavelet, levels, time_levels)
    leaf = blank.values.clone().requires_grad_()
    x = idwt(blank.with_values(leaf))
    near = list(product(*(range(max(n // 2 - 2, 0), n // 2 + 2) for n in shape[1:])))
    reached = max(_reached(blank, leaf, x[(0, 0, *place)]) for place in near)
    if shape[0] == 3:
        reached *= sum(math.sqrt(1 / n) for n in (2, 3, 6))  # red, of all three
    promised = _steps(shape, step, wavelet)
    assert reached <= promised
    assert reached > 0.4 * promised


def _reached(blank, leaf, value):
    """Return how much a value changes when all coefficients change by their largest error."""
    slope = torch.autograd.grad(value, leaf, retain_graph=True)[0].abs()  # (1, C, ...)
    reached = 0.0
    for band in blank.bands:
        size = 1.0
        for level, high in zip((band.time_level, band.level, band.level), band.high, strict=True):
            size *= gain(blank.wavelet, level, high)
        part = float(blank.with_values(slope).band(band).sum())
        reached += (1.0 if any(band.high) else 0.5) * part / size
    return reached


def _steps(shape, step, wavelet):
    """Return what is promised, neither cut to the range nor with what float32 rounds."""
    levels, time_levels = count_levels(shape, None, None)
    first, each = _ROUNDINGS
    rounded = _ROUNDING * (first + each * (2 * levels + time_levels))
    return (largest_error(shape, 1e-3 * step, wavelet=wavelet) - rounded) / 1e-3


@pytest.mark.parametrize("wavelet", [*STEPS])
def test_spreads_are_those_of_the_transform(wavelet):
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 16, 17, 33, 64, 100, 257):
        found = basis_sums(wavelet, n, 9)
        whole = np.eye(n)  # columns: functions of the low-pass part so far
        low = n
        for level in range(1, 10):
            half = (low + 1) // 2
            whole = whole @ synthesis(wavelet, low)
            if low > 1:
                high = np.abs(whole[:, half:]).sum(1).max()
                assert found[level, True] == pytest.approx(high)
            whole, low = whole[:, :half], half
            assert found[level, False] == pytest.approx(np.abs(whole).sum(1).max())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_float32_rounds_less_than_is_allowed_for(data):
    shape = data.draw(SHAPES)
    x = content(data.draw(st.sampled_from(CONTENTS)), shape)
    wavelet = data.draw(st.sampled_from(tuple(STEPS)))
    c = dwt(x - 0.5, wavelet=wavelet, lifted=True)
    first, each = _ROUNDINGS
    allowed = _ROUNDING * (first + each * (2 * c.levels + c.time_levels))
    assert float((idwt(c, lifted=True) + 0.5 - x).abs().max()) <= allowed / 2


def test_what_no_file_can_hold_is_refused(codecs):
    codec = Codec(codecs["haar"].tables, wavelet="haar")
    with pytest.raises(ValueError, match=r"step is 1e-06; give a number from 1e-05 .*float32"):
        codec.encode(torch.ones(1, 1, 2, 2), step=1e-6)
    q = Coefficients(torch.full((1, 1, 2, 2), 3e9), "haar", 1, 0)
    with pytest.raises(ValueError, match=r"coefficients of these samples are up to 3e\+09"):
        codec.quantise_signal(torch.ones(1, 1, 2, 2), 0.1, lambda c, step: q)
    q = q.with_values(torch.full((1, 1, 2, 2), math.nan))
    with pytest.raises(ValueError, match="give a larger step"):
        codec.quantise_signal(torch.ones(1, 1, 2, 2), 0.1, lambda c, step: q)


def test_escapes_hold_all_that_is_coded():
    values = np.array([1, LARGEST, LARGEST + 1, -(LARGEST + 1), MOST - 127, 1 - MOST], np.int32)
    symbols = to_symbols(np.abs(values))
    assert (symbols == ESCAPE).tolist() == [False, False, True, True, True, True]
    assert np.array_equal(
        unpack_raw_bits(pack_raw_bits(values, symbols, wide=True), symbols, wide=True), values
    )


def test_only_files_that_need_it_are_of_the_new_version(codecs):
    x = torch.ones(1, 1, 64, 64)  # a coefficient of 32
    versions = [codecs["haar"].encode(x, step=step)[5] for step in (32 / 4e5, 32 / 6e5)]
    assert versions == [1, 2]
    assert codecs["haar"].encode(x, names=["a"])[5] == 2


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_golden_files_are_written_again_byte_for_byte(version):
    data = (GOLDEN / f"{version}.sprc").read_bytes()
    file = parse(data)
    head, tables = file.head, Tables.unpack(file.head.tables)
    chunks = [
        encode_chunk(to_array(q), q.bands, tables, step=head.step, wide=head.wide)
        for q in decode_quantised(file, None)
    ]
    assert write(head, chunks, minor=int(version[-1])) == data


def test_golden_white_is_white():
    data = (GOLDEN / "1.2.sprc").read_bytes()
    head = parse(data).head
    assert (head.wide, head.names) == (True, ("white.png", "china/süd.jpg"))
    assert float((decode(data)[0] - 1).abs().max()) < 1e-5
    want = np.load(GOLDEN / "1.2.npy") / 65535
    np.testing.assert_allclose(decode(data).numpy(), want, rtol=0, atol=1e-5)
