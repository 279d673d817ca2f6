"""What a caller may give to `encode`, `fit` and `decode`, and how it is told what not."""

import numpy as np
import pytest
import torch

from compress import Codec, FormatError, NetworkConfig, RestorationNet, TaskQuantiser, decode, dwt
from compress.quantise.rate import find_step

SMALL = torch.linspace(0, 1, 48).view(1, 3, 4, 4)


@pytest.fixture(scope="module")
def small():
    return Codec.fit(torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


class Probe(torch.nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def refused(call, words):
    """Assert that a call is refused as the caller's fault, and not as bad bytes."""
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert not isinstance(caught.value, FormatError)


WRONG = [
    (SMALL.numpy(), r"x is ndarray; give a tensor .*torch.from_numpy\(x\)"),
    ((SMALL.numpy() * 255).astype(np.uint8), r"x is ndarray.*of bytes .float\(\) / 255"),
    (SMALL.tolist(), r"x is list; give a tensor .*torch.tensor\(x\)"),
    (None, "x is NoneType"),
    ("x.png", "x is str"),
    ((SMALL * 255).byte(), r"x is torch.uint8 .*of bytes, x.float\(\) / 255"),
    ((SMALL * 255).int(), "x is torch.int32"),
    (SMALL > 0.5, "x is torch.bool"),
    (SMALL.to(torch.complex64), "x is torch.complex64"),
    (SMALL.to("meta"), "x is a meta tensor"),
    (SMALL.to_sparse(), "x is a torch.sparse_coo tensor"),
    (SMALL[0], r"shape \(3, 4, 4\)"),
    (SMALL[None, None], "shape"),
    (SMALL[:0], "none of them 0"),
    (SMALL[..., :0], "none of them 0"),
    (SMALL * 255, "from 0 to 255"),
    (SMALL.double() - 0.5, "from -0.5 to 0.5"),
    (torch.full((1, 1, 2, 2), torch.nan), "nan"),
    (torch.full((1, 1, 2, 2), torch.inf), "inf"),
    (torch.zeros(1, 65, 2, 2), "channels: 65; allowed: 1 to 64"),
    (torch.zeros(1, 1, 4097, 1, 1), "frames: 4097; allowed: 1 to 4096"),
    (torch.zeros(1, 1, 16385, 1), "height: 16385; allowed: 1 to 16384"),
    (torch.zeros(1, 1, 1, 16385), "width: 16385; allowed: 1 to 16384"),
    (torch.zeros(2**24 + 1, 1, 1, 1), "samples: 16777217"),
    (torch.zeros(1).expand(1, 64, 16384, 16384), "values of a sample"),
]


@pytest.mark.parametrize(("x", "words"), WRONG, ids=lambda value: str(value)[:24])
def test_what_cannot_be_coded_is_the_callers_fault(small, x, words):
    refused(lambda: small.encode(x), words)
    refused(lambda: Codec.fit(x), words)
    if words.startswith("x is") and x is not None:
        refused(lambda: small.encode(SMALL, kind="delta", x_adv=x), "x_adv is")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_are_coded_as_float32(small, dtype):
    x = SMALL.to(dtype)
    assert small.encode(x) == small.encode(x.float())


def test_layout_and_gradients_do_not_matter(small):
    wide = torch.rand(2, 3, 9, 16, generator=torch.Generator().manual_seed(0))
    wanted = small.encode(wide.clone())
    turned = wide.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1)
    leaf = wide.clone().requires_grad_()
    for x in (
        turned,
        leaf,
        leaf * 1,
        torch.nn.Parameter(wide),
        wide.to(memory_format=torch.channels_last),
    ):
        assert small.encode(x) == wanted
    flat = torch.full((1, 3, 1, 1), 0.25).expand(2, 3, 5, 5)
    assert small.encode(flat) == small.encode(flat.contiguous())
    assert leaf.grad is None
    assert leaf.requires_grad
    leaf_adv = (1 - wide).requires_grad_()
    assert small.encode(leaf, kind="delta", x_adv=leaf_adv) == small.encode(
        wide, kind="delta", x_adv=1 - wide
    )


NETWORK = RestorationNet(NetworkConfig(channels=3, width=2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *[
            ({"step": step}, "step is")
            for step in (
                0,
                -1.0,
                float("nan"),
                float("inf"),
                "0.1",
                True,
                1e-6,
                2e4,
                torch.tensor(9e9),
            )
        ],
        *[
            ({"bytes_per_sample": size}, "bytes_per_sample is")
            for size in (0, -3, float("nan"), float("inf"), "20", False)
        ],
        ({"kind": "y"}, "kind is 'y'"),
        ({"kind": None}, "kind is None"),
        ({"kind": "delta"}, "give x_adv"),
        ({"kind": "x-task"}, 'model belongs to "x-task"'),
        ({"kind": "x", "model": Probe()}, 'model belongs to "x-task"'),
        ({"kind": "x-task", "model": lambda x: x}, "model is function; give an nn.Module"),
        (
            {"kind": "x-task", "model": Probe(), "task": {"steps": 3}},
            "task is dict; give a TaskQuantiser",
        ),
        ({"kind": "x-task", "model": torch.nn.Identity()}, r"returns \(1, 3, 4, 4\)"),
        ({"task": TaskQuantiser()}, "task to it alone"),
        ({"network": "r.safetensors"}, "network is str; give a RestorationNet"),
        ({"network": NETWORK, "kind": "delta", "x_adv": SMALL}, "the network is for 'x'"),
        ({"names": ["a", "b"]}, "names: 2; there are 1 samples"),
        ({"names": ["../a"]}, r"a part of it is '..'"),
        ({"names": ["/a"]}, "a part of it is ''"),
        ({"names": [""]}, "a part of it is ''"),
        ({"names": ["a/./b"]}, r"a part of it is '.'"),
        ({"names": ["a\0b"]}, "a zero byte"),
        ({"names": ["a" * 256]}, "longer than a file's"),
        ({"names": ["ab/" * 2000 + "a"]}, "longer than a file's"),
    ],
    ids=lambda value: str(value).split(" at 0x")[0],  # the same in every process
)
def test_impossible_options_are_the_callers_fault(small, options, words):
    refused(lambda: small.encode(SMALL, **options), words)


def test_names_that_repeat_are_refused(small):
    refused(lambda: small.encode(SMALL.expand(2, 3, 4, 4), names=["a", "a"]), "two are the same")
    refused(
        lambda: small.encode(SMALL.expand(2, 3, 4, 4), names=["a", 1]), "name 1: of the kind int"
    )


@pytest.mark.parametrize("data", [None, "SPRC", 5, [83, 80], np.zeros(9, np.uint8)], ids=str)
def test_what_are_no_bytes_is_the_callers_fault(small, data):
    refused(lambda: decode(data), "give the bytes of a code file")
    refused(lambda: small.decode(data), "give the bytes of a code file")


def test_bytes_of_any_kind_are_decoded(small):
    file = small.encode(SMALL, embed_tables=True)
    for data in (bytearray(file), memoryview(file), memoryview(b"." + file)[1:]):
        assert torch.equal(decode(data), decode(file))
    refused(lambda: decode(file, network="r"), "network is str")


def test_codecs_of_nothing_are_refused(small):
    refused(lambda: Codec(None), "tables is NoneType")
    refused(lambda: Codec(small.tables, levels=2.5), "levels is 2.5")
    refused(lambda: Codec(small.tables, step="fine"), "step is fine")


def test_a_transform_says_what_it_wants():
    refused(lambda: dwt(np.zeros((1, 1, 4, 4))), "x is ndarray; give a tensor")
    refused(lambda: dwt([[[[0.0]]]]), "x is list; give a tensor")


def test_a_step_is_searched_for_a_number_alone():
    refused(
        lambda: find_step(lambda step: 1 / step, "5", start=1, close=1e-3), "is 5; give a finite"
    )
