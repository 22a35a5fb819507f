"""The Kullback-Leibler divergence in both directions."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gans.functional.f_divergences.base import FDivergence, extended, piecewise
from lightning_gans.functional.f_divergences.guard import saturating_exp
from lightning_gans.functional.f_divergences.registry import register
from lightning_gans.precision import full_precision


@register
@dataclass(frozen=True)
class KullbackLeibler(FDivergence):
    """KL(P || Q): f(u) = u log u, f*(t) = exp(t - 1) on R, g_f(v) = v = 1 + r.

    Source: arXiv 1606.00709, tables 5 and 6. f is taken as printed, without a term -(u - 1), hence f'(1) = 1.
    """

    name: ClassVar[str] = "kl"
    conjugate_domain = (-math.inf, math.inf)
    threshold = 1.0
    curvature = 1.0
    # minimax weighs a fake by e^(v-1), the density ratio, which all but forgets rejected fakes; here all weigh 1
    preferred_generator_loss = "alternative"

    def f(self, u: Tensor) -> Tensor:
        """u log u, 0 at 0."""
        return extended(u, lambda u: u * u.log(), at_zero=0.0)

    def conjugate(self, t: Tensor) -> Tensor:
        """exp(t - 1)."""
        return torch.exp(full_precision(t) - 1)

    def output_activation(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """exp(v - 1)."""
        return saturating_exp(v, scale=math.exp(-1))

    def optimal_critic(self, u: Tensor) -> Tensor:
        """1 + log u."""
        return 1 + full_precision(u).log()

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """1 + r."""
        return 1 + full_precision(r)

    def log_ratio(self, v: Tensor) -> Tensor:
        """v - 1."""
        return full_precision(v) - 1

    @property
    def dual(self) -> "ReverseKullbackLeibler":
        """KL(Q || P)."""
        return ReverseKullbackLeibler()


@register
@dataclass(frozen=True)
class ReverseKullbackLeibler(FDivergence):
    """KL(Q || P): f(u) = -log u, f*(t) = -1 - log(-t) for t < 0, g_f(v) = -exp(-v), v = r.

    Source: arXiv 1606.00709, tables 5 and 6. f is taken as printed, without a term u - 1, hence f'(1) = -1.
    """

    name: ClassVar[str] = "reverse_kl"
    conjugate_domain = (-math.inf, 0.0)
    threshold = -1.0
    curvature = 1.0
    # minimax weighs every fake by 1; the alternative by e^-v, which explodes on rejected fakes
    preferred_generator_loss = "minimax"

    def f(self, u: Tensor) -> Tensor:
        """-log u, infinite at 0."""
        return extended(u, lambda u: -u.log(), at_zero=math.inf)

    def conjugate(self, t: Tensor) -> Tensor:
        """-1 - log(-t) for t < 0."""
        return piecewise(t, lambda t: -1 - torch.log(-t), high=0.0, anchor=-1.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """-exp(-v)."""
        return saturating_exp(v, rate=-1.0, scale=-1.0)

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """v - 1."""
        return full_precision(v) - 1

    def optimal_critic(self, u: Tensor) -> Tensor:
        """-1 / u."""
        return -1 / full_precision(u)

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """-exp(-r)."""
        return self.output_activation(r)

    def log_ratio(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    @property
    def dual(self) -> KullbackLeibler:
        """KL(P || Q)."""
        return KullbackLeibler()
