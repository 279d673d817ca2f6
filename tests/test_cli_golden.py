"""What a user sees of the command line, through real processes."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = [
    "--smoke", "--threads", "1", "--train-samples", "40", "--test-samples", "20",
    "--attacks", "pgd", "--attack-samples", "pgd=20", "--augmentation", "none",
]  # fmt: skip


def train(
    *words: str, before: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "train.py", *words], cwd=ROOT, capture_output=True, text=True,
        check=False, preexec_fn=before,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100", "NO_COLOR": "1"},
    )  # fmt: skip


COMMON = (
    "--smoke --seed --device --threads --run-dir --resume --data --model --weights --classes "
    "--num-classes --binary --size --frames --stride --clips --mean --std --defence "
    "--train-samples --test-samples --batch-size --download --debug --config --print-config"
)
OVERVIEW = """\
usage: train.py [JOB] [OPTIONS]        (no job: rounds)

  rounds             Attack, retrain, re-attack: the main job.
  fit                Fit a classifier, also against attacks (--method), and measure it.
  attack             Perturb samples and save them, with scores and pictures.
  evaluate           Measure a classifier: clean accuracy, and accuracy under each attack.
  detect             Fit a detector of attacked samples; measure it, also by attacks that know it.
  explain            Show what a classifier looked at, by several methods, and score the maps.
  network            Show what a classifier's layers respond to.
  representation     Lead samples to the representations of others, and tell how like them they get.
  compress fit       Fit a codec's statistics to a data set, for `compress encode`.
  compress encode    Code samples as small files; of a folder of pictures, a file for each.
  compress decode    Decode files: images become PNG, videos mkv; samples of one size also one npz.
  compress evaluate  Measure codecs: bytes against what they keep for the eye and for classifiers.
  review             Decide which perturbed samples of a run still show their class.
  report             Make the report of a run anew, or compare several runs.
  runs               List the runs of a folder, with what each came to.
  models             List what --model takes; `models WORD`: the names with a word in them.

  train.py                         attack and retrain a small classifier of digits
  train.py JOB --help              the options of a job
  train.py JOB --smoke             try a job in seconds
  train.py --resume runs/DIR       go on with an interrupted run
"""


COMPRESS = """\
usage: train.py compress JOB [OPTIONS]

  compress fit       Fit a codec's statistics to a data set, for `compress encode`.
  compress encode    Code samples as small files; of a folder of pictures, a file for each.
  compress decode    Decode files: images become PNG, videos mkv; samples of one size also one npz.
  compress evaluate  Measure codecs: bytes against what they keep for the eye and for classifiers.
"""
JOBS = (
    "rounds, fit, attack, evaluate, detect, explain, network, representation, compress fit, "
    "compress encode, compress decode, compress evaluate, review, report, runs, models"
)


@pytest.mark.parametrize(("words", "page"), [([], OVERVIEW), (["compress"], COMPRESS)])
def test_the_overview(words: list[str], page: str) -> None:
    done = train(*words, "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, page, "")


@pytest.mark.parametrize(
    "job",
    [
        "rounds",
        "fit",
        "attack",
        "evaluate",
        "detect",
        "explain",
        "network",
        "representation",
        "compress fit",
        "compress encode",
        "compress evaluate",
    ],
)
def test_help_is_quick_and_names_its_options(job: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = train(*job.split(), "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Its own seconds, whatever else the machine has to do.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: train.py {job} [-h] [OPTIONS]")
    for flag in COMMON.split():
        assert f" {flag} " in done.stdout, flag


@pytest.mark.parametrize(
    ("job", "headings"),
    [
        ("rounds", "run data classifier rounds review training"),
        ("fit", "run data classifier training measurement"),
        ("attack", "run data classifier attack"),
        ("evaluate", "run data classifier measurement"),
        ("detect", "run data classifier detector"),
        ("explain", "run data classifier explanation"),
        ("network", "run data classifier network"),
        ("representation", "run data classifier representation"),
        ("compress fit", "run data classifier codec"),
        ("compress encode", "run data classifier code"),
        ("compress decode", "run code"),
        ("compress evaluate", "run data classifier measurement"),
    ],
)
def test_help_groups_its_options(job: str, headings: str) -> None:
    shown = train(*job.split(), "--help").stdout
    assert re.findall(r"^╭─ (\S+) options ─", shown, re.MULTILINE) == headings.split()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from trainers.run.main import main; main(['rounds', '--help']);"
        "print([m for m in ('torch', 'numpy', 'kornia', 'PIL', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["roundz"], 2, "train.py: there is no job 'roundz'; did you mean rounds? "
         f"allowed: {JOBS}"),
        (["compress"], 2, "train.py: there is no job 'compress'; did you mean compress fit? "
         f"allowed: {JOBS}"),
        (["compress", "fitt"], 2, "train.py: there is no job 'compress fitt'; "
         f"did you mean compress fit? allowed: {JOBS}"),
        (["compress", "encode", "--step", "0.1", "--bytes-per-sample", "30"], 2,
         "train.py: --step 0.1 and --bytes-per-sample 30 exclude each other; give one of them"),
        (["compress", "encode", "--attack", "pgd"], 2, "train.py: --attack has no use with "
         "--kind x; leave it out, or give --kind delta"),
        (["compress", "encode", "--weights", "w.pt"], 2, "train.py: --weights has no use with "
         "--kind x; leave it out, or give --kind x-task or delta"),
        (["compress", "decode"], 2, "train.py: --code names no file; give a *.sprc file that "
         "`compress encode` made, or the folder of several"),
        (["compress", "evaluate", "--rates", "30", "0"], 2,
         "train.py: --rates is 0; allowed: numbers of bytes above 0"),
        (["compress", "evaluate", "--kinds", "x", "--task", "views=2"], 2,
         "train.py: --task has no use without x-task; leave it out, or give --kinds x-task"),
        (["--rounds", "-1"], 2, "train.py: --rounds is -1; allowed: at least 0"),
        (["fit", "--epochs", "0"], 2, "train.py: --epochs is 0; allowed: at least 1"),
        (["fit", "--beta", "3"], 2, "train.py: --beta has no use with --method standard; leave it "
         "out, or give --method trades or mart"),
        (["rounds", "--method", "fast", "--train-steps", "3"], 2, "train.py: --train-steps has no "
         "use with --method fast and --retrain-method fast; leave it out, or give --retrain-method "
         "pgd-at or trades or mart or free"),
        (["fit", "--method", "mart", "--label-smoothing", "0.1"], 2, "train.py: --label-smoothing "
         "has no use with --method mart; leave it out, or give --method standard or bank or "
         "pgd-at or trades or fast or free or ensemble"),
        (["attack", "--eps", "1/x"], 2, "'1/x' is no number; write 0.03 or 8/255"),
        (["--epss", "1"], 2, "Unrecognized options: --epss"),
        (["evaluate", "--data", "cifar10:x"], 3,
         "train.py: x: no such folder; write cifar10:DIR with an existing one"),
        (["--config", "none.toml"], 3,
         "train.py: cannot read the config none.toml: No such file or directory; "
         "give a file that --print-config wrote"),
        (["--resume", "none"], 2, "train.py: --resume none: no run folder (it has no config.toml); "
         "give that of a run"),
    ],
)  # fmt: skip
def test_errors_say_what_and_what_next(words: list[str], code: int, message: str) -> None:
    done = train(*words)
    assert done.returncode == code
    assert done.stdout == ""
    assert message in done.stderr
    if message.startswith("train.py"):
        assert done.stderr == message + "\n"


def test_print_config_round_trips(tmp_path: Path) -> None:
    first = train("rounds", "--print-config", "--eps", "4/255", "--data", "npz:x.npz")
    (tmp_path / "c.toml").write_text(first.stdout)
    assert train("--config", str(tmp_path / "c.toml"), "--print-config").stdout == first.stdout
    assert f"eps = {4 / 255}" in first.stdout


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in train("--rounds", "-1", "--debug").stderr


FULL = "train.py: the disk is full"


@pytest.mark.slow
def test_a_file_that_cannot_grow_is_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    done = train("rounds", *TINY, "--run-dir", str(folder), before=limit)
    assert done.returncode == 1
    assert done.stderr.startswith(FULL)
    assert done.stderr.count("\n") == 1
    assert not list(folder.rglob("*.partial"))
    assert train("rounds", *TINY, "--run-dir", str(folder)).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs leave to mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_a_full_disk_keeps_what_was_there(small_disk: Path) -> None:
    words = ["rounds", *TINY, "--run-dir", str(small_disk / "run")]
    done = train(*words)
    assert done.returncode == 1
    assert done.stderr.startswith(FULL)
    assert done.stderr.count("\n") == 1
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert not list(small_disk.rglob("*.partial"))
    done = train(*words)
    assert done.returncode == 0, done.stderr
    assert "stopped: the one round is done" in done.stdout
