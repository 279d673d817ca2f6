"""A user's own folders with the names of our packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


# Runs a script as `python SCRIPT` does, where our packages are not installed as editable ones.
PLAIN = """
import runpy, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.argv[:] = sys.argv[1:]
sys.path[0] = sys.argv[0].rpartition("/")[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(script: Path, where: Path, path: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(script), "--help"],
        cwd=where, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    return done.returncode, done.stderr + done.stdout


@pytest.mark.parametrize("name", ["attacks", "augment", "compress", "trainers"])
def test_a_folder_of_the_user_s_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    script = Path(shutil.copy(ROOT / "train.py", tmp_path))
    code, shown = start(script, tmp_path, str(ROOT))
    assert code == 2
    assert f"{tmp_path}/{name}" in shown
    assert f"is found in place of our own package {name}" in shown
    assert "command `sparring`" in shown
    assert shown.count("\n") == 1
    # What the message says: the command does not look there; nor does our own train.py.
    command = tmp_path / "bin/sparring"
    command.parent.mkdir()
    command.write_text("import sys\nfrom trainers.run.main import main\nsys.exit(main())\n")
    assert start(command, tmp_path, str(ROOT))[1].startswith("usage: sparring ")
    assert start(ROOT / "train.py", tmp_path, "")[1].startswith("usage: train.py ")


def test_a_folder_that_pythonpath_names(tmp_path: Path) -> None:
    (tmp_path / "attacks").mkdir()
    (tmp_path / "attacks/__init__.py").write_text("")
    command = tmp_path / "bin/sparring"
    command.parent.mkdir()
    command.write_text("import sys\nfrom trainers.run.main import main\nsys.exit(main())\n")
    code, shown = start(command, tmp_path, f"{tmp_path}:{ROOT}")
    assert code == 2
    assert shown.endswith(f"or take {tmp_path} out of PYTHONPATH\n")
