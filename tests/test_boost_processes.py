"""``boost`` with components in processes of their own: the same runs, and no process outlives it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from lightning_gans.__main__ import main
from lightning_gans.callbacks import GracefulStop, Interrupted, interruption
from lightning_gans.commands.boosting_processes import train_in_processes
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


LONG = ["--trainer.max_steps", "100000", "--trainer.val_check_interval", "100000", "--checkpoints.every_n_steps=20"]


def begun(runs: Path) -> subprocess.Popen[str]:
    """`boost` in a process, with components that would train for long; both of them have saved a state."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_gans", *ARGUMENTS, *PROCESSES, *LONG, "--runs", str(runs)],
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


def test_stopped_all_processes_save(tmp_path: Path):
    arguments = ["--config", str(tmp_path / "tiny.yaml"), *LONG, "--runs", str(tmp_path)]
    config = yaml.safe_load(TINY.read_text())
    del config["boost"]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    commands = {name: [*arguments, "--experiment", name] for name in ("one", "other")}

    def signal_all() -> None:
        wait_until(lambda: len(list(tmp_path.glob("*/version_0/checkpoints/last.ckpt"))) == 2)
        for number in (*_children(os.getpid()), os.getpid()):  # all at once, as where a service is stopped
            os.kill(number, signal.SIGTERM)

    stopping = threading.Thread(target=signal_all)
    stopping.start()
    with hold(tmp_path, "") as held, pytest.raises(Interrupted, match="SIGTERM with 0 of 2 components trained"):
        train_in_processes(commands, 2, tmp_path, held)
    stopping.join()
    for name in commands:
        stopped = step(tmp_path / name / "version_0")
        assert f"stopped by SIGTERM after step {stopped}; saved" in (tmp_path / f"{name}.log").read_text()


@pytest.mark.parametrize("follows", [False, True])
def test_a_second_signal_is_the_same_wish_where_a_process_follows_another(follows: bool, monkeypatch):
    monkeypatch.setattr(interruption, "is_following", lambda: follows)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    try:
        GracefulStop()._remember(signal.SIGTERM, None)
        after = [signal.getsignal(number) for number in numbers]
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert after == ([signal.SIG_IGN] * 2 if follows else [signal.default_int_handler, signal.SIG_DFL])


def test_killed_it_takes_its_processes_along_and_they_hold_the_folder_to_their_end(tmp_path: Path):
    process = begun(tmp_path)
    folder = tmp_path / "boost" / "version_0"
    children = _children(process.pid)
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


def _children(parent: int) -> list[int]:
    """The processes that train components, among those that a process has started."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True)
    children = [int(line.split()[0]) for line in listed.stdout.splitlines() if "lightning_gans.parent" in line]
    assert len(children) == 2
    return children


def _is_free(folder: Path) -> bool:
    try:
        hold(folder, "").close()
    except InputError:
        return False
    return True
