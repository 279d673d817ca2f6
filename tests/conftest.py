"""What tests of several packages share."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

# How fast samples are drawn says how busy the machine is.
settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("busy")

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, that share the cores
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

DATA = Path(os.environ.get("SPARRING_DATA", Path(__file__).parents[2] / "shared/data"))


@pytest.fixture(scope="session")
def real_data():
    """Return the path of a folder of real data: in SPARRING_DATA, or shared/data beside us."""

    def folder(name):
        if not (DATA / name).exists():
            pytest.skip(f"{DATA / name} is not there; set SPARRING_DATA to run this")
        return DATA / name

    return folder


@pytest.fixture(autouse=True, scope="session")
def no_traces(tmp_path_factory):
    """Keep what is cached for the user, such as indices of videos, out of the user's folder."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    """Escape file names that are no UTF-8: what a test has printed goes to another process."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report
