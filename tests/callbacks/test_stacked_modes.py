"""Stacked MNIST's modes are counted at validations and in `test`, beside those of real images."""

from pathlib import Path

import pytest

from lightning_gans.__main__ import main
from lightning_gans.callbacks import StackedModesPanel
from lightning_gans.errors import InputError
from lightning_gans.metrics import read_scores
from lightning_gans.metrics.naming import lower_is_better

CONFIG = Path(__file__).parents[2] / "conf" / "gan_stacked_mnist.yaml"
PACKED = (
    "--model.discriminator PackedDiscriminator --model.discriminator.packing 2 "
    "--model.discriminator.discriminator StackedMNISTDiscriminator --model.discriminator.discriminator.width 0.05"
)


def test_fit_and_test_score_modes_with_their_protocol_also_of_packed_discriminators(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    status = main(
        f"fit --config {CONFIG} --runs {tmp_path} --model.generator.width 0.05 {PACKED} --data.download false "
        "--data.train_size 100 --data.evaluation_size 40 --data.batch_size 20 --stacked_modes.samples 30 "
        "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.accelerator cpu --trainer.log_every_n_steps 1 "
        "--pictures.rows 1 --pictures.columns 2 --calibration.samples null --health.samples 10".split()
    )
    assert status == 0
    folder = tmp_path / "gan_stacked_mnist" / "version_0"
    assert main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), "--trainer.accelerator", "cpu"]) == 0
    capsys.readouterr()
    scores = {
        (score.protocol["split"], score.metric): score
        for score in read_scores(folder / "scores.jsonl")
        if "stacked" in score.metric
    }
    name = "stacked_modes_mnist-convnet_30"
    assert {split for split, _ in scores} == {"validation", "test", "floor"}
    assert scores["validation", name].value == scores["test", name].value  # the same latents
    assert scores["test", name].protocol["n_fake"] == 30 and "extractor_hash" in scores["test", name].protocol
    # 40 real images of a thousand modes
    assert 1 <= scores["test", name].value < scores["floor", f"floor/{name}"].value <= 30


def test_the_number_of_images_must_be_positive_and_more_modes_are_better():
    with pytest.raises(InputError, match=r"stacked_modes\.samples"):
        StackedModesPanel(0)
    assert not lower_is_better("validation/stacked_modes_mnist-convnet_26k")
    assert lower_is_better("stacked_mode_kl_mnist-convnet_26k") and lower_is_better("classification_error")
