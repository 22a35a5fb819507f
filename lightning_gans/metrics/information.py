"""How much of each latent code Q reads back from generated images."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.functional import information
from lightning_gans.latent import ContinuousCode, LatentSpec


class CodeInformation(NamedTuple):
    """What is known about one code.

    Attributes:
        bound: L_I, nats.
        share: L_I / H(c) for a categorical code, None for a continuous one (whose entropy is differential).
        r_squared: For each dimension of a continuous code; empty for a categorical one.
        calibrated_bound: For each dimension, nats; empty for a categorical code.
    """

    bound: float
    share: float | None
    r_squared: tuple[float, ...]
    calibrated_bound: tuple[float, ...]

    @property
    def is_dead(self) -> bool:
        """Whether the generator ignores the code, or a dimension of it: under a tenth is recovered."""
        if self.share is not None:
            return self.share < 0.1
        return min(self.r_squared) < 0.1


class InformationBound(Metric):
    """The mutual information lower bound L_I of every code, with R² and the calibrated bound.

    All sums are float64, so the result does not depend on the order of batches beyond rounding.

    Args:
        latent: The codes.
    """

    full_state_update = False
    count: Tensor

    def __init__(self, latent: LatentSpec):
        super().__init__()
        self.latent = latent
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name, prior in latent.priors.items():
            dims = prior.dim if isinstance(prior, ContinuousCode) else 0
            zeros = torch.zeros(1 + dims, dtype=torch.float64)
            # log-likelihood first, then one squared error for each dimension
            self.add_state(f"sum_{name}", zeros, dist_reduce_fx="sum")

    def update(self, codes: Mapping[str, Tensor], posterior: Tensor) -> None:
        """Add generated images.

        Args:
            codes: The values that generated them, by code.
            posterior: Q's output for them, shape (B, posterior_size).
        """
        self.count += len(posterior)
        for name, part in self.latent.split_posterior(posterior.float()).items():
            prior = self.latent.priors[name]
            sums = [prior.log_likelihood(codes[name], part).double().sum().unsqueeze(0)]
            if isinstance(prior, ContinuousCode):
                sums.append((prior.mean(part) - codes[name]).double().square().sum(0))
            state = getattr(self, f"sum_{name}")
            setattr(self, f"sum_{name}", state + torch.cat(sums))

    def compute(self) -> dict[str, CodeInformation]:
        """What is known about each code."""
        result = {}
        for name, prior in self.latent.priors.items():
            means = (getattr(self, f"sum_{name}") / self.count).cpu()
            bound = prior.entropy + float(means[0])
            share, r_squared, calibrated = None, torch.empty(0), torch.empty(0)
            if isinstance(prior, ContinuousCode):
                r_squared = information.r_squared(means[1:], prior.variance)
                calibrated = information.calibrated_bound(prior.entropy_per_dimension, means[1:])
            else:
                share = bound / prior.entropy
            result[name] = CodeInformation(bound, share, tuple(r_squared.tolist()), tuple(calibrated.tolist()))
        return result
