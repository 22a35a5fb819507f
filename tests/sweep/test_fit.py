"""Sweeps of the real `fit`: parameters checked before anything starts, and one sweep from end to end."""

import csv
from pathlib import Path

import pytest
import yaml

from lightning_gans.__main__ import main
from lightning_gans.sweep import runner as runner_module
from lightning_gans.sweep.check import check_parameters
from lightning_gans.sweep.schema import parse_sweep, read_sweep
from lightning_gans.sweep.store import read_trials
from tests.cli_tools import TINY

ROOT = Path(__file__).parents[2]
WEIGHT = "model.init_args.latent.codes.digit.weight"
# as little as trains and logs: the seconds go into starting Python
BRIEF = ("--trainer.max_steps=2", "--trainer.log_every_n_steps=1", "--trainer.val_check_interval=2")
COMMAND = ["${env}", "python", "-m", "lightning_gans", "fit", "--config", str(TINY), *BRIEF, "${args}"]


def definition(parameters: dict, **more: object) -> dict:
    return {"method": "grid", "metric": {"name": "validation/nmi/digit", "goal": "maximize"}} | {
        "parameters": parameters,
        "command": COMMAND,
        **more,
    }


def written(folder: Path, parameters: dict, **more: object) -> Path:
    path = folder / "sweep_file.yaml"
    path.write_text(yaml.safe_dump(definition(parameters, **more)))
    return path


@pytest.mark.parametrize(
    ("parameters", "more", "sentence"),
    [
        ({WEIGHT + "t": {"value": 1.0}}, {}, "unknown key 'model.latent.codes.digit.weightt'; did you mean 'weight'?"),
        ({"model.init_args.latent.noise.dim": {"values": [3, "many"]}}, {}, "noise.dim is 'many', but must be int"),
        ({"experiment": {"values": ["a"]}}, {}, "parameters.experiment cannot be swept"),
        ({"model.init_args.seed": {"values": [0]}}, {}, "give that instead"),
        ({WEIGHT: {"min": 0.0, "max": 1.0}}, {"method": "random"}, "a random search has no end of its own"),
        (
            {WEIGHT: {"value": 1.0}},
            {"command": [*COMMAND[:6], "no-such.yaml", "${args}"]},
            "no-such.yaml does not exist",
        ),
    ],
)
def test_what_the_configuration_does_not_take_is_refused_before_any_trial(
    refused, tmp_path: Path, parameters: dict, more: dict, sentence: str
) -> None:
    folder = tmp_path / "sweep"
    said = refused("sweep", written(tmp_path, parameters, **more), "--folder", folder)
    assert sentence in said
    assert not folder.exists()


def test_bad_options_are_refused(refused, tmp_path: Path) -> None:
    path = written(tmp_path, {WEIGHT: {"value": 1.0}})
    assert "--parallel is 0, but must be 1 or more" in refused("sweep", path, "--parallel", "0")
    assert "unknown option '--paralel'; did you mean '--parallel'?" in refused("sweep", path, "--paralel", "2")


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_that_comes_along_fits_its_configuration_in_all_its_values(path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    assert check_parameters(read_sweep(path))


def test_a_command_of_another_program_is_not_checked() -> None:
    sweep = definition({"anything": {"value": 1}}) | {"command": ["python", "x.py", "${args}"]}
    assert not check_parameters(parse_sweep(sweep))


def test_a_sweep_of_fit_from_end_to_end(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.1)
    folder = tmp_path / "sweep"
    path = written(tmp_path, {WEIGHT: {"values": [0.0, 1.0]}})
    assert main(["sweep", str(path), "--folder", str(folder), "--parallel", "2"]) == 0
    trials = read_trials(folder)
    assert [(trial.settings, trial.state, trial.step) for trial in trials] == [
        ({WEIGHT: 0.0}, "finished", 2),
        ({WEIGHT: 1.0}, "finished", 2),
    ]
    for trial in trials:
        run = folder / "trials" / trial.name / "version_0"
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert config["model"]["init_args"]["latent"]["codes"]["digit"]["weight"] == trial.settings[WEIGHT]
        assert 0 <= trial.metrics["validation/nmi/digit"] <= 1
    capsys.readouterr()
    assert main(["sweep", "report", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "best without labels, by agreement with all other runs about 200 held-out images" in said
    with (folder / "report" / "trials.csv").open() as file:
        agreements = [float(row["agreement"]) for row in csv.DictReader(file)]
    assert len(agreements) == 2 and agreements[0] == agreements[1] and 0 <= agreements[0] <= 1
