"""What a person writes about the latents: plain data, as in the configuration and in the checkpoint."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.latent.codes import CategoricalCode, CodePrior, ContinuousCode, GaussianCode, UniformCode


@dataclass
class Noise:
    """Incompressible noise z.

    Args:
        distribution: "normal" for N(0, 1), "uniform" for U(-1, 1).
        dim: Number of independent dimensions; 0 for none.
    """

    distribution: Literal["normal", "uniform"] = "normal"
    dim: int = 62

    def __post_init__(self) -> None:
        if self.dim < 0:
            raise InputError(f"latent.noise.dim is {self.dim}, but must be 0 or more")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n vectors, shape (n, dim), on the generator's device."""
        shape, device = (n, self.dim), generator.device
        if self.distribution == "normal":
            return torch.randn(shape, generator=generator, device=device)
        return torch.rand(shape, generator=generator, device=device).mul_(2).sub_(1)


@dataclass
class Code:
    """One structured latent code c with its prior, and how strongly its information is asked for.

    Args:
        distribution: "categorical" for Cat(size, probs), "uniform" for U(low, high) in dim dimensions,
            "gaussian" for N(0, 1) in dim dimensions.
        size: Number of categories (categorical only, required there).
        probs: Prior probability of each category (categorical only); uniform when not given.
        dim: Number of independent dimensions (continuous only); 1 when not given.
        low: Lower end of the prior (uniform only); -1 when not given.
        high: Upper end of the prior (uniform only); 1 when not given.
        weight: λ, the weight of this code's mutual information bound in the objective.
        sigma: Standard deviation of Q(c|x) (continuous only): a number keeps it fixed as in the official
            code, "learned" lets Q choose it within sigma_range. 1.0 when not given.
        sigma_range: Smallest and largest learned standard deviation (continuous only); (0.05, 1) when
            not given.
    """

    distribution: Literal["categorical", "uniform", "gaussian"]
    size: int | None = None
    probs: list[float] | None = None
    dim: int | None = None
    low: float | None = None
    high: float | None = None
    weight: float = 1.0
    sigma: float | Literal["learned"] | None = None
    sigma_range: tuple[float, float] | None = None

    def prior(self, name: str) -> CodePrior:
        """The mathematics of this code.

        Args:
            name: The code's name, used in error messages.

        Raises:
            InputError: If a value is missing, out of range, or belongs to another distribution.
        """
        where = f"latent code '{name}'"
        allowed = {
            "categorical": ("size", "probs"),
            "uniform": ("dim", "low", "high", "sigma", "sigma_range"),
            "gaussian": ("dim", "sigma", "sigma_range"),
        }[self.distribution]
        for key in ("size", "probs", "dim", "low", "high", "sigma", "sigma_range"):
            if getattr(self, key) is not None and key not in allowed:
                raise InputError(
                    f"{where} is {self.distribution} and has no '{key}'; it takes {', '.join(allowed)} and weight"
                )
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise InputError(f"{where} has weight {self.weight}, but λ must be a finite number of 0 or more")
        if self.distribution == "categorical":
            return self._categorical(name, where)
        return self._continuous(name, where)

    def _categorical(self, name: str, where: str) -> CategoricalCode:
        if self.size is None or self.size < 2:
            raise InputError(f"{where} is categorical and needs a size of 2 or more, but has {self.size}")
        if self.probs is not None:
            if len(self.probs) != self.size:
                raise InputError(f"{where} has {self.size} categories but {len(self.probs)} probs")
            if not (min(self.probs) > 0 and abs(sum(self.probs) - 1) <= 1e-6):
                raise InputError(f"{where} has probs {self.probs}, but they must be positive and sum to 1")
        return CategoricalCode(name, self.size, self.probs)

    def _continuous(self, name: str, where: str) -> ContinuousCode:
        dim = 1 if self.dim is None else self.dim
        if dim < 1:
            raise InputError(f"{where} has dim {dim}, but needs 1 or more")
        sigma: float | str = 1.0 if self.sigma is None else self.sigma
        if sigma != "learned" and not 0 < float(sigma) < math.inf:
            raise InputError(f"{where} has sigma {sigma}, but it must be positive and finite, or 'learned'")
        smallest, largest = sigma_range = (0.05, 1.0) if self.sigma_range is None else self.sigma_range
        if not 0 < smallest < largest < math.inf:
            raise InputError(f"{where} has sigma_range {sigma_range}, but needs 0 < smallest < largest, both finite")
        if self.distribution == "gaussian":
            return GaussianCode(name, dim, sigma, sigma_range)
        low = -1.0 if self.low is None else self.low
        high = 1.0 if self.high is None else self.high
        if not (low < high and math.isfinite(high - low)):
            raise InputError(f"{where} has low {low} and high {high}, but both must be finite and low the smaller")
        return UniformCode(name, dim, low, high, sigma, sigma_range)
