"""The command line as people use it: what it prints, writes and refuses."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy
import pytest
import torch
import yaml
from PIL import Image

from lightning_gans.__main__ import main
from lightning_gans.checkpoint import load_module
from lightning_gans.commands.encode import read_image
from lightning_gans.functional import f_divergences
from lightning_gans.objectives import FGAN
from lightning_gans.randomness import keyed_generator
from tests.cli_tools import TINY, call


def test_fit_says_where_it_writes_and_what_it_scored(trained):
    folder, done = trained
    assert f"writing to {folder}" in done.stderr
    assert "error_hungarian/digit" in done.stdout
    assert "finished after 30 steps" in done.stdout
    for line in re.findall(r"^  (/\S.*)$", done.stdout, re.M):
        assert Path(line).is_file(), line


def test_fit_leaves_a_complete_run_folder(trained):
    folder, _ = trained
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert json.loads((folder / "finished.json").read_text()) == {"step": 30}
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["latent"]["codes"]["digit"]["size"] == 10
    assert not list(folder.rglob("*.partial*"))


def test_the_clock_counts_generator_updates_in_every_log(trained):
    folder, _ = trained
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    trained_steps = [int(row["step"]) for row in rows if row["train/loss/discriminator"]]
    assert trained_steps == [5, 10, 15, 20, 25, 30]
    validated = [int(row["step"]) for row in rows if row["validation/error_hungarian/digit"]]
    assert validated == [10, 20, 30]


def test_pictures_are_drawn_at_every_validation_and_have_the_right_cells(trained):
    folder, _ = trained
    names = {path.name for path in (folder / "samples").glob("*.png")}
    kinds = ("samples", "calibration", "traverse_digit", "traverse_style[0]", "traverse_style[1]")
    assert names == {f"step={step:06d}_{kind}.png" for step in (10, 20, 30) for kind in kinds}
    with Image.open(folder / "samples" / "step=000030_traverse_digit.png") as picture:
        assert picture.height > 10 * 28


def test_training_on_the_fallback_is_announced_and_recorded_in_every_score(trained):
    folder, done = trained
    assert "digits" in done.stderr and "1,797" in done.stderr
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert scores and all(score["protocol"]["fallback_data"] is True for score in scores)
    assert all(score["protocol"]["data"] == "digits (fallback for mnist)" for score in scores)


def test_test_works_from_the_checkpoint_alone(own_copy):
    folder = own_copy
    done = call("test", "--ckpt_path", folder / "checkpoints" / "last.ckpt")
    assert done.returncode == 0, done.stderr
    assert "split=test" in done.stdout and "error_hungarian/digit" in done.stdout
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    tested = [score for score in scores if score["protocol"]["split"] == "test"]
    assert {score["step"] for score in tested} == {30}


def test_sample_draws_a_grid_with_fixed_codes(trained, tmp_path, capsys):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    args = ["sample", "--ckpt_path", str(checkpoint), "--out", str(tmp_path), "-n", "7", "--columns", "4"]
    assert main([*args, "--codes.digit", "3", "--codes.style", "[-0.5,0]"]) == 0
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.width > 4 * 28
    assert capsys.readouterr().err == ""
    first = (tmp_path / "samples.png").read_bytes()
    main([*args, "--codes.digit", "4", "--codes.style", "[-0.5,0]"])
    assert (tmp_path / "samples.png").read_bytes() != first
    main([*args, "--codes.digit=3", "--codes.style=[-0.5,0]"])
    assert (tmp_path / "samples.png").read_bytes() == first


def test_sample_writes_numbered_files(trained, tmp_path):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    assert main(["sample", "--ckpt_path", str(checkpoint), "--out", str(tmp_path), "-n", "5", "--files"]) == 0
    files = sorted(tmp_path.glob("*.png"))
    assert len(files) == 5
    with Image.open(files[0]) as image:
        assert image.size == (28, 28)


def test_sample_does_not_mix_its_files_with_others(trained, tmp_path, refused):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    args = ["sample", "--ckpt_path", str(checkpoint), "--out", str(tmp_path / "images"), "--files", "-n"]
    assert main([*args, "3"]) == 0
    assert main([*args, "4"]) == 0  # every file of the first draw is replaced
    said = refused(*args, "2")
    assert "images already holds 000002.png and 1 more" in said and "empty folder" in said
    assert len(list((tmp_path / "images").iterdir())) == 4


def test_single_files_lie_apart_from_the_grid_by_default(own_copy):
    args = ["sample", "--ckpt_path", str(own_copy / "checkpoints" / "last.ckpt"), "-n", "2"]
    assert main(args) == 0
    assert main([*args, "--files"]) == 0
    written = sorted(path.relative_to(own_copy).as_posix() for path in own_copy.rglob("samples_drawn/**/*.png"))
    assert written == ["samples_drawn/files/000000.png", "samples_drawn/files/000001.png", "samples_drawn/samples.png"]


@pytest.mark.parametrize("command", ["sample", "traverse"])
def test_a_file_is_no_folder_to_write_to(trained, tmp_path, refused, capsys, command):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    assert "my.png, but must be a folder" in refused(command, "--ckpt_path", checkpoint, "--out", tmp_path / "my.png")
    (tmp_path / "notes").write_text("")
    assert "notes, but must be a folder" in refused(command, "--ckpt_path", checkpoint, "--out", tmp_path / "notes")
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
    for name, out in ((command, "--out FOLDER"), ("encode", "--out FILE")):
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert out in capsys.readouterr().out


def test_a_configuration_of_boost_names_its_command(refused):
    config = "conf/adagan_mixture.yaml"
    told = f"{config} is for `boost`: python -m lightning_gans boost --config {config}"
    assert refused("fit", "--config", config) == f"error: {told}\n"
    assert refused("fit", f"--config={config}", "--trainer.max_steps", "3") == f"error: {told}\n"
    said = refused("test", "--config", config, "--ckpt_path", "x.ckpt")
    assert said == f"error: {told}; `test` needs --ckpt_path alone\n"


def test_extrapolating_a_code_is_allowed_with_a_warning(trained, tmp_path, capsys):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    main(["sample", "--ckpt_path", str(checkpoint), "--out", str(tmp_path), "--codes.style", "[-1.5, 0]"])
    assert "extrapolates" in capsys.readouterr().err


def test_traverse_draws_a_grid_and_a_gif_for_every_code(trained, tmp_path):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    assert main(["traverse", "--ckpt_path", str(checkpoint), "--out", str(tmp_path), "--frames", "4"]) == 0
    axes = ("digit", "style[0]", "style[1]")
    assert {p.name for p in tmp_path.iterdir()} == {f"traverse_{a}.{s}" for a in axes for s in ("png", "gif")}
    with Image.open(tmp_path / "traverse_style[0].gif") as gif:
        assert gif.n_frames > 1


def test_encode_a_split_gives_posterior_parameters(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    out = tmp_path / "codes.csv"
    assert main(["encode", "--ckpt_path", str(checkpoint), "--split", "validation", "--out", str(out)]) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 200
    probabilities = [float(rows[0][f"digit.probabilities[{k}]"]) for k in range(10)]
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    assert int(rows[0]["digit"]) == max(range(10), key=probabilities.__getitem__)
    assert {"digit.class", "style.mean[0]", "style.std[1]"} <= set(rows[0])


def test_encode_a_folder_reads_what_sample_wrote(trained, tmp_path):
    checkpoint = str(trained[0] / "checkpoints" / "last.ckpt")
    main(["sample", "--ckpt_path", checkpoint, "--out", str(tmp_path / "images"), "-n", "4", "--files"])
    out = tmp_path / "codes.json"
    assert main(["encode", "--ckpt_path", checkpoint, str(tmp_path / "images"), "--out", str(out)]) == 0
    records = json.loads(out.read_text())
    assert [Path(record["image"]).name for record in records] == [f"{i:06d}.png" for i in range(4)]
    assert len(records[0]["style.mean"]) == 2


def test_predict_writes_the_codes_of_the_test_images(own_copy, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    folder = own_copy
    done = call("predict", "--ckpt_path", folder / "checkpoints" / "last.ckpt")
    assert done.returncode == 0, done.stderr
    written = (folder / "predictions.csv").read_text()
    assert len(list(csv.DictReader(written.splitlines()))) == 300
    # one process writes them all, also of what several have trained
    assert main(["predict", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--trainer.devices", "2"]) == 0
    assert (folder / "predictions.csv").read_text() == written


def test_print_config_shows_overrides_and_resolved_interpolation(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("data: {init_args: {batch_size: '${model.init_args.latent.noise.dim}'}}\n")
    args = ["fit", "--config", str(TINY), "--config", str(overlay), "--model.latent.noise.dim", "9"]
    with pytest.raises(SystemExit) as ended:
        main([*args, "--print_config"])
    assert not ended.value.code
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["model"]["init_args"]["latent"]["noise"]["dim"] == 9
    quick = ["--runs", str(tmp_path / "runs"), "--trainer.max_steps", "1", "--trainer.limit_val_batches", "0"]
    assert main([*args, *quick]) == 0
    saved = yaml.safe_load((tmp_path / "runs" / "tiny" / "version_0" / "config.yaml").read_text())
    assert saved["data"]["init_args"]["batch_size"] == 9


def test_help_documents_arguments_of_a_model(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--model.help", "InfoGAN"])
    assert not ended.value.code
    told = capsys.readouterr().out
    assert "recognition_trained_with" in told and "Whose optimizer trains" in told
    top = call("--help")
    assert top.returncode == 0
    assert all(word in top.stdout for word in ("fit", "test", "sample", "traverse", "encode"))


def test_two_runs_with_one_seed_give_identical_weights_and_two_seeds_do_not(trained, tmp_path, monkeypatch):
    again = call("fit", "--config", TINY, "--runs", tmp_path)
    assert again.returncode == 0, again.stderr
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    assert main(["fit", "--config", str(TINY), "--runs", str(tmp_path), "--seed_everything", "1"]) == 0
    first, second, third = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (trained[0], tmp_path / "tiny" / "version_0", tmp_path / "tiny" / "version_1")
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)


CONFIGURATIONS = sorted(path.stem for path in (Path(__file__).parents[1] / "conf").glob("*.yaml"))
OVERLAYS = {"wandb", "f_gan_mnist_quick", "pacgan_quick", "bf16", "fast", "ddp"}
FOR_BOOST = {"adagan_mixture"}  # see test_boost
# the first that a file names
NARROW = {
    "StackedMNIST": "--model.generator.width 0.05 --model.discriminator.width 0.05 --data.train_size 200 "
    "--data.evaluation_size 50",
    "PackedDiscriminator": "--model.generator.hidden [8] "
    "--model.discriminator.init_args.discriminator.init_args.hidden [8]",
    "SemiSupervisedGenerator": "--model.generator.hidden [8] --model.discriminator.hidden [8]",
    "class_path: GMMN": "--model.generator.hidden [8]",
    "MNISTGenerator": "--model.generator.width 0.05 --model.discriminator.width 0.05",
    "FullyConnectedGenerator": "--model.generator.hidden [8] --model.discriminator.hidden [8]",
    "AffineGenerator": "--model.discriminator.hidden [8]",
    "EnergyNetwork": "--model.density.hidden [8]",
    "class_path: NCE": "--likelihood.resolution 20",
    "CelebA": "--model.generator.width 0.05 --model.discriminator.width 0.05",
}


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name not in OVERLAYS | FOR_BOOST])
def test_every_configuration_trains(name, request, tmp_path, monkeypatch):
    data = request.getfixturevalue("celeba_root" if "celeba" in name else "data_root")
    monkeypatch.setenv("LIGHTNING_GANS_DATA", str(data))
    config = Path(__file__).parents[1] / "conf" / f"{name}.yaml"
    narrow = next(options for network, options in NARROW.items() if network in config.read_text())
    status = main(
        f"fit --config {config} --runs {tmp_path} {narrow} "
        "--trainer.max_steps 2 --trainer.accelerator cpu --trainer.limit_val_batches 1 --data.batch_size 64 "
        "--information.matching_images 50 --information.generated_images 50 --densities.generated_points 50 "
        "--energy.points 50 --energy.resolution 20".split()
    )
    assert status == 0
    folder = tmp_path / name / "version_0"
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    scores = folder / "scores.jsonl"
    assert scores.is_file() == ("info" in name or "baseline" in name)


REFUSALS = {
    "unknown option": (["--modl.x", 1], "--modl.x", "--model.x"),
    "an unknown option of its own": (["--experimnt", "x"], "'--experimnt'; did you mean '--experiment'?"),
    "an option without its group": (["--max_steps", 3], "'--max_steps'; did you mean '--trainer.max_steps'?"),
    "an argument of some class": (["--components", 3], "unknown option '--components'\n"),
    "unknown network key": (["--model.generator.wdth", 1], "model.generator.wdth", "'width'"),
    "unknown code key": (["--model.latent.codes.digit.wieght", 1], "digit.wieght", "'weight'"),
    "wrong type": (["--trainer.max_steps", "many"], "trainer.max_steps", "int"),
    "unknown objective": (["--model", "InfoGAM"], "InfoGAM", "'InfoGAN'"),
    "no validation to choose at": (
        ["--checkpoints.best_by", "validation/fid_mnist-convnet_60", "--trainer.limit_val_batches", 0],
        "no validations",
        "best_by",
    ),
    "too short to choose in": (
        ["--checkpoints.best_by", "validation/fid_mnist-convnet_60", "--trainer.max_steps", 9],
        "no validation in 9 steps (one every 10)",
        "best_by",
        "--trainer.val_check_interval",
    ),
    "a validation every 0 steps": (["--trainer.val_check_interval", 0], "is 0", "--trainer.limit_val_batches 0"),
    "nothing to train": (["--trainer.max_steps", 0], "max_steps is 0", "generator updates"),
    "endless": (["--trainer.max_steps", -1], "never end", "--trainer.max_steps"),
    "one category": (["--model.latent.codes.digit.size", 1], "'digit'", "2 or more"),
    "missing checkpoint": (["--ckpt_path", "/no/such.ckpt"], "/no/such.ckpt", "does not exist"),
    "nothing to resume": (["--ckpt_path", "last"], "no checkpoint to resume", "start without"),
    "missing data": (["--data.fallback", "null"], "MNIST", "fallback"),
    "batch too large": (["--data.batch_size", 100000], "100000", "lower the batch size"),
    "unwritable folder": (["--runs", "/proc/nowhere"], "/proc/nowhere", "--runs"),
    "abbreviation": (["--trainer.max_step", 3], "--trainer.max_step", "--trainer.max_steps"),
    "negative rate": (["--model.generator_optimizer.lr", -1], "generator_optimizer", "-1"),
    "clipping by the trainer": (
        ["--trainer.gradient_clip_val", 1],
        "--model.updates.discriminator_clip_norm",
        "--model.updates.generator_clip_norm",
    ),
    "accumulation by the trainer": (["--trainer.accumulate_grad_batches", 2], "--model.updates.accumulate 2"),
    "no experiment": (["--experiment", ""], "experiment is ''", "within --runs"),
    "an experiment elsewhere": (["--experiment", "../../x"], "experiment is '../../x'", "within --runs"),
    "an experiment anywhere": (["--experiment", "/tmp/x"], "experiment is '/tmp/x'", "within --runs"),
    "no such device": (["--trainer.accelerator", "mps"], "MPS", "not available"),
    "baseline's choice": (
        ["--model", "RecognitionBaseline", "--model.recognition_trained_with", "generator"],
        "recognition_trained_with",
        "unknown",
    ),
    "negative seed": (["--seed_everything", -1], "seed_everything is -1", "from 0 to 4294967295"),
    "seed too large": (["--seed_everything", 5_000_000_000], "seed_everything is 5000000000", "from 0 to 4294967295"),
    "no seed": (["--seed_everything", "true"], "seed_everything is 'True'", "must be int"),
    "linked seed": (["--model.seed", 3], "--model.seed", "--seed_everything"),
    "bad clip": (["--model.updates.generator_clip_norm", -1], "generator_clip_norm", "positive"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_bad_input_is_refused_in_one_sentence(case, refused, tmp_path):
    args, *expected = REFUSALS[case]
    if "--runs" not in args:
        args = [*args, "--runs", tmp_path]
    sentence = refused("fit", "--config", TINY, *args)
    for text in expected:
        assert text in sentence
    # what failed before its first step leaves no run folder
    assert not list(tmp_path.rglob("version_*"))


def test_a_run_that_is_too_short_to_be_validated_says_so(tmp_path, capsys):
    short = ["fit", "--config", str(TINY), "--runs", str(tmp_path), "--trainer.max_steps", "2"]
    assert main(short) == 0
    said = capsys.readouterr().err
    assert said.count("no validation in 2 steps (one every 10)") == 1 and "--trainer.val_check_interval 2" in said
    assert main([*short, "--trainer.limit_val_batches", "0", "--experiment", "nested/name"]) == 0
    assert "no validation" not in capsys.readouterr().err
    assert (tmp_path / "nested" / "name" / "version_0" / "finished.json").is_file()


def test_a_missing_or_broken_configuration_file_is_named(refused, tmp_path):
    assert "nope.yaml" in refused("fit", "--config", tmp_path / "nope.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("model: {class_path: InfoGAN")
    assert "error: " in refused("fit", "--config", broken)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(bytes(range(128, 256)))
    assert "binary.yaml" in refused("fit", "--config", binary)
    assert "--config" in refused("fit")


def test_unknown_commands_and_options_are_refused_with_the_nearest(refused, trained):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    assert "'traverse'" in refused("travers")
    assert "'fit'" in refused("fitt")
    assert "'--columns'" in refused("traverse", "--ckpt_path", checkpoint, "--colums", 3)
    assert "traverse" in refused()
    assert "--ckpt_path" in refused("sample")
    assert "--ckpt_path" in refused("test")


def test_codes_that_the_checkpoint_lacks_or_cannot_take_are_refused(refused, trained):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    sentence = refused("sample", "--ckpt_path", checkpoint, "--codes.colour", 1)
    assert "'colour'" in sentence and "digit, style" in sentence
    assert "from 0 to 9" in refused("sample", "--ckpt_path", checkpoint, "--codes.digit", 12)
    assert "2 finite number(s)" in refused("sample", "--ckpt_path", checkpoint, "--codes.style", "[1]")
    assert "'colour'" in refused("traverse", "--ckpt_path", checkpoint, "--code", "colour")


def test_damaged_and_foreign_checkpoints_are_refused(refused, tmp_path):
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(b"PK not a checkpoint")
    assert "damaged" in refused("sample", "--ckpt_path", damaged)
    assert "beside it" not in refused("sample", "--ckpt_path", damaged)
    foreign = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}}, foreign)
    assert "not written by lightning_gans" in refused("sample", "--ckpt_path", foreign)
    # of a run whose last state was damaged, another one may be whole
    assert "the newest other one beside it is foreign.ckpt" in refused("sample", "--ckpt_path", damaged)


def test_other_data_than_the_checkpoints_are_refused(trained, data_root, capsys, monkeypatch):
    # trained on the fallback; here the real thing is found
    monkeypatch.setenv("LIGHTNING_GANS_DATA", str(data_root))
    checkpoint = str(trained[0] / "checkpoints" / "last.ckpt")
    assert main(["encode", "--ckpt_path", checkpoint, "--split", "validation"]) == 2
    assert "trained on digits (fallback for mnist)" in capsys.readouterr().err
    done = call("test", "--ckpt_path", checkpoint, data=data_root)
    assert done.returncode == 2
    assert "trained on digits (fallback for mnist)" in done.stderr and "Traceback" not in done.stderr


def test_encode_refuses_what_is_no_image(refused, trained, tmp_path):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no images" in refused("encode", "--ckpt_path", checkpoint, empty)
    text = tmp_path / "text.png"
    text.write_text("no picture")
    assert "text.png" in refused("encode", "--ckpt_path", checkpoint, text)
    assert "does not exist" in refused("encode", "--ckpt_path", checkpoint, tmp_path / "gone")


def test_where_nothing_can_be_written_is_named(refused, trained, tmp_path):
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    assert "/proc/nowhere" in refused("sample", "--ckpt_path", checkpoint, "--out", "/proc/nowhere")
    assert "/proc/nowhere" in refused(
        "encode", "--ckpt_path", checkpoint, "--split", "validation", "--out", "/proc/nowhere/codes.csv"
    )


def test_a_diverging_run_stops_with_the_player_and_keeps_the_state_apart(tmp_path):
    done = call("fit", "--config", TINY, "--runs", tmp_path, "--model.discriminator_optimizer.lr", "1e30")
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    sentence = done.stderr[done.stderr.index("training stopped: ") :]
    assert "loss was not finite in step" in sentence and "last finite losses" in sentence
    checkpoints = tmp_path / "tiny" / "version_0" / "checkpoints"
    kept = list(checkpoints.glob("post_mortem_step=*.ckpt"))
    assert len(kept) == 1 and str(kept[0]) in sentence
    assert not (tmp_path / "tiny" / "version_0" / "finished.json").exists()
    last = checkpoints / "last.ckpt"
    if last.exists():
        weights = torch.load(last, weights_only=True)["state_dict"].values()
        assert all(torch.isfinite(w.float()).all() for w in weights)


def test_the_wandb_overlay_logs_metrics_pictures_and_configuration_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    overlay = Path(__file__).parents[1] / "conf" / "wandb.yaml"
    done = call("fit", "--config", TINY, "--config", overlay, "--runs", tmp_path, "--trainer.max_steps", 10)
    assert done.returncode == 0, done.stderr
    # our own folder is complete beside it
    assert (tmp_path / "tiny" / "version_0" / "metrics.csv").is_file()
    (offline,) = (tmp_path / "wandb").glob("offline-run-*")
    pictures = {path.name.rsplit("_", 2)[0] for path in (offline / "files").rglob("*.png")}
    assert pictures == {"samples", "calibration", "traverse_digit", "traverse_style[0]", "traverse_style[1]"}


def test_validate_repeats_the_final_validation_from_the_checkpoint_alone(own_copy):
    before = (own_copy / "scores.jsonl").read_text().splitlines()
    done = call("validate", "--ckpt_path", own_copy / "checkpoints" / "last.ckpt")
    assert done.returncode == 0, done.stderr
    assert "split=validation" in done.stdout
    after = [json.loads(line) for line in (own_copy / "scores.jsonl").read_text().splitlines()]
    new = {score["metric"]: score for score in after[len(before) :]}
    final = {score["metric"]: score for score in after[: len(before)] if score.get("step") == 30}
    assert new.keys() == final.keys()
    for metric, score in new.items():
        assert score["step"] == 30
        assert score["value"] == pytest.approx(final[metric]["value"], rel=1e-5), metric


def test_a_gan_is_scored_by_its_losses_and_has_no_codes_to_show(tmp_path, data_root, monkeypatch, capsys, refused):
    config = Path(__file__).parents[1] / "conf" / "gan_mnist.yaml"
    fit = ["fit", "--config", config, "--runs", tmp_path, "--trainer.max_steps", 2, "--trainer.accelerator", "cpu"]
    small = ["--model.generator.width", 0.05, "--model.discriminator.width", 0.05, "--trainer.limit_val_batches", 1]
    # 10,000 samples against all of MNIST would take longer than all the rest
    small += ["--fidelity.in_training", "[]"]
    assert call(*fit, *small, "--trainer.val_check_interval", 2, data=data_root).returncode == 0
    folder = tmp_path / "gan_mnist" / "version_0"
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert {score["metric"] for score in scores} >= {
        "loss/discriminator",
        "loss/generator",
        "divergence/jensen_shannon",
        "divergence/source_information_bits",
    }
    assert not any("digit" in score["metric"] or "information/" in score["metric"] for score in scores)
    assert all(score["protocol"]["data"] == "mnist" for score in scores)
    checkpoint = folder / "checkpoints" / "last.ckpt"
    monkeypatch.setenv("LIGHTNING_GANS_DATA", str(data_root))
    assert main(["sample", "--ckpt_path", str(checkpoint), "-n", "4", "--out", str(tmp_path)]) == 0
    assert "no latent codes" in refused("traverse", "--ckpt_path", checkpoint)
    assert "no Q" in refused("encode", "--ckpt_path", checkpoint, tmp_path / "samples.png")
    assert "the codes are: none" in refused("sample", "--ckpt_path", checkpoint, "--codes.digit", 1)


@pytest.mark.parametrize("kind", ["sixteen bits", "transparent", "palette", "colour"])
def test_every_kind_of_image_is_read_as_the_grey_picture_that_it_shows(kind, tmp_path):
    grey = numpy.random.default_rng(0).integers(0, 256, (28, 28), dtype=numpy.uint8)
    if kind == "sixteen bits":
        image = Image.fromarray(grey.astype(numpy.uint16) * 257)
    elif kind == "transparent":
        white = numpy.full_like(grey, 255)
        image = Image.fromarray(numpy.stack([white, white, white, grey], axis=-1), "RGBA")
    elif kind == "palette":
        image = Image.fromarray(grey).convert("P")
    else:
        image = Image.fromarray(numpy.stack([grey] * 3, axis=-1))
    image.save(tmp_path / "image.png")
    read = read_image(tmp_path / "image.png", (1, 28, 28))
    assert read.shape == (1, 28, 28)
    assert (read[0].int() - torch.from_numpy(grey).int()).abs().max() <= 1


@pytest.mark.parametrize(
    "switch",
    [["--trainer.enable_checkpointing", "false"], ["--trainer.enable_progress_bar", "false"]],
)
def test_what_lightning_can_switch_off_can_be_switched_off(switch, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    args = ["fit", "--config", str(TINY), "--runs", str(tmp_path), "--trainer.max_steps", "2", *switch]
    assert main(args) == 0
    kept = (tmp_path / "tiny" / "version_0" / "checkpoints" / "last.ckpt").exists()
    assert kept == ("enable_progress_bar" in switch[0])


# ---- points

GAUSSIAN = Path(__file__).parents[1] / "conf" / "f_gan_gaussian.yaml"
RING = Path(__file__).parents[1] / "conf" / "f_gan_ring.yaml"
# in a few steps, with few points
FEW = {
    "trainer.max_steps": 2,
    "trainer.accelerator": "cpu",
    "trainer.val_check_interval": 2,
    "data.train_size": 500,
    "data.evaluation_size": 100,
    "data.batch_size": 50,
    "densities.generated_points": 100,
    "densities.resolution": 20,
}


def train_on_points(runs: Path, *args: object) -> Path:
    """The checkpoint of a short run in this process."""
    few = [f"--{name}={value}" for name, value in FEW.items()]
    assert main(["fit", "--runs", str(runs), *map(str, args), *few]) == 0
    (checkpoint,) = runs.glob("*/version_0/checkpoints/last.ckpt")
    return checkpoint


@pytest.fixture(scope="module")
def infogan_of_points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("points")
    config = yaml.safe_load(RING.read_text())
    config["model"]["class_path"] = "InfoGAN"
    del config["model"]["init_args"]["divergence"]
    config["model"]["init_args"]["latent"]["codes"] = {"angle": {"distribution": "uniform"}}
    (folder / "infogan.yaml").write_text(yaml.safe_dump(config))
    return train_on_points(folder, "--config", folder / "infogan.yaml")


def test_sample_writes_points_as_rows_of_numbers(infogan_of_points, tmp_path, capsys):
    args = ["sample", "--ckpt_path", str(infogan_of_points), "--out", str(tmp_path), "-n", "7"]
    path = tmp_path / "samples.csv"
    assert main(args) == 0
    assert capsys.readouterr().out.strip() == str(path)
    points = numpy.loadtxt(path, delimiter=",")
    module = load_module(infogan_of_points)
    latent = module.latent.sample(7, keyed_generator("cpu", 0, "sample command"))
    numpy.testing.assert_allclose(points, module.generate(latent).numpy(), rtol=1e-7)
    assert points.shape == (7, 2)
    first = path.read_bytes()
    assert main([*args, "--codes.angle", "[0.5]"]) == 0
    assert path.read_bytes() != first
    assert {file.name for file in tmp_path.iterdir()} == {"samples.csv"}


def test_what_needs_images_refuses_a_model_of_points(infogan_of_points, refused, tmp_path):
    image = tmp_path / "image.png"
    Image.new("L", (28, 28)).save(image)
    assert "model of points" in refused("traverse", "--ckpt_path", infogan_of_points)
    assert "model of points" in refused("encode", "--ckpt_path", infogan_of_points, image)
    assert "Ring has no image splits" in refused("encode", "--ckpt_path", infogan_of_points, "--split", "test")


def test_a_divergence_with_a_parameter_is_trained_and_read_back_from_its_checkpoint(tmp_path):
    divergence = tmp_path / "alpha.yaml"
    divergence.write_text(
        "model: {init_args: {divergence: {class_path: lightning_gans.functional.f_divergences.Alpha, "
        "init_args: {alpha: 0.5}}}}"
    )
    checkpoint = train_on_points(tmp_path, "--config", GAUSSIAN, "--config", divergence)
    module = load_module(checkpoint)
    assert isinstance(module, FGAN)
    assert module.divergence == f_divergences.Alpha(0.5)
    scores = [json.loads(line) for line in (checkpoint.parents[1] / "scores.jsonl").read_text().splitlines()]
    assert {"density/divergence", "density/discriminator_error", "divergence/bound"} <= {s["metric"] for s in scores}


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--model.divergence", "revers_kl"], ["no f-divergence 'revers_kl'", "did you mean 'reverse_kl'?"]),
        (["--model.divergence", "alpha"], ["--model.divergence Alpha --model.divergence.alpha NUMBER"]),
        (["--model.divergence", "weighted_jensen_shannon"], ["WeightedJensenShannon --model.divergence.pi NUMBER"]),
        (["--model.generator_loss", "non_saturating"], ["generator_loss", "non_saturating"]),
        (["--data", "Grid"], ["the samples of Grid have the shape (2,)", "the networks are for (1,)"]),
        (["--model.discriminator.sample_shape", "[2]"], ["samples of shape (1,)", "takes (2,)"]),
        (["--model.updates.discriminator_steps", "2"], ["updates.simultaneous", "discriminator_steps is 2"]),
        (["--data.weights", "[0.5,0.6]"], ["must be positive and sum to 1"]),
        (["--densities.resolution", "3"], ["densities.resolution is 3"]),
    ],
)
def test_impossible_games_of_points_are_refused_in_one_sentence(args, expected, refused, tmp_path):
    sentence = refused("fit", "--config", GAUSSIAN, "--runs", tmp_path, *args)
    for text in expected:
        assert text in sentence


def test_stopping_early_by_what_is_not_measured_is_one_sentence(refused, tmp_path):
    steps = ["--trainer.max_steps", 1, "--trainer.val_check_interval", 1]
    stop = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor", "validation/loss"]
    sentence = refused("fit", "--config", GAUSSIAN, "--runs", tmp_path, *steps, *stop)
    assert "conditioned on metric `validation/loss` which is not available" in sentence
    assert "`validation/loss/generator`" in sentence


@pytest.mark.parametrize(
    ("name", "what", "size", "options"),
    [
        ("mmd_gan_ring", "MMDGAN", 2, []),
        ("pacgan_ring", "batch normalisation", 2, []),
        (
            "gan_mnist_quick",
            "batch normalisation",
            4,
            [
                "--model.discriminator",
                '{"class_path": "PackedDiscriminator", "init_args": {"packing": 2, "discriminator": '
                '{"class_path": "MNISTDiscriminator", "init_args": {"width": 0.05}}}}',
            ],
        ),
    ],
    ids=["MMD", "batch norm", "packs"],
)
def test_a_batch_is_too_small_to_be_compared_within(refused, tmp_path, name, what, size, options):
    config = GAUSSIAN.with_name(f"{name}.yaml")
    options = [*options, "--data.batch_size", size // 2]
    sentence = refused("fit", "--config", config, "--runs", tmp_path, *options)
    expected = (
        f"data.batch_size is {size // 2}, but {what} compares samples of a batch with one another and needs {size}"
    )
    assert expected in sentence
    assert not list(tmp_path.rglob("version_*"))


def test_a_checkpoint_whose_own_class_is_not_here_says_which_module_is_missing(own_copy, refused):
    path = own_copy / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["lightning_gans"]["config"]["model"]["init_args"]["divergence"] = {"class_path": "my_own.Divergence"}
    torch.save(checkpoint, path)
    assert "the module my_own cannot be imported" in refused("sample", "--ckpt_path", path)
    assert "the module my_own cannot be imported" in refused("test", "--ckpt_path", path)


def test_two_processes_train_measure_and_draw(tmp_path):
    command = ["fit", "--config", TINY, "--runs", tmp_path, "--trainer.devices", 2, "--trainer.max_steps", 10]
    done = call(*command, "--fidelity.samples", 61, timeout=140)
    if "EADDRINUSE" in done.stderr:  # another worker's processes took the port that was free a moment ago
        shutil.rmtree(tmp_path / "tiny")
        done = call(*command, "--fidelity.samples", 61, timeout=140)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "tiny" / "version_0"
    measured = {json.loads(line)["metric"] for line in (folder / "scores.jsonl").read_text().splitlines()}
    assert {"fid_mnist-convnet_61", "information/digit", "calibration_error", "loss/generator"} <= measured
    assert (folder / "samples" / "step=000010_calibration.png").is_file()
    assert (folder / "finished.json").is_file()


def test_a_run_that_logs_nothing_trains_all_the_same(tmp_path):
    assert (
        main(
            f"fit --config {TINY} --runs {tmp_path} --trainer.max_steps 4 --trainer.limit_val_batches 0 "
            "--trainer.log_every_n_steps 0".split()
        )
        == 0
    )
    assert (tmp_path / "tiny" / "version_0" / "finished.json").is_file()
