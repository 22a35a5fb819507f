"""What can be said on the command line of fit, validate, test and predict."""

from typing import Any

from jsonargparse import ActionConfigFile, set_parsing_settings
from lightning.pytorch import LightningDataModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import lightning_gans.data
import lightning_gans.networks  # noqa: F401 - registers short class names
from lightning_gans.callbacks import (
    AttributePanel,
    Calibration,
    ClassificationError,
    DensityPanel,
    EnergyLandscape,
    Fidelity,
    GameProgress,
    GracefulStop,
    Health,
    InformationPanel,
    LikelihoodPanel,
    ParzenPanel,
    Pictures,
    RunCheckpoints,
    Speed,
    StackedModesPanel,
    TwoSampleTestPanel,
)
from lightning_gans.objectives import Game
from lightning_gans.parser import HelpFormatter, SentenceParser

DESCRIPTION = """Train, compare and understand GANs.

From a configuration: fit. From a checkpoint alone (--ckpt_path): validate, predict, and
  test       score the model; with --against FOLDER also a folder of images
  sample     draw images, with codes of your choice
  traverse   draw what each latent code does
  encode     read the codes of images
  ensemble   test several semi-supervised classifiers together
Of many runs: compare ranks them by their scores, sweep searches settings, boost makes a mixture of generators.
Each with its own --help."""

# NumPy's
LARGEST_SEED = 2**32 - 1

# ${model.init_args.x} shall mean the same in a file and under the subcommand `fit`
set_parsing_settings(omegaconf_absolute_to_relative_paths=True)


class CommandLine(LightningCLI):
    """LightningCLI with our parser; what is done with what was parsed is `GanCLI`'s."""

    def __init__(self, args: list[str]):
        self._asked = args[0] if args else ""
        super().__init__(
            model_class=Game,
            datamodule_class=LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            save_config_callback=None,
            trainer_defaults={
                "callbacks": [GracefulStop(), GameProgress(), ClassificationError()],
                "max_epochs": -1,
                "check_val_every_n_epoch": None,
                "num_sanity_val_steps": 0,
                "enable_model_summary": False,
                # our samplers divide the data between ranks themselves, without padding
                "use_distributed_sampler": False,
            },
            parser_kwargs={"parser_mode": "omegaconf+", "description": DESCRIPTION},
            args=args,
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The one that was asked for: a parser for each of the others would take as long to make as this one's."""
        known = super().subcommands()
        return {self._asked: known[self._asked]} if self._asked in known else known

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Our parser, whose errors are one sentence."""
        kwargs.setdefault("dump_header", ["lightning_gans"])
        kwargs.setdefault("formatter_class", HelpFormatter)
        parser = SentenceParser(prog="python -m lightning_gans", **kwargs)
        parser.add_argument("-c", "--config", action=ActionConfigFile, help="Path to a YAML file; later ones win.")
        return parser

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed, always a number: a run can be repeated and resumed only with the one that it began with."""
        parser.add_argument(
            "--seed_everything",
            type=int,
            default=self.seed_everything_default,
            help=f"Key of all random draws, from 0 to {LARGEST_SEED}.",
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Arguments of the run rather than of the model, the data or the trainer."""
        parser.add_argument(
            "--experiment", type=str, default="default", help="Name of the experiment's folder in --runs."
        )
        parser.add_argument(
            "--runs", type=str, default="runs", help="Folder of all runs: <runs>/<experiment>/<version>/."
        )
        parser.add_argument(
            "--allow_changed",
            type=bool,
            default=False,
            help="Resume even if settings differ from the checkpoint's.",
        )
        parser.add_lightning_class_args(RunCheckpoints, "checkpoints")
        parser.add_lightning_class_args(InformationPanel, "information")
        parser.add_lightning_class_args(AttributePanel, "attributes")
        parser.add_lightning_class_args(Fidelity, "fidelity")
        parser.add_lightning_class_args(DensityPanel, "densities")
        parser.add_lightning_class_args(LikelihoodPanel, "likelihood")
        parser.add_lightning_class_args(EnergyLandscape, "energy")
        parser.add_lightning_class_args(ParzenPanel, "parzen")
        parser.add_lightning_class_args(StackedModesPanel, "stacked_modes")
        parser.add_lightning_class_args(TwoSampleTestPanel, "two_sample_test")
        parser.add_lightning_class_args(Calibration, "calibration")
        parser.add_lightning_class_args(Pictures, "pictures")
        parser.add_lightning_class_args(Health, "health")
        parser.add_lightning_class_args(Speed, "speed")
        for action in parser._actions:
            if action.dest.startswith("trainer.limit_"):
                # Lightning's int | float comes out of typing's cache as float | int, where 1 is 1.0: all batches
                action._typehint = int | float | None  # type: ignore[attr-defined]
        parser.link_arguments("seed_everything", "model.init_args.seed")
        parser.link_arguments("seed_everything", "data.init_args.seed")

    def _parse_ckpt_path(self) -> None:
        """Take nothing from a checkpoint on the side: `find_resumption` reads it, and says what is wrong with it."""
