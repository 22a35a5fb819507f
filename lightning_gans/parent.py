"""A process that stops when the one that started it lets go of it, or is there no more.

    python -m lightning_gans.parent fit …

is `python -m lightning_gans fit …` with a pipe as its standard input, of which another process holds the other end.
Nothing is written to it; when it closes, in whatever way, this process stops as by SIGTERM. Nothing here takes long to
import, so that the pipe is watched from the beginning.
"""

import os
import runpy
import signal
import threading

_following = threading.Event()


def follow() -> None:
    """Stop as by SIGTERM when the pipe on standard input closes."""

    def wait() -> None:
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    _following.set()
    threading.Thread(target=wait, daemon=True).start()


def is_following() -> bool:
    """Whether this process is one that stops with another: a person speaks to that one alone."""
    return _following.is_set()


if __name__ == "__main__":
    # by its name, for this is another copy of it
    from lightning_gans.parent import follow as begin

    begin()
    runpy.run_module("lightning_gans", run_name="__main__", alter_sys=True)
