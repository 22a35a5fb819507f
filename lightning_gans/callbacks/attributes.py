"""What the codes mean in the words of known attributes, at every validation and in `test`."""

import csv
from collections.abc import Sequence

import torch
from lightning.pytorch import LightningModule, Trainer

from lightning_gans.callbacks.panel import FinalPanel
from lightning_gans.callbacks.protocol import protocol_of_run, trained_steps, write_scores
from lightning_gans.callbacks.publish import publish
from lightning_gans.data import ImageDataModule
from lightning_gans.errors import InputError
from lightning_gans.figures import attribute_figure
from lightning_gans.files import atomic_path
from lightning_gans.metrics import AttributeInformation, AttributeTable
from lightning_gans.objectives import InfoGAN
from lightning_gans.pictures import save_png
from lightning_gans.runs import SAMPLES, run_folder

CHUNK = 1000


class AttributePanel(FinalPanel):
    """Lets Q read the codes of held-out images, and asks how much they tell about the images' attributes.

    For data with binary attributes, as CelebA's forty, and objectives with codes:

    - attribute_information/<code>: of all attributes the largest (I - b) / (H - b), I being the mutual information of
      code and attribute, H the attribute's entropy, b what an independent code would show on average in as many
      images. 1 if the code decides the attribute, 0 if it knows about none. A maximum over many attributes
      lies a little above 0 by chance; by how much, the table tells (chance_deviation_nats).

    The table of all codes and attributes is written to ``attributes_validation.csv`` and ``attributes_test.csv`` in
    the run folder, and drawn in ``samples/``. Attributes are used to measure, never to train.

    Args:
        images: Held-out images that are read, the first ones; null for all.
        bins: Bins for each dimension of a continuous code, equally likely under its prior.
    """

    def __init__(self, images: int | None = 10_000, bins: int = 10):
        if images is not None and images < 1:
            raise InputError(f"attributes.images is {images}, but must be 1 or more, or null for all")
        if bins < 2:
            raise InputError(f"attributes.bins is {bins}, but must be 2 or more")
        self.images = images
        self.bins = bins
        super().__init__()

    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        """Read the codes of the images, write scores, table and picture."""
        data = getattr(trainer, "datamodule", None)
        names = getattr(data, "attribute_names", None)
        if not isinstance(module, InfoGAN) or not isinstance(data, ImageDataModule) or not names:
            return {}
        table = self._table(trainer, module, data, list(names), stage)
        scores = [(f"attribute_information/{code}", share) for code, (_, share) in table.best().items()]
        # Q and the trunk have no average
        protocol = protocol_of_run(trainer, module, stage) | {"weights": "raw", "n_scored": table.images}
        if module.latent.continuous:
            protocol["bins"] = self.bins
        write_scores(trainer, module, scores, protocol)
        self._show(trainer, module, table, stage)
        return dict(scores)

    @torch.no_grad()
    def _table(
        self, trainer: Trainer, module: InfoGAN, data: ImageDataModule, names: Sequence[str], stage: str
    ) -> AttributeTable:
        split = data.split(stage)
        n = len(split) if self.images is None else min(self.images, len(split))
        metric = AttributeInformation(module.latent, list(names), self.bins).to(module.device)
        for index in torch.arange(trainer.global_rank, n, trainer.world_size).split(CHUNK):
            batch = split[index]
            posterior = module.encode(batch["image"].to(module.device))
            metric.update(posterior, batch["attributes"].to(module.device))
        return metric.compute()

    def _show(self, trainer: Trainer, module: InfoGAN, table: AttributeTable, stage: str) -> None:
        folder = run_folder(trainer)
        if folder is None or not trainer.is_global_zero:
            return
        step = trained_steps(trainer, module)
        with (
            atomic_path(folder / f"attributes_{stage}.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            rows = [{"step": step} | record for record in table.records()]
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        title = f"what codes tell about attributes of {table.images} {stage} images, after {step} steps"
        picture = attribute_figure(table.shares, table.codes, table.attributes, title)
        path = folder / SAMPLES / f"step={step:06d}_attributes_{stage}.png"
        save_png(picture, path)
        publish(trainer, f"attributes_{stage}", path, picture)
