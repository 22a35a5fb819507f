"""Divergences between densities in one dimension, by numerical integration.

Points are rows: (N, 1). Log densities are in nats.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_gans.errors import InputError

LogDensity = Callable[[Tensor], Tensor]
"""From points (N, 1) to log densities (N,)."""


def divergence_by_quadrature(
    f: Callable[[Tensor], Tensor],
    log_p: LogDensity,
    log_q: LogDensity,
    low: float,
    high: float,
    points: int = 20001,
    *,
    of_log_ratio: bool = False,
) -> float:
    """D_f(P||Q) = int q f(p / q) dx of two 1-D densities, by the trapezoidal rule in float64.

    The integrand is written  max(p, q) h(r)  with r = log p - log q and h(r) = f(e^r) / max(1, e^r), which
    neither divides by an underflowed q nor multiplies a 0 by an infinity. Accuracy: if the integrand is smooth
    and negligible at both ends, the rule converges faster than any power of the step, and the sum is exact to
    rounding once the step is a fifth of the smallest standard deviation (half of it: 1e-8). A kink (total variation)
    leaves an error of the order of the step squared, a jump of the step itself. The tails of the chi-squared
    divergences are those of p^2 / q or q^2 / p, which can be far wider than those of p and q.

    Args:
        f: From u = p / q to f(u), float64, (points,). Where e^r leaves float64, or f(u) does, f's limits
            f(0) and f(u) / u are used if it has reached them. With ``of_log_ratio``, h itself as a function
            of r, which is infinite where one of the densities is 0: no limit is needed, and nothing cancels
            where P is close to Q. For example KL: ``r.clamp(min=-1e9) * r.clamp(max=0).exp()``, reverse KL:
            ``-r.clamp(max=1e9) * (-r.clamp(min=0)).exp()``, Pearson: ``(r.expm1() * (-r.abs()).expm1()).abs()``.
        log_p: Log density of P, from (points, 1) to (points,); -inf where P has no mass.
        log_q: Log density of Q.
        low: Lower end of the interval; the mass outside is ignored.
        high: Upper end.
        points: Nodes, both ends included.
        of_log_ratio: Whether ``f`` is h.

    Returns:
        Nats for the logarithmic divergences; infinite if h is where there is mass.

    Raises:
        InputError: If the interval is empty, or the integrand cannot be computed at a node.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high and points >= 2):
        raise InputError(f"quadrature needs low < high, both finite, and 2 points, not [{low}, {high}] and {points}")
    with torch.no_grad():
        x = torch.linspace(low, high, points, dtype=torch.float64)
        return float(torch.trapezoid(_integrand(f, log_p, log_q, x, of_log_ratio), x))


def divergence_by_panels(
    f: Callable[[Tensor], Tensor],
    log_p: LogDensity,
    log_q: LogDensity,
    edges: Tensor,
    nodes: int = 32,
    *,
    of_log_ratio: bool = False,
) -> float:
    """`divergence_by_quadrature` for densities of very different scales or places, by a Gauss-Legendre rule per panel.

    Equally spaced nodes miss a density that is narrower than their distance. Here panels are as narrow as the caller
    makes them where it matters (`panel_edges`), and a single one may bridge the emptiness between two densities:
    its nodes are inside, where nothing is, and none stands for half of the gap. The rule is exact to rounding where
    the integrand is smooth within each panel; a kink leaves an error of the order of its panel's width / ``nodes``
    squared.

    Args:
        f: As for `divergence_by_quadrature`.
        log_p: Log density of P, from (N, 1) to (N,); -inf where P has no mass.
        log_q: Log density of Q.
        edges: (M,), rising: ends of the panels, M at least 2; the mass outside is ignored.
        nodes: In each panel.
        of_log_ratio: Whether ``f`` is h.

    Returns:
        Nats for the logarithmic divergences; infinite if h is where there is mass.

    Raises:
        InputError: If the edges do not rise, or the integrand cannot be computed at a node.
    """
    edges = edges.double()
    widths = edges.diff()
    if edges.ndim != 1 or len(edges) < 2 or not (edges.isfinite().all() and (widths > 0).all()):
        raise InputError("quadrature needs two edges of panels or more, which are finite and rise")
    with torch.no_grad():
        places, weights = _gauss_legendre(nodes)
        x = edges[:-1, None] + widths[:, None] * (1 + places) / 2
        height = _integrand(f, log_p, log_q, x.flatten(), of_log_ratio).view_as(x)
        return float(widths @ (height @ weights)) / 2


def _gauss_legendre(nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes in (-1, 1) and weights that integrate polynomials of degree 2n - 1 exactly (Golub and Welsch 1969)."""
    k = torch.arange(1, nodes, dtype=torch.float64)
    beside = k / (4 * k.square() - 1).sqrt()
    places, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return places, 2 * vectors[0].square()


def panel_edges(means: Tensor, deviations: Tensor, margin: float = 0.0) -> Tensor:
    """Edges of panels for `divergence_by_panels`, for Gaussians in one dimension.

    Around each mean there are panels of an eighth of its deviation out to sixteen deviations, beyond which float64
    has nothing left of it.

    Args:
        means: (k,).
        deviations: (k,), positive.
        margin: How far the outermost panels reach beyond all others: p^2 / q has wider tails than p and q.

    Returns:
        float64, (M,), rising.
    """
    steps = torch.arange(-128, 129, dtype=torch.float64) / 8
    edges = (means.double()[:, None] + deviations.double()[:, None] * steps).flatten().unique()
    return torch.cat([edges[:1] - margin, edges, edges[-1:] + margin]).unique()


def _integrand(
    f: Callable[[Tensor], Tensor], log_p: LogDensity, log_q: LogDensity, x: Tensor, of_log_ratio: bool
) -> Tensor:
    """q f(p / q) = max(p, q) h(log p - log q) at places (N,), float64."""
    p, q = (density(x[:, None]).double() for density in (log_p, log_q))
    larger = torch.maximum(p, q).exp()
    massive = larger > 0  # elsewhere both densities underflow, and the ratio may be nan
    ratio = (p - q)[massive]
    height = torch.zeros_like(x)
    height[massive] = f(ratio) if of_log_ratio else _bounded(f, ratio)
    if height.isnan().any():
        where = float(x[height.isnan()][0])
        raise InputError(
            f"the divergence's integrand cannot be computed at x = {where:g}, where the ratio of the densities "
            "leaves float64: integrate over less of the line, or give f as a function of the log ratio"
        )
    return torch.where(massive, larger * height, 0)


def _bounded(f: Callable[[Tensor], Tensor], ratio: Tensor) -> Tensor:
    """f(e^r) / max(1, e^r), with its limits where that is not finite; nan where it has no limit yet."""

    def direct(r: Tensor) -> Tensor:
        u = r.exp()
        return f(u) / u.clamp(min=1)

    height = direct(ratio)
    # A limit counts if two far ratios, whose squares are still float64, agree on it.
    far = direct(torch.tensor([-150.0, -300.0, 150.0, 300.0], dtype=torch.float64))
    halfway, end = far[0::2], far[1::2]
    limits = torch.where((end - halfway).abs() <= 1e-9 * (1 + end.abs()), end, math.nan)
    return torch.where(height.isfinite(), height, torch.where(ratio < 0, limits[0], limits[1]))
