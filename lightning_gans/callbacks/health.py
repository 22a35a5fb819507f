"""The ways in which GANs die, each told in one sentence while there is time to do something."""

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lightning_gans.callbacks.protocol import log_by_clock, trained_steps
from lightning_gans.callbacks.symptoms import Streak, discriminator_knowledge, gradient_norm, non_finite_weights
from lightning_gans.data import SplitDataModule
from lightning_gans.errors import InputError, NonFiniteLoss
from lightning_gans.metrics.diversity import relative_diversity
from lightning_gans.objectives import GAN, Adversarial, Game
from lightning_gans.objectives.players import Player
from lightning_gans.randomness import keyed_generator


class Health(Callback):
    """Watches a game for the ways in which GANs die; each is warned of once, and again when it comes back.

    In the steps that are logged (the others cost nothing):

    - health/saturation: how much the discriminator knows, from its own training means; 0 is nothing, 1 that it
      tells every real sample from every generated one, so that the generator learns little from it;
    - health/gradient_norm/discriminator, health/gradient_norm/generator: norm of the gradient that each player
      has just followed (after clipping), and health/gradient_ratio, the generator's over the discriminator's.

    At every validation:

    - health/diversity: mean distance between two generated samples over that between two held-out real ones;
      0 is a generator that makes one sample for all latents (collapse), 1 one as diverse as the data;
    - health/feature_diversity: the same of the discriminator's features. It is logged and never warned of: a
      discriminator that is certain has no use for the differences between samples that it rejects;
    - the names of weights and buffers that are not finite.

    A warning goes to W&B as an alert too, where that logger is on. What was seen before is forgotten when a run is
    resumed: it warns anew if all is as it was.

    Args:
        saturation: health/saturation from which the discriminator counts as certain, in (0, 1]; 0.98 is a loss of
            0.028 nats in a GAN, 999 of 1000 samples told apart in an f-GAN.
        gradient_ratio: Ratio of the gradient norms that is too small, in (0, 1); its inverse is too large.
        intervals: How many logged steps in a row either must last before it is warned of.
        diversity: health/diversity below which the generator counts as collapsed, in [0, 1]; 0 never warns.
        samples: Generated, and held-out real, samples for the diversities; the cost grows with the square.
        collapse_after: Generator updates from which collapse is warned of; untrained generators all look collapsed.
        stop: Whether to end the run, with a checkpoint, when saturation or collapse has lasted twice as long as it
            takes to be warned of; and at once, without touching the last checkpoint, when weights are not finite.

    Attributes:
        stopped_because: Why the run was ended, in one sentence; None if it was not.
    """

    def __init__(
        self,
        saturation: float = 0.98,
        gradient_ratio: float = 1e-4,
        intervals: int = 10,
        diversity: float = 0.1,
        samples: int = 500,
        collapse_after: int = 500,
        stop: bool = False,
    ):
        if not 0 < saturation <= 1:
            raise InputError(f"health.saturation is {saturation}, but must lie in (0, 1]")
        if not 0 < gradient_ratio < 1:
            raise InputError(f"health.gradient_ratio is {gradient_ratio}, but must lie between 0 and 1")
        if not 0 <= diversity <= 1:
            raise InputError(f"health.diversity is {diversity}, but must lie in [0, 1]")
        for name, value, least in (
            ("intervals", intervals, 1),
            ("samples", samples, 2),
            ("collapse_after", collapse_after, 0),
        ):
            if value < least:
                raise InputError(f"health.{name} is {value}, but must be {least} or more")
        self.saturation = saturation
        self.gradient_ratio = gradient_ratio
        self.intervals = intervals
        self.diversity = diversity
        self.samples = samples
        self.collapse_after = collapse_after
        self.stop = stop
        self.stopped_because: str | None = None
        self._streaks: defaultdict[str, Streak] = defaultdict(Streak)
        self._players: tuple[Player, ...] = ()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin anew."""
        self.stopped_because = None
        self._streaks.clear()
        self._players = pl_module.players() if isinstance(pl_module, Game) else ()

    # ---- in logged steps -----------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the means and the gradients, in steps that are logged."""
        step, every = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not isinstance(pl_module, Adversarial) or not every or step % every:
            return
        measured: dict[str, Tensor] = {}
        knowledge = discriminator_knowledge(pl_module, trainer.callback_metrics)
        if knowledge is not None:
            # each rank has means of its own
            measured["health/saturation"] = trainer.strategy.reduce(knowledge, reduce_op="mean")
        # the gradients are the same on all ranks already
        norms = {player.name: gradient_norm(player) for player in self._players}
        if all(norm is not None for norm in norms.values()):
            measured |= {f"health/gradient_norm/{name}": norm for name, norm in norms.items() if norm is not None}
            if {"discriminator", "generator"} <= norms.keys():  # one player has nobody to be compared with
                ratio = measured["health/gradient_norm/generator"] / measured["health/gradient_norm/discriminator"]
                measured["health/gradient_ratio"] = ratio
        if not measured:
            return
        pl_module.log_dict(measured)
        # the only wait for the device, at a time when the module has waited to look for NaNs
        values = dict(zip(measured, torch.stack(list(measured.values())).tolist(), strict=True))
        if "health/saturation" in values:
            self._judge_saturation(trainer, pl_module, values["health/saturation"])
        if "health/gradient_ratio" in values:
            self._judge_gradients(trainer, values, certain=values.get("health/saturation", 0.0) >= self.saturation)
        self._agree_to_stop(trainer)

    def _judge_saturation(self, trainer: Trainer, module: Adversarial, value: float) -> None:
        remedies = ["lower model.discriminator_optimizer's learning rate"]
        if module.instance_noise is None:
            remedies.append("give both kinds of samples model.instance_noise")
        if isinstance(module, GAN) and module.real_label == 1:
            remedies.append("set model.real_label to 0.9")
        self._judge(
            trainer,
            "the discriminator is certain",
            value >= self.saturation,
            f"the discriminator tells real from generated samples with near certainty (it reads {value:.3g} of the "
            "one bit off a sample), so that the generator learns little from it",
            " or ".join(remedies),
            needed=self.intervals,
            fatal=True,
        )

    def _judge_gradients(self, trainer: Trainer, values: Mapping[str, float], certain: bool) -> None:
        broken = False
        for player in self._players:
            norm = values[f"health/gradient_norm/{player.name}"]
            broken |= norm == 0 or not math.isfinite(norm)
            # a discriminator that is certain has nothing left to learn: that is its own finding, not another one
            excused = certain and player.name == "discriminator"
            self._judge(
                trainer,
                f"the {player.name} has no gradient",
                norm == 0 and not excused,
                f"the {player.name}'s gradient is exactly 0, so that it does not learn at all",
                "look for activations or a discriminator that are saturated, or a loss that is constant",
            )
            self._judge(
                trainer,
                f"the {player.name}'s gradient is not finite",
                not math.isfinite(norm),
                f"the {player.name}'s gradient is not finite, which its weights will be next",
                f"lower model.{player.name}_optimizer's learning rate, and resume from the last checkpoint",
            )
        if broken:
            return  # a ratio says nothing more
        ratio = values["health/gradient_ratio"]
        norms = "norms {:.3g} and {:.3g}".format(*(values[f"health/gradient_norm/{p.name}"] for p in self._players))
        self._judge(
            trainer,
            "the generator's gradient vanishes",
            ratio < self.gradient_ratio,
            f"the generator's gradient is only {ratio:.3g} times the discriminator's ({norms} of discriminator and "
            "generator), so that it learns next to nothing",
            "lower model.discriminator_optimizer's learning rate, add model.instance_noise or choose the "
            "non-saturating generator loss",
            needed=self.intervals,
        )
        self._judge(
            trainer,
            "the generator's gradient explodes",
            ratio > 1 / self.gradient_ratio and not certain,
            f"the generator's gradient is {ratio:.3g} times the discriminator's ({norms} of discriminator and "
            "generator)",
            "limit it with model.updates.generator_clip_norm, or lower model.generator_optimizer's learning rate",
            needed=self.intervals,
        )

    # ---- at validation -------------------------------------------------------------------------

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the weights and at samples."""
        if trainer.sanity_checking or not isinstance(pl_module, Adversarial):
            return
        self._judge_weights(trainer, pl_module)
        measured = self._measure_diversity(trainer, pl_module)
        if measured:
            log_by_clock(pl_module, measured)
            self._judge_diversity(trainer, pl_module, measured["health/diversity"])
        self._agree_to_stop(trainer)

    def _judge_weights(self, trainer: Trainer, module: Adversarial) -> None:
        names = non_finite_weights(module)
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        sentence = self._judge(
            trainer,
            "weights are not finite",
            bool(names),
            f"NaN or infinite numbers are in {shown}",
            "resume from an earlier checkpoint with lower learning rates, or with limits on the gradients "
            "(model.updates.discriminator_clip_norm, model.updates.generator_clip_norm)",
        )
        if sentence and self.stop and trainer.state.fn == "fit":
            self.stopped_because = sentence
            # an orderly end would write this state over the last healthy one
            raise NonFiniteLoss(sentence)

    @torch.no_grad()
    def _measure_diversity(self, trainer: Trainer, module: Adversarial) -> dict[str, float]:
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, SplitDataModule):
            return {}
        split = data.split("validation")
        count = min(self.samples, len(split))
        if count < 2:
            return {}
        chosen = torch.randperm(len(split), generator=keyed_generator("cpu", "health"))[:count]
        real = module.real({name: column.to(module.device) for name, column in split[chosen].items()})
        latent = module.latent.sample(count, keyed_generator(module.device, module.seed, "health"))
        generated = module.generator.from_stored(module.generate(latent))
        # Lightning has put all networks in evaluation mode
        features = [module.discriminator.trunk(samples) for samples in (generated, real)]
        return {
            "health/diversity": relative_diversity(generated, real).item(),
            "health/feature_diversity": relative_diversity(*features).item(),
        }

    def _judge_diversity(self, trainer: Trainer, module: Adversarial, value: float) -> None:
        if trained_steps(trainer, module) < self.collapse_after:
            return
        self._judge(
            trainer,
            "the generator has collapsed",
            value < self.diversity,
            f"the generator makes nearly the same sample for every latent (two samples differ by {value:.3g} of what "
            "two real ones do)",
            "resume from a checkpoint before that with a lower learning rate in model.generator_optimizer or with "
            "more model.updates.discriminator_steps",
            fatal=True,
        )

    # ---- what is done about it -----------------------------------------------------------------

    def _judge(
        self, trainer: Trainer, kind: str, wrong: bool, what: str, remedy: str, needed: int = 1, fatal: bool = False
    ) -> str | None:
        """Take note of one measurement; give the sentence if one was told.

        Args:
            trainer: The trainer.
            kind: What may be wrong, as a title of fewer than 64 characters.
            wrong: Whether it is.
            what: The beginning of the sentence, with numbers.
            remedy: What to do.
            needed: After how many wrong measurements in a row it is told.
            fatal: Whether twice as many end the run, if the user wants that.
        """
        module = trainer.lightning_module
        step = trained_steps(trainer, module) if isinstance(module, Game) else trainer.global_step
        streak = self._streaks[kind]
        streak.see(wrong, step)
        sentence = f"step {step}: {what}"
        if streak.since < step:
            sentence += f", since step {streak.since}"
        if fatal and streak.length >= 2 * needed and self.stop and self.stopped_because is None:
            self.stopped_because = sentence
        if streak.length != needed:
            return None
        sentence += f"; {remedy}"
        rank_zero_warn(sentence)
        for logger in trainer.loggers if trainer.is_global_zero else ():
            if isinstance(logger, WandbLogger):
                logger.experiment.alert(title=kind, text=sentence)
        return sentence

    def _agree_to_stop(self, trainer: Trainer) -> None:
        """End the run after this step if it has to be, on all ranks together."""
        if not self.stop or trainer.state.fn != "fit" or trainer.should_stop:
            return
        # ranks measure the same; a last bit must not decide that one goes on alone
        if trainer.strategy.reduce_boolean_decision(self.stopped_because is not None, all=False):
            trainer.should_stop = True
            rank_zero_warn(f"{self.stopped_because}; training stops, because health.stop is set")
