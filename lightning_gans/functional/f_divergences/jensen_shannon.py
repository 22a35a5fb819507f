"""The Jensen-Shannon divergence, its weighted form, and the divergence of the original GAN."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from lightning_gans.errors import InputError
from lightning_gans.functional.f_divergences.base import FDivergence, extended, piecewise
from lightning_gans.functional.f_divergences.guard import fused
from lightning_gans.functional.f_divergences.registry import register
from lightning_gans.precision import full_precision


@register
@dataclass(frozen=True)
class JensenShannon(FDivergence):
    """2 JSD(P, Q) = KL(P || M) + KL(Q || M), M = (P + Q) / 2: f(u) = u log u - (u + 1) log((u + 1) / 2).

    f*(t) = -log(2 - exp(t)) for t < log 2, g_f(v) = log 2 - log(1 + exp(-v)), v = r.

    Source: arXiv 1606.00709, tables 5 and 6. The integral that table 5 prints is JSD, half of what its f gives;
    its table 3 uses the f, and so does this class. The largest value is 2 log 2.
    """

    name: ClassVar[str] = "jensen_shannon"
    conjugate_domain = (-math.inf, math.log(2))
    threshold = 0.0
    curvature = 0.5
    # Endres & Schindelin 2003; Hilbertian by Fuglede & Topsoe 2004
    is_metric = True
    # minimax weighs a fake by sigmoid(v), nothing when it is rejected, the alternative by sigmoid(-v)
    preferred_generator_loss = "alternative"

    def f(self, u: Tensor) -> Tensor:
        """u log u - (u + 1) log((u + 1) / 2), log 2 at 0."""
        return extended(u, lambda u: u * torch.log(2 * (u / (1 + u))) - torch.log((1 + u) / 2), at_zero=math.log(2))

    def conjugate(self, t: Tensor) -> Tensor:
        """-log(2 - exp(t)) for t < log 2."""
        return piecewise(t, lambda t: -torch.log1p(-torch.expm1(t)), high=math.log(2), anchor=0.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """log(2 sigmoid(v)) = log 2 - softplus(-v)."""
        # softplus cancels against log 2 near v = 0
        return -_log_mixture(-full_precision(v), 0.5, 0.5)

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """softplus(v) - log 2."""
        return _log_mixture(v, 0.5, 0.5)

    def optimal_critic(self, u: Tensor) -> Tensor:
        """log(2 u / (u + 1))."""
        u = full_precision(u)
        return torch.log1p((u - 1) / (u + 1))

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """g_f(r)."""
        return self.output_activation(r)

    def log_ratio(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    @property
    def dual(self) -> "JensenShannon":
        """Itself."""
        return self


@register
@dataclass(frozen=True)
class WeightedJensenShannon(FDivergence):
    """pi KL(P || M) + (1 - pi) KL(Q || M), M = pi P + (1 - pi) Q: the information about which of both drew x.

    f(u) = pi u log u - (1 - pi + pi u) log(1 - pi + pi u); f*(t) = (1 - pi) log((1 - pi) / (1 - pi exp(t / pi)))
    for t < -pi log pi. At pi = 1/2 it is JSD, half of :class:`JensenShannon`; the largest value is the entropy
    of pi.

    g_f(v) = f'(e^v): the output is the log density ratio, v = r, because f*(g_f(v)) is elementary then. (Table 6
    has g_f(v) = -pi log pi - log(1 + exp(-v)), with the same range.)

    Source: arXiv 1606.00709, tables 5 and 6.

    Attributes:
        pi: The weight of P, strictly between 0 and 1.
    """

    name: ClassVar[str] = "weighted_jensen_shannon"
    threshold = 0.0
    # as for Jensen-Shannon: minimax forgets rejected fakes
    preferred_generator_loss = "alternative"

    pi: float

    def __post_init__(self) -> None:
        if not (isinstance(self.pi, int | float) and 0 < self.pi < 1):
            raise InputError(f"weighted_jensen_shannon needs a weight pi strictly between 0 and 1, got {self.pi!r}.")

    @property
    def conjugate_domain(self) -> tuple[float, float]:
        """t < -pi log pi."""
        return -math.inf, -self.pi * math.log(self.pi)

    @property
    def curvature(self) -> float:
        """pi (1 - pi)."""
        return self.pi * (1 - self.pi)

    @property
    def is_metric(self) -> bool:
        """At pi = 1/2, as JSD; otherwise it is not even symmetric."""
        return self.pi == 0.5

    def f(self, u: Tensor) -> Tensor:
        """pi u log u - m log m, m = 1 - pi + pi u."""

        def inside(u: Tensor) -> Tensor:
            mixture = (1 - self.pi) + self.pi * u
            return self.pi * u * torch.log(u / mixture) - (1 - self.pi) * torch.log(mixture)

        return extended(u, inside, at_zero=-(1 - self.pi) * math.log1p(-self.pi))

    def conjugate(self, t: Tensor) -> Tensor:
        """-(1 - pi) log((1 - pi exp(t / pi)) / (1 - pi)) for t < -pi log pi."""
        rest = 1 - self.pi

        def inside(t: Tensor) -> Tensor:
            # at the end of the domain rounding may pass -1
            return -rest * torch.log1p((-self.pi / rest * torch.expm1(t / self.pi)).clamp(min=-1))

        return piecewise(t, inside, high=self.conjugate_domain[1], anchor=0.0)

    def output_activation(self, v: Tensor) -> Tensor:
        """-pi log(pi + (1 - pi) exp(-v)) = f'(e^v)."""
        return -_log_mixture(-full_precision(v), 1 - self.pi, self.pi, scale=self.pi)

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """(1 - pi) log(1 - pi + pi exp(v))."""
        return _log_mixture(v, self.pi, 1 - self.pi, scale=1 - self.pi)

    def optimal_critic(self, u: Tensor) -> Tensor:
        """pi log(u / (1 - pi + pi u))."""
        u = full_precision(u)
        rest = 1 - self.pi
        return self.pi * torch.log1p(rest * (u - 1) / (rest + self.pi * u))

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """g_f(r)."""
        return self.output_activation(r)

    def log_ratio(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    @property
    def dual(self) -> "WeightedJensenShannon":
        """The one with weight 1 - pi."""
        return WeightedJensenShannon(1 - self.pi)


@register
@dataclass(frozen=True)
class OriginalGAN(FDivergence):
    """2 JSD(P, Q) - log 4, the value of the original GAN's game: f(u) = u log u - (u + 1) log(u + 1).

    f*(t) = -log(1 - exp(t)) for t < 0, g_f(v) = -log(1 + exp(-v)) = log D, v = r = logit of D. The bound is minus
    the discriminator loss of :mod:`lightning_gans.functional.gan_losses`, the alternative generator loss is the
    non-saturating one. f(1) = -log 4 instead of 0, so that it is no divergence in the strict sense.

    Source: arXiv 1606.00709, tables 5 and 6.
    """

    name: ClassVar[str] = "gan"
    conjugate_domain = (-math.inf, 0.0)
    threshold = -math.log(2)
    curvature = 0.5
    # minimax weighs a fake by sigmoid(v), nothing when it is rejected, the alternative by sigmoid(-v)
    preferred_generator_loss = "alternative"

    def f(self, u: Tensor) -> Tensor:
        """u log u - (u + 1) log(u + 1), 0 at 0."""
        return extended(u, lambda u: u * torch.log(u / (1 + u)) - torch.log1p(u), at_zero=0.0)

    def conjugate(self, t: Tensor) -> Tensor:
        """-log(1 - exp(t)) for t < 0."""
        # log1p keeps the digits of a small exp(t), expm1 those of a small t
        return piecewise(
            t,
            lambda t: torch.where(t < -1, -torch.log1p(-torch.exp(t.clamp(max=-1))), -torch.log(-torch.expm1(t))),
            high=0.0,
            anchor=-1.0,
        )

    def output_activation(self, v: Tensor) -> Tensor:
        """-softplus(-v)."""
        return -softplus(-full_precision(v))

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """softplus(v)."""
        return softplus(full_precision(v))

    def optimal_critic(self, u: Tensor) -> Tensor:
        """log(u / (u + 1))."""
        return -torch.log1p(1 / full_precision(u))

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """g_f(r)."""
        return self.output_activation(r)

    def log_ratio(self, v: Tensor) -> Tensor:
        """v itself."""
        return full_precision(v)

    @property
    def dual(self) -> "OriginalGAN":
        """Itself."""
        return self


def _log_mixture(y: Tensor, weight: float, rest: float, scale: float = 1.0) -> Tensor:
    """scale times log(rest + weight exp(y)), rest = 1 - weight, with all digits at its zero y = 0."""

    def value(y: Tensor) -> Tensor:
        excess = weight * torch.expm1(y.clamp(max=50))
        far = torch.logaddexp(torch.full_like(y, math.log(rest)), y + math.log(weight))
        return scale * torch.where((excess > -0.5) & (y < 50), torch.log1p(excess.clamp(min=-0.5)), far)

    return fused(y, value, lambda y: scale * _posterior(y, math.log(weight) - math.log(rest)))


def _posterior(y: Tensor, offset: float) -> Tensor:
    """sigmoid(y + offset)."""
    return fused(y, lambda y: torch.sigmoid(y + offset), lambda y: _posterior(y, offset) * _posterior(-y, -offset))
