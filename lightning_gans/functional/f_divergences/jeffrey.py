"""Jeffrey's divergence, the sum of both Kullback-Leibler divergences."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gans.functional.f_divergences.base import FDivergence, extended
from lightning_gans.functional.f_divergences.guard import fused, saturating_exp
from lightning_gans.functional.f_divergences.registry import register
from lightning_gans.precision import full_precision


@register
@dataclass(frozen=True)
class Jeffrey(FDivergence):
    """KL(P || Q) + KL(Q || P): f(u) = (u - 1) log u, f*(t) = e^r - 1 + r where t = 1 + r - e^-r, g_f(v) = v.

    In terms of Lambert's W, with w = W(e^(1 - t)) = e^-r: f*(t) = w + 1/w + t - 2. Here r is solved for instead,
    since e^(1 - t) overflows and the sum cancels near t = 0.

    Source: arXiv 1606.00709, tables 5 and 6.
    """

    name: ClassVar[str] = "jeffrey"
    conjugate_domain = (-math.inf, math.inf)
    threshold = 0.0
    curvature = 2.0
    # minimax weighs a fake by its density ratio e^r, which all but forgets rejected fakes; here all weigh 1
    preferred_generator_loss = "alternative"

    def f(self, u: Tensor) -> Tensor:
        """(u - 1) log u, infinite at 0."""
        return extended(u, lambda u: (u - 1) * u.log(), at_zero=math.inf)

    def conjugate(self, t: Tensor) -> Tensor:
        """exp(r) - 1 + r for the r that solves t = 1 + r - exp(-r), saturating."""

        def value(t: Tensor) -> Tensor:
            r = _solve(t)
            return torch.expm1(r) + r

        return fused(t, value, _ratio)

    def output_activation(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    def optimal_critic(self, u: Tensor) -> Tensor:
        """1 + log u - 1 / u."""
        u = full_precision(u)
        return u.log() + (u - 1) / u

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """1 + r - exp(-r)."""
        return fused(
            r, lambda r: r - torch.expm1(-r), lambda r: fused(r, lambda r: 1 + torch.exp(-r), _minus_inverse_ratio)
        )

    def log_ratio(self, v: Tensor) -> Tensor:
        """The r that solves v = 1 + r - exp(-r)."""
        # dr/dv = 1 / (1 + e^-r)
        return fused(v, _solve, lambda v: torch.sigmoid(self.log_ratio(v)))

    @property
    def dual(self) -> "Jeffrey":
        """Itself."""
        return self


def _solve(v: Tensor) -> Tensor:
    """The r with 1 + r - exp(-r) = v, to the last digits for any finite v."""
    # right at 0 and at both infinities, and at most 0.3 away from the solution between
    r = torch.where(v > 0, torch.maximum(v / 2, v - 1), -torch.log1p(-v.clamp(max=0)))
    # the left side is concave and increasing: Newton's steps approach from below and double the digits
    for _ in range(6):
        r = r - (r - torch.expm1(-r) - v) / (1 + torch.exp(-r))
    return r


def _ratio(v: Tensor) -> Tensor:
    """exp(r), saturating: the density ratio that the output v stands for."""
    return fused(v, lambda v: torch.exp(_solve(v)), lambda v: _ratio(v) * torch.sigmoid(fused(v, _solve, _one)))


def _one(v: Tensor) -> Tensor:
    return torch.ones_like(v)


def _minus_inverse_ratio(r: Tensor) -> Tensor:
    return saturating_exp(r, rate=-1.0, scale=-1.0)
