"""A resumed run equals the uninterrupted one bit for bit, wherever and however it was stopped."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from lightning_gans import cli
from lightning_gans.__main__ import main
from lightning_gans.callbacks import RunCheckpoints
from lightning_gans.data import MNIST
from lightning_gans.metrics import read_scores
from lightning_gans.runs import lock
from tests.cli_tools import TINY, call, start


def state(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same_run(folder: Path, reference: Path) -> None:
    first, second = state(folder), state(reference)
    assert first["global_step"] == second["global_step"]
    assert first["MNIST"] == second["MNIST"], "another position in the data"
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key
    for mine, theirs in zip(first["optimizer_states"], second["optimizer_states"], strict=True):
        for index, entry in mine["state"].items():
            for key, value in entry.items():
                assert torch.equal(torch.as_tensor(value), torch.as_tensor(theirs["state"][index][key])), key


def wait_for(path: Path, process, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not path.is_file():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


# an epoch of the fallback digits has 1,297 // 100 = 12 steps: inside, just before, at and after its end
@pytest.mark.parametrize("stop", [3, 11, 12, 13, 24])
def test_stopping_after_any_step_and_resuming_is_exact(stop, trained, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        args = ["fit", "--config", str(TINY), "--runs", str(tmp_path), "--trainer.limit_val_batches", "0"]
        assert main([*args, "--trainer.max_steps", str(stop)]) == 0
        assert main([*args, "--ckpt_path", "last"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert_same_run(tmp_path / "tiny" / "version_1", trained[0])


# before the first step; after some; while the first validation draws its pictures (step 10)
@pytest.mark.parametrize(
    ("moment", "steps"),
    [
        ("checkpoints/last.ckpt", range(0, 30)),
        ("metrics.csv", range(4, 30)),
        ("samples/step=000010_samples.png", range(8, 30)),
    ],
)
def test_a_run_killed_without_warning_resumes_exactly_in_its_own_folder(moment, steps, trained, tmp_path):
    process = start("fit", "--config", TINY, "--runs", tmp_path)
    folder = tmp_path / "tiny" / "version_0"
    wait_for(folder / moment, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (folder / "finished.json").exists()
    killed_at = state(folder)["global_step"]
    assert killed_at in steps
    done = call("fit", "--config", TINY, "--runs", tmp_path, "--ckpt_path", "last")
    assert done.returncode == 0, done.stderr
    assert f"resuming from {folder}/checkpoints/last.ckpt at step {killed_at}" in done.stderr
    assert_same_run(folder, trained[0])
    # logs and scores continue without gap or repetition
    assert _logged_steps(folder) == _logged_steps(trained[0])
    assert _scored_steps(folder) == _scored_steps(trained[0])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_step_in_progress_and_resumes_exactly(number, status, trained, tmp_path):
    # no checkpoint is due by itself: what is there was saved because of the signal
    args = ["fit", "--config", TINY, "--runs", tmp_path, "--checkpoints.every_n_steps", 1000]
    process = start(*args, "--trainer.max_steps", 100000, "--trainer.limit_val_batches", 0)
    folder = tmp_path / "tiny" / "version_0"
    wait_for(folder / "metrics.csv", process)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert process.returncode == status, error
    assert "Traceback" not in error
    assert f"stopped by {number.name} after step" in error and "--ckpt_path last" in error
    stopped_at = state(folder)["global_step"]
    longer = stopped_at + 5
    done = call(*args, "--trainer.limit_val_batches", 0, "--ckpt_path", "last", "--trainer.max_steps", longer)
    assert done.returncode == 0, done.stderr
    whole = call(*args, "--trainer.limit_val_batches", 0, "--experiment", "whole", "--trainer.max_steps", longer)
    assert whole.returncode == 0, whole.stderr
    assert_same_run(folder, tmp_path / "whole" / "version_0")


def test_of_runs_with_several_seeds_each_goes_on_by_its_own_command(trained, tmp_path):
    for version in (0, 1):
        shutil.copytree(trained[0], tmp_path / "tiny" / f"version_{version}")
    config = tmp_path / "tiny" / "version_1" / "config.yaml"
    config.write_text(config.read_text().replace("seed_everything: 0", "seed_everything: 5"))
    done = call("fit", "--config", TINY, "--runs", tmp_path, "--trainer.max_steps", "31", "--ckpt_path", "last")
    assert done.returncode == 0, done.stderr
    assert f"resuming from {tmp_path}/tiny/version_0/checkpoints/last.ckpt at step 30" in done.stderr


@pytest.mark.parametrize("command", ["fit", "test"])
def test_what_is_terminated_while_the_data_are_read_is_not_taken_for_done(
    command, trained, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    name = "train_dataloader" if command == "fit" else "test_dataloader"
    plain = getattr(MNIST, name)
    monkeypatch.setattr(MNIST, name, lambda self: os.kill(os.getpid(), signal.SIGTERM) or plain(self))
    if command == "fit":
        assert main(["fit", "--config", str(TINY), "--runs", str(tmp_path)]) == 143
        assert "stopped by SIGTERM after step 0; saved" in capsys.readouterr().err
        assert not (tmp_path / "tiny" / "version_0" / "finished.json").exists()
    else:
        checkpoint = shutil.copytree(trained[0], tmp_path / "run") / "checkpoints" / "last.ckpt"
        assert main(["test", "--ckpt_path", str(checkpoint), "--data.evaluation_batch_size", "20"]) == 143
        assert "stopped by SIGTERM; what was under way is not finished" in capsys.readouterr().err


def test_resuming_under_changed_settings_prints_the_difference_and_refuses(trained, refused, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(trained[0], runs / "tiny" / "version_0")
    args = ["fit", "--config", TINY, "--runs", runs, "--ckpt_path", "last", "--trainer.max_steps", 31]
    sentence = refused(*args, "--model.latent.codes.digit.weight", 0.5, "--seed_everything", 3)
    assert "model.init_args.latent.codes.digit.weight: 1.0 -> 0.5" in sentence
    assert "seed_everything: 0 -> 3" in sentence
    assert "--allow_changed" in sentence
    done = call(*args, "--model.latent.codes.digit.weight", 0.5, "--allow_changed", "true")
    assert done.returncode == 0, done.stderr


def test_another_objectives_checkpoint_is_refused_even_if_changes_are_allowed(trained, refused, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(trained[0], runs / "tiny" / "version_0")
    sentence = refused(
        "fit", "--config", TINY, "--runs", runs, "--ckpt_path", "last", "--trainer.max_steps", 31,
        "--model", "InfoGAN", "--allow_changed", "true",
    )  # fmt: skip
    assert "InvariantInfoGAN" in sentence and "asks for InfoGAN" in sentence


def test_a_finished_run_is_neither_overwritten_nor_trained_again(trained, refused, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(trained[0], runs / "tiny" / "version_0")
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    sentence = refused("fit", "--config", TINY, "--runs", runs, "--ckpt_path", "last")
    assert "already at step 30" in sentence
    done = call("fit", "--config", TINY, "--runs", runs, "--ckpt_path", "last", "--trainer.max_steps", 32)
    assert done.returncode == 0, done.stderr
    assert json.loads((runs / "tiny" / "version_1" / "finished.json").read_text()) == {"step": 32}
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.fixture
def unfinished(trained, tmp_path):
    """The root of a copy of the trained run that has not reached its end."""
    runs = tmp_path / "runs"
    shutil.copytree(trained[0], runs / "tiny" / "version_0")
    (runs / "tiny" / "version_0" / "finished.json").unlink()
    return runs


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "change",
    [
        ["--model.latent.codes.digit.weight", "0.5", "--allow_changed", "true"],
        ["--experiment", "other"],
    ],
)
def test_other_settings_or_another_name_never_touch_the_run_that_they_start_from(change, unfinished, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    before = contents(unfinished)
    last = unfinished / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    args = ["fit", "--config", TINY, "--runs", unfinished, "--ckpt_path", last, "--trainer.max_steps", 31, *change]
    assert main([*map(str, args), "--trainer.limit_val_batches", "0"]) == 0
    assert all(path.read_bytes() == content for path, content in before.items())
    name = "other" if "other" in change else "tiny"
    assert len(list((unfinished / name).glob("version_*/finished.json"))) == 1


def test_two_processes_do_not_train_in_one_folder(unfinished, refused):
    holder = lock(unfinished / "tiny" / "version_0")
    args = ["fit", "--config", TINY, "--runs", unfinished, "--ckpt_path", "last", "--trainer.max_steps", 31]
    assert "another process is training" in refused(*args)
    holder.close()


def test_a_post_mortem_is_not_resumed(unfinished, refused):
    folder = unfinished / "tiny" / "version_0" / "checkpoints"
    broken = folder / "post_mortem_step=000030.ckpt"
    shutil.copy(folder / "last.ckpt", broken)
    assert "kept for inspection" in refused("fit", "--config", TINY, "--runs", unfinished, "--ckpt_path", broken)


def test_networks_of_another_size_are_refused_by_name(unfinished, refused):
    sentence = refused(
        "fit", "--config", TINY, "--runs", unfinished, "--ckpt_path", "last", "--trainer.max_steps", 31,
        "--model.generator.width", 0.1, "--allow_changed", "true",
    )  # fmt: skip
    assert "another size" in sentence and "generator.layers" in sentence


def test_averages_that_a_run_began_with_are_not_dropped_on_the_way(unfinished, refused):
    sentence = refused(
        "fit", "--config", TINY, "--runs", unfinished, "--ckpt_path", "last", "--trainer.max_steps", 31,
        "--model.ema_decay", "null", "--allow_changed", "true",
    )  # fmt: skip
    assert "the checkpoint has average, which the configuration does not make" in sentence


def test_a_time_limit_ends_a_run_that_can_go_on(tmp_path):
    args = ["fit", "--config", TINY, "--runs", tmp_path, "--trainer.limit_val_batches", 0]
    done = call(*args, "--trainer.max_steps", 100000, "--trainer.max_time", "00:00:00:02")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "tiny" / "version_0"
    assert not (folder / "finished.json").exists()
    assert "before the end" in done.stdout
    reached = state(folder)["global_step"]
    again = call(*args, "--trainer.max_steps", reached + 3, "--trainer.max_time", "00:00:01:00", "--ckpt_path", "last")
    assert again.returncode == 0, again.stderr
    assert json.loads((folder / "finished.json").read_text()) == {"step": reached + 3}


def _logged_steps(folder: Path) -> list[str]:
    lines = (folder / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("step")
    return [line.split(",")[column] for line in lines[1:]]


def _scored_steps(folder: Path) -> list[tuple[str, int]]:
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    return [(s["metric"], s["step"]) for s in scores if s["protocol"]["split"] == "validation"]


class Killed(BaseException):
    """Nothing is saved, as at a power cut."""


def both_ways(tmp_path: Path, monkeypatch, *options: str) -> tuple[Path, Path]:
    """The folders of 12 steps of a run that is killed when all but its end is done, and of one that is not."""
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    command = ["fit", "--config", str(TINY), *options, "--checkpoints.every_n_steps", "6", "--trainer.max_steps", "12"]

    def killed(self, *_) -> None:
        raise Killed

    held = []
    with monkeypatch.context() as patch:
        patch.setattr(RunCheckpoints, "on_train_end", killed)  # the last callback of all
        patch.setattr(cli, "lock", lambda folder: held.append(lock(folder)) or held[-1])
        with pytest.raises(Killed):
            main([*command, "--runs", str(tmp_path / "killed")])
    for file in held:
        file.close()
    assert main([*command, "--runs", str(tmp_path / "straight")]) == 0
    folder, reference = (tmp_path / name / "tiny" / "version_0" for name in ("killed", "straight"))
    assert state(folder)["global_step"] == 12 and not (folder / "finished.json").exists()
    return folder, reference


def scores_of(folder: Path) -> str:
    return str([(s.metric, s.step, s.value) for s in read_scores(folder / "scores.jsonl")])  # some are NaN


# 12 steps end with an epoch, and with a validation, whose interval may be in epochs
@pytest.mark.parametrize(
    "interval",
    [["--trainer.val_check_interval", "12"],
     ["--trainer.val_check_interval", "1.0", "--trainer.check_val_every_n_epoch", "1"]],
    ids=["in steps", "in epochs"],
)  # fmt: skip
def test_a_run_killed_between_its_last_step_and_its_end_is_brought_to_its_end(interval, tmp_path, monkeypatch):
    folder, reference = both_ways(tmp_path, monkeypatch, *interval)
    before = state(folder)
    resume = ["fit", "--config", str(TINY), *interval, "--checkpoints.every_n_steps", "6", "--ckpt_path", "last"]
    assert main([*resume, "--runs", str(tmp_path / "killed"), "--trainer.max_steps", "12"]) == 0
    assert [path.name for path in folder.parent.iterdir()] == ["version_0"]
    assert json.loads((folder / "finished.json").read_text()) == {"step": 12}
    assert_same_run(folder, reference)
    assert all(torch.equal(value, before["state_dict"][name]) for name, value in state(folder)["state_dict"].items())
    assert (folder / "metrics.csv").read_text() == (reference / "metrics.csv").read_text()
    assert scores_of(folder) == scores_of(reference)
    # and training on from there is training on
    for runs in ("killed", "straight"):
        assert main([*resume, "--runs", str(tmp_path / runs), "--trainer.max_steps", "18"]) == 0
    assert_same_run(folder.parent / "version_1", reference.parent / "version_1")


def test_what_is_measured_at_the_end_of_a_run_is_there_once_though_it_was_killed_thereafter(tmp_path, monkeypatch):
    # the last validation is of step 10, so that step 12 is measured when training ends
    folder, reference = both_ways(tmp_path, monkeypatch, "--trainer.val_check_interval", "10")
    assert 12 in {score.step for score in read_scores(folder / "scores.jsonl")}
    assert main(["fit", "--config", str(folder / "config.yaml"), "--ckpt_path", "last"]) == 0
    assert scores_of(folder) == scores_of(reference)
    assert _logged_steps(folder) == _logged_steps(reference)


def test_a_checkpoint_from_before_an_option_existed_is_one_with_its_default(unfinished, refused, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    last = unfinished / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    saved = checkpoint["lightning_gans"]["config"]
    saved["model"]["init_args"].pop("updates")
    saved["data"]["init_args"].pop("validation_size", None)
    torch.save(checkpoint, last)
    args = ["fit", "--config", TINY, "--runs", unfinished, "--ckpt_path", "last", "--trainer.max_steps", 31]
    assert "updates.accumulate: 1 -> 2" in refused(*args, "--model.updates.accumulate", 2)
    assert main([*map(str, args), "--trainer.limit_val_batches", "0"]) == 0
    assert [path.name for path in (unfinished / "tiny").iterdir()] == ["version_0"]
