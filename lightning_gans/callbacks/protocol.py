"""What every score of a run has in common, and how it is written."""

from collections.abc import Iterable, Mapping

from lightning.pytorch import LightningModule, Trainer

import lightning_gans
from lightning_gans.data import ImageDataModule, SplitDataModule
from lightning_gans.metrics import ProtocolValue, Score, append_scores
from lightning_gans.objectives import Game
from lightning_gans.runs import SCORES, run_folder

Measured = tuple[str, float]
"""Name of a metric and its value."""


def trained_steps(trainer: Trainer, module: Game) -> int:
    """Generator updates behind the weights: the clock in fit, the checkpoint's own count elsewhere."""
    return trainer.global_step if trainer.state.fn == "fit" else module.trained_steps


def protocol_of_run(trainer: Trainer, module: Game, stage: str) -> dict[str, ProtocolValue]:
    """The model's and the data's part of a protocol; how many samples were scored, who scores them adds.

    Args:
        trainer: The trainer, which knows the data.
        module: The model that is measured.
        stage: Split that it is measured on, "validation" or "test".
    """
    data = getattr(trainer, "datamodule", None)
    protocol: dict[str, ProtocolValue] = {
        "objective": type(module).__name__,
        "split": stage,
        "weights": module.evaluated_weights,
        "batch_norm": "running statistics",
        "seed": module.seed,
        "code": lightning_gans.__version__,
    }
    if isinstance(data, SplitDataModule):
        protocol |= {
            "data": data.name,
            "data_fingerprint": data.fingerprint[:16],
            "fallback_data": data.is_fallback,
        }
    if isinstance(data, ImageDataModule):
        protocol["quantisation"] = "uint8, half up"
    return protocol


def write_scores(
    trainer: Trainer, module: Game, measured: Iterable[Measured], protocol: dict[str, ProtocolValue]
) -> None:
    """Add what was measured to the run's scores, on the first rank."""
    folder = run_folder(trainer)
    if trainer.is_global_zero and folder is not None:
        step = trained_steps(trainer, module)
        append_scores(folder / SCORES, [Score(name, value, protocol, step=step) for name, value in measured])


def log_by_clock(module: LightningModule, values: Mapping[str, float]) -> None:
    """Log what a validation found, under the game's clock.

    Args:
        module: The model.
        values: By name; equal on all ranks already, or nearly: sync_dist says so to Lightning, which wants the
            same from everybody who logs the step.
    """
    module.log("step", float(module.global_step), sync_dist=True)
    module.log_dict(values, sync_dist=True)
