"""The information panel: what the codes mean, in numbers, at every validation and in `test`."""

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lightning_gans.callbacks.panel import FinalPanel
from lightning_gans.callbacks.protocol import Measured, protocol_of_run, trained_steps, write_scores
from lightning_gans.data import ImageDataModule, ImageSplit, SplitDataModule
from lightning_gans.errors import InputError
from lightning_gans.metrics import (
    CodeClassConfusion,
    InformationBound,
    adjusted_rand_index,
    hungarian_matching,
    majority_matching,
    normalized_mutual_information,
)
from lightning_gans.objectives import Adversarial, InfoGAN
from lightning_gans.randomness import keyed_generator


class InformationPanel(FinalPanel):
    """Measures the information in each code, and how well categorical codes sort real images into classes.

    Logged for each code at every validation, and for the test images in `test`:

    - information: L_I in nats on generated images; information_share: L_I / H(c) of a categorical code;
    - r_squared and calibrated_bound of each dimension of a continuous code;
    - error_hungarian, error_majority: fraction of held-out real images whose category, by the map fitted
      on training images, stands for another class than theirs; nmi and ari between category and class.

    Labels are used to measure, never to train. Objectives without codes are left alone.

    Args:
        generated_images: Generated images for the bounds.
        matching_images: Training images that the map from categories to classes is fitted on.
        dead_code_after: Generator updates from which a code that the generator ignores is warned about.
    """

    def __init__(self, generated_images: int = 5000, matching_images: int = 10000, dead_code_after: int = 1000):
        for name, value in (("generated_images", generated_images), ("matching_images", matching_images)):
            if value < 1:
                raise InputError(f"information.{name} is {value}, but must be 1 or more")
        self.generated_images = generated_images
        self.matching_images = matching_images
        self.dead_code_after = dead_code_after
        super().__init__()

    @torch.no_grad()
    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> dict[str, float]:
        """Measure the bounds on generated images and the codes of real ones."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(module, InfoGAN):
            return {}
        protocol = protocol_of_run(trainer, module, stage)
        scores = self._information(trainer, module, stage)
        write_scores(trainer, module, scores, protocol | {"n_generated": self.generated_images})
        if isinstance(data, ImageDataModule) and data.num_classes:
            # Q and the trunk have no average
            of_classes = self._classes(trainer, module, data, stage)
            n_matching = min(self.matching_images, len(data.split("train")))
            sizes = {"n_matching": n_matching, "n_scored": len(data.split(stage))}
            write_scores(trainer, module, of_classes, protocol | {"weights": "raw"} | sizes)
            scores += of_classes
        return dict(scores)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add both players' losses, and the divergence between them, on held-out samples to the scores."""
        if not trainer.sanity_checking:
            self._write_losses(trainer, pl_module, "validation")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add both players' losses on the test images to the scores."""
        self._write_losses(trainer, pl_module, "test")

    def _write_losses(self, trainer: Trainer, module: LightningModule, stage: str) -> None:
        if isinstance(module, Adversarial):
            prefix = f"{stage}/"
            names = [name.removeprefix(prefix) for name in trainer.callback_metrics if name.startswith(prefix)]
            of_game = [name for name in names if name.startswith(("loss/", "divergence/"))]
            # the players as they play: raw weights, one latent for each real sample
            protocol = protocol_of_run(trainer, module, stage) | {"weights": "raw"}
            data = getattr(trainer, "datamodule", None)
            if isinstance(data, SplitDataModule):
                batches = trainer.num_val_batches if stage == "validation" else trainer.num_test_batches
                looked_at = int(sum(batches)) * data.evaluation_batch_size * trainer.world_size
                protocol["n_scored"] = min(looked_at, len(data.split(stage)))
            divergence = getattr(module, "divergence", None)
            if divergence is not None:
                protocol["divergence"] = str(divergence)
            measured = [(name, float(trainer.callback_metrics[prefix + name])) for name in of_game]
            write_scores(trainer, module, measured, protocol)

    def _information(self, trainer: Trainer, module: InfoGAN, stage: str) -> list[Measured]:
        metric = InformationBound(module.latent).to(module.device)
        generator = keyed_generator(module.device, module.seed, "information", stage)
        # all ranks draw the same latents and each takes its share, so their number does not change what is measured
        share = torch.arange(trainer.global_rank, self.generated_images, trainer.world_size, device=module.device)
        latent = module.latent.sample(self.generated_images, generator)[share]
        metric.update(latent.codes, module.encode(module.generate(latent)))
        measured: list[Measured] = []
        dead = []
        for name, code in metric.compute().items():
            measured.append((f"information/{name}", code.bound))
            if code.share is not None:
                measured.append((f"information_share/{name}", code.share))
            for index, (r, bound) in enumerate(zip(code.r_squared, code.calibrated_bound, strict=True)):
                measured.append((f"r_squared/{name}[{index}]", r))
                measured.append((f"calibrated_bound/{name}[{index}]", bound))
            if code.is_dead:
                dead.append(name)
        if dead and trained_steps(trainer, module) >= self.dead_code_after:
            rank_zero_warn(
                f"the generator ignores the latent code(s) {', '.join(dead)}: under a tenth of the information "
                "is read back from its images; raise the code's weight or look at the traversal"
            )
        return measured

    def _classes(self, trainer: Trainer, module: InfoGAN, data: ImageDataModule, stage: str) -> list[Measured]:
        measured: list[Measured] = []
        fitted_on = _confusions(trainer, module, data, data.split("train"), self.matching_images)
        held_out = _confusions(trainer, module, data, data.split(stage), None)
        matchings = module.findings.setdefault("matching", {})
        for name, seen in fitted_on.items():
            scored = held_out[name]
            hungarian = hungarian_matching(seen)
            matchings[name] = hungarian.to_dict() | {"step": trained_steps(trainer, module)}
            measured += [
                (f"error_hungarian/{name}", hungarian.error(scored)),
                (f"error_majority/{name}", majority_matching(seen).error(scored)),
                (f"nmi/{name}", normalized_mutual_information(scored)),
                (f"ari/{name}", adjusted_rand_index(scored)),
            ]
        return measured


def _confusions(
    trainer: Trainer, module: InfoGAN, data: ImageDataModule, split: ImageSplit, limit: int | None
) -> dict[str, Tensor]:
    """Category × class counts of each categorical code, over all ranks together."""
    mine = slice(trainer.global_rank, limit, trainer.world_size)
    images, labels = split.images[mine], split.labels[mine]
    metrics = {
        name: CodeClassConfusion(code.size, data.num_classes).to(module.device)
        for name, code in module.latent.categorical.items()
    }
    for image_part, label_part in zip(images.split(1000), labels.split(1000), strict=True):
        posterior = module.latent.split_posterior(module.encode(image_part.to(module.device)))
        for name, metric in metrics.items():
            metric.update(posterior[name].argmax(-1), label_part.to(module.device))
    return {name: metric.compute().cpu() for name, metric in metrics.items()}
