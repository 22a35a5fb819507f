"""The latent specification: plain data that everything structured reads.

It alone knows how to sample, the layout of the generator's input, the size of Q's head, log Q(c|x) and the
traversal grid. Losses, heads, metrics, pictures, sweep axes and the sampling command all ask it, so nobody
indexes columns by hand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.functional import information
from lightning_gans.latent.codes import CategoricalCode, CodePrior, ContinuousCode
from lightning_gans.latent.declaration import Code, Noise


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

    def __getitem__(self, index: Tensor) -> "Latent":
        """Some of them, by their numbers (int64)."""
        return Latent(self.flat[index], {name: values[index] for name, values in self.codes.items()})

    @staticmethod
    def concatenated(parts: Sequence["Latent"]) -> "Latent":
        """All of several batches, in order."""
        codes = {name: torch.cat([part.codes[name] for part in parts]) for name in parts[0].codes}
        return Latent(torch.cat([part.flat for part in parts]), codes)


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
