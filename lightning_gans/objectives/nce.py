"""Noise-contrastive estimation: learn a density by telling data from noise whose density is known.

    J(θ) = E_data[log h(x)] + ν E_noise[log(1 - h(x))]                        (Gutmann & Hyvarinen 2010, 2012)
    h(x) = σ(log p_m(x; θ) - log p_n(x) - log ν),        log p_m(x; θ) = log p⁰(x; α) + c,    θ = (α, c)

One idea, two sides. A GAN's discriminator is trained by the same loss (Goodfellow et al. 2014; 1412.6515 compares),

    max_D  E_data[log D(x)] + E_Q[log(1 - D(x))],          D*(x) = p(x) / (p(x) + q(x)) = σ(log p(x)/q(x)),

and whatever the two sides are, the best logit is log p/q. What is *learned* differs:

                     logit                            Q, what data are told from       where the model is
    NCE              log p_m(x; θ) - log p_n(x)       p_n, known, stands still         in the classifier
    GAN              any network                      generated, moves towards p       in the generator

NCE knows q and so reads p off the logit: p_m = q e^logit; the classifier is learned *through* the model and J is
consistent for θ, c included, since the logit is right only if p_m is normalised. A GAN knows neither and reads off
the same logit where q has to move. So NCE gives a density and no samples, a GAN samples and no density; NCE's
noise must resemble the data beforehand, a GAN's comes to resemble them. Hence this objective is a `Game` of one player.
"""

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from lightning_gans.data import PointDataModule
from lightning_gans.errors import InputError
from lightning_gans.functional import nce
from lightning_gans.latent import Noise
from lightning_gans.networks import ExponentialMovingAverage, NoiseDistribution, UnnormalisedModel
from lightning_gans.objectives.game import Game, Weights
from lightning_gans.objectives.players import OptimizerFactory, Player, ScheduleFactory


class NCE(Game):
    """Noise-contrastive estimation of an unnormalised density.

    Args:
        density: The model p_m, with its log-normaliser c as one of its parameters.
        noise: The noise p_n; it is fitted to the training points before the first step and fixed then.
        density_optimizer: Makes the model's optimizer.
        noise_ratio: ν, noise points drawn afresh for each data point. The larger, the closer to maximum likelihood.
        ema_decay: Decay of an exponential moving average of the model's parameters, which is what is measured;
            null for none.
        clip_norm: Largest norm of the model's gradient; null for no limit.
        density_schedule: Makes the schedule of its learning rate from its optimizer; null for a rate that stays.
        seed: Key of all noise drawn (set from seed_everything on the command line).
    """

    prediction: ClassVar[str] = "log_density"

    def __init__(
        self,
        density: UnnormalisedModel,
        noise: NoiseDistribution,
        density_optimizer: OptimizerFactory,
        noise_ratio: float = 1.0,
        ema_decay: float | None = None,
        clip_norm: float | None = None,
        density_schedule: ScheduleFactory | None = None,
        seed: int = 0,
    ):
        super().__init__(seed=seed)
        if not 0 < noise_ratio < math.inf:
            raise InputError(f"noise_ratio is {noise_ratio}, but must be positive and finite")
        if ema_decay is not None and not 0 <= ema_decay < 1:
            raise InputError(f"ema_decay is {ema_decay}, but must lie in [0, 1), or be null")
        if clip_norm is not None and not clip_norm > 0:
            raise InputError(f"clip_norm is {clip_norm}, but must be positive, or null for no limit")
        if density.sample_shape != noise.sample_shape:
            raise InputError(
                f"the model is a density of points of shape {density.sample_shape}, but the noise makes "
                f"{noise.sample_shape}"
            )
        self.density = density
        self.noise = noise
        self.density_optimizer = density_optimizer
        self.density_schedule = density_schedule
        self.noise_ratio = noise_ratio
        self.clip_norm = clip_norm
        self.average = None if ema_decay is None else ExponentialMovingAverage(density, ema_decay)

    # ---- the game ------------------------------------------------------------------------------

    def players(self) -> tuple[Player, ...]:
        """The model, alone: the noise does not answer."""
        return (
            Player(
                "density",
                (self.density,),
                self.classification_loss,
                self.density_optimizer,
                self.clip_norm,
                self.density_schedule,
            ),
        )

    def real(self, batch: dict[str, Tensor]) -> Tensor:
        """The batch's points, (B, d)."""
        return batch["point"]

    def classification_loss(self, real: Tensor) -> Tensor:
        """-J on points (B, d) and ν B noise points; recorded as "loss/nce", with c as "nce/log_normaliser"."""
        noise = self.draw_noise(max(1, round(self.noise_ratio * len(real))), self.random("noise"))
        loss = nce.loss(self.logit(real), self.logit(noise), self.noise_ratio)
        self.record("loss/nce", loss)
        self.record("nce/log_normaliser", self.density.log_normaliser)
        return loss

    def logit(self, points: Tensor) -> Tensor:
        """The classifier's answer, log p_m(x) - log p_n(x) - log ν, at points (N, d): (N,)."""
        # a difference of logarithms has no digits to give away
        with torch.autocast(points.device.type, enabled=False):
            points = points.float()
            return nce.logit(self.density(points), self.noise.log_density(points), self.noise_ratio)

    @torch.no_grad()
    def draw_noise(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n noise points, (n, d), on the generator's device."""
        latent = Noise(self.noise.latent_distribution, self.noise.input_size).sample(n, generator)
        # its density is that of points with all their digits
        with torch.autocast(latent.device.type, enabled=False):
            return self.noise(latent)

    def finish_round(self, step: int | Tensor) -> None:
        """Let the average follow the model."""
        if self.average is not None:
            self.average.update(self.density, step)

    def setup(self, stage: str) -> None:
        """Fit the noise to the training points.

        Raises:
            InputError: If the data are no points, or of another dimension than the model.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, PointDataModule):
            raise InputError(
                f"NCE models the density of points, and {type(data).__name__} has none; choose data such as "
                "CorrelatedGaussian, MixedSources or Ring"
            )
        if tuple(data.sample_shape) != self.density.sample_shape:
            raise InputError(
                f"the samples of {type(data).__name__} have the shape {tuple(data.sample_shape)}, but the model is for "
                f"{self.density.sample_shape}; choose a model and noise that fit"
            )
        if stage == "fit":
            # when a run is resumed, its checkpoint holds the same numbers
            self.noise.fit(data.split("train").points)

    # ---- evaluation ----------------------------------------------------------------------------

    @property
    def evaluation_density(self) -> UnnormalisedModel:
        """The averaged model if there is one, else the raw one."""
        return self.density if self.average is None else self.average.network  # type: ignore[return-value]

    @property
    def evaluated_weights(self) -> Weights:
        """Which weights are measured: "ema" or "raw"."""
        return "raw" if self.average is None else "ema"

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """The loss of the raw model, which the optimizer follows, on held-out points; the same noise every time."""
        self._evaluate(batch, batch_idx, "validation")

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """The loss of the raw model on test points."""
        self._evaluate(batch, batch_idx, "test")

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """log p_m of points, with the learned c: (B,)."""
        points = self.real(batch)
        # as in training, a logarithm has no digits to give away
        with torch.autocast(points.device.type, enabled=False):
            return self.evaluation_density(points)

    def _evaluate(self, batch: dict[str, Tensor], batch_idx: int, stage: str) -> None:
        points = self.real(batch)
        self._key = (stage, batch_idx)
        with self.recorded_apart():
            loss = self.classification_loss(points)
        options: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": True, "batch_size": len(points)}
        self.log(f"{stage}/loss/nce", loss, **options)
