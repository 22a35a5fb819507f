import logging
import os
import shutil
from pathlib import Path

import pytest

# the workers share the cores; before torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.cli_tools import OF_ONE_LAUNCH, TINY, call

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache_of_tests(tmp_path_factory):
    """What tests keep of real images stays out of the user's own cache; subprocesses inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_GANS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def no_launch_left_behind():
    """What a distributed strategy writes into this process's environment ends with its test."""
    yield
    for name in OF_ONE_LAUNCH:
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that holds real MNIST, or a skip that says how to get it."""
    root = Path(os.environ.get("LIGHTNING_GANS_DATA", SHARED_DATA))
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip(f"no MNIST under {root}; set LIGHTNING_GANS_DATA")
    return root


@pytest.fixture(scope="session")
def celeba_root(tmp_path_factory) -> Path:
    """A folder with a small CelebA of drawn faces, in the layout of the published one."""
    from tests.data.faces import write_celeba

    root = tmp_path_factory.mktemp("celeba")
    write_celeba(root, images=128)
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A tiny run trained by the real command line in a process of its own: (run folder, finished process)."""
    runs = tmp_path_factory.mktemp("runs")
    done = call("fit", "--config", TINY, "--runs", runs)
    assert done.returncode == 0, done.stderr
    return runs / "tiny" / "version_0", done


@pytest.fixture
def own_copy(trained, tmp_path):
    """A copy of the trained run for a test that writes into it."""
    folder = tmp_path / "copy" / "tiny" / "version_0"
    shutil.copytree(trained[0], folder)
    return folder


@pytest.fixture
def refused(capsys, monkeypatch):
    """Run a command in this process; return its one sentence of refusal."""
    from lightning_gans.__main__ import main

    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    # Lightning's log handler keeps the stderr of the test that imported it first, long closed by now
    monkeypatch.setattr(logging, "raiseExceptions", False)

    def run(*args: object) -> str:
        try:
            status = main([str(arg) for arg in args])
        except SystemExit as exit_:
            status = exit_.code
        error = capsys.readouterr().err
        assert status == 2, error
        assert "Traceback" not in error
        sentences = [line for line in error.splitlines() if line.startswith("error: ")]
        assert len(sentences) == 1, error
        return error[error.index("error: ") :]

    return run


def pytest_terminal_summary(terminalreporter):
    """Say in every summary, and so in the log of CI, whether the real W&B client ran; skipped, with the reason."""
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            if "sweep/test_wandb.py" in report.nodeid:
                reason = f": {report.longrepr[2]}" if outcome == "skipped" else f" in {report.duration:.0f} s"
                terminalreporter.write_line(f"the real `wandb sweep` and `wandb agent`: {outcome}{reason}")
