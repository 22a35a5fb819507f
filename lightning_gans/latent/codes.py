"""The mathematics of one latent code: its prior p(c), how the generator sees it, and Q(c|x)'s form.

A discrete code has a softmax posterior; a continuous code has a factored Gaussian posterior whose
standard deviation is fixed or learned (Chen et al. 2016, appendix C).
"""

import math
from abc import ABC, abstractmethod
from functools import cached_property

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import information


class CodePrior(ABC):
    """A code's prior and posterior family.

    Attributes:
        name: The code's name in the configuration.
        input_size: Numbers that the code occupies in the generator's input.
        posterior_size: Numbers that Q outputs for it.
        entropy: H(c) in nats (differential for continuous codes).
    """

    name: str
    input_size: int
    posterior_size: int
    entropy: float

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n values from the prior, on the generator's device."""

    @abstractmethod
    def as_input(self, values: Tensor) -> Tensor:
        """Values as the generator sees them, float of shape (n, input_size)."""

    @abstractmethod
    def log_likelihood(self, values: Tensor, posterior: Tensor) -> Tensor:
        """log Q(c|x), shape (n,), from Q's raw output of shape (n, posterior_size)."""

    @abstractmethod
    def parameters(self, posterior: Tensor) -> dict[str, Tensor]:
        """Q's raw output as named distribution parameters, each of shape (n, K or d)."""

    @abstractmethod
    def parse(self, text: str) -> tuple[Tensor, bool]:
        """A value written by a person, as a batch of one, and whether it lies inside the prior's support.

        Raises:
            InputError: If the text is no value of this code.
        """


class CategoricalCode(CodePrior):
    """c ~ Cat(K, p). Values are int64 of shape (n,); the generator sees them one-hot.

    Args:
        name: The code's name.
        size: K, at least 2.
        probabilities: p, K positive numbers that sum to 1; None for uniform.
    """

    def __init__(self, name: str, size: int, probabilities: list[float] | None = None):
        self.name = name
        self.size = size
        self.input_size = self.posterior_size = size
        # float64: the entropy is a reference value that losses are compared with
        self.probabilities = torch.full((size,), 1 / size, dtype=torch.float64)
        if probabilities is not None:
            self.probabilities = torch.tensor(probabilities, dtype=torch.float64)
        self.uniform = probabilities is None
        self._weights: dict[torch.device, Tensor] = {}
        self.entropy = information.categorical_entropy(self.probabilities).item()

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n categories, int64 of shape (n,)."""
        if self.uniform:
            return torch.randint(self.size, (n,), generator=generator, device=generator.device)
        device = generator.device
        if device not in self._weights:
            # copied once: a copy at every draw would wait for the device
            self._weights[device] = self.probabilities.to(device, torch.float32)
        return torch.multinomial(self._weights[device], n, replacement=True, generator=generator)

    def as_input(self, values: Tensor) -> Tensor:
        """One-hot, shape (n, K)."""
        # torch's one_hot looks at the values, for which a device would have to be waited for
        return torch.zeros(len(values), self.size, device=values.device).scatter_(1, values[:, None], 1.0)

    def log_likelihood(self, values: Tensor, posterior: Tensor) -> Tensor:
        """log softmax(posterior)[c], shape (n,)."""
        return information.categorical_log_likelihood(posterior, values)

    def parameters(self, posterior: Tensor) -> dict[str, Tensor]:
        """``probabilities`` of shape (n, K)."""
        return {"probabilities": posterior.softmax(-1)}

    def parse(self, text: str) -> tuple[Tensor, bool]:
        """One category index; there is nothing outside the support of a discrete code."""
        try:
            index = int(text)
        except ValueError:
            index = -1
        if not 0 <= index < self.size:
            raise InputError(
                f"code '{self.name}' is categorical and takes a whole number from 0 to {self.size - 1}, "
                f"but was given '{text}'"
            )
        return torch.tensor([index]), True


class ContinuousCode(CodePrior):
    """A continuous code with a factored Gaussian posterior. Values are float of shape (n, d).

    Args:
        name: The code's name.
        dim: d, the number of independent dimensions.
        sigma: Q's fixed standard deviation, or "learned".
        sigma_range: Bounds of a learned standard deviation.
    """

    entropy_per_dimension: float
    variance: float

    def __init__(self, name: str, dim: int, sigma: float | str, sigma_range: tuple[float, float]):
        self.name = name
        self.dim = self.input_size = dim
        self.learned = sigma == "learned"
        self.posterior_size = 2 * dim if self.learned else dim
        self.log_sigma = 0.0 if self.learned else math.log(float(sigma))
        self.log_sigma_range = (math.log(sigma_range[0]), math.log(sigma_range[1]))

    @cached_property
    def entropy(self) -> float:  # type: ignore[override]
        """H(c) of all dimensions together, nats."""
        return self.dim * self.entropy_per_dimension

    def as_input(self, values: Tensor) -> Tensor:
        """The values themselves."""
        return values

    def mean(self, posterior: Tensor) -> Tensor:
        """Q's mean, shape (n, d)."""
        return posterior[..., : self.dim]

    def log_std(self, posterior: Tensor) -> Tensor:
        """Logarithm of Q's standard deviation, shape (n, d).

        A learned one is squashed into its range by a sigmoid rather than clamped, so that its gradient
        fades instead of ending at a wall, and the bound stays finite: with an unbounded sigma, L_I of an
        invertible generator has no maximum.
        """
        if not self.learned:
            return torch.full_like(self.mean(posterior), self.log_sigma)
        low, high = self.log_sigma_range
        return low + (high - low) * torch.sigmoid(posterior[..., self.dim :])

    def log_likelihood(self, values: Tensor, posterior: Tensor) -> Tensor:
        """log N(c; mean, std), summed over dimensions, shape (n,)."""
        log_std = self.log_std(posterior) if self.learned else self.log_sigma
        return information.gaussian_log_likelihood(values, self.mean(posterior), log_std)

    def parameters(self, posterior: Tensor) -> dict[str, Tensor]:
        """``mean`` and ``std``, each of shape (n, d)."""
        return {"mean": self.mean(posterior), "std": self.log_std(posterior).exp()}

    @abstractmethod
    def traversal(self, n: int) -> Tensor:
        """n values along one dimension, from below the prior's bulk to above it, shape (n,)."""

    @abstractmethod
    def inside(self, values: Tensor) -> bool:
        """Whether all values lie where the prior has mass."""

    def parse(self, text: str) -> tuple[Tensor, bool]:
        """A list such as ``[-1.5, 0]``, or one number when d = 1."""
        try:
            numbers = [float(part) for part in text.strip().strip("[]()").split(",")]
        except ValueError:
            numbers = []
        values = torch.tensor([numbers])
        if len(numbers) != self.dim or not values.isfinite().all():
            example = "[" + ", ".join(["0.5"] * self.dim) + "]"
            raise InputError(
                f"code '{self.name}' takes {self.dim} finite number(s) such as '{example}', but was given '{text}'"
            )
        return values, self.inside(values)


class UniformCode(ContinuousCode):
    """c ~ U(low, high) in each of d dimensions."""

    def __init__(
        self,
        name: str,
        dim: int,
        low: float = -1.0,
        high: float = 1.0,
        sigma: float | str = 1.0,
        sigma_range: tuple[float, float] = (0.05, 1.0),
    ):
        super().__init__(name, dim, sigma, sigma_range)
        self.low, self.high = low, high
        self.entropy_per_dimension = information.uniform_entropy(low, high)
        self.variance = (high - low) ** 2 / 12

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n values, shape (n, d)."""
        unit = torch.rand(n, self.dim, generator=generator, device=generator.device)
        return unit.mul_(self.high - self.low).add_(self.low)

    def traversal(self, n: int) -> Tensor:
        """Twice the prior's width about its centre, as in the paper's figure 2 (-2 to 2 for U(-1, 1))."""
        centre, width = (self.low + self.high) / 2, self.high - self.low
        return torch.linspace(centre - width, centre + width, n)

    def inside(self, values: Tensor) -> bool:
        """Whether all values lie in [low, high]."""
        return bool(((values >= self.low) & (values <= self.high)).all())


class GaussianCode(ContinuousCode):
    """c ~ N(0, 1) in each of d dimensions."""

    # |c| beyond this is drawn once in 16,000 times: the generator has hardly seen it
    bulk = 4.0

    def __init__(
        self,
        name: str,
        dim: int,
        sigma: float | str = 1.0,
        sigma_range: tuple[float, float] = (0.05, 1.0),
    ):
        super().__init__(name, dim, sigma, sigma_range)
        self.entropy_per_dimension = information.gaussian_entropy()
        self.variance = 1.0

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n values, shape (n, d)."""
        return torch.randn(n, self.dim, generator=generator, device=generator.device)

    def traversal(self, n: int) -> Tensor:
        """Evenly from -2.5 to 2.5 standard deviations."""
        return torch.linspace(-2.5, 2.5, n)

    def inside(self, values: Tensor) -> bool:
        """Whether all values lie within four standard deviations."""
        return bool((values.abs() <= self.bulk).all())
