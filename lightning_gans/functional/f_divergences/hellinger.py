"""The squared Hellinger distance."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lightning_gans.functional.f_divergences.base import FDivergence, extended, piecewise
from lightning_gans.functional.f_divergences.guard import multiple, saturating_expm1
from lightning_gans.functional.f_divergences.registry import register
from lightning_gans.precision import full_precision


@register
@dataclass(frozen=True)
class SquaredHellinger(FDivergence):
    """Int (sqrt p - sqrt q)^2: f(u) = (sqrt u - 1)^2, f*(t) = t / (1 - t) for t < 1, g_f(v) = 1 - exp(-v), v = r / 2.

    Without the factor 1/2 that some authors put in front: the largest value is 2.

    Source: arXiv 1606.00709, tables 5 and 6.
    """

    name: ClassVar[str] = "squared_hellinger"
    conjugate_domain = (-math.inf, 1.0)
    threshold = 0.0
    curvature = 0.5
    # the L2 distance of sqrt p and sqrt q
    is_metric = True
    # the alternative's weight e^-v explodes on rejected fakes; minimax's e^v does so on accepted ones, which are rarer
    preferred_generator_loss = "minimax"

    def f(self, u: Tensor) -> Tensor:
        """(sqrt u - 1)^2."""
        return extended(u, lambda u: (u.sqrt() - 1).square(), at_zero=1.0)

    def conjugate(self, t: Tensor) -> Tensor:
        """t / (1 - t) for t < 1."""
        return piecewise(t, lambda t: t / (1 - t), high=1.0, anchor=0.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """1 - exp(-v)."""
        return saturating_expm1(v, rate=-1.0, scale=-1.0)

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """exp(v) - 1."""
        return saturating_expm1(v)

    def optimal_critic(self, u: Tensor) -> Tensor:
        """1 - 1 / sqrt u."""
        return 1 - full_precision(u).rsqrt()

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """1 - exp(-r / 2)."""
        return saturating_expm1(r, rate=-0.5, scale=-1.0)

    def log_ratio(self, v: Tensor) -> Tensor:
        """2 v."""
        return multiple(v, 2.0)

    @property
    def dual(self) -> "SquaredHellinger":
        """Itself."""
        return self
