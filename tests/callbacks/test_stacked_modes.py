"""Stacked MNIST's modes are counted at validations and in `test`, beside those of real images."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lightning_gans.__main__ import main
from lightning_gans.callbacks import StackedModesPanel
from lightning_gans.data import ImageSplit, StackedMNIST
from lightning_gans.errors import InputError
from lightning_gans.metrics import read_scores
from lightning_gans.metrics.naming import lower_is_better
from lightning_gans.networks import Discriminator, Generator
from lightning_gans.objectives import GAN
from lightning_gans.runs import RunLogger
from tests.objectives.games import build

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


class Levels(nn.Module):
    """Takes the tenth of the grey levels that an image lies in for a digit."""

    name, content_hash = "levels", "0"

    def forward(self, images: Tensor) -> SimpleNamespace:
        level = images.flatten(1).double().mean(1) / 25.6
        return SimpleNamespace(logits=one_hot(level.long(), 10).double())


class Stacked(StackedMNIST):
    """Validation images of 20 modes, test images of 3."""

    name = "levels"
    is_fallback = False

    def prepare_data(self) -> None:
        pass

    def load_split(self, name: str) -> ImageSplit:
        mode = torch.arange(40) % (3 if name == "test" else 20)
        levels = torch.stack([mode % 10, mode // 10, torch.zeros_like(mode)], dim=1) * 25.6 + 12
        images = levels.to(torch.uint8)[:, :, None, None].repeat(1, 1, 28, 28)
        return ImageSplit(images, mode)


class Black(Generator):
    sample_shape = (3, 28, 28)
    output_range = (0.0, 1.0)

    def __init__(self, input_size: int):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, latent: Tensor) -> Tensor:
        return self.scale * latent.new_zeros(len(latent), *self.sample_shape)


class Blind(Discriminator):
    sample_shape = (3, 28, 28)
    feature_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = nn.Flatten(), nn.Linear(3 * 28 * 28, 1)


def test_the_floor_is_that_of_test_images(tmp_path: Path) -> None:
    panel, logger = StackedModesPanel(30), RunLogger(str(tmp_path), "run")
    panel._classifier = Levels()  # type: ignore[assignment]
    module = build(GAN, generator=Black, discriminator=Blind())
    trainer = Trainer(accelerator="cpu", devices=1, logger=logger, callbacks=[panel], enable_progress_bar=False)
    trainer.test(module, Stacked(), verbose=False)
    scores = {score.metric: score for score in read_scores(logger.folder / "scores.jsonl")}
    floor, own = scores["floor/stacked_modes_mnist-convnet_30"], scores["stacked_modes_mnist-convnet_30"]
    assert (floor.value, own.value) == (3, 1)
    assert floor.protocol["generated"] == "30 test images"
    assert scores["floor/stacked_mode_kl_mnist-convnet_30"].value == pytest.approx(math.log(1000 / 3), rel=1e-9)


def test_the_number_of_images_must_be_positive_and_more_modes_are_better():
    with pytest.raises(InputError, match=r"stacked_modes\.samples"):
        StackedModesPanel(0)
    assert not lower_is_better("validation/stacked_modes_mnist-convnet_26k")
    assert lower_is_better("stacked_mode_kl_mnist-convnet_26k") and lower_is_better("classification_error")
