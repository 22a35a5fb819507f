"""``boost`` with components in processes of their own: the same runs, and no process outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lightning_gans.__main__ import main
from lightning_gans.errors import InputError
from lightning_gans.files import hold

TINY = Path(__file__).parent / "conf" / "boost.yaml"
ARGUMENTS = ["boost", "--config", str(TINY), "--boost.method", "ensemble"]
PROCESSES = ["--boost.processes", "2"]


def state(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def begun(runs: Path, *args: str) -> subprocess.Popen[str]:
    """`boost` in a process, with components that would train for long; both of them have saved a state."""
    long = ["--trainer.max_steps", "100000", "--trainer.val_check_interval", "100000", "--checkpoints.every_n_steps=20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_gans", *ARGUMENTS, *PROCESSES, *long, "--runs", str(runs), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    folder = runs / "boost" / "version_0"
    wait_until(lambda: len(list(folder.glob("component_*/version_0/checkpoints/last.ckpt"))) == 2)
    return process


def step(folder: Path) -> int:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def test_components_in_processes_are_the_ones_trained_one_after_another(tmp_path: Path, capfd):
    for name, processes in (("one", []), ("two", PROCESSES)):
        assert main([*ARGUMENTS, *processes, "--runs", str(tmp_path / name)]) == 0
    assert "2 of 2 components trained" in capfd.readouterr().err
    one, two = (tmp_path / name / "boost" / "version_0" for name in ("one", "two"))
    for run in ("component_01/version_0", "component_02/version_0", "."):
        weights, others = state(one / run), state(two / run)
        assert weights.keys() == others.keys() and all(torch.equal(weights[key], others[key]) for key in weights)
    stages = [json.loads((folder / "boost.json").read_text())["stages"] for folder in (one, two)]
    assert stages[0] == stages[1]
    assert "finished after 5 steps" in (two / "component_02.log").read_text()


def test_a_component_that_fails_in_its_process_is_named_with_what_it_said(tmp_path: Path, refused):
    diverging = "--model.discriminator_optimizer.init_args.lr=1e30"
    sentence = refused(*ARGUMENTS, *PROCESSES, "--runs", tmp_path, diverging)
    assert "component_0" in sentence and "ended with status 1: training stopped: " in sentence
    assert not list(tmp_path.glob("boost/version_0/mixture_*"))


@pytest.mark.parametrize("to_all", [False, True], ids=["to the parent", "to all"])
def test_stopped_all_processes_save_and_the_same_command_goes_on(tmp_path: Path, to_all: bool):
    process = begun(tmp_path)
    for number in _children(process) if to_all else []:
        os.kill(number, signal.SIGTERM)  # as where a service is stopped
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    folder = tmp_path / "boost" / "version_0"
    for t in (1, 2):
        log = (folder / f"component_0{t}.log").read_text()
        stopped = step(folder / f"component_0{t}" / "version_0")
        assert f"stopped by SIGTERM after step {stopped}; saved" in log
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM with 0 of 2 components trained; saved. The same command goes on from here" in said


def test_when_one_process_is_killed_the_others_save(tmp_path: Path):
    process = begun(tmp_path)
    os.kill(_children(process)[1], signal.SIGKILL)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "ended with status -9" in said
    logs = [(tmp_path / "boost" / "version_0" / f"component_0{t}.log").read_text() for t in (1, 2)]
    assert sum("stopped by SIGTERM after step" in log and "; saved" in log for log in logs) == 1


def test_killed_it_takes_its_processes_along_and_they_hold_the_folder_to_their_end(tmp_path: Path):
    process = begun(tmp_path)
    folder = tmp_path / "boost" / "version_0"
    children = _children(process)
    for child in children:
        os.kill(child, signal.SIGSTOP)  # so that they cannot end yet
    process.kill()
    process.wait()
    with pytest.raises(InputError, match="another"):
        hold(folder, "another process is boosting")
    for child in children:
        os.kill(child, signal.SIGCONT)
    wait_until(lambda: _is_free(folder))
    for t in (1, 2):
        assert "stopped by SIGTERM after step" in (folder / f"component_0{t}.log").read_text()


def _children(process: subprocess.Popen[str]) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    children = [int(number) for number in listed.stdout.split()]
    assert len(children) == 2
    return children


def _is_free(folder: Path) -> bool:
    try:
        hold(folder, "").close()
    except InputError:
        return False
    return True
