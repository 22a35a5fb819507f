"""The local runner, on a program that behaves as `fit` in a tenth of a second."""

import errno
import os
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lightning_gans.__main__ import main
from lightning_gans.errors import InputError
from lightning_gans.sweep import runner as runner_module
from lightning_gans.sweep.process import Reading, is_running
from lightning_gans.sweep.runner import Runner, Stopped
from lightning_gans.sweep.schema import parse_sweep
from lightning_gans.sweep.store import Trial, read_trials

FAKE = str(Path(__file__).parent / "fake_fit.py")
METRIC = {"name": "validation/score", "goal": "minimize"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.02)


def content(parameters: dict, *options: str, **more: object) -> dict:
    command = ["${env}", "python", FAKE, *options, "${args}"]
    return {"method": "grid", "metric": METRIC, "parameters": parameters, "command": command, **more}


def run(folder: Path, parameters: dict, *options: str, parallel: int = 2, **more: object) -> list[Trial]:
    return Runner(parse_sweep(content(parameters, *options, **more)), folder, parallel).run()


def calls(folder: Path) -> Counter[str]:
    return Counter((folder / "calls.txt").read_text().splitlines())


def steps(folder: Path, number: int) -> list[list[float]]:
    """The logged steps of each version of a trial."""
    runs = sorted((folder / "trials" / f"trial_{number:04d}").glob("version_*"))
    return [Reading(run).columns.get("validation/score", []) for run in runs]


def in_the_background(action: Callable[[], object]) -> int:
    """Fork a process that runs a sweep and nothing else; its number."""
    pid = os.fork()
    if pid == 0:
        status = 0
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            action()
        except Stopped as stop:
            status = 128 + stop.signal_number
        finally:
            os._exit(status)
    return pid


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.01)


def test_every_point_of_a_grid_is_tried_once_in_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trials = run(tmp_path, {"x": {"values": [5.0, 3.0]}, "seed_everything": {"values": [0, 1]}})
    assert [tuple(trial.settings.values()) for trial in trials] == [(0, 5.0), (0, 3.0), (1, 5.0), (1, 3.0)]
    assert [trial.state for trial in trials] == ["finished"] * 4
    assert [trial.metrics["validation/score"] for trial in trials] == pytest.approx([4 + 1 / 3, 1 / 3] * 2)
    assert calls(tmp_path) == {f"trial_000{number} from 0": 1 for number in range(4)}
    assert "trial 3 finished: seed_everything=1, x=3; validation/score = 0.3333" in capsys.readouterr().err


def test_what_is_finished_is_not_repeated_and_run_cap_can_be_raised(tmp_path: Path) -> None:
    parameters = {"x": {"values": [1.0, 2.0, 3.0]}}
    assert len(run(tmp_path, parameters, run_cap=1)) == 1
    assert len(run(tmp_path, parameters)) == 3
    assert len(run(tmp_path, parameters)) == 3
    assert set(calls(tmp_path).values()) == {1}


def test_a_runner_killed_again_and_again_loses_no_trial_and_doubles_none(tmp_path: Path) -> None:
    definition = parse_sweep(content({"x": {"values": [float(x) for x in range(6)]}}, "--seconds=0.05"))
    kills = 0
    for wait in (0.12, 0.3, 0.21, 0.4, 0.17, 0.26):
        pid = in_the_background(lambda: Runner(definition, tmp_path, 2).run())
        time.sleep(wait)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        kills += os.WIFSIGNALED(status)
    assert kills > 0
    trials = Runner(definition, tmp_path, 2).run()
    assert [trial.settings["x"] for trial in trials] == [float(x) for x in range(6)]
    assert [trial.state for trial in trials] == ["finished"] * 6
    # the trials outlived their runners: each was started once, and logged each of its steps once
    assert calls(tmp_path) == {f"trial_{number:04d} from 0": 1 for number in range(6)}
    for number, trial in enumerate(trials):
        assert steps(tmp_path, number) == [pytest.approx([(trial.settings["x"] - 3) ** 2 + 1 / s for s in (1, 2, 3)])]


def test_a_trial_killed_with_its_runner_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    definition = parse_sweep(content({"x": {"values": [1.0]}}, "--seconds=0.1", "--steps=8"))
    pid = in_the_background(lambda: Runner(definition, tmp_path).run())
    wait_until(lambda: bool(steps(tmp_path, 0)) and len(steps(tmp_path, 0)[0]) >= 2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.killpg(read_trials(tmp_path)[0].pid or 0, signal.SIGKILL)
    (trial,) = Runner(definition, tmp_path).run()
    assert trial.state == "finished" and trial.resumed
    (logged,) = steps(tmp_path, 0)
    # the step that the kill cut off may be there twice, as for any resumed run of this program; none is missing
    assert sorted(set(logged), reverse=True) == pytest.approx([4 + 1 / step for step in range(1, 9)])
    first, second = calls(tmp_path)
    assert first == "trial_0000 from 0" and int(second.split()[-1]) >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_trials_which_go_on_later(tmp_path: Path, number: int) -> None:
    definition = parse_sweep(content({"x": {"values": [1.0, 2.0]}}, "--seconds=0.1", "--steps=6"))
    pid = in_the_background(lambda: Runner(definition, tmp_path, 2).run())
    wait_until(lambda: all(steps(tmp_path, trial) and steps(tmp_path, trial)[0] for trial in (0, 1)))
    os.kill(pid, number)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 128 + number
    assert [trial.state for trial in read_trials(tmp_path)] == ["interrupted"] * 2
    trials = Runner(definition, tmp_path, 2).run()
    assert [(trial.state, trial.resumed, trial.breaks) for trial in trials] == [("finished", True, 0)] * 2
    assert all(
        steps(tmp_path, trial) == [pytest.approx([(trial - 2) ** 2 + 1 / s for s in range(1, 7)])] for trial in (0, 1)
    )


def test_a_broken_trial_is_reported_and_tried_once_more(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trials = run(tmp_path, {"breaks": {"values": ["once", "always", "never"]}})
    assert [(trial.state, trial.breaks) for trial in trials] == [("finished", 1), ("broken", 2), ("finished", 0)]
    assert trials[1].why == "exit status 2: a planted crash"
    assert calls(tmp_path)["trial_0001 from 0"] == 2
    assert "trial 1 broken: breaks=always; exit status 2: a planted crash" in capsys.readouterr().err
    again = run(tmp_path, {"breaks": {"values": ["once", "always", "never"]}})
    assert [trial.breaks for trial in again] == [1, 2, 0]


def test_where_nothing_works_nothing_more_is_started(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"3 trials broke and none worked.*a planted crash"):
        run(tmp_path, {"x": {"values": [float(x) for x in range(20)]}}, "--breaks=always", parallel=1)
    assert len(read_trials(tmp_path)) == 3


def test_hyperband_terminates_the_losers(tmp_path: Path) -> None:
    parameters = {"x": {"values": [3.0, 20.0, 30.0, 40.0]}}
    early = {"type": "hyperband", "min_iter": 2, "eta": 2}
    trials = run(tmp_path, parameters, "--seconds=0.1", "--steps=8", parallel=1, early_terminate=early)
    # among two, W&B's threshold is the worse one
    assert [trial.state for trial in trials] == ["finished", "finished", "terminated", "terminated"]
    assert all(2 <= len(trial.history) < 8 for trial in trials[2:])


def test_no_more_trials_are_started_once_the_target_is_reached(tmp_path: Path) -> None:
    trials = run(tmp_path, {"x": {"values": [9.0, 3.0, 4.0]}}, parallel=1, metric={**METRIC, "target": 0.4})
    assert [trial.settings["x"] for trial in trials] == [9.0, 3.0]


def test_the_commands_to_go_on_with_can_be_pasted(tmp_path: Path, capsys, monkeypatch) -> None:
    file, folder = tmp_path / "my sweep.yaml", tmp_path / "my results"
    file.write_text(yaml.safe_dump(content({"x": {"value": 3.0}})))
    assert main(["sweep", str(file), "--folder", str(folder)]) == 0
    line = capsys.readouterr().out.splitlines()[-1].partition("read them with: ")[2]
    assert shlex.split(line) == ["python", "-m", "lightning_gans", "sweep", "report", str(folder)]

    def stopped(self: Runner) -> list[Trial]:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(Runner, "run", stopped)
    assert main(["sweep", str(file), "--folder", str(folder)]) == 128 + signal.SIGTERM
    line = capsys.readouterr().err.splitlines()[-1].partition("Go on with: ")[2]
    assert shlex.split(line) == ["python", "-m", "lightning_gans", "sweep", str(file), "--folder", str(folder)]


def test_a_broken_trial_reaches_no_target(tmp_path: Path) -> None:
    parameters = {"breaks": {"values": ["late", "never", "once"]}, "x": {"value": 3.0}}
    trials = run(tmp_path, parameters, parallel=1, metric={**METRIC, "target": 0.4})
    assert trials[0].metrics["validation/score"] < 0.4
    assert [trial.state for trial in trials] == ["broken", "finished"]


def test_a_metric_that_no_run_logs_is_told_after_the_first_trial(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        run(tmp_path, {"x": {"values": [1.0, 2.0, 3.0]}}, parallel=1, metric={"name": "validation/scor"})
    assert "metric.name is validation/scor, but trial 0 is finished and logged no such metric" in str(caught.value)
    assert "did you mean 'validation/score'?" in str(caught.value)
    assert len(read_trials(tmp_path)) == 1
    # with the right name the trial that is there counts
    assert len(run(tmp_path, {"x": {"values": [1.0, 2.0, 3.0]}}, parallel=1)) == 3
    assert calls(tmp_path)["trial_0000 from 0"] == 1


def test_a_second_runner_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    definition = parse_sweep(content({"x": {"values": [1.0]}}))
    first = Runner(definition, tmp_path)
    with pytest.raises(InputError, match=r"another process is running the sweep in .*give another --folder"):
        Runner(definition, tmp_path)
    first.run()
    Runner(definition, tmp_path).run()


def test_another_sweep_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path, {"x": {"values": [1.0]}})
    with pytest.raises(InputError, match="holds a sweep with another 'parameters'"):
        run(tmp_path, {"x": {"values": [2.0]}})


def test_a_search_goes_on_with_its_own_seed_alone(tmp_path: Path) -> None:
    parameters = {"x": {"min": 0.0, "max": 1.0}}
    random = content(parameters, method="random", run_cap=1)
    Runner(parse_sweep(random), tmp_path, seed=3).run()
    again = parse_sweep(random | {"run_cap": 2})
    with pytest.raises(InputError, match=r"was begun with --seed 3, not 0; give that one"):
        Runner(again, tmp_path)
    assert len(Runner(again, tmp_path, seed=3).run()) == 2


def test_a_grid_is_the_same_for_every_seed(tmp_path: Path) -> None:
    Runner(parse_sweep(content({"x": {"values": [1.0, 2.0]}}, run_cap=1)), tmp_path, seed=3).run()
    assert len(Runner(parse_sweep(content({"x": {"values": [1.0, 2.0]}})), tmp_path).run()) == 2


def test_a_fit_that_was_stopped_before_its_end_is_not_done_whatever_its_status(tmp_path: Path) -> None:
    program = tmp_path / "lightning_gans"  # by this name and its command, `fit` is known
    program.write_text(f"import sys, runpy; sys.argv.remove('fit'); runpy.run_path({FAKE!r})")
    command = ["${env}", "python", str(program), "fit", "--seconds=0.1", "--steps=8", "--stopped_status=0", "${args}"]
    definition = parse_sweep(content({"x": {"values": [1.0]}}) | {"command": command})
    folder = tmp_path / "sweep"
    pid = in_the_background(lambda: Runner(definition, folder).run())
    wait_until(lambda: bool(steps(folder, 0)) and bool(steps(folder, 0)[0]))
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    assert [trial.state for trial in read_trials(folder)] == ["interrupted"]
    (trial,) = Runner(definition, folder).run()
    assert trial.state == "finished" and trial.resumed


def test_a_disk_full_at_the_end_of_one_trial_leaves_the_others_recorded(tmp_path: Path, monkeypatch) -> None:
    definition = parse_sweep(content({"x": {"values": [1.0, 2.0, 3.0]}}, "--seconds=0.1", "--steps=50"))
    runner = Runner(definition, tmp_path, 3)
    original = runner.store.end

    def full_once(trial: Trial, state: str, **found: object) -> None:
        if trial.number == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(trial, state, **found)  # type: ignore[arg-type]

    monkeypatch.setattr(runner.store, "end", full_once)
    started = lambda: all(steps(tmp_path, number) and steps(tmp_path, number)[0] for number in range(3))  # noqa: E731
    monkeypatch.setattr(runner, "_watch", lambda: os.kill(os.getpid(), signal.SIGTERM) if started() else None)
    with pytest.raises(Stopped):
        runner.run()
    assert [trial.state for trial in read_trials(tmp_path)] == ["interrupted", "running", "interrupted"]
    assert not any(is_running(tmp_path / "trials" / f"trial_{number:04d}") for number in range(3))


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    definition = parse_sweep(content({"x": {"values": [1.0]}}) | {"command": ["no-such-program", "${args}"]})
    with pytest.raises(InputError, match="cannot be started: no-such-program"):
        Runner(definition, tmp_path).run()


def test_trials_at_once_share_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    environment = runner_module.trial_environment
    assert [environment(slot, 2, list("0123"))["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["0,1", "2,3"]
    assert [environment(slot, 3, list("01"))["CUDA_VISIBLE_DEVICES"] for slot in (0, 1, 2)] == ["0", "1", "0"]
    alone = environment(0, 1, [])
    assert "OMP_NUM_THREADS" not in alone and alone["WANDB_MODE"] == "disabled"
    assert alone["PATH"].startswith(str(Path(sys.executable).parent))
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert environment(0, 1, [])["WANDB_MODE"] == "offline"


def test_the_command_reports_what_is_done_and_what_stayed_broken(tmp_path: Path, capsys) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump(content({"breaks": {"values": ["never", "always"]}})))
    assert main(["sweep", str(path), "--folder", str(tmp_path / "f")]) == 1
    said = capsys.readouterr()
    assert "1 of 2 trials done" in said.out and "trial 1 broke twice: exit status 2: a planted crash" in said.err
    assert "its parameters cannot be checked before it starts" in said.err
