"""Runs that do not depend on one another, in processes of their own."""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from lightning_gans.callbacks import Interrupted
from lightning_gans.errors import InputError


def train_in_processes(commands: dict[str, list[str]], processes: int, folder: Path, held: IO[Any]) -> None:
    """Run `fit` several times, some at a time; what each says is kept in <folder>/<name>.log.

    Ctrl-C or SIGTERM lets all of them save and stop; so does the end of this process, in whatever way it comes.

    Args:
        commands: The arguments of `fit` by the name of the run.
        processes: How many at a time.
        folder: Where the logs are.
        held: What holds the folder, which is held until the last of them has ended.

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
        while waiting or running or received:
            while waiting and len(running) < processes and not received:
                name = waiting.pop(0)
                running[name] = _start(commands[name], folder / f"{name}.log", held)
            if received:
                for process in running.values():
                    process.send_signal(signal.SIGINT)  # once only: the second one would not let it save
                for process in running.values():
                    process.wait()
                raise Interrupted(received[0], f"with {done} of {len(commands)} components trained")
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


def _start(arguments: list[str], log: Path, held: IO[Any]) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        # in a session of its own, so that Ctrl-C in a terminal reaches it through us, once
        return subprocess.Popen(
            [sys.executable, "-m", __name__, "fit", *arguments],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            pass_fds=(held.fileno(),),
            start_new_session=True,
        )


def _end_with_the_parent() -> None:
    """Have this process stop as by SIGTERM when the one that started it is there no more."""

    def wait() -> None:
        # nothing is ever written to this pipe, and its other end closes with the process that has it
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _end_with_the_parent()
    runpy.run_module("lightning_gans", run_name="__main__", alter_sys=True)
