"""When pictures are drawn."""

from abc import ABC, abstractmethod
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Drawing(Callback, ABC):
    """Draws during fit: at every validation, and the final state if the last validation was of an earlier one."""

    def __init__(self) -> None:
        self._drawn_step = -1

    def state_dict(self) -> dict[str, Any]:
        """The step whose state was drawn last."""
        return {"drawn_step": self._drawn_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember it, so that a run that only lacks its end is not drawn twice."""
        self._drawn_step = state_dict["drawn_step"]

    @abstractmethod
    def draw(self, trainer: Trainer, module: LightningModule) -> None:
        """Write pictures into the run's folder, where there is one and there is something to draw."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw during fit; `validate` alone draws nothing."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._drawn_step = trainer.global_step
            self.draw(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the final state, unless the last validation was of it."""
        if self._drawn_step != trainer.global_step:
            self.draw(trainer, pl_module)
