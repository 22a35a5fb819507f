"""Runs that do not depend on one another, in processes of their own."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO, Any

from lightning_gans.callbacks import Interrupted
from lightning_gans.errors import InputError

_MOMENT = 0.2  # seconds between two looks at the processes


def train_in_processes(commands: dict[str, list[str]], processes: int, folder: Path, held: IO[Any]) -> None:
    """Run `fit` several times, some at a time; what each says is kept in <folder>/<name>.log.

    Ctrl-C or SIGTERM lets all of them save and stop; so do the failure of one of them, and the end of this process in
    whatever way it comes (see `parent`).

    Args:
        commands: The arguments of `fit` by the name of the run.
        processes: How many at a time.
        folder: Where the logs are.
        held: What holds the folder, which is held until the last of them has ended.

    Raises:
        Interrupted: When stopped by a signal.
        InputError: If a run fails.
    """
    waiting, done = list(commands), 0
    running: dict[str, subprocess.Popen[bytes]] = {}
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            print("\nstopping after the steps in progress; once more to stop at once", file=sys.stderr, flush=True)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while waiting or running or received:
            while waiting and len(running) < processes and not received:
                name = waiting.pop(0)
                running[name] = _start(commands[name], folder / f"{name}.log", held)
            if received:
                _let_go(running, received)
                raise Interrupted(received[0], f"with {done} of {len(commands)} components trained")
            for name in [name for name, process in running.items() if process.poll() is not None]:
                status = running.pop(name).returncode
                if status:
                    said = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines() or [""]
                    raise InputError(f"{name} ended with status {status}: {said[-1]}")
                done += 1
                print(f"{done} of {len(commands)} components trained", file=sys.stderr, flush=True)
            time.sleep(_MOMENT)
    finally:
        _let_go(running, received)
        for number, handler in previous.items():
            signal.signal(number, handler)


def _let_go(running: dict[str, "subprocess.Popen[bytes]"], received: list[int]) -> None:
    """Let processes save and end; at once without saving if a person asks twice."""
    for process in running.values():
        assert process.stdin is not None
        process.stdin.close()
    while any(process.poll() is None for process in running.values()):
        if len(received) > 1:
            for process in running.values():
                process.kill()
        time.sleep(_MOMENT)
    running.clear()


def _start(arguments: list[str], log: Path, held: IO[Any]) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        # in a session of its own, so that Ctrl-C in a terminal reaches it through us alone
        return subprocess.Popen(
            [sys.executable, "-m", "lightning_gans.parent", "fit", *arguments],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            pass_fds=(held.fileno(),),
            start_new_session=True,
        )
