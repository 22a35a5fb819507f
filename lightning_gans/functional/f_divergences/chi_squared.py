"""The chi-squared divergences of Pearson and Neyman."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gans.functional.f_divergences.base import FDivergence, extended, piecewise
from lightning_gans.functional.f_divergences.guard import fused, saturating_expm1
from lightning_gans.functional.f_divergences.registry import register
from lightning_gans.precision import full_precision


@register
@dataclass(frozen=True)
class Pearson(FDivergence):
    """Int (p - q)^2 / q: f(u) = (u - 1)^2, f*(t) = t + t^2 / 4 for t >= -2 and -1 below, g_f(v) = v.

    Below f'(0) = -2 the supremum over u >= 0 lies at u = 0. The parabola alone, as table 6 has it, is an upper
    bound of f* there and would make the generator's loss rise again for fakes that the critic is sure about.

    Source: arXiv 1606.00709, tables 5 and 6. The integrals that table 5 prints for Pearson and Neyman are
    interchanged against its f; this is the f.
    """

    name: ClassVar[str] = "pearson"
    conjugate_domain = (-math.inf, math.inf)
    threshold = 0.0
    curvature = 2.0
    # minimax weighs a fake by its density ratio max(1 + v/2, 0) and loses those that are rejected
    preferred_generator_loss = "alternative"

    def f(self, u: Tensor) -> Tensor:
        """(u - 1)^2."""
        return extended(u, lambda u: (u - 1).square(), at_zero=1.0)

    def conjugate(self, t: Tensor) -> Tensor:
        """t + t^2 / 4 for t >= -2, else -1."""
        # not (t + 2)^2 / 4 - 1, which cancels near t = 0
        return piecewise(t, lambda t: t * (1 + t / 4), low=-2.0, below=-1.0, anchor=0.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """f* itself, saturating."""
        return fused(v, self.conjugate, lambda v: torch.relu(1 + v / 2))

    def optimal_critic(self, u: Tensor) -> Tensor:
        """2 (u - 1)."""
        return 2 * (full_precision(u) - 1)

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """2 (exp(r) - 1)."""
        return saturating_expm1(r, scale=2.0)

    def log_ratio(self, v: Tensor) -> Tensor:
        """log(1 + v / 2), and -inf for v <= -2, which stands for u = 0."""
        v = full_precision(v)
        none = v <= -2
        return torch.where(none, -math.inf, torch.log1p(torch.where(none, 0.0, v) / 2))

    @property
    def dual(self) -> "Neyman":
        """Neyman's."""
        return Neyman()


@register
@dataclass(frozen=True)
class Neyman(FDivergence):
    """Int (p - q)^2 / p: f(u) = (1 - u)^2 / u, f*(t) = 2 - 2 sqrt(1 - t) for t < 1, g_f(v) = 1 - exp(-v), v = 2 r.

    Source: arXiv 1606.00709, tables 5 and 6 (see :class:`Pearson` for the interchanged integrals).
    """

    name: ClassVar[str] = "neyman"
    conjugate_domain = (-math.inf, 1.0)
    threshold = 0.0
    curvature = 2.0
    # on rejected fakes minimax has the weight e^(-v/2), the alternative even e^-v: both want bound_gradient
    preferred_generator_loss = "minimax"

    def f(self, u: Tensor) -> Tensor:
        """(1 - u)^2 / u, infinite at 0."""
        return extended(u, lambda u: (1 - u).square() / u, at_zero=math.inf)

    def conjugate(self, t: Tensor) -> Tensor:
        """2 - 2 sqrt(1 - t) for t <= 1."""
        # without the cancellation near t = 0
        return piecewise(t, lambda t: 2 * t / (1 + torch.sqrt(1 - t)), high=1.0, anchor=0.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """1 - exp(-v)."""
        return saturating_expm1(v, rate=-1.0, scale=-1.0)

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """2 (1 - exp(-v / 2))."""
        return saturating_expm1(v, rate=-0.5, scale=-2.0)

    def optimal_critic(self, u: Tensor) -> Tensor:
        """1 - 1 / u^2."""
        return 1 - 1 / full_precision(u).square()

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """1 - exp(-2 r)."""
        return saturating_expm1(r, rate=-2.0, scale=-1.0)

    def log_ratio(self, v: Tensor) -> Tensor:
        """v / 2."""
        return full_precision(v) / 2

    @property
    def dual(self) -> Pearson:
        """Pearson's."""
        return Pearson()
