"""The alpha-divergences, a family with Kullback-Leibler, Hellinger and chi-squared among its members."""

import math
import sys
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.f_divergences.base import FDivergence, GeneratorLossName, extended, piecewise
from lightning_gans.functional.f_divergences.guard import saturating_expm1
from lightning_gans.functional.f_divergences.registry import register
from lightning_gans.precision import full_precision


@register
@dataclass(frozen=True)
class Alpha(FDivergence):
    """f(u) = (u^a - 1 - a (u - 1)) / (a (a - 1)) for any real a, at 0 and 1 its limits.

    With phi_k(r) = (exp(k r) - 1) / k and phi_0(r) = r: f'(e^r) = phi_(a-1)(r), f*(f'(e^r)) = phi_a(r), and
    f = u f' - f*. Hence f*(t) = ((1 + (a - 1) t)^(a / (a - 1)) - 1) / a for t < 1 / (1 - a) if a < 1; if a > 1,
    f* = -1 / a below f'(0) = -1 / (a - 1).

    Members: a = 1 is KL(P || Q) with f = u log u - (u - 1), 0 is KL(Q || P) with f = -log u + u - 1, 1/2 is twice
    the squared Hellinger distance, 2 half of Pearson's chi^2, -1 half of Neyman's. f'(1) = 0 and f''(1) = 1 for all.

    g_f(v) = f'(e^v): the output is the log density ratio, v = r, for every a, because f*(g_f(v)) is elementary and
    continuous in a then. (Table 6 has a sigmoid form for a < 1 and g_f(v) = v for a > 1.)

    Source: arXiv 1606.00709, tables 5 and 6. In the integral that table 5 prints, p and q are interchanged against
    its f; this is the f.

    Attributes:
        alpha: The order a, finite.
    """

    name: ClassVar[str] = "alpha"
    threshold = 0.0
    curvature = 1.0

    alpha: float

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, int | float) and math.isfinite(self.alpha)):
            raise InputError(f"the alpha-divergence needs a finite number alpha, got {self.alpha!r}.")

    @property
    def conjugate_domain(self) -> tuple[float, float]:
        """R for alpha >= 1, t < 1 / (1 - alpha) below."""
        return -math.inf, 1 / (1 - self.alpha) if self.alpha < 1 else math.inf

    @property
    def is_metric(self) -> bool:
        """At 1/2, as the Hellinger distance; otherwise it is not even symmetric."""
        return self.alpha == 0.5

    @property
    def preferred_generator_loss(self) -> GeneratorLossName:
        """Alternative for alpha >= 1, minimax below."""
        # the weights of a fake are e^(alpha v) and e^((alpha-1) v): the choice keeps rejected fakes' (v << 0) bounded
        # where it can, and above 1 away from all but vanishing
        return "alternative" if self.alpha >= 1 else "minimax"

    def f(self, u: Tensor) -> Tensor:
        """(u^a - 1 - a (u - 1)) / (a (a - 1))."""

        def inside(u: Tensor) -> Tensor:
            # u f' - f*, in which no difference is divided by a small a or a - 1
            r = u.log()
            return u * _phi(r, self.alpha - 1) - _phi(r, self.alpha)

        return extended(u, inside, at_zero=1 / self.alpha if self.alpha > 0 else math.inf)

    def conjugate(self, t: Tensor) -> Tensor:
        """((1 + (a - 1) t)^(a / (a - 1)) - 1) / a."""
        rate = self.alpha - 1

        def inside(t: Tensor) -> Tensor:
            # at the end of the domain rounding may pass -1
            r = torch.log1p((rate * t).clamp(min=-1)) / rate if _matters(rate) else t
            return _phi(r, self.alpha)

        if rate > 0:
            return piecewise(t, inside, low=-1 / rate, below=-1 / self.alpha, anchor=0.0)
        return piecewise(t, inside, high=self.conjugate_domain[1], anchor=0.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """(exp((a - 1) v) - 1) / (a - 1) = f'(e^v)."""
        return _phi(v, self.alpha - 1)

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """(exp(a v) - 1) / a."""
        return _phi(v, self.alpha)

    def optimal_critic(self, u: Tensor) -> Tensor:
        """(u^(a-1) - 1) / (a - 1)."""
        return _phi(full_precision(u).log(), self.alpha - 1)

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """g_f(r)."""
        return self.output_activation(r)

    def log_ratio(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    @property
    def dual(self) -> "Alpha":
        """The one of order 1 - alpha."""
        return Alpha(1 - self.alpha)


def _matters(rate: float) -> bool:
    """Whether phi_rate differs from the identity in any float64."""
    return abs(rate) > sys.float_info.min


def _phi(r: Tensor, rate: float) -> Tensor:
    """(exp(rate r) - 1) / rate, saturating; r itself at rate 0."""
    return saturating_expm1(r, rate, 1 / rate) if _matters(rate) else full_precision(r)
