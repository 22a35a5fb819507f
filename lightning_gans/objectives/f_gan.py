"""f-GAN: a GAN for any f-divergence.

    D_f(P || Q) = E_Q[f(p/q)] >= sup_T E_P[T(x)] - E_Q[f*(T(x))]     (Nowozin et al. 2016, equation 4)
    F(θ, ω) = E_P[g_f(V_ω(x))] - E_{Q_θ}[f*(g_f(V_ω(x)))]             (equations 6 and 7)

The variational function is T = g_f(V): a network V with any real output (our discriminator), and the output
activation g_f onto the domain of f*. The players look for a saddle point, ω maximising F and θ minimising
it, where F = D_f(P || Q_θ). Two ways to it are in the paper: a step of each after the other, and the
single-step method (algorithm 1), in which both move at once (`updates.simultaneous`).

The generator may minimise F itself ("minimax"), or instead maximise E_Q[g_f(V)] ("alternative", section
3.2): for f = GAN that is the non-saturating loss. Where the critic rejects all samples one of the two
vanishes and the other may explode, depending on f; each divergence names the one that trains
(`preferred_generator_loss`). They agree only if the generator can reach P. Otherwise the alternative
minimises another divergence: against the optimal critic it is E_Q[-f'(p/q)], for KL E_Q[log q/p] - 1, which
is the *reverse* KL. Whoever wants the divergence that they named takes "minimax".
"""

import inspect
import math
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import f_divergences
from lightning_gans.functional.f_divergences import FDivergence
from lightning_gans.functional.f_divergences.guard import bound_gradient
from lightning_gans.latent import Latent
from lightning_gans.networks.base import outputs_of_each
from lightning_gans.objectives.adversarial import Adversarial

GRADIENT_LIMIT = 100.0
"""Largest sum of |dF/dV| over a batch. At the saddle point it is 2 for KL, and it never exceeds 2 for a GAN."""


def _named(name: str) -> FDivergence:
    """The f-divergence of that name alone, without parameters."""
    cls = f_divergences.find(name)
    parameters = inspect.signature(cls).parameters.values()
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    if needed:
        options = " ".join(f"--model.divergence.{key} NUMBER" for key in needed)
        raise InputError(
            f"the f-divergence '{name}' needs {' and '.join(needed)}; give --model.divergence {cls.__name__} {options}"
        )
    return f_divergences.get(name)


class FGAN(Adversarial):
    """The game whose value is an f-divergence.

    Some divergences are exponential in the critic's output. Their gradient with respect to the outputs of a
    batch is scaled down as a whole, keeping its direction, where it is fifty times that of a GAN.

    Args:
        divergence: A name (kl, reverse_kl, pearson, neyman, squared_hellinger, jeffrey, jensen_shannon,
            weighted_jensen_shannon, gan, total_variation, alpha, le_cam), or the class path and arguments
            of a divergence, as for those with a parameter or your own.
        generator_loss: "minimax" minimises F, "alternative" maximises E[g_f(V(G(z)))]; by default what the
            divergence prefers.
        **kwargs: The arguments of `Adversarial`; codes, if the latent has any, are merely more noise here.
    """

    prediction: ClassVar[str] = "V"

    def __init__(
        self,
        divergence: str | FDivergence = "gan",
        generator_loss: Literal["minimax", "alternative"] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.divergence = _named(divergence) if isinstance(divergence, str) else divergence
        preferred = self.divergence.preferred_generator_loss
        self.generator_objective = {
            "minimax": self.divergence.generator_loss_minimax,
            "alternative": self.divergence.generator_loss_alternative,
        }[generator_loss or preferred]
        self._threshold = self.divergence.threshold
        self._warned: set[str] = set()

    def discriminator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """-F: the critic makes the lower bound on the divergence as tight as it can."""
        real_outputs, fake_outputs = bound_gradient(
            GRADIENT_LIMIT,
            *outputs_of_each(self.discriminator, self.shown(real, "real"), self.shown(self.fake(latent), "fake")),
        )
        bound = self.divergence.variational_lower_bound(real_outputs, fake_outputs)
        self.record("loss/discriminator", -bound)
        self.record("divergence/bound", bound)
        self._record_health(real_outputs.detach(), fake_outputs.detach())
        return -bound

    def generator_loss(self, real: Tensor, latent: Latent) -> Tensor:
        """-E[f*(g_f(V(G(z))))], the part of F that the generator changes, or -E[g_f(V(G(z)))]."""
        outputs = self.discriminator(self.shown(self.generated(latent), "fake"))
        loss = self.generator_objective(*bound_gradient(GRADIENT_LIMIT, outputs))
        self.record("loss/generator", loss)
        return loss

    @property
    def has_log_ratio(self) -> bool:
        """Whether the critic tells more than the ratio's sign."""
        return self.divergence.has_log_ratio

    def log_ratio(self, output: Tensor) -> Tensor:
        """The log density ratio log p(x)/q(x) that outputs V(x) stand for; see `FDivergence.log_ratio`."""
        return self.divergence.log_ratio(output)

    def _record_health(self, real: Tensor, fake: Tensor) -> None:
        """Whether the bound is in its domain, and how well T > f'(1) tells real from generated (section 3.2)."""
        both = torch.cat([real, fake])
        self.record("divergence/in_domain", self.divergence.in_domain(both).float().mean())
        judged_real = self.divergence.output_activation(both) > self._threshold
        is_real = torch.arange(len(both), device=both.device) < len(real)
        self.record("divergence/accuracy", (judged_real == is_real).float().mean())

    def notice(self, means: dict[str, Tensor]) -> None:
        """Warn, once each, of a critic that left its domain and of supports that do not overlap."""
        name = self.divergence.name
        if means["train/divergence/in_domain"] < 1:
            self._warn(
                f"the critic's outputs left the range in which the {name} bound can be computed: the largest "
                "finite numbers stand in for it, and the estimate is not to be trusted; lower "
                "model.discriminator_optimizer's learning rate or set model.updates.discriminator_clip_norm"
            )
        if math.isinf(self.divergence.upper_bound) and means["train/divergence/accuracy"] == 1:
            self._warn(
                f"the critic tells every real sample from every generated one: for disjoint supports {name} is "
                "infinite, so its estimate grows without limit and says little; model.instance_noise makes the "
                "supports overlap, and bounded divergences (jensen_shannon, squared_hellinger) stay finite"
            )

    def _warn(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            rank_zero_warn(f"step {self.global_step}: {sentence}")
