"""What ``boost`` refuses: in one sentence, before anything is trained, and without leaving a folder behind."""

from pathlib import Path

import pytest
import yaml

from lightning_gans.__main__ import main

CONF = Path(__file__).parents[1] / "conf"
TINY = Path(__file__).parent / "conf" / "boost.yaml"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--boost.components", "0"], "boost.components is 0"),
        (["--boost.beta", "1.5"], "boost.beta is 1.5"),
        (["--boost.methd", "ensemble"], "did you mean"),
        (["--boost.method", "bagging"], "bagging"),
        (["--model.generater_loss", "minimax"], "unknown"),
        (["--data.modes", "x"], "modes"),
        (["--ckpt_path", "last"], "goes on by itself"),
        (["--seed_everything", "-1"], "seed_everything is -1"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing_behind(tmp_path: Path, refused, args, words):
    sentence = refused("boost", "--config", TINY, "--runs", tmp_path, *args)
    assert words in sentence
    assert not list(tmp_path.glob("boost/*"))


def test_without_a_configuration_nothing_is_boosted(tmp_path: Path, refused):
    assert "give --config" in refused("boost")
    assert "missing.yaml cannot be read: No such file" in refused("boost", "--config", tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (["--data", "StackedMNIST"], "StackedMNIST takes no sample_weights"),
        (["--data", "MNIST", "--data.labelled.per_class", "1"], "labelled and data.sample_weights cannot be combined"),
    ],
)
def test_data_that_cannot_be_weighed_are_refused_before_anything_is_trained(tmp_path: Path, refused, data, words):
    config = yaml.safe_load(TINY.read_text()) | {"data": {}}
    path = tmp_path / "boost.yaml"
    path.write_text(yaml.safe_dump(config))
    assert words in refused("boost", "--config", path, "--runs", tmp_path / "runs", *data)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        (
            "gmmn_ring",
            ["--boost.method", "ensemble"],
            "GMMN has no discriminator and no discriminator_optimizer, which the mixture's classifier needs; give "
            "boost.classifier.discriminator and boost.classifier.optimizer",
        ),
        ("nce_ring", ["--boost.method", "ensemble"], "NCE has no generator, which the mixture needs"),
        ("pacgan_ring", [], "a classifier of packs of 2 samples gives no ratio of single ones"),
        ("gan_ring", ["--boost.classifier.discriminator.class_path", "MaxoutDiscriminater"], "MaxoutDiscriminater"),
        (
            "gan_ring",
            ["--boost.method", "best_of", "--trainer.max_steps", "10"],
            "best_of chooses by the components' validations, but they would have none; set "
            "--trainer.val_check_interval to 10 or less",
        ),
    ],
)
def test_components_that_make_no_mixture_are_refused_before_any_is_trained(tmp_path, refused, name, args, words):
    sentence = refused("boost", "--config", CONF / f"{name}.yaml", "--runs", tmp_path / "runs", *args)
    assert words in sentence
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["model", "data"])
def test_a_configuration_without_a_model_or_data_is_refused(tmp_path: Path, refused, name: str):
    config = yaml.safe_load(TINY.read_text())
    del config[name]
    (tmp_path / "part.yaml").write_text(yaml.safe_dump(config))
    sentence = refused("boost", "--config", tmp_path / "part.yaml", "--runs", tmp_path / "runs")
    assert sentence == f"error: required but not given: --{name}; name a configuration that has them\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--data.batch_size", "1000"], "One step needs 1000 samples"),
        (["--trainer.precision", "16-true"], "under which the players cannot be trained"),
        (["--densities.generated_points", "0"], "generated_points is 0"),
    ],
)
def test_what_only_training_refuses_leaves_no_folder_behind(tmp_path: Path, refused, args, words):
    assert words in refused("boost", "--config", TINY, "--runs", tmp_path, *args)
    assert not list(tmp_path.glob("boost/*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"boost": 3}, "boost is 3, but must hold settings of its own"),
        ({"boost": "boosted"}, "boost is 'boosted', but must hold"),
        ({"boost": ["a"]}, "boost is ['a'], but must hold"),
        ({"boost": {"classifier": 4}}, "boost.classifier is 4, but must hold"),
        ({"trainer": "x.yaml"}, "trainer is 'x.yaml', but must hold"),
        ({"fidelity": 3}, "fidelity is 3, but must hold"),
        ({"model": {"class_path": "AdaGAN", "init_args": {}}}, "AdaGAN is the mixture itself; name the configuration"),
    ],
)
def test_a_configuration_of_another_form_is_refused(tmp_path: Path, refused, changes, words):
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | changes))
    assert words in refused("boost", "--config", path, "--runs", tmp_path / "runs")
    assert not list(tmp_path.glob("runs/boost/*"))


def test_the_mixtures_own_configuration_is_no_components(tmp_path: Path, refused, capsys):
    assert main(["boost", "--config", str(TINY), "--runs", str(tmp_path), "--boost.components", "1"]) == 0
    folder = tmp_path / "boost" / "version_0"
    sentence = refused("boost", "--config", folder / "config.yaml", "--runs", tmp_path / "more")
    assert "AdaGAN is the mixture itself" in sentence and "component.yaml" in sentence
    # and a folder whose record somebody has damaged is left alone
    (folder / "boost.json").write_text("{")
    assert main(["boost", "--config", str(TINY), "--runs", str(tmp_path), "--boost.components", "1"]) == 0
    assert f"note: {folder / 'boost.json'} is damaged; its folder is left alone" in capsys.readouterr().err
    assert (folder / "boost.json").read_text() == "{" and (tmp_path / "boost" / "version_1").is_dir()


def test_weights_of_the_data_are_not_taken_and_dropped(tmp_path: Path, refused):
    sentence = refused("boost", "--config", TINY, "--runs", tmp_path / "runs", "--data.sample_weights", "own.npy")
    assert sentence.startswith("error: data.sample_weights are what boosting sets; leave them out")


def test_help_on_a_class_is_what_fit_gives(capsys):
    with pytest.raises(SystemExit) as end:
        main(["boost", "--config", str(TINY), "--model.help", "GAN"])
    assert not end.value.code and "--model.generator_loss" in capsys.readouterr().out
