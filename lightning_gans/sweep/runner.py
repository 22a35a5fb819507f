"""The local runner of a sweep: proposes, starts, watches, stops and records trials."""

import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning_gans.errors import InputError
from lightning_gans.runs import is_finished
from lightning_gans.sentences import nearest
from lightning_gans.sweep.command import command_line, fit_arguments
from lightning_gans.sweep.folder import TRIALS_FOLDER, lock_sweep, require_same, write_definition
from lightning_gans.sweep.hyperband import falls_behind
from lightning_gans.sweep.process import (
    Reading,
    TrialProcess,
    can_resume,
    forget_output,
    is_running,
    last_words,
    run_folder_of,
    trial_environment,
    visible_gpus,
    was_stopped,
)
from lightning_gans.sweep.schema import Sweep
from lightning_gans.sweep.search import propose
from lightning_gans.sweep.store import Store, Trial
from lightning_gans.sweep.table import LiveTable

POLL_SECONDS = 0.5
GRACE_SECONDS = 120.0
"""How long a trial may take to save and stop before it is killed."""
ATTEMPTS = 2
_HOPELESS = 3
"""So many broken trials and none that worked end the sweep."""


class Stopped(Exception):
    """A signal ended the sweep; its trials are saved.

    Attributes:
        signal_number: SIGINT or SIGTERM.
    """

    def __init__(self, signal_number: int):
        super().__init__(f"stopped by {signal.Signals(signal_number).name}")
        self.signal_number = signal_number


class _Running:
    """A trial that runs now."""

    def __init__(self, trial: Trial, process: TrialProcess, slot: int):
        self.trial, self.process, self.slot = trial, process, slot
        self.since = time.monotonic()
        self.stopping_since: float | None = None
        self.fell_behind = False
        self.reading = Reading(None)
        self._stamp: tuple[int, int] | None = None

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.since

    def read(self) -> Reading:
        """What it has logged so far; read again only where the file has changed."""
        run = run_folder_of(self.process.folder)
        try:
            stat = (run / "metrics.csv").stat() if run else None
        except OSError:
            stat = None
        stamp = (stat.st_mtime_ns, stat.st_size) if stat else None
        if stamp != self._stamp:
            self._stamp, self.reading = stamp, Reading(run)
        return self.reading


class Runner:
    """Runs a sweep in a folder, or goes on with it.

    Args:
        sweep: What to run.
        folder: The sweep's folder.
        parallel: Trials at once.
        seed: Of the search.

    Raises:
        InputError: If the folder holds another sweep, or another process is running this one.
    """

    def __init__(self, sweep: Sweep, folder: Path, parallel: int = 1, seed: int = 0):
        self.sweep, self.folder, self.parallel, self.seed = sweep, folder, parallel, seed
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = lock_sweep(folder)
        require_same(sweep, folder, seed)
        self.store = Store(folder)
        self.table = LiveTable(sweep.goal)
        self._running: list[_Running] = []
        self._gpus = visible_gpus() if parallel > 1 else []
        self._received: int | None = None
        self._forced = False

    def run(self) -> list[Trial]:
        """Run until there is nothing left to try.

        Returns:
            All trials.

        Raises:
            Stopped: After a signal, with everything saved.
            InputError: If the metric is one that no run logs, or nothing works at all.
        """
        write_definition(self.sweep, self.folder, self.seed)
        with self._signals():
            try:
                self._adopt()
                while self._fill() or self._running:
                    self._watch()
                    self.table.show(self.store.trials, self._live())
                    if self._received is not None:
                        raise Stopped(self._received)
                    time.sleep(POLL_SECONDS)
            except BaseException:
                self._stop_all()
                raise
            finally:
                self.table.show(self.store.trials, self._live())
                self._lock.close()
        return self.store.trials

    # ---- starting

    def _adopt(self) -> None:
        """Find what an earlier runner left: trials that still run, and trials whose end nobody saw."""
        for trial in self.store.trials:
            if trial.state != "running":
                continue
            folder = self._folder_of(trial)
            process = TrialProcess(folder, trial.pid)
            if is_running(folder):
                self.table.say(f"trial {trial.number} still runs, started by an earlier runner; waiting for it")
            self._running.append(_Running(trial, process, len(self._running)))

    def _fill(self) -> bool:
        """Start as many trials as there is room for; whether there may be more."""
        while len(self._running) < self.parallel:
            trial = self._next()
            if trial is None:
                return False
            self._start(trial)
        return True

    def _next(self) -> Trial | None:
        at_work = {running.trial.number for running in self._running}
        for trial in self.store.trials:
            waits = trial.state in ("proposed", "interrupted") or (trial.state == "broken" and trial.breaks < ATTEMPTS)
            if waits and trial.number not in at_work:
                return trial
        goal = self.sweep.goal
        # what a broken trial had logged is no result, also while it is tried once more
        done = [trial for trial in self.store.trials if trial.state in ("finished", "terminated")]
        values = [trial.metrics[goal.name] for trial in done if goal and goal.name in trial.metrics]
        if goal and any(goal.is_reached(value) for value in values):
            return None
        proposal = propose(self.sweep, self.store.trials, self.seed)
        return None if proposal is None else self.store.propose(proposal.settings, proposal.point)

    def _start(self, trial: Trial) -> None:
        folder = self._folder_of(trial)
        # what broke by itself would break again from where it broke
        resumed = trial.state == "interrupted" and can_resume(folder)
        line = command_line(self.sweep.command, self.sweep.program, trial.settings)
        line += [f"--runs={self.folder / TRIALS_FOLDER}", f"--experiment={trial.name}"]
        if resumed:
            line.append("--ckpt_path=last")
        else:
            forget_output(folder)
        slot = min(set(range(self.parallel)) - {running.slot for running in self._running})
        self.store.start(trial, resumed)
        try:
            process = TrialProcess.start(folder, line, trial_environment(slot, self.parallel, self._gpus))
        except OSError as error:
            why = f"the command cannot be started: {error.filename}: {error.strerror}"
            self.store.end(trial, "broken", why=why)
            raise InputError(f"{why}; it was: {shlex.join(line)}") from error
        assert process.pid is not None
        self.store.started(trial, process.pid)
        self._running.append(_Running(trial, process, slot))

    def _folder_of(self, trial: Trial) -> Path:
        return self.folder / TRIALS_FOLDER / trial.name

    # ---- watching

    def _watch(self) -> None:
        for running in list(self._running):
            if running.process.poll():
                self._running.remove(running)
                self._end(running)
        self._stop_early()
        now = time.monotonic()
        for running in self._running:
            if running.stopping_since is not None and now - running.stopping_since > GRACE_SECONDS:
                running.process.kill()

    def _end(self, running: _Running) -> None:
        trial, process = running.trial, running.process
        run = run_folder_of(process.folder)
        reading = Reading(run)
        goal = self.sweep.goal
        found: dict[str, Any] = {
            "metrics": reading.metrics,
            "history": reading.history(goal.name) if goal else [],
            "step": reading.step,
            "seconds": round(running.seconds, 1),
        }
        done = self._is_done(running, run)
        process.clear()
        if done:
            self.store.end(trial, "finished", **found)
            self._require_metric(trial, reading)
        elif running.fell_behind:
            self.store.end(trial, "terminated", **found)
        elif running.stopping_since is not None or not process.is_own or was_stopped(process.status):
            self.store.end(trial, "interrupted", **found)
        else:
            why = f"exit status {process.status}: {last_words(process.folder)}"
            self.store.end(trial, "broken", why=why, **found)
            self._require_hope()

    def _is_done(self, running: _Running, run: Path | None) -> bool:
        """Whether a trial got to its end: its run folder says so where its exit status does not."""
        process = running.process
        if process.is_own and process.status != 0:
            return False
        line = command_line(self.sweep.command, self.sweep.program, running.trial.settings)
        # a `fit` that ends by itself is done, even before its last step: by trainer.max_time, for example
        own_end = process.is_own and (running.stopping_since is None or fit_arguments(line) is None)
        return own_end or (run is not None and is_finished(run))

    def _require_metric(self, trial: Trial, reading: Reading) -> None:
        goal = self.sweep.goal
        if goal is None or goal.name in reading.metrics:
            return
        logged = sorted(name for name in reading.metrics if name.startswith("validation/")) or sorted(reading.metrics)
        raise InputError(
            f"metric.name is {goal.name}, but trial {trial.number} is finished and logged no such metric; "
            f"it logged {', '.join(logged) or 'nothing'}{nearest(goal.name, logged)}"
        )

    def _require_hope(self) -> None:
        broken = [t for t in self.store.trials if t.state == "broken" and t.breaks >= ATTEMPTS]
        worked = any(t.state in ("finished", "terminated") for t in self.store.trials)
        if len(broken) >= _HOPELESS and not worked:
            raise InputError(
                f"{len(broken)} trials broke and none worked, so no more are started; the last one: {broken[-1].why} "
                f"(see {self._folder_of(broken[-1]) / 'output.log'})"
            )

    def _stop_early(self) -> None:
        goal, hyperband = self.sweep.goal, self.sweep.hyperband
        if goal is None or hyperband is None or not self._running:
            return
        sign = 1 if goal.minimise else -1
        at_work = {running.trial.number: running for running in self._running}
        histories = {}
        for trial in self.store.trials:
            running = at_work.get(trial.number)
            found = running.read().history(goal.name) if running else trial.history
            histories[trial.number] = [sign * value for value in found]
        everybody = [history for history in histories.values() if history]
        for number, running in at_work.items():
            if running.stopping_since is None and falls_behind(histories[number], everybody, hyperband):
                running.fell_behind = True
                running.stopping_since = time.monotonic()
                running.process.stop()

    def _live(self) -> dict[int, tuple[int | None, float | None, float]]:
        goal = self.sweep.goal
        live = {}
        for running in self._running:
            reading = running.read()
            value = reading.metrics.get(goal.name) if goal else None
            live[running.trial.number] = (reading.step, value, running.seconds)
        return live

    # ---- stopping

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM stops the trials, the second one kills them."""
        previous: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}

        def remember(number: int, frame: FrameType | None) -> None:
            self._forced = self._received is not None
            self._received = number

        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, remember)
        try:
            yield
        finally:
            for number, before in previous.items():
                signal.signal(number, before)

    def _stop_all(self) -> None:
        """Let every running trial save and stop, and record it as interrupted."""
        if not self._running:
            return
        self.table.say(f"stopping {len(self._running)} trial(s), which save first; once more to kill them")
        for running in self._running:
            running.stopping_since = running.stopping_since or time.monotonic()
            running.process.stop()
        until = time.monotonic() + GRACE_SECONDS
        while self._running:
            if self._forced or time.monotonic() > until:
                for running in self._running:
                    running.process.kill()
            for running in list(self._running):
                if running.process.poll():
                    self._running.remove(running)
                    # what it left is looked at, but cannot change how the sweep ends now
                    try:
                        self._end(running)
                    except InputError:
                        continue
                    except OSError as error:  # a full disk; the others are waited for all the same
                        self.table.say(f"the end of trial {running.trial.number} is not recorded: {error}")
            time.sleep(min(POLL_SECONDS, 0.1))
