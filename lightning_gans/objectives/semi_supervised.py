"""Semi-supervised learning with a GAN: few labels, many images, and a discriminator that classifies.

    L_D = -E log p(y | x, y < K + 1)  -  1/2 E log D(x)  -  1/2 E_z log(1 - D(G(z))),    D = Z/(Z + 1)
    L_G = | E f(x) - E f(G(z)) |²                                       (Salimans et al. 2016, sections 3.1 and 5)

The discriminator has K logits, one for each class; "generated" is the class K + 1 whose logit is fixed to 0, so D = 1
- p(K + 1). Labelled images teach it classes, unlabelled ones that they belong to *some* class, generated ones that they
belong to none. The generator matches the mean of a layer's features f: the classifier is better for it, the samples
are worse (section 5.1).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.nn.utils import parametrize

from lightning_gans.data import SplitDataModule
from lightning_gans.errors import InputError
from lightning_gans.functional import gan_losses, semi_supervised
from lightning_gans.latent import Latent
from lightning_gans.networks import Classifier, ExponentialMovingAverage
from lightning_gans.networks.historical_average import HistoricalAverage
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.networks.noise_layer import draw_noise_from
from lightning_gans.networks.weight_norm import FEWEST, data_dependent_initialisation, require_enough
from lightning_gans.objectives.adversarial import Adversarial
from lightning_gans.objectives.game import Weights
from lightning_gans.objectives.players import Player
from lightning_gans.objectives.synchronise import average_over_ranks
from lightning_gans.precision import full_precision
from lightning_gans.randomness import keyed_generator

_NO_LABELS = (
    "semi-supervised learning needs labelled images beside the unlabelled ones; set data.labelled, such as "
    "--data.labelled.per_class 10"
)


class SemiSupervised(Adversarial):
    """A classifier of K classes that a generator helps to learn from unlabelled images.

    Batches must bring labelled images ("labelled_image", "labelled_label") beside the unlabelled ones; see
    `data.labelled`. Before the first step, layers with weight normalisation are initialised by the first images.

    Args:
        generator_loss: "feature_matching", or a GAN's loss on D: "non_saturating", "minimax".
        feature_distance: What feature matching takes of the difference of means: "squared" sums squares (paper),
            "mean_squared" averages them (the authors' MNIST code), "mean_absolute" (their CIFAR code).
        unlabelled_weight: How much the unsupervised loss counts against the supervised one.
        real_label: What D shall answer for unlabelled real images; below 1 is one-sided label smoothing.
        classifier_ema_decay: Decay of the moving average of the classifier's parameters, whose test error is
            reported; null for none.
        historical_averaging: Weight of |θ - mean of all past θ|² in both players' losses; null for none.
        **kwargs: The arguments of `Adversarial`; the discriminator is a `Classifier`.
    """

    prediction: ClassVar[str] = "probabilities"

    def __init__(
        self,
        generator_loss: Literal["feature_matching", "non_saturating", "minimax"] = "feature_matching",
        feature_distance: semi_supervised.Distance = "squared",
        unlabelled_weight: float = 1.0,
        real_label: float = 1.0,
        classifier_ema_decay: float | None = 0.9999,
        historical_averaging: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not isinstance(self.discriminator, Classifier):
            raise InputError(
                f"the discriminator {type(self.discriminator).__name__} tells no classes apart; take a classifier, "
                "such as FullyConnectedClassifier"
            )
        if not 0 < real_label <= 1:
            raise InputError(f"real_label is {real_label}, but must lie in (0, 1]; 1 is no smoothing")
        if not unlabelled_weight >= 0:
            raise InputError(f"unlabelled_weight is {unlabelled_weight}, but must be 0 or more")
        if classifier_ema_decay is not None and not 0 <= classifier_ema_decay < 1:
            raise InputError(f"classifier_ema_decay is {classifier_ema_decay}, but must lie in [0, 1), or be null")
        if historical_averaging is not None and not historical_averaging > 0:
            raise InputError(f"historical_averaging is {historical_averaging}, but must be positive, or null for none")
        matching = generator_loss == "feature_matching"
        self.adversarial_loss = None if matching else gan_losses.GENERATOR_LOSSES[generator_loss]
        self.feature_distance = feature_distance
        self.unlabelled_weight = unlabelled_weight
        self.real_label = real_label
        self.classifier_average = (
            None if classifier_ema_decay is None else ExponentialMovingAverage(self.discriminator, classifier_ema_decay)
        )
        self.historical_averaging = historical_averaging
        self.history = nn.ModuleDict()
        if historical_averaging is not None:
            self.history["discriminator"] = HistoricalAverage(self.discriminator)
            self.history["generator"] = HistoricalAverage(self.generator)
        # a run that goes on from trained weights must not initialise them again
        self.initialised: Tensor
        self.register_buffer("initialised", torch.tensor(False))
        self._labelled: Iterator[tuple[Tensor, Tensor]] = iter(())

    @property
    def classifier(self) -> Classifier:
        """The discriminator, by its other name."""
        assert isinstance(self.discriminator, Classifier)
        return self.discriminator

    def setup(self, stage: str) -> None:
        """Refuse data without labelled samples, or with more classes than the classifier knows.

        Raises:
            InputError: With what is missing, or both numbers.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and isinstance(data, SplitDataModule) and getattr(data, "labelled", None) is None:
            none = f"{type(data).__name__} labels no samples, but semi-supervised learning needs some; MNIST can"
            raise InputError(_NO_LABELS if hasattr(data, "labelled") else none)
        classes = getattr(data, "num_classes", 0)
        if classes > self.classifier.num_classes:
            raise InputError(
                f"the data have {classes} classes, but the classifier tells {self.classifier.num_classes} apart; set "
                "model.discriminator.num_classes"
            )

    def on_fit_start(self) -> None:
        """Refuse too small a first batch, unless a checkpoint has initialised the classifier.

        Raises:
            InputError: With its size.
        """
        if not self.initialised:
            data = getattr(self.trainer, "datamodule", None)
            require_enough(self.discriminator, getattr(data, "batch_size", FEWEST) * self.real_batches_per_step)

    # ---- the losses ----------------------------------------------------------------------------

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """L_supervised of the next labelled batch, and the weighted L_unsupervised / 2."""
        images, labels = next(self._labelled)
        draw_noise_from(self.discriminator, self.random("noise in the discriminator"))
        with parametrize.cached():  # weights are normalised once for three passes
            labelled_logits = self._class_logits(self._shown_labelled(images))
            real_logits = self._class_logits(self.shown(real, "real"))
            fake_logits = self._class_logits(self.shown(self.fake(latent), "fake"))
        supervised = semi_supervised.supervised(labelled_logits, labels)
        unsupervised = semi_supervised.unsupervised(real_logits, fake_logits, self.real_label)
        loss = supervised + self.unlabelled_weight * unsupervised
        self.record("loss/discriminator", loss)
        self.record("loss/supervised", supervised)
        self.record("loss/unsupervised", unsupervised)
        return loss

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """The distance of the mean features, or the chosen loss on log Z."""
        draw_noise_from(self.discriminator, self.random("noise in the discriminator"))
        fake = self.shown(self.generated(latent), "fake")
        if self.adversarial_loss is not None:
            loss = self.adversarial_loss(self.discriminator(fake))
        else:
            with parametrize.cached():
                real_features = full_precision(self.discriminator.trunk(self.shown(real, "real")))
                fake_features = full_precision(self.discriminator.trunk(fake))
            loss = semi_supervised.feature_matching(real_features, fake_features, self.feature_distance)
        self.record("loss/generator", loss)
        return loss

    def _class_logits(self, samples: Tensor) -> Tensor:
        return self.classifier.class_logits(self.classifier.trunk(samples))

    def _shown_labelled(self, images: Tensor) -> Tensor:
        # with instance noise as all that D is shown, but regularisers look at the unlabelled images alone
        kept, self._shown = self._shown, None
        images = self.shown(images, "labelled")
        self._shown = kept
        return images

    @property
    def has_log_ratio(self) -> bool:
        """True: log Z is one."""
        return True

    def log_ratio(self, output: Tensor) -> Tensor:
        """The log density ratio log p(x)/p_G(x) that log Z stands for, shape unchanged (smoothing as in `GAN`)."""
        if self.real_label == 1:
            return output
        return logsigmoid(output) - (self.real_label - output.sigmoid()).clamp_min(0).log()

    # ---- the turns -----------------------------------------------------------------------------

    def players(self) -> tuple[Player, ...]:
        """The discriminator, then the generator; each with its own past in its loss, if that is asked for."""
        return tuple(self._remembering(player) for player in super().players())

    def _remembering(self, player: Player) -> Player:
        weight = self.historical_averaging
        if weight is None:
            return player
        (network,), history = player.networks, self.history[player.name]
        assert isinstance(history, HistoricalAverage)

        def loss(real: Tensor) -> Tensor:
            penalty = history.penalty(network)
            self.record(f"historical_average/{player.name}", penalty)
            return player.loss(real) + weight * penalty

        return replace(player, loss=loss)

    def begin_round(self, batch: dict[str, Tensor], step: int | Tensor) -> None:
        """Lay out a labelled batch for each update of the discriminator; remember the parameters as they stand."""
        if "labelled_image" not in batch:
            raise InputError(_NO_LABELS)
        if self.global_step == 0 and not self.initialised:
            self._initialise(self.real(batch))
        for name, history in self.history.items():
            assert isinstance(history, HistoricalAverage)
            history.see(self.discriminator if name == "discriminator" else self.generator, step)
        self._labelled = self._labelled_parts(batch["labelled_image"], batch["labelled_label"])

    def _evaluate(self, batch: dict[str, Tensor], batch_idx: int, stage: str) -> None:
        # all held-out images have labels; both losses are measured on all of them
        self._labelled = iter([(self.real(batch), batch["label"])])
        super()._evaluate(batch, batch_idx, stage)

    def _labelled_parts(self, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Labelled batches in the order in which the discriminator's updates ask for them."""
        parts = self.real_batches_per_step
        return zip(self.generator.from_stored(images).tensor_split(parts), labels.tensor_split(parts), strict=True)

    @torch.no_grad()
    def _initialise(self, real: Tensor) -> None:
        draw_noise_from(self.discriminator, keyed_generator(self.device, self.seed, "noise of initialisation"))
        data_dependent_initialisation(self.discriminator, real)
        if self.trainer.world_size > 1:  # each has seen images of its own
            parameters = [parameter.detach() for parameter in self.discriminator.parameters()]
            torch._foreach_copy_(parameters, average_over_ranks(parameters))
        if self.classifier_average is not None:
            self.classifier_average.network.load_state_dict(self.discriminator.state_dict())
        self.initialised.fill_(True)

    def finish_round(self, step: int | Tensor) -> None:
        """Let the averages follow generator and classifier."""
        super().finish_round(step)
        if self.classifier_average is not None:
            self.classifier_average.update(self.discriminator, step)

    # ---- classes -------------------------------------------------------------------------------

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """p(y | x, real) of samples, shape (B, K)."""
        return self.class_probabilities(batch["image"] if "image" in batch else batch["point"])

    @property
    def classifier_weights(self) -> Weights:
        """Which weights of the classifier are reported: "ema" or "raw"."""
        return "raw" if self.classifier_average is None else "ema"

    @torch.no_grad()
    def class_probabilities(self, images: Tensor, weights: Weights | None = None, chunk: int = 1000) -> Tensor:
        """p(y | x, real) of images, in evaluation mode (without noise).

        Args:
            images: Images uint8 (N, C, H, W) or points (N, d), on any device.
            weights: The averaged or the raw ones; by default `classifier_weights`.
            chunk: Images at a time, to bound memory.

        Returns:
            (N, K), on the module's device.

        Raises:
            InputError: If there is no average to take.
        """
        weights = weights or self.classifier_weights
        if weights == "ema" and self.classifier_average is None:
            raise InputError("there are no averaged weights to classify with; train with classifier_ema_decay")
        average = self.classifier_average
        network = self.classifier if weights == "raw" or average is None else average.network
        assert isinstance(network, Classifier)
        with evaluation_mode(network):
            parts = [
                network.probabilities(self.generator.from_stored(part.to(self.device))) for part in images.split(chunk)
            ]
        return torch.cat(parts)
