import pytest
import torch
import torchvision
from safetensors.torch import load_file, save_file

from attacks import PGD
from attacks.errors import RefusedInput
from augment import iterate, load_dataset
from trainers import load_classifier
from trainers.fit.classifier import FitOptions, fit_classifier
from trainers.models.factory import build
from trainers.models.networks.registry import OURS
from trainers.run.main import main

SMALL = ["c3d-small", "lrcn"]


def clips(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(1, 16, 16, 16), (3, 16, 64, 64), (3, 9, 24, 33)])
def test_small_models_take_clips_of_any_size(name, shape):
    model = load_classifier(name, num_classes=5, in_channels=shape[0], image_size=shape[1:])
    x = clips(3, *shape)
    assert model(x).shape == (3, 5)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))  # samples do not see each other


@pytest.mark.parametrize(("name", "count"), [("c3d-small", 182_388), ("lrcn", 106_900)])
def test_small_models_are_small(name, count):
    assert parameters(load_classifier(name, num_classes=4)) == count


@pytest.mark.parametrize("name", SMALL)
def test_every_frame_has_a_gradient_in_eval_mode(name):
    model = load_classifier(name, num_classes=4).requires_grad_(False)
    x = clips(2, 3, 16, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, 0].sum(), x)
    assert (gradient.abs().sum((1, 3, 4)) > 0).all()  # (B, T)


@pytest.mark.parametrize("name", SMALL)
def test_the_order_of_the_frames_counts(name):
    torch.manual_seed(0)
    model = load_classifier(name, num_classes=4)
    x = clips(1, 3, 16, 16, 16)
    assert not torch.allclose(model(x), model(x.flip(2)), atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_an_attack_runs_on_clips(name):
    model = load_classifier(name, num_classes=4)
    x = clips(2, 3, 16, 16, 16)
    y = model(x).argmax(1)
    result = PGD(steps=2)(model, x, y)
    assert result.x_adv.shape == x.shape
    assert (result.loss > 0).all()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("c3d-small", (3, 16, 16), r"takes clips \(B, C, T, H, W\).*smallcnn"),
        ("c3d-small", (3, 3, 16, 16), "at least 4 frames of 8x8 pixels and got 3 of 16x16"),
        ("lrcn", (3, 16, 7, 16), "at least 1 frames of 8x8 pixels and got 16 of 7x16"),
    ],
)
def test_samples_of_no_use_are_refused(name, shape, message):
    with pytest.raises(RefusedInput, match=message):
        load_classifier(name, num_classes=4, in_channels=shape[0], image_size=shape[1:])


def test_lrcn_calls_its_cnn_once_on_the_frames_in_a_row():
    model = load_classifier("lrcn", num_classes=4)
    seen = []
    model.cnn.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = clips(2, 3, 5, 16, 16)
    model(x)
    (frames,) = seen
    assert frames.shape == (10, 3, 16, 16)
    assert torch.equal(frames[5 + 3], x[1, :, 3])


def test_lrcn_answers_from_its_state_after_the_last_frame():
    torch.manual_seed(0)
    model = load_classifier("lrcn", num_classes=4)
    x = clips(2, 3, 5, 16, 16)
    weights = {name.removesuffix("_l0"): w for name, w in model.lstm.state_dict().items()}
    cell = torch.nn.LSTMCell(256, 64)
    cell.load_state_dict(weights)
    state = None
    with torch.no_grad():
        for frame in x.unbind(2):
            seen = model.cnn(frame)  # (B, F)
            seen = seen - seen.mean(1, keepdim=True)
            seen = seen / (seen.square().mean(1, keepdim=True) + 1e-5).sqrt()
            state = cell(seen, state)
        torch.testing.assert_close(model(x), model.head(state[0]), rtol=1e-4, atol=1e-5)


def test_lrcn_begins_by_remembering():
    torch.manual_seed(0)
    lstm = load_classifier("lrcn", num_classes=4).lstm
    bias = (lstm.bias_ih_l0 + lstm.bias_hh_l0).view(4, -1)  # of input, forget, cell, output
    assert (bias[1] == 1).all()
    assert (bias[[0, 2, 3]].abs() < 0.5).all()


@pytest.mark.parametrize("name", ["c3d-small", "lrcn", "c3d", "i3d"])
def test_the_same_seed_gives_the_same_weights(name):
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(OURS[name](num_classes=4, **({"width": 2} if name == "c3d" else {})))
    first, second = (m.state_dict() for m in models)
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("name", torchvision.models.list_models(torchvision.models.video))
def test_torchvision_video_networks_come_with_their_normalisation_and_size(name, monkeypatch):
    with torch.device("meta"):
        model = build(name, num_classes=400, in_channels=3).network
    weights = torchvision.models.get_model_weights(name).DEFAULT
    assert parameters(model) == weights.meta["num_params"]
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: torch.nn.Identity())
    normalize = build(name, num_classes=400, in_channels=3).normalize
    x = clips(2, 3, 4, 6, 6)
    preset = weights.transforms(crop_size=(6, 6), resize_size=(6, 6))
    theirs = preset(x.transpose(1, 2).contiguous())  # (B, C, T, H, W)
    torch.testing.assert_close(normalize(x), theirs, rtol=1e-4, atol=1e-4)


def test_torchvision_video_normalisation_is_part_of_the_model(tmp_path):
    torch.manual_seed(0)
    model = load_classifier("mc3_18", num_classes=4)
    x = clips(1, 3, 4, 16, 16)
    mean = torch.tensor([0.43216, 0.394666, 0.37645]).view(3, 1, 1, 1)
    std = torch.tensor([0.22803, 0.22145, 0.216989]).view(3, 1, 1, 1)
    torch.testing.assert_close(model(x), model.model((x - mean) / std))
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    save_file(model.model.state_dict(), tmp_path / "theirs.safetensors")
    for file in ("own", "theirs"):
        loaded = load_classifier("mc3_18", weights=tmp_path / f"{file}.safetensors")
        torch.testing.assert_close(loaded(x), model(x))
    given = load_classifier("mc3_18", num_classes=4, mean=[0.0] * 3, std=[1.0] * 3)
    assert given.normalize.mean.tolist() == [0.0] * 3


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("mvit_v2_s", (16, 64, 64), "takes clips of 16 frames of 224x224 .* 16x64x64"),
        ("mvit_v1_b", (32, 224, 224), "takes clips of 16 frames of 224x224"),
        ("s3d", (16, 64, 64), "at least 14 frames of 224x224"),
        ("s3d", (8, 224, 224), "at least 14 frames"),
        ("r3d_18", (32, 32), "takes clips .* the samples are 32x32.*smallcnn for images"),
        ("i3d", (8, 64, 64), "at least 9 frames of 8x8 pixels and got 8 of 64x64"),
        ("i3d", (9, 7, 64), "at least 9 frames of 8x8 pixels and got 9 of 7x64"),
    ],
)
def test_networks_say_which_clips_they_take(name, size, message):
    with pytest.raises(RefusedInput, match=message):
        load_classifier(name, num_classes=4, image_size=size)


def test_a_users_factory_takes_videos(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def build(num_classes, in_channels):\n"
        "    pool = nn.AdaptiveAvgPool3d(1)\n"
        "    return nn.Sequential(pool, nn.Flatten(), nn.Linear(in_channels, num_classes))\n"
    )
    model = load_classifier(
        f"{tmp_path}/net.py:build", num_classes=3, image_size=(4, 8, 8), in_channels=1,
        mean=[0.5], std=[0.25],
    )  # fmt: skip
    assert model(clips(2, 1, 4, 8, 8)).shape == (2, 3)


@pytest.mark.slow
def test_c3d_small_learns_which_way_digits_move():
    train, test = (load_dataset("moving-digits", s, samples=300) for s in ("train", "test"))
    torch.manual_seed(0)
    model = load_classifier("c3d-small", num_classes=6, in_channels=1)
    fit_classifier(model, train, FitOptions(epochs=4, batch_size=16), seed=0)
    assert accuracy(model, test) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_lrcn_learns_which_way_digits_move(seed):
    train, test = (load_dataset("moving-digits", split) for split in ("train", "test"))
    torch.manual_seed(seed)
    model = load_classifier("lrcn", num_classes=6, in_channels=1)
    fit_classifier(model, train, FitOptions(epochs=6, batch_size=16), seed=seed)
    assert accuracy(model, test) > 0.9


def accuracy(model, ds):
    with torch.no_grad():
        right = [model(x).argmax(1) == y for x, y, _ in iterate(ds, batch_size=64)]
    return float(torch.cat(right).float().mean())


@pytest.mark.parametrize(("words", "kind"), [([], "stage4"), (["--model", "lrcn"], "lstm")])
def test_jobs_take_the_small_c3d_for_videos_unless_told_otherwise(tmp_path, words, kind):
    words += ["--smoke", "--threads", "1", "--train-samples", "30", "--test-samples", "6"]
    words += ["--data", "moving-digits", "--attacks", "fgsm", "--run-dir", str(tmp_path / "run")]
    assert main(["evaluate", *words]) == 0
    saved = load_file(tmp_path / "run" / "checkpoints" / "classifier.safetensors")
    assert any(name.startswith(kind) for name in saved)
