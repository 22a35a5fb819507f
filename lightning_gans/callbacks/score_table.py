"""The scores of a run as a table where W&B is looked at."""

import json

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_gans.metrics import read_scores
from lightning_gans.runs import SCORES, run_folder


class WandbScores(Callback):
    """Attaches the run's scores, each with its protocol, to the W&B run as the table "scores" when training ends.

    W&B's curves have the numbers alone; what they were measured on is in this table.
    """

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Send the table."""
        folder = run_folder(trainer)
        loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
        if folder is None or not loggers or not (folder / SCORES).is_file():
            return
        columns = ["metric", "step", "value", "spread", "protocol"]
        rows = [[s.metric, s.step, s.value, s.spread, json.dumps(s.protocol)] for s in read_scores(folder / SCORES)]
        for logger in loggers:
            # step= would be W&B's own counter, which advances at every log call
            logger.log_table("scores", columns=columns, data=rows)
