"""``boost`` from the command line: the sequence of runs, its continuation, and the mixture as a checkpoint."""

import csv
import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy
import pytest
import torch
import yaml

from lightning_gans import cli
from lightning_gans.__main__ import main
from lightning_gans.callbacks import DensityPanel, GracefulStop
from lightning_gans.checkpoint import load_module
from lightning_gans.metrics import read_scores
from lightning_gans.objectives import AdaGAN
from lightning_gans.runs import is_finished, lock

CONF = Path(__file__).parents[1] / "conf"
TINY = Path(__file__).parent / "conf" / "boost.yaml"


def boost(runs: Path, *args: str) -> int:
    return main(["boost", "--config", str(TINY), "--runs", str(runs), *args])


def state(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def boosted(tmp_path_factory) -> Path:
    """A boost folder made without interruption."""
    runs = tmp_path_factory.mktemp("boosted")
    assert boost(runs) == 0
    return runs / "boost" / "version_0"


@pytest.fixture(scope="module")
def independent(tmp_path_factory) -> Path:
    """The best of two, in its folder."""
    runs = tmp_path_factory.mktemp("independent")
    assert boost(runs, "--boost.method", "best_of", "--seed_everything", "3") == 0
    return runs / "boost" / "version_0"


# ---- what is made


def test_the_shipped_configuration_is_one_to_boost(tmp_path: Path):
    config = CONF / "adagan_mixture.yaml"
    quick = "--boost.components 1 --trainer.max_steps 2 --trainer.limit_val_batches 0 --densities.generated_points 50"
    assert main(["boost", "--config", str(config), "--runs", str(tmp_path), *quick.split()]) == 0
    assert is_finished(tmp_path / "adagan_mixture" / "version_0")


def test_a_mixture_is_made_of_runs_each_in_its_folder(boosted: Path):
    for name in ("component_01", "component_02", "mixture_01", "mixture_02"):
        assert is_finished(boosted / name / "version_0")
    assert is_finished(boosted)
    module = load_module(boosted / "checkpoints" / "last.ckpt")
    assert isinstance(module, AdaGAN)
    # the components in the mixture are those that were trained
    for index in (0, 1):
        trained = state(boosted / f"component_0{index + 1}" / "version_0")
        own = module.generator.components[index].state_dict()
        assert same(own, {n.removeprefix("generator."): w for n, w in trained.items() if n.startswith("generator.")})
    assert module.latent.codes["component"].probs == [0.5, 0.5]


def test_the_second_component_is_trained_on_other_data(boosted: Path):
    weights = numpy.load(boosted / "weights" / "component_02.npy")
    assert weights.shape == (60,) and weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert weights.std() > 0
    config = yaml.safe_load((boosted / "component_02" / "version_0" / "config.yaml").read_text())
    assert config["data"]["init_args"]["sample_weights"] == str(boosted / "weights" / "component_02.npy")
    # the weights are those of theorem 1 for the ratios of the first mixture's classifier
    first = load_module(boosted / "mixture_01" / "version_0" / "checkpoints" / "last.ckpt")
    from lightning_gans.checkpoint import load_data
    from lightning_gans.functional.boosting import optimal_weights

    data = load_data(boosted / "mixture_01" / "version_0" / "checkpoints" / "last.ckpt")
    expected = optimal_weights(first.density_ratios(data.split("train")), 0.5)
    assert weights.tolist() == pytest.approx(expected.weights.tolist())


def test_the_record_has_a_line_for_each_component(boosted: Path, capsys):
    stages = json.loads((boosted / "boost.json").read_text())["stages"]
    assert [(s["component"], s["beta"], s["weights"]) for s in stages] == [(1, 1, [1]), (2, 0.5, [0.5, 0.5])]
    assert stages[0]["multiplier"] is None and stages[1]["multiplier"] > 0
    assert all(0 <= stage[key] <= 1 for stage in stages for key in ("score", "mixture_score"))
    scores = read_scores(boosted / "component_02" / "version_0" / "scores.jsonl")
    assert stages[1]["score"] == next(s.value for s in scores if s.metric == "density/coverage")


def test_the_first_component_is_the_run_that_fit_would_make(boosted: Path, tmp_path: Path):
    config = yaml.safe_load(TINY.read_text())
    config.pop("boost")
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", str(tmp_path / "plain.yaml"), "--runs", str(tmp_path)]) == 0
    assert same(state(tmp_path / "boost" / "version_0"), state(boosted / "component_01" / "version_0"))


def test_the_best_of_independent_components_is_chosen_by_its_score(independent: Path):
    stages = json.loads((independent / "boost.json").read_text())["stages"]
    chosen = stages[-1]["chosen"]
    assert stages[chosen - 1]["score"] == max(stage["score"] for stage in stages)
    mixture = load_module(independent / "checkpoints" / "last.ckpt")
    assert len(mixture.generator.components) == 1 and not mixture.latent.codes
    first, second = (state(independent / f"component_0{t}" / "version_0") for t in (1, 2))
    assert not same(first, second)
    assert not (independent / "weights").exists()


# ---- the mixture is a checkpoint like any other


def test_sample_and_test_work_on_the_mixture_alone(boosted: Path, tmp_path: Path):
    alone = tmp_path / "carried" / "last.ckpt"
    alone.parent.mkdir()
    shutil.copyfile(boosted / "checkpoints" / "last.ckpt", alone)
    drawn = {}
    for codes in ((), ("--codes.component", "0"), ("--codes.component", "1")):
        assert main(["sample", "--ckpt_path", str(alone), "-n", "300", "--out", str(tmp_path), *codes]) == 0
        with (tmp_path / "samples.csv").open() as file:
            drawn[codes] = {tuple(row) for row in csv.reader(file)}
    mixed, first, second = drawn.values()
    # each point of the mixture is that of one of its components, for the same noise; about half of each
    assert mixed <= first | second and not first & second
    assert 110 < len(mixed & first) < 190
    assert main(["test", "--ckpt_path", str(alone), "--trainer.accelerator", "cpu"]) == 0
    found = {score.metric: score for score in read_scores(alone.parent / "scores.jsonl")}
    assert found["density/coverage"].protocol["objective"] == "AdaGAN"
    assert found["density/coverage"].protocol["split"] == "test"


# ---- stopped and continued


class Killed(BaseException):
    """Nothing is saved, as at a power cut."""


def stopped_at(runs: Path, step: int, kill: bool, args: Sequence[str] = ()) -> int | str:
    """Boost, but stop before the given step, counted over all runs of the sequence; how it ended."""
    original, seen = GracefulStop.on_train_batch_start, []

    def counting(self, *args) -> None:
        seen.append(None)
        if len(seen) == step + 1:
            if kill:
                raise Killed
            self._received = signal.SIGTERM
        original(self, *args)

    held = []
    end: int | str = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GracefulStop, "on_train_batch_start", counting)
        patch.setattr(cli, "lock", lambda folder: held.append(lock(folder)) or held[-1])
        try:
            end = boost(runs, *args)
        except Killed:
            end = "killed"
        except SystemExit as exit_:
            end = exit_.code
    for file in held:  # as a process that ends gives up its locks
        file.close()
    return end


@pytest.mark.parametrize(("step", "kill"), [(7, True), (12, False)], ids=["classifier killed", "component stopped"])
def test_continued_in_the_middle_it_ends_in_the_same_weights(boosted: Path, tmp_path, capsys, step, kill):
    assert stopped_at(tmp_path, step, kill) == ("killed" if kill else 128 + signal.SIGTERM)
    assert ("The same command goes on from here" in capsys.readouterr().err) is not kill
    folder = tmp_path / "boost" / "version_0"
    first = folder / "component_01" / "version_0" / "checkpoints" / "last.ckpt"
    trained = first.stat().st_mtime_ns
    assert boost(tmp_path) == 0
    assert first.stat().st_mtime_ns == trained, "a finished component was repeated"
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"]
    assert same(state(folder), state(boosted))
    records = [json.loads((own / "boost.json").read_text())["stages"] for own in (folder, boosted)]
    assert records[0] == records[1]


def test_other_settings_begin_a_new_version_and_a_finished_one_is_never_touched(boosted: Path, tmp_path: Path):
    runs = tmp_path / "runs"
    shutil.copytree(boosted.parent.parent, runs)
    before = (runs / "boost" / "version_0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert boost(runs, "--boost.components", "1") == 0
    assert (runs / "boost" / "version_0" / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before
    stages = json.loads((runs / "boost" / "version_1" / "boost.json").read_text())["stages"]
    assert len(stages) == 1


# ---- asked for more


def trained_files(folder: Path) -> dict[str, int]:
    """When each checkpoint of the runs below a boost folder was written."""
    files = folder.glob("*/version_*/checkpoints/last.ckpt")
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in files}


@pytest.mark.parametrize("method", ["boosted", "ensemble"])
def test_more_components_go_on_with_those_that_are_there(boosted: Path, tmp_path: Path, method: str):
    args = ["--boost.method", method, "--boost.components"]
    runs, folder = tmp_path / "runs", tmp_path / "runs" / "boost" / "version_0"
    assert boost(runs, *args, "1") == 0
    before = trained_files(folder)
    assert boost(runs, *args, "2") == 0
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"]
    assert before.items() <= trained_files(folder).items()
    assert json.loads((folder / "finished.json").read_text()) == {"components": 2}
    record = json.loads((folder / "boost.json").read_text())
    assert record["settings"]["boost"]["components"] == 2 and len(record["stages"]) == 2
    # the same as if two had been asked for at once
    at_once = boosted
    if method == "ensemble":
        assert boost(tmp_path / "at_once", *args, "2") == 0
        at_once = tmp_path / "at_once" / "boost" / "version_0"
    assert same(state(folder), state(at_once))
    assert record["stages"] == json.loads((at_once / "boost.json").read_text())["stages"]


def test_while_more_components_are_trained_it_is_not_finished(boosted: Path, tmp_path: Path):
    runs = tmp_path / "runs"
    shutil.copytree(boosted.parent.parent, runs)
    assert stopped_at(runs, 2, kill=True, args=["--boost.components", "3"]) == "killed"
    folder = runs / "boost" / "version_0"
    assert not is_finished(folder)
    assert json.loads((folder / "boost.json").read_text())["settings"]["boost"]["components"] == 3
    assert boost(runs, "--boost.components", "3") == 0
    assert is_finished(folder) and len(load_module(folder / "checkpoints" / "last.ckpt").generator.components) == 3


def test_another_measure_shows_what_is_there(boosted: Path, tmp_path: Path, capsys):
    runs = tmp_path / "runs"
    shutil.copytree(boosted.parent.parent, runs)
    folder = runs / "boost" / "version_0"
    before = trained_files(folder)
    assert boost(runs, "--boost.measure", "validation/density/high_quality") == 0
    assert "density/high_quality of the mixture" in capsys.readouterr().out
    assert trained_files(folder) == before and not (runs / "boost" / "version_1").exists()
    assert is_finished(folder) and same(state(folder), state(boosted))


def test_a_finished_best_is_chosen_anew_by_another_measure(independent: Path, tmp_path: Path):
    runs = tmp_path / "runs"
    shutil.copytree(independent.parent.parent, runs)
    folder = runs / "boost" / "version_0"
    before = trained_files(folder)
    args = ["--boost.method", "best_of", "--seed_everything", "3", "--boost.measure", "density/mode_kl"]
    assert boost(runs, *args) == 0
    assert before.items() <= trained_files(folder).items() and not (runs / "boost" / "version_1").exists()
    stages = json.loads((folder / "boost.json").read_text())["stages"]
    assert stages[stages[-1]["chosen"] - 1]["score"] == min(stage["score"] for stage in stages)


def test_another_classifier_takes_the_components_that_are_there_until_a_mixture_has_begun(tmp_path: Path):
    args = ["--boost.method", "ensemble", "--boost.classifier.max_steps"]
    # in the middle of the second component
    assert stopped_at(tmp_path, 8, kill=True, args=[*args, "4"]) == "killed"
    folder = tmp_path / "boost" / "version_0"
    first = folder / "component_01" / "version_0" / "checkpoints" / "last.ckpt"
    trained = first.stat().st_mtime_ns
    (folder / "mixture_02.yaml").write_text("as if it was killed: {just: before}")
    assert boost(tmp_path, *args, "3") == 0
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"]
    assert first.stat().st_mtime_ns == trained
    assert (
        yaml.safe_load((folder / "mixture_02" / "version_0" / "config.yaml").read_text())["trainer"]["max_steps"] == 3
    )
    assert boost(tmp_path, *args, "2") == 0
    assert is_finished(folder.with_name("version_1"))


# ---- nothing is lost, nothing is silent


def test_another_measure_chooses_anew_among_the_components_that_are_there(tmp_path: Path, capsys):
    args = ["--boost.method", "best_of", "--boost.measure", "fid_mnist-convnet_10k"]
    assert boost(tmp_path, *args) != 0
    said = capsys.readouterr().err
    assert "the components' validations measured" in said and "density/coverage" in said
    folder = tmp_path / "boost" / "version_0"
    files = [folder / f"component_0{t}" / "version_0" / "checkpoints" / "last.ckpt" for t in (1, 2)]
    trained = [file.stat().st_mtime_ns for file in files]
    assert boost(tmp_path, *args[:-1], "loss/generator") != 0  # has no better and worse: refused at once
    assert boost(tmp_path, *args[:-1], "density/coverage") == 0
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"] and is_finished(folder)
    assert trained == [file.stat().st_mtime_ns for file in files]


def test_a_stopped_sequence_is_found_behind_a_newer_one(boosted: Path, tmp_path: Path):
    assert stopped_at(tmp_path, 7, kill=True) == "killed"
    assert boost(tmp_path, "--boost.method", "ensemble") == 0
    assert boost(tmp_path) == 0
    assert sorted(path.name for path in (tmp_path / "boost").iterdir()) == ["version_0", "version_1"]
    assert same(state(tmp_path / "boost" / "version_0"), state(boosted))


def test_a_component_killed_between_its_last_step_and_its_end_is_brought_to_its_end(boosted: Path, tmp_path: Path):
    runs = tmp_path / "runs"
    shutil.copytree(boosted.parent.parent, runs)
    folder = runs / "boost" / "version_0"
    component = folder / "component_02" / "version_0"
    trained = state(component)
    for path in (folder, component):
        (path / "finished.json").unlink()
    for name in ("mixture_02", "mixture_02.yaml"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert boost(runs) == 0
    assert is_finished(component) and is_finished(folder) and same(state(component), trained)
    assert state(folder).keys() == state(boosted).keys()
    assert torch.equal(state(folder)["slope"], state(boosted)["slope"])


def test_ratios_are_calibrated_where_the_components_have_no_validations(boosted: Path, tmp_path: Path):
    assert boost(tmp_path, "--trainer.limit_val_batches", "0") == 0
    for t in (1, 2):
        run = Path(f"mixture_0{t}") / "version_0"
        found, expected = state(tmp_path / "boost" / "version_0" / run), state(boosted / run)
        assert (found["slope"], found["offset"]) == (expected["slope"], expected["offset"]) != (1, 0)


def test_components_without_a_discriminator_are_mixed_by_a_classifier_of_its_own(tmp_path: Path):
    config = {
        "boost": {
            "method": "ensemble",
            "components": 2,
            "classifier": {
                "max_steps": 2,
                "discriminator": {
                    "class_path": "MaxoutDiscriminator",
                    "init_args": {"sample_shape": [2], "hidden": [4]},
                },
                "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001}},
            },
        }
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    quick = "--trainer.max_steps 1 --trainer.val_check_interval 1 --densities.generated_points 50"
    files = ["--config", str(CONF / "gmmn_ring.yaml"), "--config", str(tmp_path / "own.yaml")]
    assert main(["boost", *files, "--runs", str(tmp_path / "runs"), *quick.split()]) == 0


def test_the_classifier_can_be_given_by_options(capsys):
    network = "--boost.classifier.discriminator"
    options = [f"{network}.class_path=MaxoutDiscriminator", f"{network}.init_args.sample_shape=[3]"]
    options += [f"{network}.init_args.hidden=[4]", "--boost.classifier.optimizer.class_path=torch.optim.Adam"]
    assert main(["boost", "--config", str(TINY), *options, "--print_config"]) == 0
    classifier = yaml.safe_load(capsys.readouterr().out)["boost"]["classifier"]
    assert classifier["discriminator"] == {
        "class_path": "MaxoutDiscriminator",
        "init_args": {"sample_shape": [3], "hidden": [4]},
    }
    assert classifier["optimizer"]["class_path"] == "torch.optim.Adam"


def test_print_config_prints_what_can_be_boosted_and_begins_nothing(tmp_path: Path, capsys):
    runs = tmp_path / "runs"
    args = ["--boost.components", "7", "--trainer.max_steps", "9", "--seed_everything", "4", "--print_config"]
    assert boost(runs, *args) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["boost"]["components"] == 7 and printed["boost"]["classifier"]["max_steps"] == 4
    assert printed["trainer"]["max_steps"] == 9 and printed["seed_everything"] == 4
    assert printed["runs"] == str(runs) and not runs.exists()
    # it is a configuration for boost
    (tmp_path / "printed.yaml").write_text(yaml.safe_dump(printed))
    assert main(["boost", "--config", str(tmp_path / "printed.yaml"), "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == printed


def test_scores_that_components_lack_are_told_with_what_to_set(tmp_path: Path, capsys):
    assert boost(tmp_path, "--boost.components", "1", "--trainer.val_check_interval", "1000") == 0
    said = capsys.readouterr().err
    assert "no run was scored" not in said
    assert "components had no validations; set --trainer.val_check_interval to 5 or less" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_components_last_validation_stops_before_the_next_component(
    number: int, tmp_path: Path, boosted: Path, monkeypatch, capsys
) -> None:
    measure, seen = DensityPanel.measure, []

    def interrupted(self, *args):
        seen.append(1)
        if len(seen) == 1:
            os.kill(os.getpid(), number)
        return measure(self, *args)

    monkeypatch.setattr(DensityPanel, "measure", interrupted)
    with pytest.raises(SystemExit) as end:
        boost(tmp_path)
    assert end.value.code == 128 + number and len(seen) == 1
    assert f"stopped by {signal.Signals(number).name} after component_01; saved" in capsys.readouterr().err
    folder = tmp_path / "boost" / "version_0"
    assert is_finished(folder / "component_01" / "version_0") and not (folder / "mixture_01").exists()
    monkeypatch.undo()
    assert boost(tmp_path) == 0
    assert same(state(folder), state(boosted))
