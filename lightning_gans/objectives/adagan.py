"""AdaGAN: a mixture of generators, each trained on what the ones before it miss.

    G_t = (1 - β_t) G_{t-1} + β_t Q_t        (Tolstikhin et al. 2017, arXiv 1701.02386, algorithm 1)

Q_t is the result of any game of ours, played on data under the weights of `functional.boosting`. These need the density
ratios dG_{t-1}/dP_data, which come from a classifier that tells data from the mixture: a discriminator whose generator
stands still. This file is that classifier's game. Its checkpoint holds the mixture and what is known of it,
and is used like that of any other objective; the sequence of games is run by the command `boost`.
"""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lightning_gans.checkpoint_file import read_checkpoint
from lightning_gans.data import Split
from lightning_gans.errors import InputError
from lightning_gans.functional import boosting
from lightning_gans.latent import Code, LatentSpec
from lightning_gans.networks import Discriminator, Generator, MixtureGenerator
from lightning_gans.networks.minibatch_discrimination import MinibatchDiscrimination
from lightning_gans.networks.mixture import generator_weights
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.objectives.gan import GAN
from lightning_gans.objectives.players import OptimizerFactory, Player
from lightning_gans.randomness import keyed_generator

COMPONENT = "component"
"""Name of the latent code that says which generator makes a sample."""
_CHUNK = 10_000


class AdaGAN(GAN):
    """A finished mixture of generators, and the classifier that learns its density ratio to the data.

    The classifier is the only player, so a step is one of its updates. After training its logits are calibrated on
    validation samples (Platt 1999), so that `log_ratio` is log p_data/p_mixture as far as it can tell.

    Which component makes a sample is a categorical code of the latent, ``component``, with the mixture's weights
    as its prior: `sample --codes.component 2` and `traverse` ask single components.

    Args:
        generator: Makes one component's network, given the length of its input.
        discriminator: The classifier's network.
        latent: What every component is given.
        discriminator_optimizer: Makes the classifier's optimizer.
        weights: Weight of each component in the mixture, positive and summing to 1.
        checkpoints: Where each trained component is read from when training begins; a checkpoint of the
            mixture holds them itself and needs no such files.
        seed: Key of all latent draws (set from seed_everything on the command line).
    """

    def __init__(
        self,
        generator: Callable[[int], Generator],
        discriminator: Discriminator,
        latent: LatentSpec,
        discriminator_optimizer: OptimizerFactory,
        weights: list[float],
        checkpoints: list[str] | None = None,
        seed: int = 0,
    ):
        if not weights or not (min(weights) > 0 and abs(sum(weights) - 1) <= 1e-6):
            raise InputError(f"the weights of a mixture are {weights}, but must be positive and sum to 1")
        if checkpoints and len(checkpoints) != len(weights):
            raise InputError(f"a mixture of {len(weights)} weights cannot be read from {len(checkpoints)} checkpoints")
        super().__init__(
            generator=lambda _: MixtureGenerator([generator(latent.input_size) for _ in weights]),
            discriminator=discriminator,
            latent=_with_choice(latent, weights),
            generator_optimizer=discriminator_optimizer,  # never made: the generator does not play
            discriminator_optimizer=discriminator_optimizer,
            seed=seed,
        )
        self.checkpoints = checkpoints or []
        self.slope: Tensor
        self.offset: Tensor
        self.register_buffer("slope", torch.ones(()))
        self.register_buffer("offset", torch.zeros(()))

    def players(self) -> tuple[Player, ...]:
        """The classifier alone."""
        return super().players()[:1]

    def networks_of(self, player: str) -> tuple[nn.Module, ...]:
        """The classifier's network; the components are finished."""
        return (self.discriminator,) if player == "discriminator" else ()

    def setup(self, stage: str) -> None:
        """Take over the trained components when training begins."""
        super().setup(stage)
        if stage == "fit":
            self.require_single_samples()
        # the components are in evaluation mode on purpose
        warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode")
        if stage == "fit" and self.trainer.ckpt_path is None:
            if not self.checkpoints:
                raise InputError(
                    "a mixture is trained from finished components, whose checkpoints are missing; name them in "
                    "model.checkpoints, or let `boost` train components and mixture"
                )
            for component, path in zip(self.generator.components, self.checkpoints, strict=True):  # type: ignore[arg-type]
                _take_over(component, path)

    def require_single_samples(self) -> None:
        """Refuse to learn ratios by a classifier that tells nothing of a sample by itself.

        Raises:
            InputError: If it looks at packs, or compares the samples of a batch.
        """
        layers, packing = self.discriminator.modules(), getattr(self.discriminator, "packing", 1)
        compares = any(isinstance(layer, MinibatchDiscrimination) for layer in layers)
        if packing > 1 or compares:
            kind = f"of packs of {packing} samples" if packing > 1 else "with minibatch discrimination"
            raise InputError(
                f"a classifier {kind} gives no ratio of single ones; give it a network of single samples "
                "(for `boost`: boost.classifier.discriminator)"
            )

    # ---- calibration ---------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        """Calibrate, before anything is measured."""
        data = getattr(self.trainer, "datamodule", None)
        if self.trainer.state.fn == "fit" and not self.trainer.sanity_checking and data is not None:
            self.calibrate(data.split("validation"))

    @torch.no_grad()
    def calibrate(self, split: Split) -> None:
        """Fit slope and offset to samples that the classifier has not been trained on, and as many generated.

        Args:
            split: The real ones.
        """
        real = self._outputs(split)
        latent = self.latent.sample(len(real), keyed_generator(self.device, self.seed, "calibration of ratios"))
        with evaluation_mode(self.discriminator):
            fake = [self.discriminator(self.generator(part)) for part in latent.flat.split(_CHUNK)]
        outputs = torch.cat([real, torch.cat(fake).cpu()])
        if outputs.isfinite().all():  # else the run is stopped for it elsewhere, with a sentence
            slope, offset = boosting.platt_scaling(outputs, torch.arange(len(outputs)) < len(real))
            self.slope.fill_(slope)
            self.offset.fill_(offset)

    def log_ratio(self, output: Tensor) -> Tensor:
        """The log density ratio log p(x)/p_G(x) that logits stand for, calibrated; shape unchanged."""
        return self.slope * output + self.offset

    def density_ratios(self, split: Split) -> Tensor:
        """h = dG/dP_data at the samples of a split: float64, (N,), on the CPU."""
        return boosting.density_ratios(self.log_ratio(self._outputs(split).to(self.device)).cpu())

    @torch.no_grad()
    def _outputs(self, split: Split) -> Tensor:
        with evaluation_mode(self.discriminator):
            parts = [
                self.discriminator(self.real({name: column.to(self.device) for name, column in split[index].items()}))
                for index in torch.arange(len(split)).split(_CHUNK)
            ]
        return torch.cat(parts).cpu()


def _with_choice(latent: LatentSpec, weights: list[float]) -> LatentSpec:
    """The latent with a choice of the component, unless there is one only."""
    if COMPONENT in latent.codes:
        raise InputError(f"the latent has a code '{COMPONENT}', which is what AdaGAN calls the choice; rename it")
    if len(weights) == 1:
        return latent
    choice = Code("categorical", size=len(weights), probs=list(weights), weight=0.0)
    return LatentSpec(latent.noise, latent.codes | {COMPONENT: choice})


def _take_over(component: nn.Module, path: str) -> None:
    if not Path(path).is_file():
        raise InputError(f"the component {path} does not exist; train it first, or let `boost` do so")
    state = read_checkpoint(path)["state_dict"]
    try:
        component.load_state_dict(generator_weights(state))
    except (InputError, RuntimeError) as error:
        raise InputError(f"the component {path} has another network than model.generator") from error
