"""The total variation distance."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional.f_divergences.base import FDivergence, extended, piecewise
from lightning_gans.functional.f_divergences.guard import fused
from lightning_gans.functional.f_divergences.registry import register
from lightning_gans.precision import full_precision


@register
@dataclass(frozen=True)
class TotalVariation(FDivergence):
    """Int |p - q| / 2: f(u) = |u - 1| / 2, f*(t) = t on [-1/2, 1/2], g_f(v) = tanh(v) / 2.

    Its optimal critic is sign(u - 1) / 2, which no output attains exactly: only the sign of r can be read off v.
    f has a kink at 1, so there is no curvature.

    Source: arXiv 1606.00709, tables 5 and 6. Below -1/2, f* = -1/2 (u = 0), which the table leaves out.
    """

    name: ClassVar[str] = "total_variation"
    has_log_ratio: ClassVar[bool] = False
    conjugate_domain = (-math.inf, 0.5)
    threshold = 0.0
    curvature = math.nan
    # half the L1 distance is a metric, and so is its root, which is Hilbertian (Hein & Bousquet 2005)
    is_metric = True
    # both losses are the same
    preferred_generator_loss = "minimax"

    def f(self, u: Tensor) -> Tensor:
        """|u - 1| / 2."""
        return extended(u, lambda u: (u - 1).abs() / 2, at_zero=0.5)

    def conjugate(self, t: Tensor) -> Tensor:
        """t on [-1/2, 1/2], -1/2 below."""
        return piecewise(t, lambda t: t, low=-0.5, high=0.5, below=-0.5, anchor=0.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """tanh(v) / 2."""
        # the slope is 1 / (2 cosh^2), which 1 - tanh^2 would lose to cancellation
        return fused(v, lambda v: torch.tanh(v) / 2, lambda v: 2 * torch.sigmoid(2 * v) * torch.sigmoid(-2 * v))

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """tanh(v) / 2."""
        return self.output_activation(v)

    def optimal_critic(self, u: Tensor) -> Tensor:
        """sign(u - 1) / 2."""
        return torch.sign(full_precision(u) - 1) / 2

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """sign(r) / 2."""
        return torch.sign(full_precision(r)) / 2

    def log_ratio(self, v: Tensor) -> Tensor:
        """Not known: see the class.

        Raises:
            InputError: Always.
        """
        raise InputError("a total-variation critic tells the sign of the log density ratio only, not its value.")

    @property
    def dual(self) -> "TotalVariation":
        """Itself."""
        return self
