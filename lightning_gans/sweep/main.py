"""``sweep`` and ``sweep report``: the command line of sweeps."""

import dataclasses
import shlex
import sys
from pathlib import Path

from lightning_gans.commands.options import SentenceArgumentParser
from lightning_gans.errors import InputError
from lightning_gans.sweep.check import check_parameters
from lightning_gans.sweep.runner import Runner, Stopped
from lightning_gans.sweep.schema import Sweep, read_sweep
from lightning_gans.sweep.store import Trial

DESCRIPTION = """Run a W&B sweep file here, without a server or an account.

FILE is the file that `wandb sweep` takes too: method grid, random or bayes, parameters by their dotted names,
early_terminate, run_cap and the command. What of it the local runner does not support is refused by name.

Each trial is a process of its own. Everything that happens is in --folder: trials.jsonl with every trial and its
scores, trials/ with the run folders. Stop it at any time and run the same command again: finished trials are not
repeated, interrupted ones go on from their last checkpoint, broken ones are tried once more.

Trials do not log to W&B here unless the environment has WANDB_MODE=online or offline.

    python -m lightning_gans sweep report FOLDER|ENTITY/PROJECT/ID     (see `sweep report --help`)
"""


def main(args: list[str]) -> int:
    """Run the command.

    Returns:
        The exit status: 0, 1 if trials stayed broken, 128 + signal when stopped.
    """
    if args[:1] == ["report"]:
        from lightning_gans.sweep.report import main as report

        report(args[1:])
        return 0
    parser = SentenceArgumentParser("sweep", DESCRIPTION)
    parser.add_argument("file", type=Path, metavar="FILE", help="a W&B sweep file, such as sweeps/seeds.yaml")
    parser.add_argument("--folder", type=Path, help="the sweep's folder (default: runs/sweeps/<name of FILE>)")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="trials at once (default: 1)")
    parser.add_argument("--run_cap", type=int, metavar="N", help="trials in all, instead of the file's run_cap")
    parser.add_argument("--seed", type=int, default=0, help="of random and bayes searches (default: 0)")
    options = parser.parse(args)
    for name in ("parallel", "run_cap"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} is {value}, but must be 1 or more")
    sweep = read_sweep(options.file)
    if options.run_cap is not None:
        sweep = dataclasses.replace(sweep, run_cap=options.run_cap)
    if sweep.method != "grid" and sweep.run_cap is None:
        raise InputError(
            f"a {sweep.method} search has no end of its own; give run_cap in {options.file}, or --run_cap N"
        )
    folder = options.folder or Path("runs") / "sweeps" / options.file.stem
    _say(f"trying the parameters of {options.file} on the configuration")
    if not check_parameters(sweep):
        _say("the command does not run `lightning_gans fit`, so its parameters cannot be checked before it starts")
    runner = Runner(sweep, folder, options.parallel, options.seed)
    again = f"python -m lightning_gans sweep {shlex.join(args)}"
    _say(f"sweeping in {folder}; it can be stopped and run again")
    try:
        trials = runner.run()
    except Stopped as stop:
        _say(f"{stop}; saved. Go on with: {again}")
        return 128 + stop.signal_number
    return _conclude(sweep, trials, folder)


def _conclude(sweep: Sweep, trials: list[Trial], folder: Path) -> int:
    broken = [trial for trial in trials if trial.state == "broken"]
    for trial in broken:
        _say(f"trial {trial.number} broke twice: {trial.why} (see {folder / 'trials' / trial.name / 'output.log'})")
    done = [trial for trial in trials if trial.state in ("finished", "terminated")]
    report = f"python -m lightning_gans sweep report {shlex.quote(str(folder))}"
    print(f"{len(done)} of {len(trials)} trials done; read them with: {report}")
    return 1 if broken else 0


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
