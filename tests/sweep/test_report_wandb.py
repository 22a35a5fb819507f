"""Reading a sweep from W&B: its real client, against a server on this machine that has runs as they are uploaded."""

import csv
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb
import yaml

from lightning_gans.__main__ import main
from lightning_gans.sweep.results import read_results
from lightning_gans.sweep.schema import Goal
from lightning_gans.sweep.summary import settings_of
from tests.sweep.wandb_server import ENTITY, PROJECT, SWEEP_ID, WandbServer, client_here

WEIGHT, SEED = "model.init_args.latent.codes.digit.weight", "seed_everything"
ERROR = "validation/error_hungarian/digit"
SWEEP = f"{ENTITY}/{PROJECT}/{SWEEP_ID}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    """A server with a sweep of no runs."""
    monkeypatch.chdir(tmp_path)
    server = WandbServer([])
    parameters = {WEIGHT: {"values": [0.0, 1.0]}, SEED: {"values": [0, 1]}}
    server.sweep_config = yaml.safe_dump({"method": "grid", "metric": {"name": ERROR}, "parameters": parameters})
    with client_here(server, tmp_path):
        yield server
    server.close()
    assert server.unknown == []


def add(server: WandbServer, weight: float, seed: int, error: float | str | None = None, **said: object) -> None:
    """A run as the client uploads it: finished, if nothing else is said."""
    summary: dict[str, object] = {"_runtime": 3, "epoch": 1, "trainer/global_step": 10, "train/loss": 0.5}
    summary["pictures/samples"] = {"_type": "image-file", "width": 28}
    config = {WEIGHT: {"value": weight}, SEED: {"value": seed}, "trainer": {"value": {"max_steps": 10}}}
    run = server.runs[f"run{len(server.runs)}"]
    run.update(name="tiny", config={**config, "_wandb": {"value": {}}}, sweep=SWEEP_ID, exit=0)
    run.update(summary=summary | ({} if error is None else {ERROR: error}), **said)


def test_a_report_from_wandb_leaves_out_what_did_not_finish(server: WandbServer, tmp_path: Path, capsys) -> None:
    add(server, 0.0, 0, 0.8)
    add(server, 0.0, 1, 0.9)
    add(server, 1.0, 0, 0.1)
    add(server, 1.0, 1, 0.3)
    add(server, 1.0, 2, 0.01, exit=None)
    add(server, 1.0, 3, 0.01, state="crashed", exit=None)
    add(server, 1.0, 4, 0.01, exit=1)
    add(server, 1.0, 5, 0.01, state="killed")
    assert main(["sweep", "report", SWEEP]) == 0
    said = capsys.readouterr().out
    assert "8 trials: 4 finished, 1 running, 2 broken, 1 terminated; only finished ones are in the table" in said
    assert f"best by {ERROR}: digit.weight = 1: 0.2 ± 0.14 (sd over 2 seeds; standard error 0.1)" in said
    out = tmp_path / "reports" / f"{ENTITY}_{PROJECT}_{SWEEP_ID}"
    with (out / "settings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row[f"{ERROR}.mean"]) for row in rows] == pytest.approx([0.2, 0.85])
    # W&B's own numbers and the clock are no metrics
    assert list(rows[0]) == [
        WEIGHT, "seeds", "agreement_of_seeds", "train/loss.mean", "train/loss.sd", f"{ERROR}.mean", f"{ERROR}.sd",
    ]  # fmt: skip
    assert {path.stem for path in out.glob("*.png")} == {"parallel_coordinates", "response_digit.weight"}


def test_all_runs_are_read_in_order_and_a_page_at_a_time(server: WandbServer) -> None:
    for number in range(120):
        add(server, 1.0, number, number / 100)
    results = read_results(SWEEP)
    assert results.title == SWEEP and results.goal == Goal(ERROR) and results.parameters == [SEED]
    assert [trial.metrics[ERROR] for trial in results.trials] == [number / 100 for number in range(120)]
    # not one request for each run
    assert server.asked.count("Runs") == 3 and set(server.asked) <= {"Viewer", "GetSweep", "Runs"}


def test_runs_of_one_name_are_called_by_their_id(server: WandbServer) -> None:
    add(server, 0.0, 0, 0.5)
    add(server, 1.0, 0, 0.5)
    add(server, 1.0, 1, 0.5, name="swift-sweep-3")
    assert [trial.name for trial in read_results(SWEEP).trials] == ["run0", "run1", "swift-sweep-3"]


@pytest.mark.parametrize("nan", [math.nan, "NaN"])
def test_what_is_not_finite_is_in_no_mean(server: WandbServer, nan: float | str) -> None:
    add(server, 1.0, 0, 0.5)
    add(server, 1.0, 1, nan)
    results = read_results(SWEEP)
    assert math.isnan(results.trials[1].metrics[ERROR])
    (setting,) = settings_of(results)
    assert setting.values(ERROR) == [0.5] and len(setting.trials) == 2


def test_nested_parameters_are_taken_apart(server: WandbServer) -> None:
    nested = {"latent": {"parameters": {"size": {"values": [5, 10]}}}}
    server.sweep_config = yaml.safe_dump({"method": "grid", "metric": {"name": ERROR}, "parameters": nested})
    for size in (5, 10):
        add(server, 1.0, 0, 0.5)
        server.runs[f"run{len(server.runs) - 1}"]["config"]["latent"] = {"value": {"size": size}}
    assert read_results(SWEEP).parameters == ["latent.size"]


def test_a_metric_that_no_run_logged_is_refused_with_those_that_they_did(server: WandbServer, refused) -> None:
    add(server, 0.0, 0)
    add(server, 1.0, 0)
    sentence = refused("sweep", "report", SWEEP)
    assert f"no finished trial has the metric {ERROR}" in sentence and "train/loss" in sentence
    assert "epoch" not in sentence


def test_a_sweep_of_which_nothing_is_finished_is_refused(server: WandbServer, refused) -> None:
    assert "is finished (none was started)" in refused("sweep", "report", SWEEP)
    add(server, 1.0, 0, 0.5, exit=None)
    add(server, 1.0, 1, 0.5, exit=1)
    assert "is finished (broken, running)" in refused("sweep", "report", SWEEP)


@pytest.mark.parametrize("path", [f"{ENTITY}/{PROJECT}/nosuch", f"{ENTITY}/elsewhere/{SWEEP_ID}"])
def test_a_sweep_that_is_not_there_is_refused(server: WandbServer, refused, path: str) -> None:
    assert f"W&B at {server.url} has no sweep {path}, or hides it from you\n" in refused("sweep", "report", path)


@pytest.mark.parametrize("operations", [["Viewer"], ["GetSweep", "GetSweepLegacy"], ["Runs"]])
def test_what_wandb_refuses_is_said_in_its_words(server: WandbServer, refused, operations: list[str]) -> None:
    server.refusing = dict.fromkeys(operations, 403)
    sentence = refused("sweep", "report", SWEEP)
    assert "W&B" in sentence and "a planted refusal" in sentence


def test_a_server_that_is_not_there_is_named_at_once(server: WandbServer, refused) -> None:
    server.close()
    began = time.monotonic()
    sentence = refused("sweep", "report", SWEEP)
    assert f"W&B at {server.url} cannot be reached: Connection refused" in sentence
    assert time.monotonic() - began < 5


def test_a_wrong_address_of_wandb_is_named(server: WandbServer, refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "localhost:8080")
    wandb.teardown()
    assert "W&B's settings (variables WANDB_…) are wrong: base_url: URL scheme" in refused("sweep", "report", SWEEP)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)  # or W&B cannot end


def test_without_a_login_wandb_is_not_asked_and_the_remedy_is_named(
    server: WandbServer, refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    wandb.teardown()
    assert "Use `wandb login` to log in" in refused("sweep", "report", SWEEP)
    assert server.asked == []
