"""Densities that are known everywhere: Gaussian mixtures, kernel estimates, and divergences between them.

Points are rows: (N, d). Log densities are in nats.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_gans.errors import InputError

LOG_2_PI = math.log(2 * math.pi)

LogDensity = Callable[[Tensor], Tensor]
"""From points (N, d) to log densities (N,)."""


@dataclass(frozen=True)
class GaussianMixture:
    """p(x) = sum_i w_i N(x; m_i, diag(s_i^2)), as plain numbers that a YAML file can hold.

    Args:
        weights: (k,) w, positive, summing to 1.
        means: (k, d) m.
        standard_deviations: s, positive: (k,) for isotropic components, or (k, d) for one per axis.

    Raises:
        InputError: If the numbers are not a mixture.
    """

    weights: list[float]
    means: list[list[float]]
    standard_deviations: list[float] | list[list[float]]

    def __post_init__(self) -> None:
        _check_mixture(self)

    @property
    def size(self) -> int:
        """Number of components, k."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """Dimension of the points, d."""
        return len(self.means[0])

    @property
    def mean(self) -> Tensor:
        """E[x] = sum_i w_i m_i: float64, (d,)."""
        weights, means, _ = self.tensors()
        return weights @ means

    @property
    def covariance(self) -> Tensor:
        """Within plus between the components, sum_i w_i (diag(s_i^2) + (m_i - m)(m_i - m)^T): float64, (d, d)."""
        weights, means, stds = self.tensors()
        between = means - self.mean
        return torch.diag(weights @ stds.square()) + between.T @ (weights[:, None] * between)

    def tensors(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The weights (k,), means (k, d) and standard deviations of each axis (k, d)."""
        weights = torch.tensor(self.weights, dtype=dtype, device=device)
        means = torch.tensor(self.means, dtype=dtype, device=device)
        stds = torch.tensor(self.standard_deviations, dtype=dtype, device=device)
        return weights, means, stds.reshape(self.size, -1).expand_as(means)

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), finite in the far tails too: no density is taken before its logarithm.

        Args:
            x: float32 or float64, (N, d). Differentiable. Memory is N k d numbers.

        Returns:
            (N,), of x's dtype and on its device.

        Raises:
            InputError: If x has another dtype or shape.
        """
        if x.dtype not in (torch.float32, torch.float64):
            raise InputError(f"a log density needs points in float32 or float64, not {x.dtype}")
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError(f"points of a {self.dim}-D mixture must be of shape (N, {self.dim}), not {tuple(x.shape)}")
        weights, means, stds = self.tensors(x.dtype, x.device)
        standardised = (x[:, None] - means) / stds
        component = -0.5 * standardised.square().sum(-1) - stds.log().sum(-1) - 0.5 * self.dim * LOG_2_PI
        return torch.logsumexp(weights.log() + component, dim=-1)

    def sample(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw points and say which component each came from.

        Args:
            n: How many, 0 or more.
            generator: Where the randomness comes from; the samples are on its device.

        Returns:
            Points, float32, (n, d), and components, int64, (n,), in ``[0, k)``.
        """
        device = generator.device
        weights, means, stds = self.tensors(device=device)
        uniform = torch.rand(n, dtype=torch.float64, generator=generator, device=device)
        # the last edge is left out: the weights may sum to a little less than the largest uniform number
        component = torch.bucketize(uniform, weights.cumsum(0)[:-1], right=True)
        noise = torch.randn(n, self.dim, generator=generator, device=device)
        return means.float()[component] + stds.float()[component] * noise, component


def ring(modes: int = 8, radius: float = 1.0, standard_deviation: float = 0.01) -> GaussianMixture:
    """Equal modes on a circle, at the angles 2 pi i / modes; the defaults are PacGAN's (1712.04086).

    Code that takes the angles from ``linspace(0, 2 pi, 8)`` counts both ends and so has 7 modes, one of
    them doubled (poolio/unrolled_gan 67e2c7a): its scores are for another distribution.

    Args:
        modes: How many, 1 or more.
        radius: Of the circle.
        standard_deviation: Of every mode, along both axes.

    Raises:
        InputError: If there are no modes, or the deviation is not positive.
    """
    if modes < 1:
        raise InputError(f"a ring has at least 1 mode, not {modes}")
    angles = [2 * math.pi * i / modes for i in range(modes)]
    means = [[radius * math.cos(angle), radius * math.sin(angle)] for angle in angles]
    return GaussianMixture([1 / modes] * modes, means, [standard_deviation] * modes)


def grid(side: int = 5, spacing: float = 2.0, standard_deviation: float = 0.05) -> GaussianMixture:
    """Equal modes on a square grid around 0; the defaults are PacGAN's {-4, -2, 0, 2, 4}^2 (1712.04086).

    Args:
        side: Modes along each axis, 1 or more.
        spacing: Distance of neighbours.
        standard_deviation: Of every mode, along both axes.

    Raises:
        InputError: If there are no modes, or the deviation is not positive.
    """
    if side < 1:
        raise InputError(f"a grid has at least 1 mode along each axis, not {side}")
    axis = [spacing * (i - (side - 1) / 2) for i in range(side)]
    return GaussianMixture(
        [1 / side**2] * side**2, [[x, y] for x in axis for y in axis], [standard_deviation] * side**2
    )


def f_gan_mixture(smoothing: float = 0.0) -> GaussianMixture:
    """The 1-D target of f-GAN's univariate experiment, 0.33 N(-1, 0.0625) + 0.67 N(2, 2); 0.0625 and 2 are variances.

    Nowozin et al. 2016 (1606.00709), section 2.5 and footnote 4. Their table of exact optima agrees with
    this mixture only to 1-2.5 %, but to four digits with the mixture convolved with N(0, 0.05^2)
    (objectives.md, section 1b): compare with their table at ``smoothing=0.05``.

    Args:
        smoothing: Standard deviation of the Gaussian that the mixture is convolved with.
    """
    variances = (0.0625, 2.0)
    return GaussianMixture([0.33, 0.67], [[-1.0], [2.0]], [math.sqrt(v + smoothing**2) for v in variances])


class KernelDensity:
    """Gaussian kernel estimate  p(x) = 1/n sum_i N(x; x_i, h^2 I)  of the density behind samples.

    The estimate is the true density convolved with the kernel, and noisy: it is good for pictures in one
    or two dimensions, not for what one would believe in many.

    Args:
        samples: (n, d), floating.
        bandwidth: h, positive, in the unit of the samples.

    Raises:
        InputError: If there are no samples, or the bandwidth is not positive.
    """

    def __init__(self, samples: Tensor, bandwidth: float) -> None:
        _check_kernels(samples, [bandwidth])
        self.samples = samples
        self.bandwidth = float(bandwidth)

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), computed in float64 and in pieces.

        Args:
            x: (N, d), floating.

        Returns:
            (N,), of x's dtype.
        """
        return kernel_log_densities(self.samples, x, [self.bandwidth])[0].to(x.dtype)


def kernel_log_densities(
    samples: Tensor, x: Tensor, bandwidths: Sequence[float], chunk_elements: int = 2**22
) -> Tensor:
    """Log densities of the kernel estimates of several bandwidths, from one pass over the distances.

    Squared distances come from a matrix product of centred float64 values. Their error is about 1e-16 R^2,
    R the radius of the data, so the exponent d^2 / 2h^2 is wrong by 1e-16 (R / h)^2: 1e-11 nats for images.
    Float32 is wrong by up to 3e-3 nats an image (MNIST, h = 0.1) and saves half of the time only.

    Args:
        samples: (n, d), floating: the centres of the kernels.
        x: (N, d), floating.
        bandwidths: M positive numbers.
        chunk_elements: How many distances are held at a time (two buffers of 8 bytes each).

    Returns:
        float64, (M, N), nats, on the samples' device.

    Raises:
        InputError: If there are no samples, a bandwidth is not positive, or the dimensions differ.
    """
    _check_kernels(samples, bandwidths)
    if x.ndim != 2 or x.shape[1] != samples.shape[1]:
        raise InputError(
            f"points for kernels of shape {tuple(samples.shape)} must be of shape (N, {samples.shape[1]}), "
            f"not {tuple(x.shape)}"
        )
    with torch.no_grad():
        n, dim = samples.shape
        centres = samples.double()
        origin = centres.mean(0)
        centres = centres - origin
        norms = centres.square().sum(1)
        result = centres.new_empty(len(bandwidths), len(x))
        rows = max(1, chunk_elements // n)
        for start in range(0, len(x), rows):
            points = x[start : start + rows].to(samples.device).double() - origin
            squared = torch.addmm(norms, points, centres.T, alpha=-2)
            squared.add_(points.square().sum(1, keepdim=True)).clamp_(min=0)
            # logsumexp with its maximum, which is the nearest kernel's for every bandwidth, found once
            nearest = squared.amin(1, keepdim=True)
            squared.sub_(nearest)
            kernel = torch.empty_like(squared)
            for row, bandwidth in zip(result, bandwidths, strict=True):
                scale = -0.5 / bandwidth**2
                sums = torch.mul(squared, scale, out=kernel).exp_().sum(1)
                row[start : start + rows] = sums.log_().add_(nearest[:, 0], alpha=scale)
        log_bandwidths = torch.tensor([math.log(h) for h in bandwidths], dtype=torch.float64, device=samples.device)
        return result - math.log(n) - 0.5 * dim * LOG_2_PI - dim * log_bandwidths[:, None]


def reference_bandwidth(samples: Tensor, rule: Literal["scott", "silverman"] = "scott") -> float:
    """A bandwidth for drawing: right for one Gaussian, too wide for several modes.

    Scott:  h = s n^(-1 / (d + 4)).  Silverman:  h = s (n (d + 2) / 4)^(-1 / (d + 4)).  s^2 is the variance
    (n - 1 in the denominator), averaged over the axes (Silverman 1986, section 4.3.2; the factors are those
    of scipy and scikit-learn).

    Args:
        samples: (n, d), floating, n at least 2.
        rule: Which of the two.

    Raises:
        InputError: If the samples have no spread, or the rule is unknown.
    """
    _check_kernels(samples, [1.0])
    n, dim = samples.shape
    counts = {"scott": float(n), "silverman": n * (dim + 2) / 4}
    if rule not in counts:
        raise InputError(f"unknown bandwidth rule '{rule}': choose {' or '.join(counts)}")
    spread = float(samples.double().var(0).mean().sqrt()) if n > 1 else 0.0
    if not 0 < spread < math.inf:
        raise InputError(f"{n} samples with standard deviation {spread} give no bandwidth: give one as a number")
    return spread * counts[rule] ** (-1 / (dim + 4))


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
            "leaves float64: narrow the interval [low, high], or give f as a function of the log ratio"
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


def _check_mixture(mixture: GaussianMixture) -> None:
    """Refuse what is not a mixture."""
    weights, means, stds = mixture.weights, mixture.means, mixture.standard_deviations
    size = len(weights)
    if not size:
        raise InputError("a Gaussian mixture needs at least one component, but has no weights")
    if len(means) != size or len(stds) != size:
        raise InputError(
            f"a Gaussian mixture of {size} weights needs as many means and standard deviations, "
            f"not {len(means)} and {len(stds)}"
        )
    # written so that nan fails
    if not (min(weights) > 0 and abs(sum(weights) - 1) <= 1e-6):
        raise InputError(f"a Gaussian mixture has weights {weights}, but they must be positive and sum to 1")
    dims = {len(mean) for mean in means}
    if len(dims) != 1 or dims == {0}:
        raise InputError(f"the means of a Gaussian mixture must be of one dimension, not {sorted(dims)}")
    if not all(math.isfinite(value) for mean in means for value in mean):
        raise InputError(f"the means of a Gaussian mixture must be finite, not {means}")
    rows = [std if isinstance(std, list | tuple) else [std] for std in stds]
    lengths = {len(row) for row in rows}
    listed = {isinstance(std, list | tuple) for std in stds}
    if len(listed) != 1 or lengths != (dims if True in listed else {1}):
        raise InputError(
            f"the standard deviations of a {min(dims)}-D Gaussian mixture must be one number for each component, "
            f"or {min(dims)} for each, not {stds}"
        )
    if not all(0 < value < math.inf for row in rows for value in row):
        raise InputError(f"the standard deviations of a Gaussian mixture must be positive and finite, not {stds}")


def _check_kernels(samples: Tensor, bandwidths: Sequence[float]) -> None:
    """Refuse what has no kernel estimate."""
    if samples.ndim != 2 or not samples.numel() or not samples.is_floating_point():
        raise InputError(
            f"samples must be floating, of shape (n, d), at least one, not {samples.dtype} of {tuple(samples.shape)}"
        )
    if not bandwidths or not all(0 < h < math.inf for h in bandwidths):
        raise InputError(f"bandwidths must be positive and finite, at least one, not {list(bandwidths)}")
