"""Scores a tiny generator on one or two processes: ``python -m tests.callbacks.ddp_script DEVICES OUT CACHE``."""

import json
import sys
from pathlib import Path

from lightning.pytorch import Trainer

from lightning_gans.callbacks import Fidelity
from tests.callbacks.extractors import RandomImages
from tests.objectives.games import build


def main(devices: int, out: Path, cache: Path) -> None:
    fidelity = Fidelity("tests.callbacks.extractors.TinyClassifier", samples=101, pairwise_samples=51, cache=str(cache))
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[fidelity],
    )
    module = build(ema_decay=0.9)
    (validated,) = trainer.validate(module, datamodule=RandomImages(), verbose=False)
    (tested,) = trainer.test(module, datamodule=RandomImages(), verbose=False)
    if trainer.is_global_zero:
        out.write_text(json.dumps(dict(validated) | dict(tested)))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
