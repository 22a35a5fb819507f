"""When one process of a run fails, the run ends: with its words, and without one that waits for it."""

import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from lightning_gans import processes
from lightning_gans.errors import InputError, LostProcess
from lightning_gans.processes import ending_together
from tests.cli_tools import ENTRY, TINY, environment

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *ENTRY[1:]]


def trainer_that_started(*scripts: str) -> Any:
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), len(scripts) + 1, 1)
    launcher.procs = [subprocess.Popen(["sh", "-c", script]) for script in scripts]
    return SimpleNamespace(strategy=SimpleNamespace(launcher=launcher))


def test_a_process_that_fails_ends_those_that_it_started(monkeypatch: Any) -> None:
    monkeypatch.setattr(processes, "GRACE", 0.5)
    trainer = trainer_that_started("exit 7", "sleep 1000")
    observed = trainer.strategy.launcher.procs
    started = observed[:]
    with pytest.raises(InputError, match="the cause"), ending_together(trainer):
        raise InputError("the cause")
    assert [process.returncode for process in started] == [7, -signal.SIGKILL]
    # else Lightning's observer would kill this one for the others' ends
    assert observed == []


def test_a_process_that_succeeds_waits_for_the_end_of_those_that_it_started() -> None:
    trainer = trainer_that_started("sleep 0.5", "true")
    started = trainer.strategy.launcher.procs[:]
    with ending_together(trainer):
        pass
    assert [process.returncode for process in started] == [0, 0]


@pytest.mark.parametrize(("script", "end"), [("sleep 0.2; exit 3", 3), ("sleep 1000", -signal.SIGKILL)])
def test_a_process_that_succeeds_alone_has_not_succeeded(monkeypatch: Any, script: str, end: int) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 1.0)
    trainer = trainer_that_started("true", script)
    started = trainer.strategy.launcher.procs[:]
    with pytest.raises(LostProcess, match=r"is through, .* another process .* failed"), ending_together(trainer):
        pass
    assert [process.returncode for process in started] == [0, end]


def test_an_unanswered_communication_is_told_from_every_other_error(tmp_path: Path) -> None:
    if torch.distributed.is_initialized():  # by another test, in this process
        torch.distributed.destroy_process_group()
    alone = SimpleNamespace(strategy=SimpleNamespace(launcher=None))
    with pytest.raises(LostProcess, match="--ckpt_path last"), ending_together(alone):
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=2, timeout=timedelta(seconds=0.1)
        )
    with pytest.raises(RuntimeError, match="of another kind"), ending_together(alone):
        raise RuntimeError("of another kind")


def failing(
    tmp_path: Path, entry: list[str], callback: str = "FailingRank", **failure: object
) -> tuple[subprocess.CompletedProcess[str], float]:
    """A run on two processes of which one fails, and how many seconds it took."""
    failure = {f"--trainer.callbacks.{name}": value for name, value in failure.items()}
    options: dict[str, object] = {
        "--config": TINY,
        "--runs": tmp_path,
        "--trainer.devices": 2,
        "--trainer.max_steps": 3,
        "--trainer.limit_val_batches": 0,
        "--data.batch_size": 50,
        "--trainer.callbacks+": f"tests.failing_rank.{callback}",
    }
    words = [str(word) for option in (options | failure).items() for word in option]
    begun = time.monotonic()
    done = subprocess.run(
        [*entry, "fit", *words],
        env=environment("no-data-here"),
        cwd=ROOT,
        capture_output=True,  # until the last process is gone
        text=True,
        timeout=150,
        check=False,
    )
    return done, time.monotonic() - begun


def test_a_first_process_that_fails_at_the_end_takes_along_one_that_waits_for_it(tmp_path: Path) -> None:
    done, _ = failing(tmp_path, ENTRY, rank=0, hook="on_train_end", deaf="true")
    assert done.returncode == 2, done.stderr
    assert "error: rank 0 fails in on_train_end" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_process_that_fails_when_the_first_one_is_through_fails_the_run(tmp_path: Path) -> None:
    done, _ = failing(tmp_path, ENTRY, rank=1, hook="on_fit_end")
    assert done.returncode == 1, done.stderr
    assert "error: rank 1 fails in on_fit_end" in done.stderr
    assert "but another process of this run failed or did not end" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_all_processes_end_says_why(tmp_path: Path) -> None:
    done, _ = failing(tmp_path, ENTRY, "Unhealthy")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("training stopped: the game has gone wrong") == 2
    assert "this process is through" not in done.stderr


def test_a_process_that_is_interrupted_while_it_waits_leaves_nobody_behind(monkeypatch: Any) -> None:
    trainer = trainer_that_started("sleep 1000")
    (other,) = trainer.strategy.launcher.procs
    wait = subprocess.Popen.wait

    def interrupted(self: Any, timeout: float | None = None) -> int:
        if timeout is not None:
            raise KeyboardInterrupt
        return wait(self)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt), ending_together(trainer):
        pass
    assert other.returncode == -signal.SIGKILL


def test_nobody_waits_for_processes_that_leave_their_group_together(monkeypatch: Any) -> None:
    trainer = trainer_that_started("sleep 1000")
    (other,) = trainer.strategy.launcher.procs
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: "nccl")
    with ending_together(trainer):
        pass
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["own", "torchrun"])
@pytest.mark.parametrize(
    ("rank", "hook", "step"),
    [
        *(
            (rank, *moment)
            for rank in (0, 1)
            for moment in (("setup", 0), ("on_train_batch_end", 2), ("on_train_end", 0))
        ),
        # after the last communication
        (0, "on_fit_end", 0),
        (1, "on_fit_end", 0),
    ],
)
@pytest.mark.parametrize("expected", ["true", "false"])
def test_whichever_process_fails_whenever_the_run_ends_with_its_words(
    launch: str, rank: int, hook: str, step: int, expected: str, tmp_path: Path
) -> None:
    entry = ENTRY if launch == "own" else TORCHRUN
    done, _ = failing(tmp_path, entry, rank=rank, hook=hook, step=step, expected=expected)
    assert done.returncode != 0
    assert f"rank {rank} fails in {hook}" in done.stderr
    # nobody else has anything to say but that a process is gone
    assert f"[rank{1 - rank}]" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["own", "torchrun"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_waits_as_gpus_do_is_not_left_waiting(launch: str, rank: int, tmp_path: Path) -> None:
    entry = ENTRY if launch == "own" else TORCHRUN
    done, _ = failing(tmp_path, entry, rank=rank, hook="on_train_batch_end", step=2, deaf="true")
    assert done.returncode != 0
    assert f"rank {rank} fails in on_train_batch_end" in done.stderr
