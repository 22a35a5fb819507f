"""What every f-divergence knows, and what follows from f and its conjugate alone."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_gans.functional.f_divergences import guard
from lightning_gans.precision import full_precision

GeneratorLossName = Literal["minimax", "alternative"]


@dataclass(frozen=True)
class FDivergence(ABC):
    """D_f(P || Q) = E_Q[f(p/q)] for a convex f on [0, inf), with its variational bound.

    For every critic T with values in dom f*,

        D_f(P || Q)  >=  E_P[T] - E_Q[f*(T)],      equality at T*(x) = f'(p(x) / q(x)).

    A network's unbounded output v becomes a critic by the output activation, T = g_f(v). P is the data, Q the
    generator, u = p/q the density ratio and r = log u. Numbers are in nats.

    A subclass must give ``name``, ``conjugate_domain``, ``f``, ``conjugate`` and ``output_activation``; all else
    has a default that follows from these. Tensors may have any shape; bfloat16 and float16 are widened to float32.

    Source: Nowozin, Cseke, Tomioka 2016, "f-GAN" (arXiv 1606.00709), equations (2) to (7), (10), tables 5 and 6.
    """

    name: ClassVar[str]
    has_log_ratio: ClassVar[bool] = True
    """Whether a critic's output tells the density ratio, or only on which side of 1 it lies."""

    def __str__(self) -> str:
        given = ", ".join(f"{field.name}={getattr(self, field.name)}" for field in fields(self))
        return f"{self.name}({given})" if given else self.name

    @abstractmethod
    def f(self, u: Tensor) -> Tensor:
        """The convex f for u >= 0; at 0 its limit, which may be infinite; infinite for negative u."""

    @property
    @abstractmethod
    def conjugate_domain(self) -> tuple[float, float]:
        """The interval where f* is finite, up to its ends. Its upper end is f'(inf)."""

    @abstractmethod
    def conjugate(self, t: Tensor) -> Tensor:
        """f*(t) = sup over u >= 0 of u t - f(u): equal to -f(0) below f'(0), infinite outside the domain."""

    @abstractmethod
    def output_activation(self, v: Tensor) -> Tensor:
        """g_f(v): increasing, from the real line into the domain of f*."""

    def conjugate_of_activation(self, v: Tensor) -> Tensor:
        """f*(g_f(v)); built-in divergences give it in one closed form that loses no digits (footnote 1)."""
        return self.conjugate(self.output_activation(v))

    def optimal_critic(self, u: Tensor) -> Tensor:
        """T* = f'(u)."""
        return _slope(self.f, u)

    def optimal_critic_of_log_ratio(self, r: Tensor) -> Tensor:
        """T* = f'(e^r)."""
        return self.optimal_critic(torch.exp(full_precision(r)))

    def log_ratio(self, v: Tensor) -> Tensor:
        """The log density ratio r that the output v stands for: f'(e^r) = g_f(v).

        Raises:
            InputError: Where ``has_log_ratio`` is False.
        """
        # the slope of f* is the maximising u
        return _slope(self.conjugate, self.output_activation(v)).log()

    def scaled_f(self, r: Tensor) -> Tensor:
        """f(e^r) / max(1, e^r): what a quadrature of D_f = E_Q[f(p/q)] needs where p/q itself overflows.

        For large ratios it is f°(e^-r). Beyond |r| = 300 it is continued in a straight line: f(u) grows there
        like 1, u or their logarithms, exactly to 130 digits, or like a higher power, and then the divergence
        is beyond measure in any case.

        Args:
            r: Log density ratios, any shape, float64.
        """

        def direct(r: Tensor) -> Tensor:
            return torch.where(r < 0, self.f(r.clamp(max=0).exp()), self.dual_f((-r.clamp(min=0)).exp()))

        near = r.clamp(-_FAR, _FAR)
        slope = direct(r.sign() * (_FAR + 1)) - direct(r.sign() * _FAR)
        return direct(near) + torch.where(near == r, 0.0, slope * (r - near).abs())

    @property
    def threshold(self) -> float:
        """f'(1): a sample with a larger T is more probable under P than under Q."""
        return self.optimal_critic(_ONE).item()

    @property
    def curvature(self) -> float:
        """f''(1): D_f = f''(1) / 2 chi^2 to leading order for P near Q."""
        return _slope(self.optimal_critic, _ONE).item()

    @property
    def dual(self) -> "FDivergence | None":
        """The divergence of f°(u) = u f(1/u), which swaps the arguments; None where it has no class."""
        return None

    def dual_f(self, u: Tensor) -> Tensor:
        """f°(u) = u f(1/u), so that D_f(P || Q) = D_f°(Q || P)."""
        if self.dual is not None:
            return self.dual.f(u)
        return extended(u, lambda u: u * self.f(1 / u), at_zero=self.conjugate_domain[1])

    @property
    def is_metric(self) -> bool:
        """Whether sqrt(D_f) is a metric."""
        return False

    @property
    def upper_bound(self) -> float:
        """f(0) + f°(0), the divergence of distributions with disjoint supports, which is the largest there is."""
        # f°(0) = lim f(u) / u = f'(inf)
        return self.f(torch.zeros((), dtype=torch.float64)).item() + self.conjugate_domain[1]

    @property
    def preferred_generator_loss(self) -> GeneratorLossName:
        """The loss to train a generator with by default: ``minimax`` is the divergence's own."""
        return "minimax"

    def variational_lower_bound(self, v_real: Tensor, v_fake: Tensor) -> Tensor:
        """Mean g_f(v_real) - mean f*(g_f(v_fake)), what the critic maximises.

        Args:
            v_real: Outputs for samples of P, any shape.
            v_fake: Outputs for samples of Q, any shape.

        Returns:
            A scalar. Its expectation is at most D_f(P || Q).
        """
        real, fake = guard.mean(self.output_activation(v_real)), guard.mean(self.conjugate_of_activation(v_fake))
        return guard.difference(real, fake)

    def generator_loss_minimax(self, v_fake: Tensor) -> Tensor:
        """-mean f*(g_f(v_fake)), the generator's part of the bound, to be minimised."""
        return -guard.mean(self.conjugate_of_activation(v_fake))

    def generator_loss_alternative(self, v_fake: Tensor) -> Tensor:
        """-mean g_f(v_fake), to be minimised: fakes shall look real (equation 10)."""
        return -guard.mean(self.output_activation(v_fake))

    def in_domain(self, v: Tensor) -> Tensor:
        """Where the bound is exact: g_f(v) lies in the domain of f*, and neither term is saturated.

        Args:
            v: Any shape.

        Returns:
            Same shape, bool.
        """
        low, high = self.conjugate_domain
        critic, conjugate = self.output_activation(v), self.conjugate_of_activation(v)
        largest = torch.finfo(critic.dtype).max
        return (critic >= low) & (critic <= high) & (critic.abs() < largest) & (conjugate.abs() < largest)


_FAR = 300.0
_ONE = torch.ones((), dtype=torch.float64)


def extended(u: Tensor, formula: Callable[[Tensor], Tensor], at_zero: float) -> Tensor:
    """A convex function on [0, inf): the formula for u > 0, its limit at 0, infinity below."""
    u = full_precision(u)
    zero_or_less = u <= 0
    # the formula never sees them, so that its gradient there cannot be NaN
    inside = formula(torch.where(zero_or_less, 1.0, u))
    return torch.where(u < 0, math.inf, torch.where(u == 0, at_zero, inside))


def piecewise(
    t: Tensor,
    formula: Callable[[Tensor], Tensor],
    low: float = -math.inf,
    high: float = math.inf,
    *,
    below: float = math.nan,
    anchor: float,
) -> Tensor:
    """A conjugate: the formula on [low, high], a constant below, infinity above.

    Args:
        t: Any shape.
        formula: f* on the interval.
        low: f'(0), below which f* is constant.
        high: The upper end of the domain.
        below: -f(0).
        anchor: A point inside the interval at which the formula and its gradient are finite.
    """
    t = full_precision(t)
    too_low, too_high = t < low, t > high
    inside = formula(torch.where(too_low | too_high, anchor, t))
    return torch.where(too_high, math.inf, torch.where(too_low, below, inside))


def _slope(function: Callable[[Tensor], Tensor], point: Tensor) -> Tensor:
    """The derivative of a scalar function, itself differentiable, also where gradients are switched off."""
    wanted = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.enable_grad():
        point = full_precision(point)
        if not (wanted and point.requires_grad):
            point = point.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(point).sum(), point, create_graph=True)
    return slope if wanted else slope.detach()
