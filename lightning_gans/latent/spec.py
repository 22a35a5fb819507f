"""The latent specification: plain data that everything structured reads.

It alone knows how to sample, the layout of the generator's input, the size of Q's head, log Q(c|x) and the
traversal grid. Losses, heads, metrics, pictures, sweep axes and the sampling command all ask it, so nobody
indexes columns by hand.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import information
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
            if min(self.probs) <= 0 or abs(sum(self.probs) - 1) > 1e-6:
                raise InputError(f"{where} has probs {self.probs}, but they must be positive and sum to 1")
        return CategoricalCode(name, self.size, self.probs)

    def _continuous(self, name: str, where: str) -> ContinuousCode:
        dim = 1 if self.dim is None else self.dim
        if dim < 1:
            raise InputError(f"{where} has dim {dim}, but needs 1 or more")
        sigma: float | str = 1.0 if self.sigma is None else self.sigma
        if sigma != "learned" and not float(sigma) > 0:
            raise InputError(f"{where} has sigma {sigma}, but it must be positive, or 'learned'")
        smallest, largest = sigma_range = (0.05, 1.0) if self.sigma_range is None else self.sigma_range
        if not 0 < smallest < largest:
            raise InputError(f"{where} has sigma_range {sigma_range}, but needs 0 < smallest < largest")
        if self.distribution == "gaussian":
            return GaussianCode(name, dim, sigma, sigma_range)
        low = -1.0 if self.low is None else self.low
        high = 1.0 if self.high is None else self.high
        if not low < high:
            raise InputError(f"{where} has low {low} and high {high}, but low must be the smaller")
        return UniformCode(name, dim, low, high, sigma, sigma_range)


@dataclass(frozen=True)
class Axis:
    """One direction of variation that a picture can show: a whole categorical code, or one dimension.

    Attributes:
        code: The code's name.
        index: Dimension within a continuous code; None for a categorical code.
    """

    code: str
    index: int | None

    def __str__(self) -> str:
        return self.code if self.index is None else f"{self.code}[{self.index}]"


@dataclass
class Latent:
    """A batch of latents.

    Attributes:
        flat: The generator's input, float of shape (n, input_size): noise first, then codes in order.
        codes: Each code's values: int64 (n,) for categorical, float (n, d) for continuous codes.
    """

    flat: Tensor
    codes: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.flat)


@dataclass
class LatentSpec:
    """The generator's input: noise z and named codes c.

    Args:
        noise: The incompressible noise.
        codes: The structured codes by name; none for a plain GAN.
    """

    noise: Noise = field(default_factory=Noise)
    codes: dict[str, Code] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.codes:
            if not name.isidentifier():
                raise InputError(f"latent code name '{name}' must be a plain word (letters, digits, underscores)")
        if self.input_size == 0:
            raise InputError("latent has neither noise nor codes: the generator would have no input")

    @cached_property
    def priors(self) -> dict[str, CodePrior]:
        """Each code's mathematics, in the order of the generator's input."""
        return {name: code.prior(name) for name, code in self.codes.items()}

    @property
    def categorical(self) -> dict[str, CategoricalCode]:
        """The categorical codes by name."""
        return {name: prior for name, prior in self.priors.items() if isinstance(prior, CategoricalCode)}

    @property
    def continuous(self) -> dict[str, ContinuousCode]:
        """The continuous codes by name."""
        return {name: prior for name, prior in self.priors.items() if isinstance(prior, ContinuousCode)}

    @cached_property
    def input_size(self) -> int:
        """Length of the generator's input vector."""
        return self.noise.dim + sum(prior.input_size for prior in self.priors.values())

    @cached_property
    def posterior_size(self) -> int:
        """Number of outputs that Q's head needs."""
        return sum(prior.posterior_size for prior in self.priors.values())

    def prior(self, name: str) -> CodePrior:
        """A code by name.

        Raises:
            InputError: If there is no such code; the sentence names those there are.
        """
        if name not in self.priors:
            there = ", ".join(self.priors) or "none"
            raise InputError(f"there is no latent code '{name}'; the codes are: {there}")
        return self.priors[name]

    def sample(self, n: int, generator: torch.Generator, fixed: Mapping[str, Tensor] | None = None) -> Latent:
        """Draw n latents from the prior.

        Args:
            n: How many.
            generator: Source of randomness; its device is the latents' device.
            fixed: Codes that are given instead of drawn: values for one or for all n latents. The other
                codes and the noise are the same as without it.

        Returns:
            The batch.
        """
        noise = self.noise.sample(n, generator)
        codes = {name: prior.sample(n, generator) for name, prior in self.priors.items()}
        for name, values in (fixed or {}).items():
            drawn = codes[self.prior(name).name]
            codes[name] = values.to(drawn.device, drawn.dtype).expand_as(drawn)
        return self.assemble(noise, codes)

    def assemble(self, noise: Tensor, codes: dict[str, Tensor]) -> Latent:
        """Put noise of shape (n, noise.dim) and code values together to the generator's input."""
        parts = [noise, *(prior.as_input(codes[name]) for name, prior in self.priors.items())]
        return Latent(torch.cat(parts, dim=1), codes)

    def split_posterior(self, posterior: Tensor) -> dict[str, Tensor]:
        """Q's output of shape (n, posterior_size), divided into each code's part."""
        sizes = [prior.posterior_size for prior in self.priors.values()]
        return dict(zip(self.priors, posterior.split(sizes, dim=-1), strict=True))

    def information(self, codes: Mapping[str, Tensor], posterior: Tensor) -> dict[str, Tensor]:
        """The mutual information lower bound L_I of every code.

        Args:
            codes: The values that generated the images, by code.
            posterior: Q's output for those images, shape (n, posterior_size).

        Returns:
            Scalars in nats by code name (InfoGAN, equation 5).
        """
        parts = self.split_posterior(posterior)
        return {
            name: information.mutual_information_lower_bound(
                prior.entropy, prior.log_likelihood(codes[name], parts[name])
            )
            for name, prior in self.priors.items()
        }

    def weighted(self, information_of: Mapping[str, Tensor]) -> Tensor:
        """The sum over codes of λ_i L_I(c_i), a scalar in nats."""
        weighted = [code.weight * information_of[name] for name, code in self.codes.items()]
        return torch.stack(weighted).sum()

    @property
    def axes(self) -> list[Axis]:
        """Every direction that a traversal can show, in order."""
        axes = []
        for name, prior in self.priors.items():
            dims = range(prior.dim) if isinstance(prior, ContinuousCode) else (None,)
            axes += [Axis(name, index) for index in dims]
        return axes

    def traversal(
        self, axis: Axis, columns: int, generator: torch.Generator, rows: int = 10
    ) -> tuple[Latent, list[list[str]]]:
        """A grid of latents in which one code changes and all else is held.

        A categorical axis has one row for each category and shared noise in each column. A continuous
        axis has the code's values as columns; its rows are the categories of the first categorical code,
        or fresh draws where there is none. Noise is the same along each row.

        Args:
            axis: What changes.
            columns: Number of columns.
            generator: Source of the latents that are held.
            rows: Number of rows where no categorical code gives it.

        Returns:
            rows × columns latents in row order, and the labels [of rows, of columns].
        """
        varied = self.prior(axis.code)
        first = next(iter(self.categorical.values()), None)
        if isinstance(varied, CategoricalCode):
            held = self.sample(columns, generator)
            n_rows, row_of, column_of = varied.size, torch.arange(varied.size), torch.arange(columns)
            grid_columns = column_of.repeat(n_rows)
            codes = {name: values[grid_columns.to(values.device)] for name, values in held.codes.items()}
            noise = held.flat[:, : self.noise.dim][grid_columns.to(held.flat.device)]
            codes[axis.code] = row_of.repeat_interleave(columns).to(held.flat.device)
            return self.assemble(noise, codes), [
                [f"{axis.code}={k}" for k in range(n_rows)],
                [""] * columns,
            ]
        assert isinstance(varied, ContinuousCode) and axis.index is not None
        n_rows = first.size if first else rows
        held = self.sample(1 if first else n_rows, generator)
        device = held.flat.device
        pick = torch.zeros(n_rows * columns, dtype=torch.long, device=device)
        if not first:
            pick = torch.arange(n_rows, device=device).repeat_interleave(columns)
        codes = {name: values[pick].clone() for name, values in held.codes.items()}
        values = varied.traversal(columns).to(device)
        # the other dimensions of this code rest at the prior's centre, so that one effect is seen
        codes[axis.code].fill_(float(varied.traversal(3)[1]))
        codes[axis.code][:, axis.index] = values.repeat(n_rows)
        if first:
            codes[first.name] = torch.arange(n_rows, device=device).repeat_interleave(columns)
        row_labels = [f"{first.name}={k}" if first else "" for k in range(n_rows)]
        noise = held.flat[:, : self.noise.dim][pick]
        return self.assemble(noise, codes), [row_labels, [f"{value:.1f}" for value in values.tolist()]]
