"""What a person is told when a command of a run is over: on stdout, after everything was written."""

from pathlib import Path

from torch import Tensor

from lightning_gans.commands.encode import code_records, write
from lightning_gans.metrics import Score, format_scores, read_scores
from lightning_gans.objectives import Game, InfoGAN, SemiSupervised
from lightning_gans.runs import CHECKPOINTS, CONFIG, SAMPLES, SCORES, is_finished


def scores_in(folder: Path) -> list[Score]:
    """All scores of a run, none if nothing was scored yet."""
    path = folder / SCORES
    return read_scores(path) if path.is_file() else []


def tell_newest_scores(folder: Path, split: str) -> None:
    """The newest score of each metric and kind of weights on a split."""
    found = scores_in(folder)
    scores = [score for score in found if score.protocol.get("split") == split]
    scores += [score for score in found if f" {split} images" in str(score.protocol.get("generated"))]
    if scores:
        newest = {(score.metric, score.protocol.get("weights")): score for score in scores}
        print(format_scores(list(newest.values())))


def tell_end_of_training(folder: Path, step: int) -> None:
    """The final scores, whether the run is finished, and what was written."""
    tell_newest_scores(folder, "validation")
    if is_finished(folder):
        print(f"finished after {step} steps; written to {folder}:")
    elif (folder / CHECKPOINTS / "last.ckpt").is_file():
        print(f"stopped after {step} steps, before the end; resume with --ckpt_path last; written to {folder}:")
    else:
        print(f"ended after {step} steps without a checkpoint; written to {folder}:")
    for what in (f"{CHECKPOINTS}/last.ckpt", f"{CHECKPOINTS}/best.ckpt", SCORES, "metrics.csv", CONFIG):
        if (folder / what).exists():
            print(f"  {folder / what}")
    pictures = folder / SAMPLES
    for picture in [*sorted(pictures.glob(f"step={step:06d}_*.png")), *sorted(pictures.glob("*.gif"))]:
        print(f"  {picture}")


def tell_new_scores(folder: Path, known: int) -> None:
    """The scores after the first ``known`` ones."""
    if scores := scores_in(folder)[known:]:
        print(format_scores(scores))
        print(f"added to {folder / SCORES}")


def write_predictions(module: Game, predictions: Tensor, folder: Path) -> None:
    """Write what a model says about the test samples: codes, classes, or the discriminator's outputs, (N, ...)."""
    names = [f"test/{index}" for index in range(len(predictions))]
    if isinstance(module, InfoGAN):
        records = code_records(module, predictions, names)
    else:
        columns = {"sample": names, module.prediction: predictions.tolist()}
        if isinstance(module, SemiSupervised):
            columns = {"sample": names, "class": predictions.argmax(1).tolist()} | columns
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path = folder / "predictions.csv"
    write(records, path)
    print(f"{len(records)} predictions written to {path}")
