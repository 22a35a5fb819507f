"""What is written beside the numbers about codes and losses: whose weights, and how many images."""

from pathlib import Path

from lightning_gans.callbacks import InformationPanel
from lightning_gans.metrics import Score, read_scores
from lightning_gans.objectives import InfoGAN
from lightning_gans.runs import RunLogger
from tests.callbacks.extractors import RandomImages
from tests.callbacks.test_fidelity import fit
from tests.objectives.games import build


def scores_of(folder: Path, **options: object) -> dict[str, Score]:
    logger, data = RunLogger(str(folder), "information"), RandomImages()
    data.evaluation_batch_size = 8
    panel = InformationPanel(generated_images=30, matching_images=40)
    fit(build(InfoGAN, ema_decay=0.9), panel, data=data, logger=logger, steps=2, **options)
    return {score.metric: score for score in read_scores(logger.folder / "scores.jsonl")}


def test_codes_of_images_are_read_by_raw_weights_and_those_of_generated_images_from_the_average(tmp_path: Path) -> None:
    scores = scores_of(tmp_path)
    error, information = (scores[name].protocol for name in ("error_hungarian/digit", "information/digit"))
    assert (error["weights"], error["n_scored"], error["n_matching"]) == ("raw", 20, 40)
    assert "n_generated" not in error
    assert (information["weights"], information["n_generated"]) == ("ema", 30)
    assert "n_scored" not in information


def test_of_losses_it_is_told_how_many_images_they_are_means_over(tmp_path: Path) -> None:
    whole, limited = scores_of(tmp_path / "whole"), scores_of(tmp_path / "limited", limit_val_batches=1)
    assert whole["loss/generator"].protocol["n_scored"] == 20
    assert limited["loss/generator"].protocol["n_scored"] == 8
    assert limited["loss/generator"].protocol["weights"] == "raw"
