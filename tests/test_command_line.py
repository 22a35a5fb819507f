"""What the command line means, and what it refuses before anything is done or overwritten."""

import pickle
from pathlib import Path

import pytest
import torch
import yaml

from lightning_gans.__main__ import main
from lightning_gans.arguments import configurations_first
from lightning_gans.checkpoint import configuration
from lightning_gans.data import MNIST, CelebA, StackedMNIST
from lightning_gans.errors import InputError, NonFiniteLoss
from lightning_gans.metrics import read_scores
from lightning_gans.networks import Generator
from lightning_gans.objectives.invariant_infogan import Transformation
from lightning_gans.objectives.watch import LossWatch
from tests.cli_tools import TINY

CONF = Path(__file__).parents[1] / "conf"
QUICK = ["--trainer.max_steps", 1, "--trainer.limit_val_batches", 0]


class BreaksWhenBuilt(Generator):
    def __init__(self, input_size: int):
        raise RuntimeError("boom in my code")


def printed(capsys: pytest.CaptureFixture, *args: object) -> dict:
    with pytest.raises(SystemExit):
        main([*map(str, args), "--print_config"])
    return yaml.safe_load(capsys.readouterr().out)


def test_an_option_wins_over_a_configuration_wherever_it_stands(capsys) -> None:
    assert printed(capsys, "fit", "--trainer.max_steps", 3, "--config", TINY)["trainer"]["max_steps"] == 3
    args = ["fit", "--a", "1", "-c", "x.yaml", "--config=y.yaml", "--b=2", "--config", "z.yaml"]
    first = ["fit", "-c", "x.yaml", "--config=y.yaml", "--config", "z.yaml", "--a", "1", "--b=2"]
    assert configurations_first(args) == first


def test_one_batch_is_one_and_not_all(capsys, tmp_path) -> None:
    for said, meant in (("1", 1), ("1.0", 1.0), ("0.5", 0.5), ("3", 3)):
        found = printed(capsys, "fit", "--config", TINY, "--trainer.limit_val_batches", said)["trainer"]
        assert found["limit_val_batches"] == meant and type(found["limit_val_batches"]) is type(meant)
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("trainer: {limit_test_batches: 1}")
    assert type(printed(capsys, "fit", "--config", TINY, "--config", overlay)["trainer"]["limit_test_batches"]) is int


@pytest.mark.parametrize(
    ("command", "kind"), [("fit", "train"), ("validate", "val"), ("test", "test"), ("predict", "predict")]
)
def test_a_command_that_would_look_at_nothing_is_refused(command: str, kind: str, trained, refused, tmp_path) -> None:
    checkpoint = trained[0] / "checkpoints" / "last.ckpt"
    args = ["--config", TINY, "--runs", tmp_path] if command == "fit" else ["--ckpt_path", checkpoint]
    said = refused(command, *args, f"--trainer.limit_{kind}_batches", 0)
    assert f"trainer.limit_{kind}_batches is 0, so there is nothing to do" in said
    assert not list(tmp_path.iterdir())


def test_a_dry_run_overwrites_no_predictions(own_copy, monkeypatch) -> None:
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    args = ["predict", "--ckpt_path", str(own_copy / "checkpoints" / "last.ckpt")]
    assert main(args) == 0
    written = (own_copy / "predictions.csv").read_text()
    assert main([*args, "--trainer.fast_dev_run", "true", "--data.evaluation_batch_size", "7"]) == 0
    assert (own_copy / "predictions.csv").read_text() == written


def test_a_validation_tells_what_it_found_and_not_what_was_known(own_copy, monkeypatch, capsys) -> None:
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    args = ["validate", "--ckpt_path", str(own_copy / "checkpoints" / "last.ckpt")]
    assert main([*args, "--trainer.fast_dev_run", "true"]) == 0
    assert "loss/generator" not in capsys.readouterr().out
    assert main(args) == 0
    assert "loss/generator" in capsys.readouterr().out


def test_scores_are_of_the_seed_that_a_model_was_trained_with(own_copy, monkeypatch) -> None:
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    checkpoint = str(own_copy / "checkpoints" / "last.ckpt")
    assert main(["test", "--config", str(TINY), "--ckpt_path", checkpoint, "--seed_everything", "7"]) == 0
    tested = [s for s in read_scores(own_copy / "scores.jsonl") if s.protocol.get("split") == "test"]
    assert tested and {score.protocol["seed"] for score in tested} == {0}


@pytest.mark.parametrize("content", ["cut", "empty", "a list", "a pickle", "foreign"])
def test_a_file_that_is_no_checkpoint_of_ours_is_told_so_by_fit(content: str, trained, tmp_path, refused) -> None:
    path = tmp_path / "wrong.ckpt"
    whole = (trained[0] / "checkpoints" / "last.ckpt").read_bytes()
    if content in ("a list", "foreign"):
        foreign = {"state_dict": {}, "hyper_parameters": {"width": 3}}
        torch.save([1] if content == "a list" else foreign, path)
    else:
        contents = {"cut": whole[: len(whole) // 2], "empty": b"", "a pickle": pickle.dumps(Path("x"))}
        path.write_bytes(contents[content])
    for command in ("fit", "test"):
        said = refused(command, "--config", TINY, "--runs", tmp_path / "runs", "--ckpt_path", path)
        assert str(path) in said


def test_what_breaks_in_a_class_of_ones_own_is_told(refused, tmp_path) -> None:
    name = f"{__name__}.BreaksWhenBuilt"
    said = refused("fit", "--config", TINY, "--runs", tmp_path, *QUICK, "--model.generator", name)
    assert "RuntimeError: boom in my code" in said


def test_images_of_another_size_are_refused_before_they_are_read(refused, tmp_path) -> None:
    options = ["--data", "ImageFolderDataModule", "--data.root", tmp_path / "nothing", "--data.size", 32]
    said = refused("fit", "--config", CONF / "gan_celeba.yaml", "--runs", tmp_path, *options, "--data.crop", "null")
    assert "the shape (3, 32, 32), but the networks are for (3, 64, 64)" in said


@pytest.mark.parametrize(
    ("option", "value"),
    [("enable_checkpointing", "false"), ("fast_dev_run", "true"), ("limit_train_batches", "0")],
)
def test_a_sequence_that_could_not_be_finished_is_not_begun(option: str, value: str, refused, tmp_path) -> None:
    config = Path(__file__).parent / "conf" / "boost.yaml"
    assert f"trainer.{option} is" in refused(
        "boost", "--config", config, "--runs", tmp_path, f"--trainer.{option}", value
    )
    assert not list(tmp_path.rglob("component_*"))


def test_a_run_without_checkpoints_does_not_offer_to_resume(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    quick = ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "0", "--trainer.enable_checkpointing", "false"]
    assert main(["fit", "--config", str(TINY), "--runs", str(tmp_path), *quick]) == 0
    out = capsys.readouterr().out
    assert "without a checkpoint" in out and "resume" not in out


# ---- what configurations hold


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainer:\n\tmax_steps: 3\n", "line 2, is no valid YAML: found character '\\t' that cannot start any token; "
         "indent with spaces"),
        ("trainer:\n  max_steps: 3\n   devices: 1\n", "line 3, is no valid YAML: mapping values are not allowed here"),
        ("trainer:\n  max_steps: 3\n  max_steps: 5\n", "line 3, is no valid YAML: max_steps is given twice"),
        ("trainer:\n  [1, 2]: 3\n", "line 2, is no valid YAML: found unhashable key"),
        ("just text\n", "must hold settings, one `name: value` in each line, but holds 'just text'"),
        ("", "must hold settings, one `name: value` in each line, but is empty"),
    ],
    ids=["tab", "indentation", "twice", "list", "text", "empty"],
)  # fmt: skip
def test_a_configuration_without_settings_is_refused_by_its_name(text: str, words: str, tmp_path: Path, refused):
    (tmp_path / "mine.yaml").write_text(text)
    said = refused("fit", "--config", TINY, "--config", tmp_path / "mine.yaml")
    assert str(tmp_path / "mine.yaml") in said and words in said


def test_a_mistyped_key_in_a_file_is_answered_with_the_one_that_was_meant(tmp_path: Path, refused):
    (tmp_path / "mine.yaml").write_text("trainer:\n  max_stpes: 3\n")
    assert "did you mean '--trainer.max_steps'?" in refused("fit", "--config", TINY, "--config", tmp_path / "mine.yaml")


def test_a_configuration_without_its_option_and_a_class_that_is_not_there_are_told_in_a_sentence(refused):
    assert "'a.yaml' is no option; a configuration is named with --config a.yaml" in refused("fit", "a.yaml")
    assert "error: 'NoGAN' is no known class; did you mean 'GAN'?" in refused("fit", "--model.help", "NoGAN")


def test_latents_have_no_negative_key(refused):
    assert "--seed is -1, but must be 0 or more" in refused("sample", "--ckpt_path", "a.ckpt", "--seed", -1)


def test_a_loss_that_was_never_finite_has_no_last_finite_value():
    watch = LossWatch()
    watch.see("generator", torch.tensor(float("nan")))
    watch.settle(0)
    with pytest.raises(NonFiniteLoss, match=r"the generator's loss was not finite in step 1 \(none has been before\)"):
        watch.require_finite()


def test_options_before_the_command_are_put_in_their_place(refused):
    assert "options come after the command: fit --config" in refused("--config", TINY, "fit")
    assert "options come after the command: sample --seed" in refused("--seed", 3, "sample")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trainer.max_steps", "-5"], "trainer.max_steps is -5, but must be 1 or more, or -1 for no limit"),
        (["--trainer.log_every_n_steps", "-1"], "trainer.log_every_n_steps is -1, but must be 1 or more, or 0"),
        (["--trainer.val_check_interval", "0.5"], "trainer.val_check_interval is 0.5, but must be a number of steps"),
        (["--trainer.precision", "7"], "trainer.precision is '7', but must be one of 64, 32, 16"),
        (["--model", "torch.nn.Linear"], "model is 'torch.nn.Linear', but must be a Game"),
        (["--runs", ""], "runs is empty, but must name a folder"),
        (["--model.discriminator.slope", ".nan"], "slope is nan, but a leaky ReLU's must lie in [0, 1)"),
        (["--model.generator_optimizer", "torch.optim.LBFGS"], "is LBFGS, which wants the loss several times"),
        (["--model.generator_optimizer", "torch.optim.SparseAdam"], "is SparseAdam, which wants sparse gradients"),
    ],
)  # fmt: skip
def test_numbers_and_classes_that_nothing_can_be_trained_with_are_refused(options, words, tmp_path, refused):
    assert words in refused("fit", "--config", TINY, *(() if "--runs" in options else ("--runs", tmp_path)), *options)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_the_folder_of_all_data_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "somewhere")
    assert MNIST().root == StackedMNIST().digits.root == CelebA().root == "somewhere"
    assert MNIST("elsewhere").root == "elsewhere"
    monkeypatch.delenv("LIGHTNING_GANS_DATA")
    assert MNIST().root == "data"


def test_a_checkpoint_that_leaves_the_folder_to_the_environment_goes_on_doing_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "somewhere")
    for root, found in ((None, None), ("no-such-folder", "somewhere"), (".", ".")):
        data = {"class_path": "lightning_gans.data.MNIST", "init_args": {"root": root}}
        carried = configuration({"lightning_gans": {"config": {"model": {}, "data": data}}}, "a.ckpt")
        assert carried["data"]["init_args"]["root"] == found


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_transformation_is_of_finite_size(value: float):
    with pytest.raises(InputError, match=f"transformation.shear is {value}, but must be 0 or more, and finite"):
        Transformation(shear=value)
