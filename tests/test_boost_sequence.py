"""What the sequence of ``boost`` computes: weights of components and data, scores, and how many run at a time."""

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import torch
import yaml

from lightning_gans.__main__ import main
from lightning_gans.checkpoint import load_data, load_module
from lightning_gans.commands import boosting_processes
from lightning_gans.commands.boosting_runs import Runs, Stage
from lightning_gans.errors import InputError
from lightning_gans.files import hold
from lightning_gans.functional import boosting
from lightning_gans.metrics import Score
from lightning_gans.metrics.score import append_scores

TINY = Path(__file__).parent / "conf" / "boost.yaml"
LAST = Path("version_0") / "checkpoints" / "last.ckpt"


def boost(runs: Path, *args: str) -> Path:
    """A boost folder, made now."""
    assert main(["boost", "--config", str(TINY), "--runs", str(runs), *args]) == 0
    return runs / "boost" / "version_0"


def configuration(run: Path) -> dict:
    return yaml.safe_load((run / "version_0" / "config.yaml").read_text())


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    """Three components of constant weight and averaged generators, by the conservative rule."""
    rule = ["--boost.components=3", "--boost.beta=0.3", "--boost.weighting=conservative"]
    rule += ["--boost.classifier.max_steps=60"]  # so that it has something to say
    return boost(tmp_path_factory.mktemp("three"), *rule, "--model.ema_decay", "0.5")


def ratios(mixture: Path) -> torch.Tensor:
    """h of the training samples, by the classifier of a mixture."""
    return load_module(mixture / LAST).density_ratios(load_data(mixture / LAST).split("train"))


# ---- weights


@pytest.mark.parametrize("t", [2, 3])
def test_a_component_is_trained_under_the_rule_for_the_newest_mixture(three: Path, t: int):
    found = numpy.load(three / "weights" / f"component_{t:02d}.npy")
    h = ratios(three / f"mixture_{t - 1:02d}")
    assert found.tolist() == pytest.approx(boosting.conservative_weights(h, 0.3).weights.tolist())
    # what another rule, another β or another mixture gives is not that
    for other in (boosting.optimal_weights(h, 0.3), boosting.conservative_weights(h, 1 / t)):
        assert abs(found - other.weights.numpy()).max() > 1e-5
    if t == 3:
        first = boosting.conservative_weights(ratios(three / "mixture_01"), 0.3)
        assert abs(found - first.weights.numpy()).max() > 1e-5
    data = configuration(three / f"component_{t:02d}")["data"]["init_args"]
    assert data["sample_weights"] == str(three / "weights" / f"component_{t:02d}.npy")


def test_components_of_constant_weight_make_the_earlier_ones_fade(three: Path):
    expected = [[1.0], [0.7, 0.3], [0.49, 0.21, 0.3]]
    stages = json.loads((three / "boost.json").read_text())["stages"]
    assert [stage["beta"] for stage in stages] == [1, 0.3, 0.3]
    for t, weights in enumerate(expected, start=1):
        assert stages[t - 1]["weights"] == pytest.approx(weights)
        assert configuration(three / f"mixture_0{t}")["model"]["init_args"]["weights"] == pytest.approx(weights)
    mixture = load_module(three / "checkpoints" / "last.ckpt")
    assert mixture.latent.codes["component"].probs == pytest.approx(expected[-1])


def test_the_mixture_is_of_the_averaged_generators(three: Path):
    mixture = load_module(three / "checkpoints" / "last.ckpt")
    for index, component in enumerate(mixture.generator.components, start=1):
        trained = load_module(three / f"component_0{index}" / LAST)
        averaged, raw = (dict(network.named_parameters()) for network in (trained.average.network, trained.generator))
        for name, weight in component.named_parameters():
            assert torch.equal(weight, averaged[name]) and not torch.equal(weight, raw[name]), name


def test_every_run_of_the_sequence_has_a_seed_of_its_own(three: Path):
    names = [f"{kind}_0{t}" for kind in ("component", "mixture") for t in (1, 2, 3)]
    assert len({configuration(three / name)["seed_everything"] for name in names}) == len(names)


def test_the_top_share_rule_keeps_what_the_mixture_makes_least_often(tmp_path: Path):
    folder = boost(tmp_path, "--boost.weighting", "top_share", "--boost.share", "0.25")
    found = numpy.load(folder / "weights" / "component_02.npy")
    h = ratios(folder / "mixture_01")
    kept = h.sort().indices[:15]
    assert found[kept.numpy()] == pytest.approx(1 / 15) and found.sum() == pytest.approx(1)


def test_an_ensemble_weighs_all_alike_and_its_classifier_sees_the_data_as_they_are(tmp_path: Path):
    weights = numpy.linspace(1, 2, 60)
    numpy.save(tmp_path / "own.npy", weights / weights.sum())
    own = ["--data.sample_weights", str(tmp_path / "own.npy"), "--trainer.max_time", "00:01:00:00"]
    best = ["--checkpoints.best_by", "validation/density/coverage"]
    folder = boost(tmp_path, "--boost.method", "ensemble", "--boost.components", "3", *own, *best)
    assert load_module(folder / "checkpoints" / "last.ckpt").latent.codes["component"].probs == pytest.approx(
        [1 / 3] * 3
    )
    component, mixture = (configuration(folder / name) for name in ("component_03", "mixture_03"))
    assert component["data"]["init_args"]["sample_weights"] == str(tmp_path / "own.npy")
    assert mixture["data"]["init_args"]["sample_weights"] is None
    # what components end or are chosen by is not asked of a classifier
    assert component["trainer"]["max_time"] and component["checkpoints"]["best_by"]
    assert mixture["trainer"]["max_time"] is None and mixture["checkpoints"]["best_by"] is None
    assert mixture["health"]["stop"] is False


# ---- scores


def test_the_newest_score_of_averaged_weights_counts(tmp_path: Path):
    def score(value: float, weights: str, split: str = "validation", metric: str = "density/coverage") -> Score:
        return Score(metric, value, {"split": split, "weights": weights})

    given = [score(0.1, "raw"), score(0.2, "ema"), score(0.3, "raw"), score(0.4, "ema"), score(0.5, "raw")]
    other = [score(0.6, "ema", "test"), score(0.7, "ema", metric="density/modes")]
    append_scores(tmp_path / "scores.jsonl", given + other)
    assert Runs._score(tmp_path, "density/coverage") == 0.4
    assert Runs._score(tmp_path, "density/mode_kl") is None
    (tmp_path / "scores.jsonl").unlink()
    assert Runs._score(tmp_path, "density/coverage") is None
    append_scores(tmp_path / "scores.jsonl", [score(0.1, "raw"), score(0.3, "raw")])
    assert Runs._score(tmp_path, "density/coverage") == 0.3


def test_a_component_whose_score_is_not_a_number_is_not_the_best(tmp_path: Path):
    with hold(tmp_path, "") as held:
        runs = Runs(tmp_path, [], 0, lambda args: None, held)
    runs.stages = [Stage(t, 1.0, [], None, score) for t, score in ((1, math.nan), (2, 0.5), (3, 0.75), (4, None))]
    assert runs.best("density/coverage") == 3
    assert runs.best("density/mode_kl") == 2  # the lower the better


# ---- one at a time, or several


class Started:
    """In place of `fit` in a process: sleeps, and says when it began and ended."""

    def __init__(self, statuses: dict[str, int]):
        self.statuses = statuses
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.at_once = 0

    def __call__(self, arguments: list[str], log: Path, held: object) -> subprocess.Popen[bytes]:
        name = arguments[0]
        status = self.statuses.get(name, 0)
        log.write_text(f"{name} was here\n")
        seconds = 0.3 if name not in ("slow",) else 60
        # the slow one ends when it is let go, as `parent` has it
        code = f"import time, sys; sys.stdin.read(1) if {seconds} > 1 else time.sleep({seconds}); sys.exit({status})"
        self.processes[name] = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
        self.at_once = max(self.at_once, sum(process.poll() is None for process in self.processes.values()))
        return self.processes[name]


def test_no_more_components_are_trained_at_a_time_than_asked_for(tmp_path: Path, monkeypatch):
    started = Started({})
    monkeypatch.setattr(boosting_processes, "_start", started)
    with hold(tmp_path, "") as held:
        boosting_processes.train_in_processes({name: [name] for name in "abcd"}, 2, tmp_path, held)
    assert list(started.processes) == [*"abcd"] and started.at_once == 2


def test_when_one_component_fails_the_others_are_stopped(tmp_path: Path, monkeypatch):
    started = Started({"bad": 3})
    monkeypatch.setattr(boosting_processes, "_start", started)
    with hold(tmp_path, "") as held, pytest.raises(InputError, match="bad ended with status 3: bad was here"):
        boosting_processes.train_in_processes({name: [name] for name in ("slow", "bad", "later")}, 2, tmp_path, held)
    assert "later" not in started.processes
    assert started.processes["slow"].poll() == 0, "it was not waited for"


def test_a_person_who_asks_twice_does_not_wait_for_the_steps_in_progress():
    code = "import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    running = {"slow": process}
    boosting_processes._let_go(running, [signal.SIGINT, signal.SIGINT])
    assert process.returncode == -signal.SIGKILL and not running


# ---- the folder


def test_a_folder_that_another_process_boosts_in_is_refused(three: Path, tmp_path: Path, refused):
    folder = boost(tmp_path, "--boost.components", "1")
    (folder / "finished.json").unlink()
    with hold(folder, ""):
        sentence = refused("boost", "--config", TINY, "--runs", tmp_path, "--boost.components", "1")
    assert sentence.startswith(f"error: another process is boosting in {folder}")
