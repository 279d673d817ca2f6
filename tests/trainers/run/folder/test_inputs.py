"""A resumed run reads what it read before, or is refused by name."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.slow_but import slow_but
from tests.soak.folders import differences
from trainers import load_classifier
from trainers.run.main import main

TINY = ["--smoke", "--threads", "1", "--batch-size", "8"]
NET = """
from torch import nn
from helper import classes
def make(): return nn.Sequential(nn.Flatten(), nn.Linear(64, classes()))
"""
LAZY = """
def make():
    import lazy_parts
    return lazy_parts.Net()
"""
PARTS = """
from torch import nn
class Net(nn.Sequential):
    def __init__(self): super().__init__(nn.Flatten(), nn.Linear(64, 3))
"""
ELSEWHERE = """
import sys
from pathlib import Path
root = Path(__file__).parents[1]
sys.path[:0] = [str(root / "lib"), str(root)]
import far_away
def make():
    import lazy_parts
    return lazy_parts.Net()
"""
LOADS = """
import torch
from pathlib import Path
from torch import nn
def make():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    net.load_state_dict(torch.load(Path(__file__).with_name("own.pt")))
    return net
"""


def change_weights(file: Path) -> None:
    save_file({name: value + 1e-3 for name, value in load_file(file).items()}, file)


def change_npz(file: Path, name: str = "x_test") -> None:
    arrays = dict(np.load(file))
    arrays[name] = (arrays[name] + 1) % 3
    np.savez(file, **arrays)


def change_text(file: Path) -> None:
    file.write_text(file.read_text() + "# changed\n")


def change_picture(file: Path) -> None:
    pixels = np.asarray(Image.open(file)).copy()
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(file)


def change_own(file: Path) -> None:
    state = torch.load(file)
    state["1.bias"] += 1
    torch.save(state, file)


def change_byte(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, weights, models, a codec, an R, code files and a fitted attack."""
    root = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
    y = np.arange(60) % 3
    np.savez(root / "d.npz", x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    for i, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = root / f"photos/{'train' if i < 40 else 'test'}/c{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(folder / f"{i:02}.png")
    (root / "classes.txt").write_text("c0 zero\nc1 one\nc2 two\n")
    torch.manual_seed(0)
    model = load_classifier("smallcnn", num_classes=3, in_channels=1)
    save_file(model.state_dict(), root / "w.safetensors")
    (root / "net.py").write_text(NET)
    (root / "helper.py").write_text("def classes(): return 3\n")
    (root / "loads.py").write_text(LOADS)
    (root / "lazy.py").write_text(LAZY)
    (root / "lazy_parts.py").write_text(PARTS)
    (root / "lib").mkdir()
    (root / "lib/far_away.py").write_text("")
    (root / "models").mkdir()
    (root / "models/elsewhere.py").write_text(ELSEWHERE)
    (root / "package").mkdir()
    (root / "package/__init__.py").write_text("")
    (root / "package/net.py").write_text(NET.replace("from helper", "from package.helper"))
    (root / "package/helper.py").write_text("def classes(): return 3\n")
    torch.save({"1.weight": torch.randn(3, 64), "1.bias": torch.zeros(3)}, root / "own.pt")
    data = ["--data", f"npz:{root}/d.npz"]
    fit = ["compress", "fit", *TINY, *data, "--network", "unet:width=4,depth=1"]
    assert main([*fit, "--run-dir", str(root / "fit")]) == 0
    codec, network = str(root / "fit/codec.sprt"), str(root / "fit/network.safetensors")
    encode = ["compress", "encode", *TINY, *data, "--codec", codec, "--network", network]
    assert main([*encode, "--run-dir", str(root / "encode")]) == 0
    words = ["attack", *TINY, *data, "--attack", "universal", "--weights", f"{root}/w.safetensors"]
    assert main([*words, "--run-dir", str(root / "universal")]) == 0
    return root


OWN = ("helper", "package", "package.net", "package.helper", "lazy_parts", "far_away")
DATA, WEIGHTS = ["--data", "npz:d.npz"], ["--weights", "w.safetensors"]
ATTACK = ["attack", *TINY, "--attack", "fgsm"]  # of few samples
EVALUATE = ["evaluate", *TINY, "--attacks", "fgsm", "--curve", "none", "--masking-samples", "0"]
PHOTOS = ["--data", "imagefolder:photos"]
CODEC = ["--codec", "fit/codec.sprt"]
NETWORK = ["--network", "fit/network.safetensors"]
COMPRESS = ["compress", "evaluate", *TINY, "--peers", "jpeg", "--kinds", "x"]
Case = tuple[list[str], str, Callable[[Path], None], str]
CASES: list[Case] = [
    ([*ATTACK, *DATA, *WEIGHTS], "w.safetensors", change_weights, "--weights w.safetensors"),
    ([*ATTACK, *DATA, *WEIGHTS], "d.npz", change_npz, "--data npz:d.npz (test samples)"),
    ([*ATTACK, *DATA, *WEIGHTS], "d.npz", lambda file: change_npz(file, "y_test"), "(test"),
    ([*EVALUATE, *PHOTOS, *WEIGHTS], "photos/test/c0/42.png", change_picture, "imagefolder:photos"),
    ([*ATTACK, *PHOTOS, *WEIGHTS], "photos/test/c0/42.png", Path.unlink, "imagefolder:photos"),
    ([*ATTACK, *PHOTOS, *WEIGHTS], "photos/test/c0/42.png",
     lambda file: file.rename(file.with_name("x.png")), "imagefolder:photos"),
    ([*ATTACK, *PHOTOS, *WEIGHTS, "--classes", "classes.txt"], "classes.txt",
     lambda file: file.write_text("c0 a\nc1 b\nc2 c\n"), "--classes classes.txt"),
    ([*ATTACK, *DATA, "--model", "net.py:make"], "net.py", change_text, "net.py, of --model net"),
    ([*ATTACK, *DATA, "--model", "net.py:make"], "helper.py", change_text, "helper.py, of"),
    ([*ATTACK, *DATA, "--model", "package.net:make"], "package/helper.py", change_text,
     "package/helper.py, of --model package.net:make"),
    ([*ATTACK, *DATA, "--model", "lazy.py:make"], "lazy_parts.py", change_text,
     "lazy_parts.py, of --model lazy.py:make"),
    ([*ATTACK, *DATA, "--model", "models/elsewhere.py:make"], "lib/far_away.py", change_text,
     "the module far_away, of --model models/elsewhere.py:make"),
    ([*ATTACK, *DATA, "--model", "models/elsewhere.py:make"], "lazy_parts.py", change_text,
     "the module lazy_parts, of --model models/elsewhere.py:make"),
    ([*ATTACK, *DATA, "--model", "loads.py:make"], "own.pt", change_own,
     "the classifier that --model loads.py:make makes"),
    ([*ATTACK, *DATA, *WEIGHTS, "--attack", "universal/universal.safetensors"],
     "universal/universal.safetensors", lambda file: shutil.copy("other.safetensors", file),
     "--attack universal/universal.safetensors"),
    (["attack", *TINY, *DATA, *WEIGHTS, "--attack", "universal"], "d.npz",
     lambda file: change_npz(file, "x_train"), "(train samples)"),
    (["rounds", *TINY, *DATA, "--epochs", "1", "--attacks", "pgd"], "d.npz",
     lambda file: change_npz(file, "x_train"), "(train samples)"),
    (["compress", "fit", *TINY, *DATA], "d.npz", lambda file: change_npz(file, "x_train"),
     "(train samples)"),
    (["compress", "encode", *TINY, *DATA, *CODEC], "fit/codec.sprt", change_byte,
     "--codec fit/codec.sprt"),
    (["compress", "encode", *TINY, *DATA, *CODEC, *NETWORK], "fit/network.safetensors", change_byte,
     "--network fit/network.safetensors"),
    (["compress", "decode", "--code", "encode/codes", *CODEC, *NETWORK], "encode/codes/00000.sprc",
     change_byte, "--code encode/codes/00000.sprc"),
    (["compress", "decode", "--code", "encode/codes", *CODEC, *NETWORK], "encode/codes/a/new.sprc",
     lambda file: (file.parent.mkdir(), shutil.copy("encode/codes/00000.sprc", file)),
     "--code encode/codes (its list"),
    (["compress", "decode", "--code", "encode/codes", *CODEC, *NETWORK], "encode/codes/new.sprc",
     lambda file: shutil.copy("encode/codes/00000.sprc", file), "--code encode/codes (its list"),
    ([*COMPRESS, *DATA, *CODEC, *WEIGHTS, "--judge-model", "smallcnn", "--judge-weights",
      "w.safetensors"], "w.safetensors", change_weights, "--judge-weights w.safetensors"),
    ([*COMPRESS, *DATA, *CODEC, *WEIGHTS], "d.npz", lambda file: change_npz(file, "x_train"),
     "(train samples)"),
]  # fmt: skip


def named(case: Case) -> str:
    return f"{' '.join(case[0][:2])} {case[3]}"


def takes_long(case: Case) -> bool:
    words, name, *_ = case
    return words[:2] == ["compress", "evaluate"] or words[0] == "rounds" or "photos/" in name


MARKED = [
    pytest.param(case, marks=[pytest.mark.slow] * takes_long(case), id=named(case))
    for case in CASES
]


@pytest.mark.parametrize("case", MARKED)
def test_a_change_between_start_and_resume_is_refused_by_name(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: Case,
) -> None:
    words, name, change, message = case
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    for module in OWN:  # of another test's
        monkeypatch.delitem(sys.modules, module, raising=False)
    assert main([*words, "--run-dir", "run"]) == 0
    status = Path("run/status.json")
    status.write_text(json.dumps(json.loads(status.read_text()) | {"state": "interrupted"}))
    kept = Path(name).read_bytes() if Path(name).exists() else None
    change(Path(name))
    capsys.readouterr()
    assert main(["--resume", "run"]) == 3
    shown = capsys.readouterr().err
    assert message in shown
    assert "is not what it was when the run in run was begun; put back" in shown
    Path(name).parent.joinpath("x.png").unlink(missing_ok=True)
    if kept is None:  # as the message says
        Path(name).unlink()
    else:
        Path(name).write_bytes(kept)
    assert main(["--resume", "run"]) == 0


MADE = [
    (["compress", "encode", *TINY, *DATA], "codec.sprt"),
    (["compress", "encode", *TINY, *PHOTOS, "--split", "test"], "codec.sprt"),
    (["attack", *TINY, *DATA, *WEIGHTS, "--attack", "universal"], "universal.safetensors"),
]


@pytest.mark.parametrize(("words", "name"), slow_but(MADE[:1], MADE))
def test_a_fitted_file_is_made_again_or_refused(
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    name: str,
) -> None:
    monkeypatch.chdir(made)
    folder, whole = tmp_path / "run-again", tmp_path / "run-of-it"
    for place in (folder, whole):
        assert main([*words, "--run-dir", str(place)]) == 0
    status = folder / "status.json"
    other = (made / "fit/codec.sprt").read_bytes()
    for content in (b"x", *([other] * (other != (folder / name).read_bytes())), None):
        status.write_text(json.dumps(json.loads(status.read_text()) | {"state": "interrupted"}))
        (folder / name).unlink()
        if content is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_bytes(content)
        assert main(["--resume", str(folder)]) == 3
        assert f"{folder / name} is damaged (" in capsys.readouterr().err
        shutil.rmtree(folder / name) if content is None else (folder / name).unlink()  # as it says
        assert main(["--resume", str(folder)]) == 0
        assert differences(whole, folder) == []


@pytest.mark.parametrize(
    "gone", slow_but(["codes"], ["codes", "checkpoints/coded", "checkpoints/codes", "codec.sprt"])
)
def test_the_codes_of_pictures_are_made_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    monkeypatch.chdir(made)
    words = ["compress", "encode", *TINY, *PHOTOS, "--split", "test"]
    for name in ("run-again", "run-of-it"):
        assert main([*words, "--run-dir", str(tmp_path / name)]) == 0
    place = tmp_path / "run-again" / gone
    files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.is_file())
    for file in files[::2]:
        file.unlink()
    (tmp_path / "run-again/status.json").unlink()
    assert main([*words, "--run-dir", str(tmp_path / "run-again")]) == 0
    assert differences(tmp_path / "run-of-it", tmp_path / "run-again") == []


def test_samples_that_are_read_on_demand_are_told_by_their_files(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from augment import load_dataset

    monkeypatch.setattr("augment.datasets.images.reading.MOST_MEMORY", 0)
    first = load_dataset(f"imagefolder:{made}/photos", "test").digest()
    assert first == load_dataset(f"imagefolder:{made}/photos", "test").digest()
    monkeypatch.setattr("augment.dataset._SPREAD", 1)  # the last picture is not looked at
    file = made / "photos/test/c2/59.png"
    kept, before = file.read_bytes(), load_dataset(f"imagefolder:{made}/photos", "test").digest()
    file.write_bytes(kept + b"x")
    assert load_dataset(f"imagefolder:{made}/photos", "test").digest() != before
    file.write_bytes(kept)


def test_the_outcome_of_other_weights_is_not_shown(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made)
    shutil.copy("w.safetensors", tmp_path / "w.safetensors")
    words = [*ATTACK, *DATA, "--weights", f"{tmp_path}/w.safetensors"]
    words += ["--run-dir", str(tmp_path / "run")]
    assert main(words) == 0
    whole = (tmp_path / "run/status.json").read_bytes()
    change_weights(tmp_path / "w.safetensors")
    capsys.readouterr()
    assert main(words) == 3
    shown = capsys.readouterr()
    assert "w.safetensors is not what it was when the run in" in shown.err
    assert "outcome" not in shown.out
    (tmp_path / "w.safetensors").unlink()
    assert main(words) == 0
    assert "is finished; its outcome" in capsys.readouterr().out
    assert (tmp_path / "run/status.json").read_bytes() == whole


def test_the_outcome_of_other_code_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    Path("net.py").write_text(NET)
    Path("helper.py").write_text("def classes(): return 10\n")
    words = [*ATTACK, "--model", "net.py:make", "--run-dir", "run"]
    assert main(words) == 0
    change_text(Path("helper.py"))
    assert main(words) == 3
    assert "helper.py, of --model net.py:make, is not what it was" in capsys.readouterr().err


def test_a_run_whose_inputs_are_not_known_does_not_go_on(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(made)
    folder = tmp_path / "run"
    assert main([*ATTACK, *DATA, *WEIGHTS, "--run-dir", str(folder)]) == 0
    whole = (folder / "inputs.json").read_bytes()
    status = json.loads((folder / "status.json").read_text())
    for content in (b"", b"[]", b"{", b'{"--weights w.safetensors": 3}'):
        (folder / "status.json").write_text(json.dumps(status | {"state": "interrupted"}))
        (folder / "inputs.json").write_bytes(content)
        assert main(["--resume", str(folder)]) == 3
        shown = capsys.readouterr().err
        assert "inputs.json is damaged" in shown
        assert "not known; begin another run with another --run-dir\n" in shown
    (folder / "inputs.json").unlink()
    assert main(["--resume", str(folder)]) == 3  # or items of two classifiers might be mixed
    assert "inputs.json is gone" in capsys.readouterr().err
    (folder / "inputs.json").write_bytes(whole)
    assert main(["--resume", str(folder)]) == 0
    other = tmp_path / "other"  # as the message says
    assert main([*ATTACK, *DATA, *WEIGHTS, "--run-dir", str(other)]) == 0
    assert (other / "inputs.json").read_bytes() == whole
