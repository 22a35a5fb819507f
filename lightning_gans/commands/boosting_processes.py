"""Runs that do not depend on one another, in processes of their own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from lightning_gans.callbacks import Interrupted
from lightning_gans.errors import InputError


def train_in_processes(commands: dict[str, list[str]], processes: int, folder: Path) -> None:
    """Run `fit` several times, some at a time; what each says is kept in <folder>/<name>.log.

    Ctrl-C or SIGTERM lets all of them save and stop.

    Args:
        commands: The arguments of `fit` by the name of the run.
        processes: How many at a time.
        folder: Where the logs are.

    Raises:
        Interrupted: When stopped by a signal.
        InputError: If a run fails; the others are stopped.
    """
    waiting, done = list(commands), 0
    running: dict[str, subprocess.Popen[bytes]] = {}
    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while waiting or running:
            while waiting and len(running) < processes and not received:
                name = waiting.pop(0)
                running[name] = _start(commands[name], folder / f"{name}.log")
            if received:
                for process in running.values():
                    process.send_signal(signal.SIGINT)  # once only: the second one would not let it save
                for process in running.values():
                    process.wait()
                stop = Interrupted(received[0], 0)
                stop.args = (f"stopped with {done} of {len(commands)} components trained",)
                raise stop
            for name in [name for name, process in running.items() if process.poll() is not None]:
                status = running.pop(name).returncode
                if status:
                    said = (folder / f"{name}.log").read_text(errors="replace").strip().splitlines() or [""]
                    raise InputError(f"{name} ended with status {status}: {said[-1]}")
                done += 1
                print(f"{done} of {len(commands)} components trained", file=sys.stderr, flush=True)
            time.sleep(0.2)
    finally:
        for process in running.values():
            process.terminate()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _start(arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        # in a session of its own, so that Ctrl-C in a terminal reaches it through us, once
        return subprocess.Popen(
            [sys.executable, "-m", "lightning_gans", "fit", *arguments],
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
