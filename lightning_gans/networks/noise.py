"""Noise with a known density, which noise-contrastive estimation tells data from.

It should have mass wherever the data have, be easy to draw from and resemble the data: what is too easily told from
them teaches nothing (Gutmann & Hyvarinen 2012, section 2.4). Both kinds here are fitted to the data before training
and never change after; their numbers are buffers, so that a checkpoint knows them.
"""

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.networks.base import Generator


class NoiseDistribution(Generator):
    """A generator of points that has nothing to learn, and whose density is known.

    Args:
        dim: Dimension d of the points.

    Attributes:
        latent_distribution: What `forward` wants: "normal" for N(0, 1)^d, "uniform" for U(-1, 1)^d.
    """

    output_range = None
    latent_distribution: Literal["normal", "uniform"]

    def __init__(self, dim: int):
        super().__init__()
        if dim < 1:
            raise InputError(f"the noise's dim is {dim}, but points have at least one dimension")
        self.input_size = dim
        self.sample_shape = (dim,)

    @abstractmethod
    def fit(self, points: Tensor) -> None:
        """Take position and size from the data, floating (N, d)."""

    @abstractmethod
    def log_density(self, points: Tensor) -> Tensor:
        """log p_n at points (N, d): (N,), nats."""


class GaussianNoise(NoiseDistribution):
    """The Gaussian with the data's mean and covariance, as in the paper's experiments.

    Args:
        dim: Dimension d of the points.
        scale: Factor on its standard deviations; above 1 for tails that cover the data's.
    """

    latent_distribution = "normal"
    mean: Tensor
    factor: Tensor

    def __init__(self, dim: int, scale: float = 1.0):
        super().__init__(dim)
        if not 0 < scale < math.inf:
            raise InputError(f"the noise's scale is {scale}, but must be positive and finite")
        self.scale = scale
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("factor", scale * torch.eye(dim))

    def fit(self, points: Tensor) -> None:
        """Take the mean and the covariance of points (N, d).

        Raises:
            InputError: If the points lie in a hyperplane, where a density is infinite.
        """
        covariance = self.scale**2 * torch.atleast_2d(points.double().T.cov(correction=0))
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if failed:
            raise InputError("the data lie in a hyperplane, so that no Gaussian has their covariance and a density")
        self.mean.copy_(points.double().mean(0))
        self.factor.copy_(factor)

    def forward(self, latent: Tensor) -> Tensor:
        """Points (N, d), from standard normal latents (N, d)."""
        return self.mean + latent @ self.factor.T

    def log_density(self, points: Tensor) -> Tensor:
        """log N(x; mean, factor factor^T): (N,)."""
        factor = self.factor.to(points.dtype)
        standard = torch.linalg.solve_triangular(factor, (points - self.mean.to(points.dtype)).T, upper=False)
        normaliser = factor.diagonal().log().sum() + 0.5 * self.input_size * math.log(2 * math.pi)
        return -0.5 * standard.square().sum(0) - normaliser


class UniformNoise(NoiseDistribution):
    """The uniform distribution on a box around the data.

    Args:
        dim: Dimension d of the points.
        margin: How far the box reaches beyond the data on each side, as a share of their range.
    """

    latent_distribution = "uniform"
    centre: Tensor
    half_width: Tensor

    def __init__(self, dim: int, margin: float = 0.1):
        super().__init__(dim)
        if not 0 <= margin < math.inf:
            raise InputError(f"the noise's margin is {margin}, but must be 0 or more, and finite")
        self.margin = margin
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("half_width", torch.ones(dim))

    def fit(self, points: Tensor) -> None:
        """Take the smallest box that holds points (N, d), widened by the margin.

        Raises:
            InputError: If the points are all the same along an axis.
        """
        low, high = points.amin(0), points.amax(0)
        if not bool((high > low).all()):
            raise InputError("the data are constant along an axis, so that no box around them has a density")
        self.centre.copy_((low + high) / 2)
        self.half_width.copy_((high - low) * (0.5 + self.margin))

    def forward(self, latent: Tensor) -> Tensor:
        """Points (N, d), from latents (N, d) in [-1, 1]."""
        # rounding may lead out of the box, where its own density would be 0
        return (self.centre + self.half_width * latent).clamp(self._low, self._high)

    def log_density(self, points: Tensor) -> Tensor:
        """Minus the logarithm of the box's volume: (N,); -inf outside."""
        outside = ((points < self._low) | (points > self._high)).any(1)
        inside = -(2 * self.half_width).log().sum().to(points.dtype)
        return torch.where(outside, -math.inf, inside)

    @property
    def _low(self) -> Tensor:
        return self.centre - self.half_width

    @property
    def _high(self) -> Tensor:
        return self.centre + self.half_width
