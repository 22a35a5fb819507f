"""The benchmark that trains seeds: what it takes for its own, and what it makes of scores."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import yaml

from lightning_gans.callbacks import DensityPanel

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RING = Path(__file__).parents[2] / "conf" / "gan_ring.yaml"
TINY = Path(__file__).parents[1] / "conf" / "boost.yaml"


@pytest.fixture
def over_seeds(monkeypatch, tmp_path: Path):
    """The script, which records in a folder of the test."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import over_seeds

    monkeypatch.setattr(over_seeds, "RESULTS", tmp_path / "results")
    return over_seeds


@pytest.fixture
def recorded(over_seeds, monkeypatch, tmp_path: Path):
    """Run the script over one seed; what is on record."""

    config = yaml.safe_load(TINY.read_text())
    del config["boost"]
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))

    def run(steps: int) -> dict:
        options = ["--config", str(tmp_path / "tiny.yaml"), "--seeds", "0", "--runs", str(tmp_path / "runs")]
        length = ["--trainer.max_steps", str(steps), "--trainer.val_check_interval", str(steps)]
        monkeypatch.setattr("sys.argv", ["over_seeds.py", *options, "--name", "ring", "--", *length])
        over_seeds.main()
        return json.loads((tmp_path / "results" / "ring.json").read_text(), parse_constant=pytest.fail)

    return run


def test_a_finished_run_is_taken_under_its_own_settings_alone(recorded, tmp_path: Path, capsys):
    assert recorded(2)["seeds"]["0"]["steps"] == 2
    record, place = tmp_path / "results" / "ring.json", tmp_path / "runs" / "ring_seed0"
    trained = (place / "version_0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    record.unlink()
    assert recorded(2)["seeds"]["0"]["wall_seconds"] is None, "a finished run was trained again"
    assert [folder.name for folder in place.iterdir()] == ["version_0"]
    record.unlink()
    capsys.readouterr()
    assert recorded(3)["seeds"]["0"]["steps"] == 3
    assert "version_0 is left alone: its trainer.max_steps is 2, not 3 and 1 more" in capsys.readouterr().out
    assert (place / "version_0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == trained


def test_a_signal_in_the_last_validation_stops_before_the_test(recorded, tmp_path: Path, monkeypatch):
    measure = DensityPanel.measure

    def interrupted(self, *args):
        os.kill(os.getpid(), signal.SIGINT)
        return measure(self, *args)

    monkeypatch.setattr(DensityPanel, "measure", interrupted)
    with pytest.raises(SystemExit, match="stopped by SIGINT after `fit`; the same command goes on from here"):
        recorded(2)
    assert not (tmp_path / "results").exists()
    monkeypatch.setattr(DensityPanel, "measure", measure)
    assert recorded(2)["seeds"]["0"]["steps"] == 2


def test_what_is_recorded_under_other_settings_is_not_mixed_with_these(recorded):
    recorded(2)
    with pytest.raises(SystemExit, match="was recorded with overrides"):
        recorded(3)


def test_infinite_scores_are_recorded_as_json(recorded):
    content = recorded(1)  # no mode is reached after one update, so that the divergence over modes is infinite
    infinite = [name for name, value in content["seeds"]["0"]["scores"].items() if value == "inf"]
    assert infinite and all(content["summary"][name]["mean"] == "inf" for name in infinite)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 6.0], {"median": 2, "mean": 3, "sd": 2.64575, "min": 1, "max": 6}),
        ([1.0, 2.0, math.inf], {"median": 2, "mean": "inf", "sd": None, "min": 1, "max": "inf"}),
        ([1.0, math.nan], {"median": None, "mean": None, "sd": None, "min": None, "max": None}),
        ([1.0], {"median": 1, "mean": 1, "sd": None, "min": 1, "max": 1}),
    ],
)
def test_scores_that_are_not_finite_are_summarised_as_far_as_they_can_be(over_seeds, values, expected):
    assert over_seeds.summarised(values) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        ("", "says nothing"),
        ("[", "is no YAML file"),
        ("model: {}", "no experiment"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_sentence(over_seeds, monkeypatch, tmp_path, content, words):
    path = tmp_path / "given.yaml"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr("sys.argv", ["over_seeds.py", "--config", str(path)])
    with pytest.raises(SystemExit, match=words):
        over_seeds.main()
    assert not (tmp_path / "results").exists()


def test_a_table_shows_what_is_not_finite(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from tables.records import over_seeds as shown

    assert shown({"mean": 0.5, "sd": 0.25}, 2) == "0.50 ± 0.25"
    assert shown({"mean": "inf", "sd": None}, 2) == "inf"
    assert shown({"mean": None, "sd": None}, 2) == "nan"


def test_settings_are_hashed_without_comments(monkeypatch, tmp_path: Path):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from same_settings import settings_hash

    (tmp_path / "copy.yaml").write_text(yaml.safe_dump(yaml.safe_load(RING.read_text())))
    (tmp_path / "other.yaml").write_text(RING.read_text().replace("max_steps: 20000", "max_steps: 20001"))
    hashes = [settings_hash([str(path)]) for path in (RING, tmp_path / "copy.yaml", tmp_path / "other.yaml")]
    assert hashes[0] == hashes[1] != hashes[2]
