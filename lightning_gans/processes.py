"""The processes of one run end together: none is left waiting for one that has failed.

A communication waits for every process; on GPUs it does not notice that one of them is gone, and waits until its
timeout. Whoever started the processes must therefore end them all when one fails. Lightning's launcher does so for the
processes that it has started, torchrun for all, ``srun --kill-on-bad-exit=1`` for all. What is left is here: the first
process, which is the one that Lightning's launcher runs in, takes the others along when it fails itself, and waits for
their end when it does not: a run has not succeeded before its last process has. (Not under NCCL, whose processes leave
their group together, at the very end: there one that waits for the others' ends would keep them from ending.)
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from lightning_gans.errors import LostProcess

GRACE = 5.0
"""Seconds that the other processes have for their last words, in case they have failed too."""
PATIENCE = 60.0
"""Seconds that the other processes have to end after the first one is through."""


@contextmanager
def ending_together(trainer: Trainer) -> Iterator[None]:
    """Within this context, a process that fails ends those that it has started, and one that succeeds waits for them.

    Args:
        trainer: Whose processes.

    Raises:
        LostProcess: In place of what a communication raises when another process is gone; and if this process is
            through, but one that it has started failed or does not end.
    """
    try:
        yield
    except BaseException as error:
        _end_started(trainer, GRACE)
        if isinstance(error, RuntimeError) and _from_communication(error):
            raise LostProcess(
                "another process of this run is gone, so it cannot go on; its last words are above, if it had any. "
                "Resume with the same command and --ckpt_path last"
            ) from error
        raise
    if _leaves_alone() and any(_end_started(trainer, PATIENCE)):
        raise LostProcess(
            "this process is through, and what it wrote is whole, but another process of this run failed or did not "
            "end; its last words are above, if it had any"
        )


def _leaves_alone() -> bool:
    """Whether a process can end while this one is still in their group."""
    group = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not group or torch.distributed.get_backend() == "gloo"


def _end_started(trainer: Trainer, patience: float) -> list[int]:
    """Wait for the processes that this one has started, kill those that take too long; how they ended."""
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return []
    processes = launcher.procs[:]
    # Lightning's observer of this very list would kill this process too, before its last words
    launcher.procs.clear()
    end = time.monotonic() + patience
    try:
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
    finally:  # also if a person grows impatient
        for process in processes:
            # what hangs in a communication is deaf to milder signals
            process.kill()
            process.wait()
    return [process.returncode for process in processes]


def _from_communication(error: BaseException) -> bool:
    """Whether an exception was raised in torch.distributed; its backends have no classes of their own for this."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("torch.distributed")
