import os
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from attacks.errors import RefusedInput
from trainers import load_classifier
from trainers.models.weights import weights as weights_module
from trainers.models.weights.fill import class_count, fill
from trainers.models.weights.placement import place
from trainers.models.weights.weights import read_checkpoint


def net(classes=3):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, classes)
    )


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def state():
    torch.manual_seed(0)
    return net().state_dict()


class Bomb:
    """Unpickled naively, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_safetensors_and_torch_files_give_the_same_tensors(tmp_path, state):
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    assert same(read_checkpoint(tmp_path / "w.safetensors").state, state)
    assert same(read_checkpoint(tmp_path / "w.pt").state, state)


def test_the_content_decides_not_the_suffix(tmp_path, state):
    save_file(state, tmp_path / "w.pt")
    torch.save(state, tmp_path / "w.safetensors")
    assert same(
        read_checkpoint(tmp_path / "w.pt").state, read_checkpoint(tmp_path / "w.safetensors").state
    )


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "net"])
def test_a_training_checkpoint_is_unwrapped(tmp_path, state, wrapper):
    content = {"epoch": 3, wrapper: {f"module.{k}": v for k, v in state.items()}, "lr": 0.1}
    torch.save(content, tmp_path / "w.pt")
    model = net()
    fill(model, read_checkpoint(tmp_path / "w.pt").state, source="w.pt")
    assert same(model.state_dict(), state)


@pytest.mark.parametrize("legacy", [True, False])
def test_a_malicious_file_is_refused_and_not_executed(tmp_path, legacy):
    mark, path = tmp_path / "executed", tmp_path / "w.pt"
    torch.save({"w": Bomb(mark)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(RefusedInput, match=r"w\.pt .*save_file\(model\.state_dict\(\)"):
        read_checkpoint(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the trap itself works
    assert mark.exists()


def test_a_bare_pickle_is_refused_and_not_executed(tmp_path):
    mark, path = tmp_path / "executed", tmp_path / "w.pkl"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(RefusedInput, match="bare pickle"):
        read_checkpoint(path)
    assert not mark.exists()


def test_a_file_of_torch_before_1_6_gives_the_same_tensors(tmp_path, state):
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert same(read_checkpoint(tmp_path / "w.pt").state, state)


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(net(), tmp_path / "w.pt")
    with pytest.raises(RefusedInput, match="pickled object"):
        read_checkpoint(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_torchscript_program_is_refused(tmp_path):
    torch.jit.trace(net().eval(), torch.zeros(1, 1, 8, 8)).save(tmp_path / "w.pt")
    with pytest.raises(RefusedInput, match="TorchScript"):
        read_checkpoint(tmp_path / "w.pt")


def test_a_deflated_archive_is_refused_unread(tmp_path, state, monkeypatch):
    torch.save(state, tmp_path / "w.pt")
    with (
        zipfile.ZipFile(tmp_path / "w.pt") as source,
        zipfile.ZipFile(tmp_path / "d.pt", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in source.namelist():
            deflated.writestr(name, source.read(name))
    assert same(torch.load(tmp_path / "d.pt", weights_only=True), state)  # torch itself accepts it
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(RefusedInput, match="compressed"):
        read_checkpoint(tmp_path / "d.pt")


def test_members_that_claim_more_than_the_file_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "w.pt")
    data = bytearray((tmp_path / "w.pt").read_bytes())
    entry = data.rindex(b"PK\x01\x02")  # the last entry of the central directory
    data[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    (tmp_path / "w.pt").write_bytes(data)
    with pytest.raises(RefusedInput, match="damaged"):
        read_checkpoint(tmp_path / "w.pt")


def test_an_expanded_view_larger_than_the_file_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(2**40)}, tmp_path / "w.pt")
    with pytest.raises(RefusedInput, match="larger than the file"):
        read_checkpoint(tmp_path / "w.pt")


def test_the_size_cap_comes_first(tmp_path, state, monkeypatch):
    save_file(state, tmp_path / "w.safetensors")
    monkeypatch.setattr(weights_module, "SIZE_CAP", 1000)
    with pytest.raises(RefusedInput, match="1000 bytes"):
        read_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_cut_anywhere_is_refused(tmp_path, state, suffix):
    path = tmp_path / f"w.{suffix}"
    torch.save(state, path) if suffix == "pt" else save_file(state, path)
    data = path.read_bytes()
    for length in [0, 1, 4, 8, 9, 100, len(data) // 2, len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(RefusedInput, match=f"{path.name}"):
            read_checkpoint(path)


def test_flipped_bytes_are_read_or_refused_but_never_anything_else(tmp_path, state):
    path = tmp_path / "w.pt"
    torch.save(state, path)
    data = path.read_bytes()
    refused = 0
    for position in range(0, len(data), 61):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :])
        try:
            read_checkpoint(path)
        except RefusedInput:
            refused += 1
    assert refused


def test_foreign_and_missing_files(tmp_path):
    (tmp_path / "w.pt").write_text("hello, this is text")
    with pytest.raises(RefusedInput, match="neither safetensors"):
        read_checkpoint(tmp_path / "w.pt")
    with pytest.raises(RefusedInput, match="no weights file"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(RefusedInput, match="no weights file"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "content", [[1, 2], {}, {"a": 1.0}, torch.zeros(3), {"a": {"b": torch.zeros(1)}}]
)
def test_other_content_than_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(RefusedInput, match="state dict"):
        read_checkpoint(tmp_path / "w.pt")


def test_a_sparse_tensor_is_refused(tmp_path):
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "w.pt")
    with pytest.raises(RefusedInput, match=r"w\.pt"):
        read_checkpoint(tmp_path / "w.pt")


def broken(state, name):
    other = {k: v.clone() for k, v in state.items()}
    if name == "missing":
        del other["0.weight"], other["3.bias"]
    if name == "unexpected":
        other["extra.weight"] = torch.zeros(1)
    if name == "shape":
        other["3.weight"] = torch.zeros(4, 144)
    if name == "nan":
        other["3.weight"][0, 0] = torch.nan
    if name == "inf":
        other["1.running_var"][0] = torch.inf
    if name == "integer":
        other["3.bias"] = other["3.bias"].to(torch.int8)
    return other


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", r"2 missing \(0\.weight, 3\.bias\), 0 unexpected"),
        ("unexpected", r"0 missing, 1 unexpected \(extra\.weight\)"),
        ("shape", r"3\.weight has shape \(4, 144\) where Sequential has \(3, 144\)"),
        ("nan", r"3\.weight holds NaN or infinity"),
        ("inf", r"1\.running_var holds NaN or infinity"),
        ("integer", r"3\.bias is torch\.int8"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(state, name, message):
    model = net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(RefusedInput, match=f"w.pt.*{message}"):
        fill(model, broken(state, name), source="w.pt")
    assert same(model.state_dict(), before)


def test_files_older_than_the_batch_counter_load(state):
    del state["1.num_batches_tracked"]
    fill(net(), state, source="w.pt")


def test_half_precision_weights_become_float32(state):
    model = net()
    fill(model, {k: v.half() if v.is_floating_point() else v for k, v in state.items()}, source="")
    assert model[3].weight.dtype == torch.float32
    assert torch.equal(model[3].weight, state["3.weight"].half().float())


def test_a_prefix_goes_only_if_the_model_does_not_have_it():
    one = torch.zeros(1)
    assert place({"module.model.a": one}, {"a": one}).tensors.keys() == {"a"}
    assert place({"model.a": one}, {"model.a": one}).prefix == ""
    half = place({"module.a": one, "b": one}, {"a": one, "b": one})  # a was in a DataParallel
    assert half.tensors.keys() == {"a", "b"}


def test_the_class_count_is_read_at_the_last_layer():
    assert class_count(net(3), net(7).state_dict()) == 7
    assert class_count(nn.Flatten(), {"x": torch.zeros(1)}) is None


def test_the_class_count_of_a_file_is_taken_when_none_is_given(tmp_path):
    save_file(load_classifier("smallcnn", num_classes=7).state_dict(), tmp_path / "w.safetensors")
    model = load_classifier("smallcnn", weights=tmp_path / "w.safetensors")
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 7)
    with pytest.raises(RefusedInput, match="--num-classes"):
        load_classifier("smallcnn", num_classes=5, weights=tmp_path / "w.safetensors")


def test_a_checkpoint_carries_its_normalisation(tmp_path):
    torch.manual_seed(0)
    saved = load_classifier("smallcnn", mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.1])
    save_file(saved.state_dict(), tmp_path / "w.safetensors")
    x = torch.rand(4, 3, 8, 8)
    loaded = load_classifier("smallcnn", weights=tmp_path / "w.safetensors")
    assert torch.equal(loaded(x), saved(x))
    with pytest.raises(ValueError, match="leave --mean out"):
        load_classifier(
            "smallcnn", weights=tmp_path / "w.safetensors", mean=[0.0] * 3, std=[1.0] * 3
        )
