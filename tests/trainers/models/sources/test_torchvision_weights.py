"""NAME@WEIGHTS by torchvision's own loading: from its cache, from a file:// address, or not."""

import pickle
from hashlib import sha256
from urllib.parse import urlparse

import pytest
import torch
import torchvision
from torchvision.models import GoogLeNet_Weights, SqueezeNet1_1_Weights
from torchvision.models.video import S3D_Weights

from attacks.errors import RefusedInput
from trainers import load_classifier
from trainers.models.sources.torchvision_models import published_weights_of, torchvision_names

SMALL = "squeezenet1_1@IMAGENET1K_V1"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder in which torch.hub keeps weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home/hub/checkpoints"
    folder.mkdir(parents=True)
    return folder


def place(folder, weights, model):
    """Put a model's weights where torch.hub looks for published ones."""
    file = folder / urlparse(weights.url).path.rpartition("/")[2]
    torch.save(model.state_dict(), file)
    return file


@pytest.fixture(scope="module")
def squeezenet():
    torch.manual_seed(0)
    return torchvision.models.squeezenet1_1().eval()


@pytest.mark.parametrize("chosen", ["IMAGENET1K_V1", "DEFAULT"])
def test_weights_come_behind_their_normalisation(cache, squeezenet, chosen, caplog):
    caplog.set_level("INFO")
    place(cache, SqueezeNet1_1_Weights.IMAGENET1K_V1, squeezenet)
    model = load_classifier(f"squeezenet1_1@{chosen}", num_classes=1000, image_size=64)
    x = torch.rand(2, 3, 64, 64)
    normal = torchvision.transforms.functional.normalize(
        x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    )
    torch.testing.assert_close(model(x), squeezenet(normal))
    assert not model.training
    assert f"squeezenet1_1@{chosen}: weights that were trained on samples of 224x224" in caplog.text
    assert "normalised by [0.48" in caplog.text


def test_weights_of_a_video_network(cache):
    theirs = torchvision.models.video.s3d(num_classes=400)
    place(cache, S3D_Weights.KINETICS400_V1, theirs)
    model = load_classifier("s3d@KINETICS400_V1")
    ours, state = model.model.state_dict(), theirs.state_dict()
    assert all(torch.equal(ours[key], state[key]) for key in state)
    assert model.normalize.mean.tolist() == pytest.approx([0.43216, 0.394666, 0.37645])
    with pytest.raises(RefusedInput, match="at least 14 frames of 224x224"):
        load_classifier("s3d@DEFAULT", image_size=(8, 64, 64))


def test_what_torchvision_builds_otherwise_for_weights_is_built_so(cache):
    theirs = torchvision.models.googlenet(init_weights=False, aux_logits=True)
    place(cache, GoogLeNet_Weights.IMAGENET1K_V1, theirs)
    model = load_classifier("googlenet@IMAGENET1K_V1").model
    assert model.transform_input  # these weights want other statistics
    assert model.aux1 is None


def test_the_file_is_fetched_once_and_its_hash_checked(
    cache, squeezenet, tmp_path, monkeypatch, capfd
):
    source = place(tmp_path, SqueezeNet1_1_Weights.IMAGENET1K_V1, squeezenet)
    right = source.rename(
        tmp_path / f"squeezenet-{sha256(source.read_bytes()).hexdigest()[:8]}.pth"
    )
    details = SqueezeNet1_1_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(details, "url", right.as_uri())
    load_classifier(SMALL)
    assert (cache / right.name).read_bytes() == right.read_bytes()
    assert capfd.readouterr().out == ""  # what is fetched is told on the other stream
    right.unlink()
    load_classifier(SMALL)
    wrong = tmp_path / "squeezenet-0badc0de.pth"
    wrong.write_bytes((cache / right.name).read_bytes())
    monkeypatch.setattr(details, "url", wrong.as_uri())
    with pytest.raises(RefusedInput, match="invalid hash value"):
        load_classifier(SMALL)
    assert not (cache / wrong.name).exists()


def test_without_a_network_it_says_what_to_fetch_and_where_to_put_it(
    cache, monkeypatch, squeezenet
):
    details = SqueezeNet1_1_Weights.IMAGENET1K_V1.value
    monkeypatch.setattr(details, "url", "http://127.0.0.1:9/net-12345678.pth")
    with pytest.raises(RefusedInput) as caught:
        load_classifier(SMALL)
    text = str(caught.value)
    assert "\n" not in text
    assert f"the weights of {SMALL} cannot be had" in text
    assert f"fetch http://127.0.0.1:9/net-12345678.pth on a machine with a network and put it on this one as {cache}/net-12345678.pth" in text  # fmt: skip # noqa: E501
    torch.save(squeezenet.state_dict(), cache / "net-12345678.pth")  # the advice, followed
    load_classifier(SMALL)


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), b"PK\x03\x04 no archive", b"<html>"])
def test_a_file_in_the_cache_that_is_none_is_refused_and_not_executed(cache, content):
    file = cache / urlparse(SqueezeNet1_1_Weights.IMAGENET1K_V1.url).path.rpartition("/")[2]
    file.write_bytes(content)
    with pytest.raises(RefusedInput, match=f"remove {file}, which is damaged"):
        load_classifier(SMALL)
    torch.save({"weights": Evil()}, file)
    with pytest.raises(RefusedInput, match="cannot be had"):
        load_classifier(SMALL)


@pytest.mark.parametrize(
    ("name", "options", "kind", "message"),
    [
        (SMALL, {"num_classes": 10}, RefusedInput, "tells 1000 classes apart and 10 are asked for"),
        (SMALL, {"in_channels": 1}, ValueError, "takes 3 channels and the samples have 1"),
        (SMALL, {"binary": True}, RefusedInput, "tells 1000 classes apart and 1 are asked for"),
        (
            "resnet50@V3",
            {},
            ValueError,
            "resnet50@IMAGENET1K_V1, resnet50@IMAGENET1K_V2, .*DEFAULT",
        ),
        ("resnet5@DEFAULT", {}, ValueError, "unknown model .* did you mean resnet50"),
        ("smallcnn@DEFAULT", {}, ValueError, "unknown model .* did you mean smallcnn"),
        ("vgg16@IMAGENET1K_FEATURES", {}, ValueError, "no weights 'IMAGENET1K_FEATURES'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_fetched(
    cache, name, options, kind, message
):
    with pytest.raises(kind, match=message):
        load_classifier(name, **options)
    assert list(cache.iterdir()) == []


def test_other_statistics_than_the_weights_have_are_refused(cache, squeezenet):
    place(cache, SqueezeNet1_1_Weights.IMAGENET1K_V1, squeezenet)
    with pytest.raises(ValueError, match=r"was trained with .*leave --mean out"):
        load_classifier(SMALL, mean=[0.5] * 3, std=[0.5] * 3)


def test_weights_of_the_users_replace_the_published_ones(cache, squeezenet, tmp_path):
    place(cache, SqueezeNet1_1_Weights.IMAGENET1K_V1, squeezenet)
    torch.manual_seed(1)
    other = torchvision.models.squeezenet1_1().eval()
    torch.save(other.state_dict(), tmp_path / "own.pt")
    model = load_classifier(SMALL, weights=tmp_path / "own.pt")
    assert torch.equal(model.model.classifier[1].weight, other.classifier[1].weight)
    assert model.normalize.mean.tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_every_name_has_weights_that_are_described():
    for name in torchvision_names():
        for weights in published_weights_of(name).values():
            preset = weights.transforms()
            assert len(preset.mean) == len(preset.std) == 3
            assert len(preset.crop_size) in (1, 2)
