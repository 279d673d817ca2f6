import subprocess
import sys

import pytest
import torch
import torchvision
from torch import nn

from attacks.errors import RefusedInput
from trainers import load_classifier, probe_classifier
from trainers.models import Normalize
from trainers.models.networks.resnet_cifar import ResNet18CIFAR
from trainers.models.sources.torchvision_models import import_torchvision, torchvision_names


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 9, 11), (3, 32, 32), (3, 64, 48)])
def test_smallcnn_takes_any_size(shape):
    model = load_classifier("smallcnn", num_classes=7, in_channels=shape[0], image_size=shape[1:])
    x = torch.rand(5, *shape)
    assert model(x).shape == (5, 7)
    torch.testing.assert_close(model(x)[2:3], model(x[2:3]))


def test_smallcnn_is_small():
    assert 30_000 < parameters(load_classifier("smallcnn", in_channels=1)) < 45_000


def test_ResNet18CIFAR_equals_torchvisions_with_another_stem():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    ours = ResNet18CIFAR(num_classes=10)
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


def test_normalize_equals_torchvisions_and_takes_videos():
    mean, std = [0.5, 0.4, 0.3], [0.2, 0.25, 0.1]
    x = torch.rand(2, 3, 4, 5)
    theirs = torchvision.transforms.functional.normalize(x, mean, std)
    layer = Normalize(mean, std)
    torch.testing.assert_close(layer(x), theirs)
    video = torch.stack([x, x], 2)  # (B, C, T, H, W)
    torch.testing.assert_close(layer(video)[:, :, 1], theirs)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.5], [0.0], "above 0"),
        ([0.5], [0.5, 0.5], "one value a channel"),
        ([0.5], None, "both or neither"),
        ([0.5, 0.5], [0.5, 0.5], "2 values for 3 channels"),
        ([float("nan")] * 3, [1.0] * 3, "finite"),
        ([0.5] * 3, [float("inf")] * 3, "finite"),
        ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4], "divide both mean and std by 255"),
        (0.5, 0.5, "give lists"),
    ],
)
def test_impossible_normalisation_is_refused(mean, std, message):
    with pytest.raises(ValueError, match=message):
        load_classifier("smallcnn", mean=mean, std=std)


@pytest.mark.parametrize(
    ("option", "value"),
    [("num_classes", n) for n in (0, -1, 2.0, "4", True)] + [("in_channels", 0)],
)
def test_impossible_numbers_are_refused_by_name(option, value):
    with pytest.raises(ValueError, match=f"{option} is {value!r}; give a whole number, at least"):
        load_classifier("smallcnn", **{option: value})


def test_torchvision_models_come_by_name():
    model = load_classifier("mobilenet_v3_small", num_classes=5, image_size=32)
    theirs = torchvision.models.mobilenet_v3_small(num_classes=5)
    assert model.state_dict().keys() == theirs.state_dict().keys()
    assert not model.training
    assert {"resnet50", "vit_b_16", "r3d_18"} <= set(torchvision_names())
    assert "raft_large" not in torchvision_names()
    with pytest.raises(ValueError, match="takes 3 channels and the samples have 1"):
        load_classifier("resnet18", in_channels=1)


def test_a_torchvision_video_model_takes_videos():
    model = load_classifier("r3d_18", num_classes=4, image_size=(4, 16, 16))
    assert model(torch.rand(1, 3, 4, 16, 16)).shape == (1, 4)


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(ValueError, match=r"'resnet5'.*did you mean.*resnet50"):
        load_classifier("resnet5")


def test_a_missing_torchvision_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(RefusedInput, match="come from one index"):
        load_classifier("resnet18")


def test_a_torchvision_that_does_not_fit_is_explained_and_ours_do_without(tmp_path):
    fake = tmp_path / "torchvision"
    fake.mkdir()
    (fake / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); " + (
        "from trainers import load_classifier; load_classifier('smallcnn'); "
        "from trainers.models.sources.torchvision_models import import_torchvision as find; find()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "RefusedInput" in last
    assert "torchvision::nms" in last
    assert "pip install --force-reinstall torch torchvision" in last


def test_a_working_torchvision_is_returned():
    assert import_torchvision() is torchvision


FACTORIES = """
from torch import nn
from neighbour_of_factory import SIDE

def build(num_classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, num_classes))

def fixed():
    return build(10)

def any_options(**options):
    return build(**options)

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, SIDE)
    def forward(self, x):
        return self.conv(x).flatten(1)

def text():
    return "a model"

def fails():
    return undefined_name

instance = build()

class Soft(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10].softmax(1)

class NaN(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :10] * float("nan")

class Whole(nn.Module):
    def forward(self, x):
        return (x.flatten(1)[:, :10].long())

class Maps(nn.Module):
    def forward(self, x):
        return x

class Pair(nn.Module):
    def forward(self, x):
        return x.flatten(1), x
"""


@pytest.fixture
def factories(tmp_path):
    (tmp_path / "neighbour_of_factory.py").write_text("SIDE = 8")
    (tmp_path / "models_of_user.py").write_text(FACTORIES)
    yield str(tmp_path / "models_of_user.py")
    for name in ("neighbour_of_factory", "models_of_user"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("name", "classes"), [("build", 4), ("any_options", 4), ("Net", 4)])
def test_a_users_factory_is_called_with_what_it_takes(factories, name, classes):
    before = list(sys.path)
    model = load_classifier(f"{factories}:{name}", num_classes=classes, image_size=8)
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, classes)
    assert sys.path == before


def test_a_users_module_is_found_beside_the_working_directory(factories, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = load_classifier("models_of_user:build", num_classes=3)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 3)


def test_a_file_below_the_home_folder_finds_its_neighbours(factories, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    model = load_classifier("~/models_of_user.py:build", num_classes=3)
    assert model(torch.zeros(1, 3, 8, 8)).shape == (1, 3)


def test_files_of_one_name_are_not_confused(tmp_path):
    for classes in (2, 5):
        folder = tmp_path / str(classes)
        folder.mkdir()
        (folder / "model.py").write_text(
            f"from torch import nn\ndef build():\n    return nn.Linear(1, {classes})\n"
        )
    sizes = [load_classifier(f"{tmp_path}/{c}/model.py:build").out_features for c in (2, 5)]
    assert sizes == [2, 5]


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("text", ValueError, r"returned a str; it has to return a torch\.nn\.Module"),
        ("nothing", ValueError, "no factory 'nothing' .*build"),
        ("instance", ValueError, "name a function or class"),
        ("fails", RefusedInput, "failed with NameError"),
        ("fixed", RefusedInput, "has 10 classes and the data 4"),
        ("NaN", RefusedInput, "NaN"),
        ("Whole", RefusedInput, r"torch\.int64"),
        ("Maps", RefusedInput, r"\(2, 3, 8, 8\); a classifier returns logits"),
        ("Pair", RefusedInput, "has 192 classes and the data 10"),
    ],
)
def test_a_factory_that_is_no_good_gets_one_clear_sentence(factories, name, kind, message):
    classes = 4 if name == "fixed" else 10
    with pytest.raises(kind, match=message) as caught:
        load_classifier(f"{factories}:{name}", num_classes=classes, image_size=8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["nowhere/model.py:build", "no_such_package.models:build"])
def test_code_that_is_not_there(where):
    with pytest.raises(ValueError, match="there is no"):
        load_classifier(where)


def test_code_that_does_not_import(tmp_path):
    (tmp_path / "bad.py").write_text("def build(:\n")
    with pytest.raises(RefusedInput, match="SyntaxError"):
        load_classifier(f"{tmp_path}/bad.py:build")
    (tmp_path / "worse.py").write_text("import a_library_nobody_has\n")
    with pytest.raises(RefusedInput, match="a_library_nobody_has"):
        load_classifier(f"{tmp_path}/worse.py:build")


def test_a_model_for_another_shape_is_refused(factories):
    with pytest.raises(RefusedInput, match=r"fails on samples of shape \(3, 9, 9\)"):
        load_classifier(f"{factories}:build", image_size=9)


def test_probabilities_are_warned_about(factories, caplog):
    model = load_classifier(f"{factories}:Soft", num_classes=10)
    (warning,) = probe_classifier(model, (3, 8, 8), 10)
    assert "softmax" in warning
    assert warning in caplog.text
    assert probe_classifier(load_classifier("smallcnn"), (3, 8, 8), 10) == []


def test_the_probe_leaves_the_model_as_it_was():
    model = load_classifier("smallcnn").train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    probe_classifier(model, (3, 8, 8), 10)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
