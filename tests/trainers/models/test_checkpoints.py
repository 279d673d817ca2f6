"""Checkpoints as training scripts write them: what is taken, what is left, what is refused."""

import argparse
import collections
import contextlib
import datetime
import functools
import io
import logging
import os
import pathlib
import pickle
import sys
import tarfile
import time
import types
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from attacks.errors import RefusedInput
from trainers import load_classifier
from trainers.models.weights.weights import read_checkpoint

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.1]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    model = load_classifier("smallcnn")
    for name, buffer in model.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return model


@pytest.fixture
def load(tmp_path, net, caplog):
    """Save a checkpoint, load it as the network, and compare; return what was logged."""

    def loaded(content, *, mean=None, std=None, legacy=False, suffix="pt", name="smallcnn"):
        path = tmp_path / f"w.{suffix}"
        if suffix == "safetensors":
            save_file({k: v.clone() for k, v in content.items()}, path)
        else:
            torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            model = load_classifier(name, weights=path, image_size=8)
        x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        seen = x
        if mean:
            seen = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        torch.testing.assert_close(model(x), net(seen))
        return [r.getMessage() for r in caplog.records if r.name == "trainers.models.load"]

    return loaded


def named(state, prefix):
    return {f"{prefix}{k}": v for k, v in state.items()}


def other(net):
    """A state dict of the same names with other values."""
    return {k: v + 1 for k, v in net.state_dict().items()}


BESIDE = {
    "namespace": argparse.Namespace(lr=0.1, out=pathlib.Path("/tmp"), device=torch.device("cpu")),
    "simple namespace": types.SimpleNamespace(a=1),
    "scalar": np.float64(93.1),
    "bool": np.bool_(True),
    "text": np.str_("best"),
    "array": np.arange(12).reshape(3, 4),
    "structured array": np.zeros(2, dtype=[("a", "f4")]),
    "array of objects": np.array([1, None, "a"], dtype=object),
    "random state": ("MT19937", np.arange(624, dtype=np.uint32), 3, 0, 0.0),
    "generator state": np.random.default_rng(0).bit_generator.state,
    "dtype": np.dtype("float32"),
    "path": pathlib.PurePosixPath("a/b"),
    "time": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    "elapsed": datetime.timedelta(seconds=3),
    "defaultdict": collections.defaultdict(list, {"loss": [1.0, 2.0]}),
    "counter": collections.Counter("abca"),
    "deque": collections.deque([1, 2, 3], maxlen=5),
    "version": torch.__version__,
    "kind of number": torch.float16,
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", BESIDE)
def test_what_scripts_keep_beside_the_weights_is_left(load, net, name, legacy):
    content = {"epoch": 7, "model": net.state_dict(), "extra": {"within": [BESIDE[name]]}}
    (line,) = load(content, legacy=legacy)
    assert "['model']" in line
    assert "left epoch, extra" in line


def test_values_that_are_no_tensors_may_stand_among_the_tensors(load, net):
    (line,) = load({**net.state_dict(), "best": np.float32(0.9), "args": BESIDE["namespace"]})
    assert "left best, args" in line


def test_types_of_packages_that_are_not_there_are_left(tmp_path, net, monkeypatch):
    kind = type("AttributeDict", (dict,), {"__module__": "pytorch_lightning.utilities.parsing"})
    theirs = types.ModuleType(kind.__module__)
    theirs.AttributeDict = kind
    with monkeypatch.context() as patch:
        for name in ("pytorch_lightning", "pytorch_lightning.utilities", theirs.__name__):
            patch.setitem(sys.modules, name, theirs)
        content = {"state_dict": net.state_dict(), "hyper_parameters": kind(lr=1e-3)}
        torch.save(content, tmp_path / "w.ckpt")
    assert read_checkpoint(tmp_path / "w.ckpt").state.keys() == net.state_dict().keys()


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "_orig_mod.module.",
        "module._orig_mod.",
        "net.",
        "backbone.",
        "model.",
        "encoder.backbone.",
        "module.model.net.",
        "_forward_module.model.",
        "_fsdp_wrapped_module.",
        "1.",
    ],
)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_prefixes_go(load, net, prefix, suffix):
    (line,) = load(named(net.state_dict(), prefix), suffix=suffix)
    assert repr(prefix) in line
    assert "left nothing" in line


def test_a_wrapper_around_a_part_of_the_model_goes(load, net):
    state = {k.replace("stage1.", "stage1.module."): v for k, v in net.state_dict().items()}
    load({"state_dict": state})
    load({"state_dict": named(state, "module.") | {"n_averaged": torch.tensor(3)}})


def test_averaged_models_and_files_of_averages_alone(load, net):
    (line,) = load(AveragedModel(net).state_dict())
    assert "left n_averaged" in line
    for name in ("ema", "model_ema", "state_dict_ema", "ema_state_dict"):
        (line,) = load({name: AveragedModel(net).state_dict(), "epoch": 3})
        assert f"[{name!r}]" in line
        assert "left epoch, n_averaged" in line
    load({"ema": {"decay": 0.999, "shadow": net.state_dict()}})


def test_the_weights_come_before_their_average_and_the_line_says_so(load, net):
    average = {"module." + k: v for k, v in other(net).items()}
    content = {"model_ema": average, "model": net.state_dict(), "optimizer": {}, "args": None}
    (line,) = load(content)
    assert "['model']; left model_ema, optimizer, args" in line
    within = {**named(other(net), "ema_model."), **named(net.state_dict(), "online.")}
    (line,) = load({"state_dict": within})
    assert "under 'online.'" in line


def test_a_reference_checkpoint_of_torchvision_or_timm(load, net):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 5])
    content = {
        "model": named(net.state_dict(), "module."),
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": schedule.state_dict(),
        "epoch": 89,
        "args": BESIDE["namespace"],
        "model_ema": AveragedModel(net).state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
    }
    (line,) = load(content)
    assert "left optimizer, lr_scheduler, epoch, args, model_ema, ... (6 in all)" in line
    content = {"arch": "resnet18", "state_dict": net.state_dict(), "state_dict_ema": other(net)}
    load(content | {"args": BESIDE["namespace"], "version": 2, "metric": np.float64(80.1)})


@pytest.mark.parametrize(
    "names", [("student.", "teacher."), ("teacher.", "student."), ("a.", "b.")]
)
def test_two_networks_of_one_kind_are_not_chosen_between_by_their_order(load, net, names):
    first, second = names
    with pytest.raises(RefusedInput, match=f"twice, under '{first}' and '{second}', with other"):
        load(named(net.state_dict(), first) | named(other(net), second))
    load(named(net.state_dict(), first) | named(net.state_dict(), second))  # either will do


def test_lightning_with_a_criterion_beside(load, net):
    state = {
        **named(net.state_dict(), "model."),
        "criterion.weight": torch.ones(10),
        "criterion.head.weight": torch.ones(10, 256),
    }
    content = {
        "epoch": 3,
        "global_step": 300,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": state,
        "callbacks": {"ModelCheckpoint{'monitor': 'v'}": {"best_model_score": torch.tensor(0.9)}},
        "loops": {"fit_loop": {"state_dict": {}, "progress": {"total": 3}}},
        "hyper_parameters": collections.OrderedDict(lr=1e-3, args=BESIDE["namespace"]),
    }
    (line,) = load(content)
    assert "['state_dict'] under 'model.'" in line
    assert "criterion.weight" not in line.split("left")[0]


def input_normalize(prefix, mean=MEAN, std=STD):
    column = (torch.tensor(v)[:, None, None] for v in (mean, std))
    return dict(zip((f"{prefix}new_mean", f"{prefix}new_std"), column, strict=True))


@pytest.mark.parametrize("outer", ["", "module."])
def test_madrylabs_layout_and_its_normalisation(load, net, outer):
    state = {
        **input_normalize(f"{outer}normalizer."),
        **named(net.state_dict(), f"{outer}model."),
        **input_normalize(f"{outer}attacker.normalize."),
        **named(net.state_dict(), f"{outer}attacker.model."),
    }
    content = {"model": state, "optimizer": {}, "schedule": None, "epoch": 150, "amp": None}
    (line,) = load(content | {"nat_prec1": torch.tensor(87.0)}, mean=MEAN, std=STD)
    assert f"under '{outer}model.'" in line
    assert "0.4" in line.split("left")[0]
    del state[f"{outer}normalizer.new_mean"], state[f"{outer}normalizer.new_std"]
    only = {k: v for k, v in state.items() if "attacker" in k}
    load({"model": only}, mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (("mu", "sigma"), ""),
        (("model.mu", "model.sigma"), "model."),
        (("module.mu", "module.sigma"), "module."),
        (("normalize.mean", "normalize.std"), "model."),
        (("0.mean", "0.std"), "1."),
        (("data_preprocessor.mean", "data_preprocessor.std"), "backbone."),
    ],
)
@pytest.mark.parametrize("scale", [1, 255])
def test_a_normalisation_in_the_file_is_taken(load, net, names, prefix, scale):
    stored = (torch.tensor(v).view(1, 3, 1, 1) * scale for v in (MEAN, STD))
    load(
        named(net.state_dict(), prefix) | dict(zip(names, stored, strict=True)), mean=MEAN, std=STD
    )


def test_a_normalisation_that_is_the_models_own_is_not_taken_twice(tmp_path, net):
    (tmp_path / "own_model.py").write_text(
        "import torch\nfrom torch import nn\n"
        "from trainers.models.networks.smallcnn import SmallCNN\n"
        "class Own(nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n"
        "        self.register_buffer('mu', torch.zeros(1, 3, 1, 1))\n"
        "        self.register_buffer('sigma', torch.ones(1, 3, 1, 1))\n"
        "        self.net = SmallCNN(num_classes=num_classes)\n"
        "    def forward(self, x):\n"
        "        return self.net((x - self.mu) / self.sigma)\n"
    )
    state = named(net.state_dict(), "net.")
    state |= {"mu": torch.full((1, 3, 1, 1), 0.5), "sigma": torch.full((1, 3, 1, 1), 0.2)}
    torch.save({"state_dict": named(state, "module.")}, tmp_path / "w.pt")
    name = f"{tmp_path}/own_model.py:Own"
    model = load_classifier(name, num_classes=10, weights=tmp_path / "w.pt")
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(model(x), net((x - 0.5) / 0.2))


def test_two_normalisations_that_differ_are_refused(load, net):
    state = {**input_normalize("normalizer."), **input_normalize("norm.", STD, MEAN)}
    with pytest.raises(RefusedInput, match=r"normalizer\., norm\..*differ"):
        load(state | named(net.state_dict(), "model."))


def test_a_normalisation_for_other_channels_is_refused(load, net):
    state = net.state_dict() | {"mu": torch.full((1,) * 4, 0.5), "sigma": torch.ones((1,) * 4)}
    load(state, mean=[0.5] * 3, std=[1.0] * 3)
    state |= {"mu": torch.full((4,), 0.5), "sigma": torch.ones(4)}
    with pytest.raises(RefusedInput, match="4 channels and the samples have 3"):
        load(state)


def test_a_state_dict_that_holds_itself_ends(load, net):
    content = {"model": {}}
    content["model"]["state_dict"] = content
    with pytest.raises(RefusedInput, match="state dict"):
        load(content)
    state = dict(net.state_dict())
    state["model"] = state
    load(state)


def test_a_state_dict_at_a_great_depth_is_refused(tmp_path):
    path, depth = tmp_path / "w.pt", 50_000
    opened = b"}X\x05\x00\x00\x00model" * depth
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", b"\x80\x02" + opened + b"}" + b"s" * depth + b".")
        archive.writestr("w/version", b"3\n")
    with pytest.raises(RefusedInput, match="state dict"):
        read_checkpoint(path)


class Hostile:
    """Unpickled naively, it calls a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class HostileState:
    """Pickled as a Namespace whose state is set by a function of its own."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        empty = argparse.Namespace()
        state = {"__setstate__": Hostile(functools.partial, os.system, f"touch {self.path}")}
        return argparse.Namespace, (), {"inner": empty, **state}


def hostiles(mark):
    touch = f"touch {mark}"
    return {
        "system": Hostile(os.system, touch),
        "eval": Hostile(eval, f"__import__('os').system({touch!r})"),
        "exec": Hostile(exec, f"__import__('os').system({touch!r})"),
        "getattr": Hostile(getattr, Hostile(__import__, "os"), "system"),
        "partial": functools.partial(os.system, touch),
        "open": Hostile(open, mark, "w"),
        "array": np.array([Hostile(os.system, touch)], dtype=object),
        "namespace": argparse.Namespace(a=Hostile(os.system, touch)),
        "setstate": HostileState(mark),
        "import": Hostile(__import__, "antigravity"),
        "compile": Hostile(compile, "1", "", "eval"),
        "path": Hostile(pathlib.Path.touch, pathlib.Path(mark)),
        "load": Hostile(torch.load, mark),
        "module": nn.Linear(2, 2),
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", hostiles("x"))
def test_code_beside_the_weights_is_refused_and_not_executed(tmp_path, load, net, name, legacy):
    mark = tmp_path / "executed"
    content = {"model": net.state_dict(), "args": hostiles(mark)[name]}
    with pytest.raises(RefusedInput, match=r"w\.pt .*save_file\(model\.state_dict\(\)"):
        load(content, legacy=legacy)
    assert not mark.exists()


def test_a_refusal_names_the_type(load, net):
    with pytest.raises(RefusedInput, match=r"torch\.nn\.modules\.linear\.Linear"):
        load({"model": net.state_dict(), "head": nn.Linear(2, 2)})
    with pytest.raises(RefusedInput, match=r"holds a pickled object .*SmallCNN.*state_dict\(\)"):
        load(net)


def test_other_files(tmp_path, net):
    path = tmp_path / "w.pt"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("storages"))
    with pytest.raises(RefusedInput, match="tar archive"):
        read_checkpoint(path)
    torch.save(net.state_dict(), path, pickle_protocol=4)
    with pytest.raises(RefusedInput, match="protocol"):
        read_checkpoint(path)
    torch.save(net.state_dict(), path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"")
    with pytest.raises(RefusedInput, match="twice"):
        read_checkpoint(path)


def test_a_legacy_file_cut_anywhere_is_refused(tmp_path, net):
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer, _use_new_zipfile_serialization=False)
    data, path = buffer.getvalue(), tmp_path / "w.pt"
    for length in [*range(0, 64, 7), 300, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(RefusedInput, match=r"w\.pt"):
            read_checkpoint(path)


def test_claims_of_giant_tensors_take_no_memory(tmp_path):
    path = tmp_path / "w.pt"
    for legacy in (False, True):
        for content in (
            {"w": torch.zeros(1).expand(2**40)},
            {"w": torch.zeros(1), "b": Hostile(bytearray, 2**45)},
            {"w": torch.zeros(1), "t": Hostile(torch.Tensor, 2**45)},
            {"w": torch.zeros(1), "a": Hostile(np.ndarray, (2**45,))},
        ):
            torch.save(content, path, _use_new_zipfile_serialization=not legacy)
            with contextlib.suppress(RefusedInput):
                assert read_checkpoint(path).state["w"].numel() == 1


def test_weights_that_do_not_fit_name_the_nearest_and_the_remedy(tmp_path, load, net):
    renamed = {k.replace("head.", "fc."): v for k, v in net.state_dict().items()}
    with pytest.raises(RefusedInput) as error:
        load(named(renamed, "module."))
    text = str(error.value)
    assert "2 missing (head.weight, head.bias)" in text
    assert "2 unexpected (module.fc.weight, module.fc.bias)" in text
    assert "nearest to head.weight (10, 256) in the file is module.fc.weight (10, 256)" in text
    wide = load_classifier("smallcnn", num_classes=7).state_dict()
    torch.save({"state_dict": named(wide, "model.")}, tmp_path / "wide.pt")
    with pytest.raises(RefusedInput, match=r"--num-classes 7"):
        load_classifier("smallcnn", num_classes=10, weights=tmp_path / "wide.pt")
    narrow = {k: v[:5] if k == "stage1.0.weight" else v for k, v in net.state_dict().items()}
    with pytest.raises(RefusedInput, match=r"stage1\.0\.weight has shape \(5, .*has \(32, "):
        load(narrow)


def test_weights_that_overflow_where_they_go_are_refused(load, net):
    large = {k: v.double() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    load(large)
    large["head.bias"] = large["head.bias"] + 1e300
    with pytest.raises(RefusedInput, match=r"head\.bias holds NaN or infinity"):
        load(large)


def test_eight_bit_floats_are_read(tmp_path, net):
    state = {k: v.clone() for k, v in net.state_dict().items()}
    state["head.bias"] = state["head.bias"].to(torch.float8_e4m3fn)
    torch.save(state, tmp_path / "w.pt")
    model = load_classifier("smallcnn", weights=tmp_path / "w.pt")
    assert torch.equal(model.head.bias, state["head.bias"].float())


def nested_key(levels):
    """A pickle of {t: 1}, t a tuple that holds one below it twice, and so on."""
    text = b"\x80\x02}(X\x01\x00\x00\x00aq\x00"
    for level in range(levels):
        text += b"0h" + bytes([level]) + b"h" + bytes([level]) + b"\x86q" + bytes([level + 1])
    return text + b"K\x01u."


@pytest.mark.parametrize("legacy", [False, True])
def test_a_key_whose_hash_would_never_end_is_refused_at_once(tmp_path, legacy):
    file = tmp_path / "nested.pt"
    torch.save({"a": torch.zeros(2)}, file, _use_new_zipfile_serialization=not legacy)
    if legacy:
        pieces = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
        file.write_bytes(pieces + 2 * pickle.dumps(1001, protocol=2) + nested_key(60))
    else:
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, nested_key(60) if name.endswith("data.pkl") else data)
    started = time.process_time()
    with pytest.raises(RefusedInput, match="tuples are nested in more than 16 levels"):
        read_checkpoint(file)
    assert time.process_time() - started < 5
