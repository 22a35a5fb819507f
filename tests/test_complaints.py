"""What is wrong within a class that an option names, or with its name, is said in one sentence."""

import pytest

from lightning_gans.complaints import complaints
from tests.cli_tools import TINY

REGULARISERS = "--model.discriminator_regularisers"
HERE = "in model.discriminator_regularisers"
CASES = {
    "a wrong key": (
        [REGULARISERS, '[{"class_path": "R1", "init_args": {"weigth": 1}}]'],
        f"unknown key 'weigth' of R1 {HERE}; did you mean 'weight'?",
    ),
    "a wrong key like no other": (
        [REGULARISERS, '[{"class_path": "SpectralNorm"}, {"class_path": "R1", "init_args": {"zzz": 1}}]'],
        f"unknown key 'zzz' of R1 {HERE}; R1 takes weight, every",
    ),
    "a wrong key of what was appended": (
        [f"{REGULARISERS}+=R1", f"{REGULARISERS}.weigth=1"],
        f"unknown key 'weigth' of R1 {HERE}; did you mean 'weight'?",
    ),
    "a misspelt class": (
        [REGULARISERS, '[{"class_path": "GradientPenaly"}]'],
        f"'GradientPenaly' {HERE} is no known class; did you mean 'GradientPenalty'?",
    ),
    "a class that there is not": (
        [REGULARISERS, '[{"class_path": "lightning_gans.objectives.Lipschitz"}]'],
        f"'lightning_gans.objectives.Lipschitz' {HERE} is no known class; there are SpectralNorm, R1, GradientPenalty",
    ),
    "a class of another kind": (
        [REGULARISERS, '[{"class_path": "MNIST"}]'],
        f"'MNIST' {HERE} is a class that does not fit there; there are SpectralNorm, R1, GradientPenalty",
    ),
    "a wrong value": (
        [REGULARISERS, '[{"class_path": "R1", "init_args": {"weight": "many"}}]'],
        f"weight of R1 {HERE} is 'many', but must be float",
    ),
    "no class": (
        [REGULARISERS, '[{"clas_path": "R1"}]'],
        "model.discriminator_regularisers has an entry that names no class: [{'clas_path': 'R1'}]; write each as "
        "{class_path: NAME, init_args: {…}}",
    ),
    "a number for a class": (
        [REGULARISERS, "[3]"],
        "model.discriminator_regularisers has an entry that names no class: 3; write each as "
        "{class_path: NAME, init_args: {…}}",
    ),
    "no list": (
        [REGULARISERS, "R1"],
        "model.discriminator_regularisers is 'R1', but must be a list of {class_path: NAME, init_args: {…}}",
    ),
    "a wrong key of Lightning's": (
        ["--trainer.callbacks", '[{"class_path": "LearningRateMonitor", "init_args": {"loging_interval": "step"}}]'],
        "unknown key 'loging_interval' of LearningRateMonitor in trainer.callbacks; did you mean 'logging_interval'?",
    ),
    "a wrong choice of Lightning's": (
        ["--trainer.callbacks", '[{"class_path": "LearningRateMonitor", "init_args": {"logging_interval": "day"}}]'],
        "logging_interval of LearningRateMonitor in trainer.callbacks is 'day', but must be 'step' or 'epoch'",
    ),
    "a wrong key where a list may be": (
        ["--trainer.logger", '{"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dri": "x"}}'],
        "unknown key 'trainer.logger.save_dri'; did you mean 'save_dir'?",
    ),
    "a wrong value of a network": (
        ["--model.generator.width", "many"],
        "model.generator.width is 'many', but must be float",
    ),
    "a wrong value of a code": (
        ["--model.latent.codes.digit.size", "many"],
        "model.latent.codes.digit.size is 'many', but must be int",
    ),
    "a number for a mapping": (
        ["--model.latent", "3"],
        "model.latent is '3', but has options of its own: set one of them (--model.latent.NAME), or name a YAML file",
    ),
    "a word for a section": (
        ["--trainer", "x.yaml"],
        "trainer is 'x.yaml', but has options of its own: set one of them (--trainer.NAME), or name a YAML file",
    ),
    "a number for a class that is needed": (
        ["--config", "data: 3"],
        "data is 3, but must name a class: {class_path: NAME, init_args: {…}}",
    ),
    "a class of an optimizer that there is not": (
        ["--model.generator_optimizer", "Qqq"],
        "model.generator_optimizer is 'Qqq', which is no known class",
    ),
    "a misspelt optimizer": (
        ["--model.generator_optimizer", '{"class_path": "torch.optim.Adm"}'],
        "'torch.optim.Adm' in model.generator_optimizer is no known class; did you mean 'Adam'?",
    ),
    "a misspelt schedule": (
        ["--model.generator_schedule", "torch.optim.lr_scheduler.LinearL"],
        "'torch.optim.lr_scheduler.LinearL' in model.generator_schedule is no known class; did you mean 'LinearLR'?",
    ),
    "an optimizer for a schedule": (
        ["--model.generator_schedule", "torch.optim.Adam"],
        "'torch.optim.Adam' in model.generator_schedule is a class that does not fit there; it takes a kind of "
        "LRScheduler",
    ),
    "a schedule for an optimizer": (
        ["--model.generator_optimizer", "torch.optim.lr_scheduler.LinearLR"],
        "'torch.optim.lr_scheduler.LinearLR' in model.generator_optimizer is a class that does not fit there; it takes "
        "a kind of Optimizer",
    ),
    "a misspelt argument of the class's parent": (
        ["--model.generator_schedul", "LinearLR"],
        "unknown key 'model.generator_schedul'; did you mean 'generator_schedule'?",
    ),
    "a class of Python's": (
        ["--trainer.callbacks", '[{"class_path": "collections.OrderedDict"}]'],
        "'collections.OrderedDict' in trainer.callbacks is a class that does not fit there",
    ),
    "an option of a class where there is a name": (
        ["--model", "FGAN", "--model.divergence", "alpha", "--model.divergence.alpha", "0.5"],
        "model.divergence.alpha was given, but model.divergence is no class that takes it",
    ),
    "a class for no argument": (
        ["--config", "model: {init_args: {kernl: {class_path: Sum}}}"],
        "unknown key 'model.kernl'",
    ),
}


# whether everything that is required was given is not asked where the configuration is only printed
REQUIRED = {
    "a code that there is not": (
        ["--model.latent.codes.colour.size", "4"],
        "there is no code 'colour' (digit, style); a new one needs model.latent.codes.colour.distribution",
    ),
    "a misspelt code": (
        ["--model.latent.codes.digits.size", "4"],
        "there is no code 'digits' (digit, style); did you mean 'digit'? A new one needs "
        "model.latent.codes.digits.distribution",
    ),
    "a code in place of all": (
        ["--model.latent.codes", "{colour: {size: 4}}"],
        "the code 'colour' needs model.latent.codes.colour.distribution",
    ),
    "a class without what it requires": (
        ["--model.generator", "FullyConnectedGenerator"],
        "required but not given: sample_shape, hidden of FullyConnectedGenerator in model.generator",
    ),
    "a class to be built later without what it requires": (
        ["--model.generator_schedule", "torch.optim.lr_scheduler.CosineAnnealingLR"],
        "required but not given: T_max of CosineAnnealingLR in model.generator_schedule",
    ),
    "a class to be built later with another of its arguments": (
        ["--model.generator_schedule", "StepLR", "--model.generator_schedule.gamma", "0.5"],
        "required but not given: step_size of StepLR in model.generator_schedule",
    ),
    "a class of a list without what it requires": (
        ["--trainer.callbacks", '[{"class_path": "EarlyStopping"}]'],
        "required but not given: monitor of EarlyStopping in trainer.callbacks",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_about_a_class_among_the_options_is_one_sentence(case: str, refused) -> None:
    args, sentence = CASES[case]
    assert refused("fit", "--config", TINY, "--print_config", *args) == f"error: {sentence}\n"


@pytest.mark.parametrize("case", REQUIRED)
def test_what_a_class_requires_is_one_sentence(case: str, refused) -> None:
    args, sentence = REQUIRED[case]
    assert refused("fit", "--config", TINY, *args) == f"error: {sentence}\n"


def test_a_configuration_file_is_answered_as_the_command_line_is(refused, tmp_path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("model: {init_args: {discriminator_regularisers: [{class_path: R1, init_args: {weigth: 1}}]}}\n")
    assert refused("fit", "--config", TINY, "--config", overlay) == f"error: {CASES['a wrong key'][1]}\n"


@pytest.mark.parametrize("section", ["model", "data"])
def test_an_overlay_alone_is_known_for_one(section, refused, tmp_path) -> None:
    overlay, other = tmp_path / "overlay.yaml", tmp_path / "other.yaml"
    overlay.write_text(f"{section}: {{init_args: {{seed: 3}}}}\n")
    other.write_text("data: {class_path: MNIST}\n" if section == "model" else "model: {class_path: GAN}\n")
    sentence = refused("fit", "--config", other, "--config", overlay)
    assert sentence == (
        f"error: {section} names no class (class_path): overlays and options only change a configuration; give a "
        "whole one before them, such as --config conf/infogan_mnist.yaml\n"
    )


@pytest.mark.parametrize("section", ["trainer", "fidelity", "checkpoints"])
@pytest.mark.parametrize("given", ["3", "[1]", "null"])
def test_a_section_that_holds_no_settings_is_named(section, given, refused, tmp_path) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(f"{section}: {given}\n")
    assert refused("fit", "--config", TINY, "--config", overlay, "--runs", tmp_path / "runs") == (
        f"error: {section} is {given}, but must hold settings of its own: {section}: {{NAME: VALUE, …}}\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_folder_is_no_configuration(refused, tmp_path) -> None:
    assert refused("fit", "--config", tmp_path) == f"error: {tmp_path} is no file (given for --config)\n"


def test_a_list_within_a_class_is_named_with_both(refused, tmp_path) -> None:
    config = tmp_path / "sum.yaml"
    config.write_text(
        "model: {class_path: MMDGAN, init_args: {kernel: {class_path: Sum, init_args: {kernels: "
        "[{class_path: RBFMixture, init_args: {bandwidhts: [1.0]}}]}}}}\n"
    )
    sentence = refused("fit", "--config", config)
    assert "unknown key 'bandwidhts' of RBFMixture in model.kernel.kernels; did you mean 'bandwidths'?" in sentence


def test_the_leaves_of_a_message_know_their_keys_and_their_class() -> None:
    message = """Parser key "trainer.callbacks":
  Does not validate against any of the Union subtypes
  Subtypes: [list[some.Callback], <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'some.Monitor':
        Parser key "interval":
          Expected a <class 'int'>. Got value: x
    - Expected a <class 'NoneType'>
  Given value type: <class 'list'>
  Given value: [1]
"""
    leaf = next(found for found in complaints(message) if found.what.startswith("Expected a <class 'int'>"))
    assert (leaf.path, leaf.owner, leaf.where, leaf.base) == (
        ("trainer.callbacks", "interval"), "some.Monitor", "trainer.callbacks", "",
    )  # fmt: skip
    other = next(found for found in complaints(message) if "NoneType" in found.what and found.what.startswith("Exp"))
    assert (other.whole, other.owner, other.base, other.given) == ("trainer.callbacks", "", "some.Callback", "[1]")
