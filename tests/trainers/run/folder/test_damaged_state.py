"""Damaged files of a run folder: one error, which names the file and what to do, and that works."""

import json
import shlex
import shutil
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from attacks import RefusedInput
from tests.slow_but import slow_but
from tests.soak.folders import differences
from trainers.run.cli.toml import SEAL
from trainers.run.folder.atomic import cached_json, is_present, make_checked, read_json
from trainers.run.folder.checkpoint import check_items, is_finished, load_item, save_item
from trainers.run.folder.metrics import Metrics
from trainers.run.main import main, parse_command

COMMON = [
    "--smoke", "--threads", "1", "--train-samples", "24", "--test-samples", "12", "--batch-size",
    "8",
]  # fmt: skip
WORDS = ["evaluate", *COMMON, "--attacks", "fgsm", "--curve", "none", "--masking-samples", "0"]
DEEP = "[" * 100_000
BAD = [
    ("status.json", "{}"),
    ("status.json", "[]"),
    ("status.json", '{"state": 3}'),
    ("status.json", '{"state": "finished", "files": [1]}'),
    ("status.json", DEEP),
    ("status.json", b"\xff\xfe"),
    ("status.json", None),
    ("summary.json", "[]"),
    ("summary.json", "{}"),
    ("summary.json", '{"job": "evaluate", "attacks": {"fgsm": 3}}'),
    ("summary.json", ""),
    ("summary.json", DEEP),
    ("metrics.jsonl", "garbage\n"),
    ("metrics.jsonl", "{}\n"),
    ("metrics.jsonl", '{"name": "a", "step": 1e999, "time": 0, "values": {}}\n'),
    ("metrics.jsonl", '{"name": "a", "step": 1, "time": NaN, "values": {}}\n'),
    ("metrics.jsonl", '{"name": "a", "step": 1, "time": 1, "values": {"x": "y"}}\n'),
    ("metrics.jsonl", b"\xff\n"),
    ("metrics.jsonl", None),
    ("checkpoints/test-fgsm/seconds.json", '"x"'),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run-of-it"
    assert main([*WORDS, "--run-dir", str(folder)]) == 0
    return folder


def break_file(file: Path, text: str | bytes | None) -> None:
    file.unlink(missing_ok=True)
    if text is None:
        file.mkdir()
    else:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_damaged_file_is_named_with_a_remedy(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None
) -> None:
    folder = tmp_path / "run-again"
    shutil.copytree(whole, folder)
    if "checkpoints" in name:  # read where the run goes on
        (folder / "status.json").unlink()
    break_file(folder / name, text)
    for _ in range(2):  # the first refusal leaves it as it was
        began = time.monotonic()
        assert main(["--resume", str(folder)]) == 3
        assert time.monotonic() - began < 30
        said = capsys.readouterr().err
        assert said.startswith(f"train.py: {folder / name} is damaged (")
        assert said.endswith("; delete it and resume: it is made again\n")
        assert said.count("\n") == 1


JOBS = {
    "evaluate": WORDS,
    "attack": ["attack", *COMMON, "--attack", "fgsm"],
    "universal": ["attack", *COMMON, "--attack", "universal:passes=1"],
    "encode": ["compress", "encode", *COMMON],
}


@pytest.mark.parametrize(
    ("job", "finished"),
    slow_but([("encode", False), ("attack", True)], product(JOBS, (True, False))),
)
def test_a_folder_in_place_of_a_file_and_the_reverse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], job: str, finished: bool
) -> None:
    """Guards every file that a job writes: refused by name, and the advice, followed, works."""
    whole, folder = tmp_path / "run-of-it", tmp_path / "run-again"
    assert main([*JOBS[job], "--run-dir", str(whole)]) == 0
    kinds = {place.suffix or place.name: place for place in sorted(whole.rglob("[!.]*"))}
    for place in kinds.values():  # one of each kind
        if "tensorboard" in place.parts or place.name in (".lock", "config.toml", "seconds.json"):
            continue
        shutil.copytree(whole, folder)
        victim = folder / place.relative_to(whole)
        if not finished:
            (folder / "status.json").unlink(missing_ok=True)
        if place.is_dir():
            shutil.rmtree(victim)
            victim.touch()
        else:
            victim.unlink(missing_ok=True)
            victim.mkdir()
        capsys.readouterr()
        code, said = main([*JOBS[job], "--run-dir", str(folder)]), capsys.readouterr().err
        if place.name == "checkpoints":
            assert (code, f"{victim} is damaged" in said, "--run-dir" in said) == (3, True, True)
            shutil.rmtree(folder)
            continue
        assert (code, f"{victim} is damaged (it is no f" in said) == (3, True), (victim, said)
        victim.unlink() if victim.is_file() else victim.rmdir()  # as it says
        assert main([*JOBS[job], "--run-dir", str(folder)]) == 0, victim
        assert differences(whole, folder) == [], victim
        shutil.rmtree(folder)


def test_the_summary_of_another_run_is_refused(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run-again"
    shutil.copytree(whole, folder)
    file = folder / "summary.json"
    text = file.read_text()
    for other in (text.replace('"seconds": ', '"seconds": 1'), text.replace("fgsm", "pgd")):
        file.write_text(other)
        assert main(["--resume", str(folder)]) == (0 if '"fgsm"' in other else 3)
    assert f"{file} is damaged (it was changed after" in capsys.readouterr().err
    file.unlink()
    assert main(["--resume", str(folder)]) == 0
    assert differences(whole, folder) == []


CHANGED = "was changed after the run was begun"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        *slow_but(
            [("seed = 0", "seed = 1", CHANGED)],
            [
                ("seed = 0", "seed = 1", CHANGED),
                ("threads = 1", "threals = 1", CHANGED),
                ("job = ", "jpb = ", CHANGED),
                ('job = "evaluate"', 'job = "attack"', CHANGED),
            ],
        ),
        ("# norm", "# nprm", None),
        ("seed = 0", "seed = ", "is not TOML"),
        ("seed = 0", "seed = \ud800", "is not TOML"),
        (SEAL, "# no digest", None),
    ],
)
def test_a_config_that_was_changed(
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    said: str | None,
) -> None:
    folder = tmp_path / "run-again"
    shutil.copytree(whole, folder)
    file = folder / "config.toml"
    text = file.read_text()
    assert (old in text) or said is None
    file.write_bytes(text.replace(old, new, 1).encode(errors="surrogatepass"))
    for words in (["--resume", str(folder)], [*WORDS, "--run-dir", str(folder)]):
        capsys.readouterr()
        assert main(words) == (3 if said else 0)
        error = capsys.readouterr().err
        assert said is None or (f"{file} {said}" in error and "another --run-dir" in error)
    if said == "was changed after the run was begun":  # as it says: options again, another folder
        *_, line = (folder / "command.txt").read_text().splitlines()
        again = [word for word in shlex.split(line)[2:] if word != str(whole)]
        assert main([*again, str(tmp_path / "run-anew")]) == 0
        file.write_text(text)  # or put back
        assert main(["--resume", str(folder)]) == 0


def test_a_config_without_a_digest_that_has_unknown_options(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run-again"
    shutil.copytree(whole, folder)
    file = folder / "config.toml"
    text = file.read_text().partition(SEAL)[0]
    for old, new in (("threads = 1", "threals = 1"), ("seed = 0", 'seed = "x"')):
        file.write_text(text.replace(old, new))
        assert main(["--resume", str(folder)]) == 3
        error = capsys.readouterr().err
        assert str(file) in error
        assert "another --run-dir" in error


def test_the_config_of_a_run_may_be_changed_for_another_run(whole: Path, tmp_path: Path) -> None:
    """Guards: the digest is for a folder's own config alone."""
    file = tmp_path / "mine.toml"
    file.write_text((whole / "config.toml").read_text().replace("seed = 0", "seed = 1"))
    assert parse_command(["evaluate", "--config", str(file)]).config.run.seed == 1


@pytest.mark.parametrize(
    "name", slow_but(["summary.json"], ["status.json", "summary.json", "metrics.jsonl"])
)
def test_the_remedy_works(whole: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run-again"
    shutil.copytree(whole, folder)
    (folder / name).unlink()
    assert main([*WORDS, "--run-dir", str(folder)]) == 0
    assert differences(whole, folder) == []


def test_an_item_is_known_by_its_place(tmp_path: Path) -> None:
    first, second = (tmp_path / "checkpoints" / name for name in ("a.json", "b.json"))
    assert [cached_json(file, lambda: {"x": 1, "seconds": 2.5}) for file in (first, second)][1][
        "x"
    ] == 1
    first.write_bytes(second.read_bytes())
    with pytest.raises(RefusedInput, match=r"another item's\); delete it and resume"):
        cached_json(first, dict)
    one, two = (tmp_path / "checkpoints" / f"{name}.safetensors" for name in "ab")
    for file in (one, two):
        save_item(file, {}, 1)
    one.write_bytes(two.read_bytes())
    with pytest.raises(RefusedInput, match="another item's"):
        load_item(one)
    with pytest.raises(RefusedInput, match=r"a\.safetensors is damaged \(it is another item's"):
        check_items(one.parent)  # though nothing may need it
    one.unlink()
    check_items(one.parent)


def test_metrics_are_made_again_in_their_order(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, add = tmp_path / "run-of-it", Metrics.add

    def killed(metrics: Metrics, name: str, **more: Any) -> None:
        if name.endswith("epoch-002"):
            raise KeyboardInterrupt
        add(metrics, name, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Metrics, "add", killed)
        assert main([*WORDS, "--run-dir", str(folder)]) == 130
    (folder / "metrics.jsonl").unlink()
    assert main([*WORDS, "--run-dir", str(folder)]) == 0
    assert differences(whole, folder) == []


@pytest.mark.parametrize("text", ["{}", "[]", "null", DEEP, '{"value": 1}', b"\xff", "", None])
def test_an_item_that_is_none_is_refused(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "round-000.json"
    break_file(file, text)
    with pytest.raises(RefusedInput, match=r"round-000.json is damaged .*; delete it and resume"):
        cached_json(file, dict)


@pytest.mark.parametrize("names", [[0.5], {"a": 1}, None, "report.html"])
def test_an_item_whose_names_are_none_is_refused(tmp_path: Path, names: object) -> None:
    file = tmp_path / "round-000.json"
    cached_json(file, lambda: 1)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"beside": names}))
    with pytest.raises(RefusedInput, match=r"round-000.json is damaged .*; delete it and resume"):
        cached_json(file, dict)


def test_any_changed_number_of_an_item_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "round-000.json"
    cached_json(file, lambda: {"accuracy": 0.75, "seconds": 1.5})
    text = file.read_text()
    file.write_text(text.replace("1.5", "2.5"))  # a time, which two equal runs do not share
    assert cached_json(file, dict)["seconds"] == 2.5
    for changed in (text.replace("0.75", "0.85"), text.replace("1.5", '"x"')):
        file.write_text(changed)
        with pytest.raises(RefusedInput, match="changed after it was written"):
            cached_json(file, dict)


def test_an_item_is_made_again_without_what_was_made_with_it(tmp_path: Path) -> None:
    item, beside, made = tmp_path / "i.json", tmp_path / "figures" / "b.png", []

    def make() -> int:
        made.append(1)
        beside.parent.mkdir(exist_ok=True)
        beside.touch()
        return len(made)

    assert [cached_json(item, make, beside=lambda: [beside]) for _ in range(2)] == [1, 1]
    beside.unlink()
    assert cached_json(item, make, beside=lambda: [beside]) == 2
    tensors = tmp_path / "t.safetensors"
    save_item(tensors, {}, beside=[beside])
    assert is_finished(tensors)
    beside.unlink()
    assert not is_finished(tensors)


def test_a_file_of_another_format_is_sealed(tmp_path: Path) -> None:
    file, seal = tmp_path / "codec", tmp_path / "codec.json"
    make_checked(file, seal, lambda: file.write_text("a"))
    make_checked(file, seal, lambda: file.write_text("b"))
    assert file.read_text() == "a"
    file.write_text("c")
    with pytest.raises(RefusedInput, match="it was changed"):
        make_checked(file, seal, lambda: None)
    file.unlink()
    make_checked(file, seal, lambda: file.write_text("a"))


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    assert not is_present(tmp_path / "a" / "b")
    for path in (tmp_path, tmp_path / "link", tmp_path / "file" / "inside"):
        with pytest.raises(RefusedInput, match="delete it and resume"):
            is_present(path)
    with pytest.raises(RefusedInput, match="delete it and resume"):
        read_json(tmp_path)


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path / "m.jsonl")
    metrics.add("a", step=1, values={"x": float("nan")})
    assert list(Metrics(metrics.path).lines) == ["a"]
    with metrics.path.open("a") as file:
        file.write('{"name": 3}\n')
    with pytest.raises(RefusedInput, match="line 2 is no measurement"):
        Metrics(metrics.path)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("lr = " + "[" * 3000 + "]" * 3000, 3),
        (".".join(["a"] * 20_001) + " = 1", 3),
        ("[" + ".".join(['"a"'] * 20_001) + "]", 3),
        ("x = {" + ".".join(["a"] * 20_001) + " = 1}", 3),
        ("#" + "x" * 3_000_000, 3),
        ("job = 3", 2),
        ("[job]", 2),
        ("a" * 100_000 + " = 1", 2),
        ("lr = " + "9" * 5000, 3),
    ],
    ids=["deep", "dots", "table", "inline", "long", "job", "job table", "long name", "number"],
)
def test_toml_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, code: int
) -> None:
    file = tmp_path / "c.toml"
    file.write_text(text)
    began = time.monotonic()
    assert main(["rounds", "--config", str(file)]) == code
    assert time.monotonic() - began < 20
    said = capsys.readouterr().err
    assert str(file) in said
    assert len(said) < 1000
