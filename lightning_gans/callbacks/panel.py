"""When a panel measures, and where its numbers go."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_gans.callbacks.protocol import log_by_clock
from lightning_gans.errors import InputError
from lightning_gans.objectives import Adversarial


def require_generator(module: LightningModule, option: str) -> None:
    """Refuse to compare generated samples where there are none, rather than leave the score out.

    Args:
        module: The model.
        option: What asks for the comparison, as in ``parzen.samples``.

    Raises:
        InputError: If the model generates nothing.
    """
    if not isinstance(module, Adversarial):
        raise InputError(
            f"{option} is about generated samples, but {type(module).__name__} generates none; leave it out"
        )


class Panel(Callback, ABC):
    """Measures at every validation, on validation samples, and in `test`, on test samples; and logs what it found."""

    @abstractmethod
    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> Mapping[str, float]:
        """Measure, and write scores.

        Args:
            trainer: Who knows the data.
            module: The model.
            stage: The split to measure on, "validation" or "test".

        Returns:
            Values by name, equal on all ranks; none where there is nothing to measure.
        """

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the validation split, and log under the game's clock."""
        if not trainer.sanity_checking:
            log_by_clock(pl_module, self._by_stage(trainer, pl_module, "validation"))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure on the test split, and log."""
        pl_module.log_dict(self._by_stage(trainer, pl_module, "test"), sync_dist=True)

    def _by_stage(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        return {f"{stage}/{name}": value for name, value in self.measure(trainer, module, stage).items()}


class FinalPanel(Panel):
    """Measures the final state too, if the last validation was of an earlier one."""

    def __init__(self) -> None:
        self._measured_step = -1

    def state_dict(self) -> dict[str, Any]:
        """The step whose state was measured last."""
        return {"measured_step": self._measured_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember it, so that a run that only lacks its end is not measured twice."""
        self._measured_step = state_dict["measured_step"]

    def _by_stage(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        self._measured_step = trainer.global_step
        return super()._by_stage(trainer, module, stage)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the final state, unless the last validation was of it."""
        if trainer.limit_val_batches and self._measured_step != trainer.global_step:
            values = self._by_stage(trainer, pl_module, "validation")
            for logger in trainer.loggers if values else ():
                logger.log_metrics(values, step=trainer.global_step)
