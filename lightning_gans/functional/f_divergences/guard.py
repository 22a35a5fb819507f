"""Where exponentials end: values and gradients that stay finite for every finite output of a critic.

Several f-divergences are exponential in the critic's output, whatever form they are written in. Here such a
value, once it no longer fits, stays at the largest finite number of its dtype, and so does its derivative: the
gradient keeps its sign and neither vanishes (as a clamp's would) nor becomes infinite. Everything that fits is
untouched. Infinite or NaN inputs are passed on: they mean that a network has diverged, which shall be seen.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.precision import full_precision

Elementwise = Callable[[Tensor], Tensor]


def _infinite(x: Tensor) -> Tensor:
    # torch.isfinite is five operations, and a NaN needs no look: nothing here turns one into a number
    return x.abs() == math.inf


def _clamped(values: Tensor, dtype: torch.dtype, infinite: Tensor) -> Tensor:
    """Values clamped to what dtype holds, except where an infinity came in."""
    largest = torch.finfo(dtype).max
    return torch.where(infinite, values, values.clamp(-largest, largest))


class _Saturated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, infinite: Tensor) -> Tensor:
        return _clamped(values, values.dtype, infinite)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        # torch's clamp would give 0 where it has clamped
        return grads[0], None


class _Fused(torch.autograd.Function):
    """A scalar function by its value in float64 and its derivative as another differentiable function."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Elementwise, derivative: Elementwise) -> Tensor:
        ctx.save_for_backward(x)
        ctx.derivative = derivative
        # a critic has one output per sample, so double precision costs nothing; Apple's devices have none
        wide = x if x.device.type == "mps" else x.double()
        return _clamped(value(wide), x.dtype, _infinite(x)).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        (grad,) = grads
        return _Saturated.apply(grad * ctx.derivative(x), _infinite(grad) | _infinite(x)), None, None


def fused(x: Tensor, value: Elementwise, derivative: Elementwise) -> Tensor:
    """A saturating scalar function, evaluated in float64 and rounded once.

    Args:
        x: Any shape; bfloat16 and float16 are widened to float32.
        value: The function on a float64 tensor; it may overflow to infinity, but must not give NaN.
        derivative: Its derivative as a differentiable function of a tensor in x's own dtype.

    Returns:
        Same shape, float32 or float64, finite wherever x is.
    """
    result: Tensor = _Fused.apply(full_precision(x), value, derivative)
    return result


def saturating_exp(x: Tensor, rate: float = 1.0, scale: float = 1.0) -> Tensor:
    """scale exp(rate x), saturating in value and in every derivative.

    Args:
        x: Any shape.
        rate: Factor in the exponent, finite.
        scale: Factor in front, finite and not 0.
    """

    def value(wide: Tensor) -> Tensor:
        # two halves, because exp(rate x) may overflow where its product with a small scale does not
        half = torch.exp(0.5 * rate * wide)
        return (scale * half) * half

    return fused(x, value, lambda x: saturating_exp(x, rate, scale * rate))


def saturating_expm1(x: Tensor, rate: float = 1.0, scale: float = 1.0) -> Tensor:
    """scale (exp(rate x) - 1) with full relative precision at its zero, saturating like :func:`saturating_exp`."""

    def value(wide: Tensor) -> Tensor:
        exponent = rate * wide
        half = torch.exp(0.5 * exponent)
        return torch.where(exponent < 1, scale * torch.expm1(exponent), (scale * half) * half - scale)

    return fused(x, value, lambda x: saturating_exp(x, rate, scale * rate))


def multiple(x: Tensor, factor: float) -> Tensor:
    """factor times x, saturating."""
    return fused(x, lambda wide: factor * wide, lambda x: torch.full_like(x, factor))


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.shape = values.shape
        plain = values.mean()
        if values.dtype == torch.float32 and values.device.type != "mps":
            # in float64 no sum of float32 numbers is too large
            return torch.where(plain.abs() < math.inf, plain, values.mean(dtype=torch.float64).float())
        # a power of two changes no digit; the clamp undoes a last rounding beyond the largest number
        shrink = 2.0 ** -max(values.numel() - 1, 0).bit_length()
        careful = (values * shrink).sum() / (values.numel() * shrink)
        exact = _clamped(careful, values.dtype, _infinite(values).any())
        return torch.where(plain.isfinite(), plain, exact)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return (grads[0] / ctx.shape.numel()).expand(ctx.shape)


def mean(values: Tensor) -> Tensor:
    """The mean as ``values.mean()`` gives it, but finite even where the sum of the values is not.

    Args:
        values: At least one, any shape.

    Returns:
        A scalar.
    """
    result: Tensor = _Mean.apply(values)
    return result


def difference(first: Tensor, second: Tensor) -> Tensor:
    """first minus second, saturating, with gradients 1 and -1 everywhere."""
    result: Tensor = _Saturated.apply(first - second, _infinite(first) | _infinite(second))
    return result


class _BoundGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, limit: float, *outputs: Tensor) -> tuple[Tensor, ...]:
        ctx.limit = limit
        return tuple(output.view_as(output) for output in outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needed = [index for index, wanted in enumerate(ctx.needs_input_grad[1:]) if wanted]
        bounded: list[Tensor | None] = [None] * len(grads)
        if not needed:
            return None, *bounded
        # one vector of them all: these are small operations, of which the number counts
        together = torch.cat([full_precision(grads[index]).reshape(-1) for index in needed])
        if together.numel():
            # relative to the largest, because the sum of huge gradients may itself overflow
            largest = torch.linalg.vector_norm(together, math.inf).clamp(min=torch.finfo(together.dtype).tiny)
            relative = together / largest
            total = torch.linalg.vector_norm(relative, 1)
            together = torch.where(largest * total <= ctx.limit, together, relative * (ctx.limit / total))
        for index, part in zip(needed, together.split([grads[index].numel() for index in needed]), strict=True):
            bounded[index] = part.view(grads[index].shape).to(grads[index].dtype)
        return None, *bounded


def bound_gradient(limit: float, *outputs: Tensor) -> tuple[Tensor, ...]:
    """The outputs themselves; their gradients shrunk by one common factor so that sum |gradient| <= limit.

    A common factor keeps the direction of the step: clipping each gradient by itself would change the ratio
    of real to fake samples and with it the equilibrium. Nothing waits for the device.

    Args:
        limit: Largest allowed sum of absolute gradients over all entries of all outputs, positive.
        *outputs: A critic's outputs, any shapes, on one device.

    Returns:
        The same values, one tensor per output.
    """
    if not limit > 0:
        raise InputError(f"the gradient limit must be positive, got {limit}.")
    result: tuple[Tensor, ...] = _BoundGradient.apply(limit, *outputs)
    return result
