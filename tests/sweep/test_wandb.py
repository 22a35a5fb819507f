"""The real `wandb sweep`, `wandb agent` and `wandb.Api`, with trials of two processes, against a server made here."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml

from lightning_gans.__main__ import main
from lightning_gans.sweep.process import Reading
from lightning_gans.sweep.store import Store
from tests.cli_tools import TINY, environment
from tests.sweep.wandb_server import ENTITY, PROJECT, SWEEP_ID, WandbServer, client_here

WEIGHT, SEED = "model.init_args.latent.codes.digit.weight", "seed_everything"
CONFIGS = ["--config", str(TINY), "--config", str(Path(__file__).parents[2] / "conf" / "wandb.yaml")]
TRIALS = [{WEIGHT: 0.0, SEED: 3}, {WEIGHT: 0.5, SEED: 4}]
BRIEF = ["--trainer.max_steps=2", "--trainer.val_check_interval=2", "--trainer.log_every_n_steps=1"]


def client(name: str, *args: str, server: WandbServer, home: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("wandb")
    if not program.is_file():
        pytest.skip("the wandb command is not installed beside this Python")
    base = environment("no-data-here")
    base["PATH"] = os.pathsep.join([str(program.parent), base["PATH"]])
    base.pop("WANDB_MODE", None)
    with subprocess.Popen(
        [str(program), name, *args],
        env={**base, **server.environment(str(home))},
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, error = process.communicate(timeout=540)
        finally:
            kill_session(process.pid)
    return subprocess.CompletedProcess(process.args, process.returncode, out, error)


def kill_session(number: int) -> None:
    """End what a client started and left behind: the agent kills a trial's first process only."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError):
            # the name, in brackets, may hold anything; the session is the fourth field after it
            if int(stat.read_text().rpartition(")")[2].split()[3]) == number:
                os.kill(int(stat.parent.name), signal.SIGKILL)


@pytest.mark.timeout(660)
def test_the_real_wandb_client_runs_a_sweep_of_two_processes_each_and_reads_it_back(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    definition = {
        "method": "grid",
        "metric": {"name": "validation/nmi/digit", "goal": "maximize"},
        "parameters": {WEIGHT: {"values": [0.0, 0.5]}, SEED: {"values": [3, 4]}},
        "command": [
            "${env}",
            "python",
            "-m",
            "lightning_gans",
            "fit",
            *CONFIGS,
            "--trainer.devices=2",
            *BRIEF,
            "${args}",
        ],
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(definition))
    server = WandbServer(TRIALS)
    try:
        made = client("sweep", "sweep.yaml", server=server, home=tmp_path)
        ran = client("agent", f"{ENTITY}/{PROJECT}/{SWEEP_ID}", server=server, home=tmp_path)
        with client_here(server, tmp_path):
            status = main(["sweep", "report", f"{ENTITY}/{PROJECT}/{SWEEP_ID}", "--out", str(tmp_path / "report")])
    except subprocess.TimeoutExpired:
        made = ran = None
    finally:
        server.close()
    if server.unknown:
        names = ", ".join(sorted(set(server.unknown)))
        pytest.skip(f"wandb {wandb.__version__} asks its server for what this test's server does not know: {names}")
    assert made is not None and ran is not None, "the agent did not end"
    assert made.returncode == 0 and yaml.safe_load(server.sweep_config)["parameters"] == definition["parameters"]
    assert ran.returncode == 0, ran.stderr[-3000:]
    # one W&B run for each trial, though each had two processes
    assert len(server.runs) == 2
    assert ran.stderr.count("GLOBAL_RANK: 1, MEMBER: 2/2") == 2
    for run, settings in zip(server.runs.values(), TRIALS, strict=True):
        assert_sent(run, settings)
    # what both ranks computed is what the run folder says, whose seed came by the command line too
    versions = sorted((tmp_path / "runs" / "tiny").glob("version_*"))
    assert [yaml.safe_load((v / "config.yaml").read_text())[SEED] for v in versions] == [3, 4]
    # and what the report reads from the server is what it reads from a sweep of the same runs that was run here
    said = capsys.readouterr()
    assert status == 0, said.err
    local = local_sweep(tmp_path / "local", definition, versions)
    assert main(["sweep", "report", str(local)]) == 0
    assert without_paths(said.out) == without_paths(capsys.readouterr().out)
    assert_same_files(tmp_path / "report", local / "report")
    shutil.rmtree(tmp_path / "runs")


def assert_sent(run: dict[str, Any], settings: dict[str, Any]) -> None:
    """What W&B was told of a trial."""
    assert run["exit"] == 0 and run["sweep"] == SWEEP_ID
    config = {
        key: entry["value"] for key, entry in run["config"].items() if isinstance(entry, dict) and "value" in entry
    }
    # the sweep's keys as they were swept, and the whole configuration as it was resolved
    assert {key: config[key] for key in settings} == settings
    assert config["model"]["init_args"]["latent"]["codes"]["digit"]["weight"] == settings[WEIGHT]
    logged = {key: value for row in run["history"] for key, value in row.items()}
    assert 0 <= logged["validation/nmi/digit"] <= 1 and logged["trainer/global_step"] == 2
    assert [row["trainer/global_step"] for row in run["history"] if "train/loss/generator" in row] == [1, 2]
    assert logged["pictures/samples"]["_type"] == "image-file" and logged["scores"]["_type"] == "table-file"
    sent = " ".join(run["files"])
    assert "media/images/pictures/traverse_digit" in sent and "media/table/scores" in sent


def local_sweep(folder: Path, definition: dict[str, Any], runs: list[Path]) -> Path:
    """The folder of a sweep that had these runs as its trials."""
    folder.mkdir()
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**definition, "name": f"{ENTITY}/{PROJECT}/{SWEEP_ID}"}))
    store = Store(folder)
    for settings, run in zip(TRIALS, runs, strict=True):
        read = Reading(run)
        store.end(store.propose(settings, {}), "finished", metrics=read.metrics, step=read.step)
    return folder


def without_paths(printed: str) -> list[str]:
    return printed.partition("written:")[0].splitlines()


def assert_same_files(one: Path, other: Path) -> None:
    """The same tables, and the same pictures to the pixel."""
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    assert numbers_in(one / "settings.csv") == numbers_in(other / "settings.csv")
    for picture in ("parallel_coordinates.png", "response_digit.weight.png"):
        assert (one / picture).read_bytes() == (other / picture).read_bytes()


def numbers_in(table: Path) -> list[dict[str, float | None]]:
    """The rows; W&B writes 0.0 as 0."""
    with table.open() as file:
        return [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]
