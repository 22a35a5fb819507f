"""The Fréchet distance between Gaussians fitted to features (FID, when they are Inception's).

Heusel et al. 2017, eq. 6: |m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½), after Dowson and Landau 1982.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.errors import InputError
from lightning_gans.metrics.feature_sets import checked_features


class Moments(NamedTuple):
    """First two moments of features.

    Attributes:
        n: Samples.
        mean: float64, (d,).
        covariance: float64, (d, d), unbiased (divided by n - 1).
    """

    n: int
    mean: Tensor
    covariance: Tensor


def frechet_distance(mean_1: Tensor, cov_1: Tensor, mean_2: Tensor, cov_2: Tensor) -> Tensor:
    """Squared Fréchet (2-Wasserstein) distance between two Gaussians.

    With S1 = A Aᵀ, (S1 S2)^½ has the trace of (S1^½ S2 S1^½)^½ and of (Aᵀ S2 A)^½, for all three are the sum
    of the square roots of the same eigenvalues. S1 S2 is not symmetric; Aᵀ S2 A is, so its eigenvalues are
    real and fast to get. A is the Cholesky factor, several times cheaper than S1^½, with pivots: it has as many
    columns as the rank of S1, so a singular S1 (fewer samples than features) makes all that follows smaller.
    Put the side of lower rank first.

    Two kinds of rounding are removed. Pivots below d eps of the largest are zeros that rounding has moved;
    the root would lift them from 1e-16 to 1e-8, d times. Eigenvalues of Aᵀ S2 A cannot be negative, so those
    that are, by rounding, are taken for 0.

    Args:
        mean_1: (d,).
        cov_1: (d, d), symmetric positive semi-definite.
        mean_2: (d,).
        cov_2: (d, d), likewise.

    Returns:
        float64 scalar, in squared units of the features; non-negative up to rounding (about 1e-8 of the
        traces at worst), which is not clamped: a clamp would hide a failed computation.

    Raises:
        InputError: If the sizes differ or a moment is not finite.
    """
    # torchmetrics turns what has one element into a scalar
    means = [torch.atleast_1d(mean).double() for mean in (mean_1, mean_2)]
    covs = [torch.atleast_2d(cov).double().to(means[0].device) for cov in (cov_1, cov_2)]
    means[1] = means[1].to(means[0].device)
    d = len(means[0])
    if any(mean.shape != (d,) for mean in means) or any(cov.shape != (d, d) for cov in covs):
        shapes = [tuple(part.shape) for part in (means[0], covs[0], means[1], covs[1])]
        raise InputError(f"moments of different sizes cannot be compared: {', '.join(map(str, shapes))}")
    if not all(bool(part.isfinite().all()) for part in (*means, *covs)):
        raise InputError("a mean or a covariance is NaN or infinite: so was a feature")
    root = _factor(covs[0])
    shared = torch.linalg.eigvalsh(root.T @ covs[1] @ root).clamp(min=0).sqrt().sum()
    return (means[0] - means[1]).square().sum() + covs[0].trace() + covs[1].trace() - 2 * shared


def _factor(cov: Tensor) -> Tensor:
    """A matrix of full column rank, (d, rank), whose product with its transpose is the covariance."""
    from scipy.linalg.lapack import dpstrf

    # on the CPU, as torch has no pivoted Cholesky; a negative tolerance is d eps of the largest pivot
    lower, pivots, rank, _ = dpstrf(cov.detach().cpu().numpy(), tol=-1.0, lower=1)
    root = torch.zeros(len(cov), rank, dtype=torch.float64)
    root[torch.from_numpy(pivots).long() - 1] = torch.from_numpy(lower).tril()[:, :rank]
    return root.to(cov.device)


class FeatureMoments(Metric):
    """Mean and covariance of features, streaming, in float64.

    The state is count, mean and scatter about that mean, merged over batches and ranks by the rule of Chan
    et al. 1979. Sums of products would lose the square of mean / sd in precision.

    Args:
        feature_size: d; needed beforehand so that a rank without samples can take part.

    Raises:
        InputError: If it is below 1.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    state: Tensor

    def __init__(self, feature_size: int) -> None:
        super().__init__()
        self.feature_size = _checked_size(feature_size)
        self.add_state("state", _empty(feature_size), _merged)

    def update(self, features: Tensor) -> None:
        """Add a batch.

        Args:
            features: Floating point, (B, d).

        Raises:
            InputError: If they have another shape.
        """
        self.state = _added(self.state, features)

    def compute(self) -> Moments:
        """Give the moments.

        Raises:
            InputError: If there are fewer than 2 samples.
        """
        return _moments(self.state, "feature")


class FrechetDistance(Metric):
    """Fréchet distance between Gaussians fitted to real and to generated features.

    It falls with the number of samples even when both laws are equal: compare values of equal n only.

    Args:
        feature_size: d; needed beforehand so that a rank without samples can take part.
        keep_real: Whether the real side survives :meth:`reset`.

    Raises:
        InputError: If the size is below 1.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    real: Tensor
    generated: Tensor

    def __init__(self, feature_size: int, keep_real: bool = False) -> None:
        super().__init__()
        self.feature_size = _checked_size(feature_size)
        self.keep_real = keep_real
        self._given: Moments | None = None
        self.add_state("real", _empty(feature_size), _merged)
        self.add_state("generated", _empty(feature_size), _merged)

    def set_real(self, moments: Moments) -> None:
        """Use known moments of the real side, the same on every rank; they survive :meth:`reset`.

        Args:
            moments: For example cached ones; they replace what was added.

        Raises:
            InputError: If they are of another size or of fewer than 2 samples.
        """
        size = moments.mean.numel()
        if size != self.feature_size or moments.n < 2:
            raise InputError(
                f"real moments of {moments.n} samples with {size} features do not fit: "
                f"at least 2 samples with {self.feature_size} features are needed"
            )
        self._given = moments
        self._computed = None

    def update(self, features: Tensor, real: bool) -> None:
        """Add a batch.

        Args:
            features: Floating point, (B, d).
            real: Whether they are of real images.

        Raises:
            InputError: If they have another shape, or the real side was set.
        """
        if real and self._given is not None:
            raise InputError("the real moments were set: no real features can be added to them")
        if real:
            self.real = _added(self.real, features)
        else:
            self.generated = _added(self.generated, features)

    def compute(self) -> Tensor:
        """Give the distance.

        Returns:
            float64 scalar, in squared units of the features.

        Raises:
            InputError: If a side has fewer than 2 samples.
        """
        real = self._given if self._given is not None else _moments(self.real, "real")
        # fewer samples, lower rank: cheaper and more exact
        first, second = sorted((_moments(self.generated, "generated"), real), key=lambda moments: moments.n)
        return frechet_distance(first.mean, first.covariance, second.mean, second.covariance)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: one batch belongs to one side, so it has no value of its own."""
        raise InputError("FrechetDistance has no value for a single batch: call update, then compute")

    def reset(self) -> None:
        """Forget the features, but the real ones with ``keep_real``, and never moments that were set."""
        if self._is_synced:  # an error in compute leaves the moments of all ranks here
            self.unsync()
        real = self.real
        super().reset()
        if self.keep_real:
            self.real = real


def _checked_size(feature_size: int) -> int:
    if feature_size < 1:
        raise InputError(f"features of size {feature_size} have no moments")
    return feature_size


# A state is one matrix, because torchmetrics reduces every state by itself: count in the corner, then the
# mean in the first row, and the scatter matrix about it.


def _empty(feature_size: int) -> Tensor:
    return torch.zeros(1 + feature_size, 1 + feature_size, dtype=torch.float64)


def _added(state: Tensor, features: Tensor) -> Tensor:
    """The state after one more batch."""
    features = checked_features(features)
    if features.shape[1] != len(state) - 1:
        raise InputError(f"{features.shape[1]} features were given where {len(state) - 1} were announced")
    if not len(features):
        return state
    features = features.double()
    batch = torch.zeros_like(state)
    batch[0, 0] = len(features)
    batch[0, 1:] = features.mean(0)
    centred = features - batch[0, 1:]
    batch[1:, 1:] = centred.T @ centred
    return _merged((state, batch))


def _merged(states: Any) -> Tensor:
    """Chan's rule, from first to last; empty states change nothing."""
    whole = states[0]
    for part in states[1:]:
        count = whole[0, 0] + part[0, 0]
        fraction = part[0, 0] / count.clamp(min=1)
        step = part[0] - whole[0]
        merged = whole + part
        merged[0, 1:] = whole[0, 1:] + fraction * step[1:]
        merged[1:, 1:] += whole[0, 0] * fraction * torch.outer(step[1:], step[1:])
        whole = merged
    return whole


def _moments(state: Tensor, side: str) -> Moments:
    """Unpack a state."""
    n = int(state[0, 0])
    if n < 2:
        raise InputError(f"{n} {side} samples are too few: a covariance needs at least 2")
    return Moments(n, state[0, 1:].clone(), state[1:, 1:] / (n - 1))
