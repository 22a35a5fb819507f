"""Reading a sweep: means over seeds, the best setting and what can be said of it, pictures."""

import csv
import math
import re
from pathlib import Path

import pytest
import yaml

from lightning_gans.__main__ import main
from lightning_gans.sweep.schema import Goal
from lightning_gans.sweep.store import Store
from lightning_gans.sweep.summary import ranked, settings_of, verdict
from lightning_gans.sweep.table import short_names

WEIGHT, SIZE, SEED = "model.init_args.latent.codes.digit.weight", "codes.digit.size", "seed_everything"
ERROR, BOUND = "validation/error_hungarian/digit", "validation/information/digit"


def folder_of(path: Path, errors: dict[float, list[float]], sizes: tuple[int, ...] = (10,)) -> Path:
    """A sweep's folder as the runner leaves it, without the runs."""
    path.mkdir()
    metric = {"name": ERROR, "goal": "minimize"}
    (path / "sweep.yaml").write_text(yaml.safe_dump({"name": "made up", "method": "grid", "metric": metric}))
    store = Store(path)
    for weight, values in errors.items():
        for size in sizes:
            for seed, error in enumerate(values):
                trial = store.propose({WEIGHT: weight, SIZE: size, SEED: seed}, {})
                metrics = {ERROR: error + size / 1e6, BOUND: 2.3 if weight else 0.0, "train/loss": 1.0}
                store.end(trial, "finished", metrics=metrics, step=10)
    return path


def test_a_report_has_means_pictures_and_one_page(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = folder_of(tmp_path / "s", {0.0: [0.8, 0.9], 0.1: [0.5, 0.3], 1.0: [0.10, 0.12], 10.0: [0.2, 0.3]}, (5, 10))
    assert main(["sweep", "report", str(folder)]) == 0
    said = capsys.readouterr()
    assert "digit.size = 5, digit.weight = 1: 0.11 ± 0.014 (sd over 2 seeds; standard error 0.01)" in said.out
    assert "no ranking without labels: it needs the checkpoints" in said.err
    out = folder / "report"
    with (out / "settings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and float(rows[0][f"{ERROR}.mean"]) == pytest.approx(0.110005)
    assert float(rows[0][f"{ERROR}.sd"]) == pytest.approx(0.0141421, rel=1e-3)
    with (out / "trials.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 16
    pictures = {path.stem for path in out.glob("*.png")}
    assert pictures == {"parallel_coordinates", "response_digit.weight", "response_digit.size"}
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "0.11 ± 0.014" in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_settings_are_told_apart_only_where_their_seeds_allow_it(tmp_path: Path) -> None:
    from lightning_gans.sweep.results import read_results

    results = read_results(str(folder_of(tmp_path / "s", {0.1: [0.5, 0.51, 0.49], 1.0: [0.1, 0.11, 0.12]})))
    goal = Goal(ERROR)
    settings = settings_of(results)
    assert [setting.settings[WEIGHT] for setting in ranked(settings, goal)] == [1.0, 0.1]
    assert "better than every other setting at 95% confidence" in verdict(settings, goal)
    noisy = read_results(str(folder_of(tmp_path / "t", {0.1: [0.5, 0.1, 0.3], 1.0: [0.1, 0.4, 0.2]})))
    assert "not told apart from 1 of 1 others: digit.weight = 0.1" in verdict(settings_of(noisy), goal)
    single = read_results(str(folder_of(tmp_path / "u", {0.1: [0.5], 1.0: [0.1]})))
    assert "one seed: how much of it is luck is not known" in verdict(settings_of(single), goal)


def test_the_only_setting_is_not_better_than_others(tmp_path: Path) -> None:
    from lightning_gans.sweep.results import read_results

    alone = verdict(settings_of(read_results(str(folder_of(tmp_path / "s", {0.1: [0.5, 0.51, 0.49]})))), Goal(ERROR))
    assert "sd over 3 seeds" in alone and "every other" not in alone
    folder = folder_of(tmp_path / "t", {0.1: [0.5, 0.51, 0.49], 1.0: [math.nan, math.nan]})
    without_values = verdict(settings_of(read_results(str(folder))), Goal(ERROR))
    assert "sd over 3 seeds" in without_values and "every other" not in without_values


def test_terminated_and_broken_trials_are_counted_and_in_no_mean(tmp_path: Path, capsys) -> None:
    folder = folder_of(tmp_path / "s", {0.1: [0.5, 0.4]})
    store = Store(folder)
    store.end(store.propose({WEIGHT: 0.1, SIZE: 10, SEED: 2}, {}), "terminated", metrics={ERROR: 0.01})
    store.end(store.propose({WEIGHT: 0.1, SIZE: 10, SEED: 3}, {}), "broken", why="a crash")
    assert main(["sweep", "report", str(folder), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "4 trials: 2 finished, 1 terminated, 1 broken; only finished ones are in the table" in said
    assert "0.45 ± 0.071" in said and (tmp_path / "out" / "report.html").is_file()


def test_another_metric_can_be_asked_for(tmp_path: Path, capsys) -> None:
    folder = folder_of(tmp_path / "s", {0.0: [0.5], 1.0: [0.6]})
    main(["sweep", "report", str(folder), "--metric", BOUND])
    assert f"best by {BOUND}: digit.weight = 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere", "nowhere is neither the folder of a sweep nor ENTITY/PROJECT/ID"),
        ("runs/sweeps/nowhere", "is neither the folder of a sweep"),
        (".", "holds no sweep: it has no sweep.yaml"),
    ],
)
def test_what_is_no_sweep_is_refused(refused, tmp_path, monkeypatch, source: str, sentence: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in refused("sweep", "report", source)


def test_refusals_of_a_report_name_what_is_there(refused, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "s", {0.0: [0.5]})
    assert "no finished trial has the metric validation/fid" in refused(
        "sweep", "report", folder, "--metric", "validation/fid"
    )
    lost = folder_of(tmp_path / "t", {0.0: [math.nan, math.inf]})
    assert f"the metric {ERROR} is NaN or infinite in every finished trial" in refused("sweep", "report", lost)
    (folder / "trials.jsonl").unlink()
    assert "no trial of the sweep" in refused("sweep", "report", folder)


def test_names_are_as_short_as_they_may_be() -> None:
    names = ["model.init_args.latent.codes.digit.weight", "model.init_args.latent.codes.style.weight", SEED]
    assert list(short_names(names).values()) == ["digit.weight", "style.weight", SEED]
    assert list(short_names(["a.b.c.x", "a.d.c.x"]).values()) == ["b.c.x", "d.c.x"]
