"""Le Cam's divergence."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_gans.functional.f_divergences.base import FDivergence, extended, piecewise
from lightning_gans.functional.f_divergences.guard import fused
from lightning_gans.functional.f_divergences.registry import register
from lightning_gans.precision import full_precision


@register
@dataclass(frozen=True)
class LeCam(FDivergence):
    """Int (p - q)^2 / (p + q), the triangular discrimination: f(u) = (u - 1)^2 / (u + 1).

    f*(t) = 4 - t - 4 sqrt(1 - t) on [-3, 1], -1 below f'(0) = -3. Some authors halve it; here the largest value
    is 2.

    g_f(v) = f'(e^v) = tanh(v/2) (1 + 2 sigmoid(-v)): the output is the log density ratio, v = r, because
    f*(g_f(v)) = tanh(v/2) (1 + 2 sigmoid(v)) is elementary then.

    Source: Le Cam 1986, "Asymptotic Methods in Statistical Decision Theory", section 4.2; Topsoe 2000, "Some
    inequalities for information divergence"; g_f and f* are derived here.
    """

    name: ClassVar[str] = "le_cam"
    conjugate_domain = (-math.inf, 1.0)
    threshold = 0.0
    curvature = 1.0
    # Kafka, Osterreicher, Vincze 1991; Hilbertian: (p-q)^2/(p+q) = p + q - 4/(1/p + 1/q), a harmonic-mean kernel
    is_metric = True
    # with s = sigmoid(v), minimax weighs a fake by 8 s^2 (1-s), the alternative by 8 s (1-s)^2: less lost when rejected
    preferred_generator_loss = "alternative"

    def f(self, u: Tensor) -> Tensor:
        """(u - 1)^2 / (u + 1)."""
        return extended(u, lambda u: (u - 1).square() / (u + 1), at_zero=1.0)

    def conjugate(self, t: Tensor) -> Tensor:
        """4 - t - 4 sqrt(1 - t) on [-3, 1], -1 below."""

        def inside(t: Tensor) -> Tensor:
            # the same without the cancellation near t = 0
            root = torch.sqrt(1 - t)
            return t * (3 - root) / (1 + root)

        return piecewise(t, inside, low=-3.0, high=1.0, below=-1.0, anchor=0.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """tanh(v / 2) (1 + 2 sigmoid(-v)) = f'(e^v)."""

        def value(v: Tensor) -> Tensor:
            # rounding may pass 1, beyond which f* is infinite
            return (torch.tanh(v / 2) * (1 + 2 * torch.sigmoid(-v))).clamp(max=1)

        return fused(v, value, lambda v: 8 * torch.sigmoid(v) * torch.sigmoid(-v).square())

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """tanh(v / 2) (1 + 2 sigmoid(v))."""
        return fused(
            v,
            lambda v: torch.tanh(v / 2) * (1 + 2 * torch.sigmoid(v)),
            lambda v: 8 * torch.sigmoid(v).square() * torch.sigmoid(-v),
        )

    def optimal_critic(self, u: Tensor) -> Tensor:
        """(u - 1) (u + 3) / (u + 1)^2."""
        u = full_precision(u)
        return (u - 1) / (u + 1) * ((u + 3) / (u + 1))

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """g_f(r)."""
        return self.output_activation(r)

    def log_ratio(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    @property
    def dual(self) -> "LeCam":
        """Itself."""
        return self
