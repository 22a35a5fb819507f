"""Gaussian mixtures, whose densities and samples are both known, and those that the field trains on.

Points are rows: (N, d). Log densities are in nats.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_gans.errors import InputError

_LOG_2_PI = math.log(2 * math.pi)


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
        component = -0.5 * standardised.square().sum(-1) - stds.log().sum(-1) - 0.5 * self.dim * _LOG_2_PI
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
