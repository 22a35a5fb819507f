"""One trial as a process of its own, in a folder of its own.

    trials/trial_0003/output.log             what it printed
    trials/trial_0003/version_0/             its run folder, as of any `fit`
    trials/trial_0003/.running               locked for as long as its process lives

The lock is inherited by the process itself. A runner that was killed leaves its trials running; the next one finds
their locks held, waits for them instead of starting them again, and takes what they leave.
"""

import csv
import fcntl
import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lightning_gans.files import atomic_path
from lightning_gans.runs import CHECKPOINTS, is_finished, versions

LAST = f"{CHECKPOINTS}/last.ckpt"
_CLOSING = (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM, -signal.SIGINT)


def run_folder_of(folder: Path) -> Path | None:
    """The newest run in a trial's folder; None before there is one."""
    return runs[-1] if (runs := versions(folder)) else None


def can_resume(folder: Path) -> bool:
    """Whether the newest run in a trial's folder left a checkpoint to go on from."""
    run = run_folder_of(folder)
    return run is not None and (run / LAST).is_file() and not is_finished(run)


def was_stopped(status: int | None) -> bool:
    """Whether an exit status says that a signal asked the process to stop."""
    return status in _CLOSING


class TrialProcess:
    """A running trial.

    Args:
        folder: The trial's folder.
        pid: Of its process.
        popen: The process, if it is our own; None for one that an earlier runner started.
    """

    def __init__(self, folder: Path, pid: int | None, popen: subprocess.Popen[bytes] | None = None):
        self.folder = folder
        self.pid = pid
        self._popen = popen

    @classmethod
    def start(cls, folder: Path, line: Sequence[str], environment: dict[str, str]) -> "TrialProcess":
        """Start a command line, its output added to the trial's output.log.

        Args:
            folder: The trial's folder.
            line: What to run.
            environment: Its whole environment.

        Raises:
            OSError: If there is no such program.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with _lock_file(folder).open("w") as lock, (folder / "output.log").open("ab") as log:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # a group of its own: Ctrl-C in the terminal reaches the runner only, which stops its trials itself
            popen = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,
                pass_fds=[lock.fileno()],
            )
        return cls(folder, popen.pid, popen)

    @property
    def is_own(self) -> bool:
        """Whether this runner started it, and so will know its exit status."""
        return self._popen is not None

    def poll(self) -> bool:
        """Whether it has ended."""
        if self._popen is not None:
            return self._popen.poll() is not None
        return not is_running(self.folder)

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs, and where an earlier runner would have known it."""
        return None if self._popen is None else self._popen.returncode

    def stop(self) -> None:
        """Ask it to save and stop: its first process only, which tells the other ranks itself."""
        self._signal(signal.SIGTERM, everybody=False)

    def kill(self) -> None:
        """End it and its ranks at once."""
        self._signal(signal.SIGKILL, everybody=True)

    def clear(self) -> None:
        """After a bad end: take the ranks along that it left behind."""
        if self._popen is not None and self._popen.returncode not in (0, None):
            self._signal(signal.SIGKILL, everybody=True)

    def _signal(self, number: int, everybody: bool) -> None:
        if self.pid is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            (os.killpg if everybody else os.kill)(self.pid, number)


def is_running(folder: Path) -> bool:
    """Whether the process of the trial in this folder lives, whoever started it."""
    path = _lock_file(folder)
    if not path.is_file():
        return False
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _lock_file(folder: Path) -> Path:
    return folder / ".running"


def trial_environment(slot: int, parallel: int, gpus: Sequence[str]) -> dict[str, str]:
    """The environment of a trial.

    Trials at once divide the machine: each gets its share of the CPU's cores, and of the GPUs its own as long as
    there are enough, else one in turn. W&B is switched off unless WANDB_MODE says otherwise. "python" means the one
    that runs the sweep.

    Args:
        slot: The trial's place among those at once, from 0.
        parallel: How many there are at once.
        gpus: Names of the GPUs that may be used.
    """
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    environment.setdefault("WANDB_MODE", "disabled")
    environment["PYTHONUNBUFFERED"] = "1"
    if parallel > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // parallel)))
        if gpus:
            share = max(1, len(gpus) // parallel)
            mine = [gpus[(slot * share + index) % len(gpus)] for index in range(share)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    return environment


def visible_gpus() -> list[str]:
    """Names of the GPUs that trials may use, as CUDA_VISIBLE_DEVICES takes them."""
    import torch

    if named := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return [name.strip() for name in named.split(",") if name.strip()]
    return [str(index) for index in range(torch.cuda.device_count())]


class Reading:
    """What a run has logged so far.

    Attributes:
        metrics: The last number of everything.
        step: The last step.
        columns: All numbers of everything, in order.
    """

    def __init__(self, run: Path | None):
        self.metrics: dict[str, float] = {}
        self.columns: dict[str, list[float]] = {}
        self.step: int | None = None
        path = None if run is None else run / "metrics.csv"
        if path is None or not path.is_file():
            return
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                self._add(row)

    def _add(self, row: dict[str, str | None]) -> None:
        for name, text in row.items():
            try:
                value = float(text or "")
            except (TypeError, ValueError):
                continue  # nothing logged at this step, or a line that is just being written
            if name == "step":
                self.step = int(value)
            elif name is not None and name != "epoch":
                self.metrics[name] = value
                self.columns.setdefault(name, []).append(value)

    def history(self, name: str) -> list[float]:
        """All finite numbers of one metric, in order."""
        return [value for value in self.columns.get(name, []) if math.isfinite(value)]


def last_words(folder: Path) -> str:
    """What a trial said when it broke: its sentence, or the last line of its output."""
    path = folder / "output.log"
    lines = [line.strip() for line in path.read_bytes().decode(errors="replace").splitlines()] if path.is_file() else []
    lines = [line for line in lines if line]
    for line in reversed(lines):
        if line.startswith(("error: ", "training stopped: ")):
            return line.partition(": ")[2]
    return lines[-1][:300] if lines else "it said nothing"


def forget_output(folder: Path) -> None:
    """Begin a new output.log, keeping the one before as output.log.1."""
    path = folder / "output.log"
    if path.is_file():
        with atomic_path(folder / "output.log.1") as temporary:
            temporary.write_bytes(path.read_bytes())
        path.unlink()
