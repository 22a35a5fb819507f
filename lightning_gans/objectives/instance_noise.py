"""Instance noise: both players' samples are blurred, so that the two distributions overlap.

    D is shown x + ε and G(z) + ε, ε ~ N(0, σ_t²)        (Sønderby et al. 2017, arXiv 1610.04490, section 3;
                                                          Arjovsky and Bottou 2017, arXiv 1701.04862)

Where the supports of data and generator are disjoint, every f-divergence is at its maximum and says nothing
about the direction; blurred ones overlap, and are equal exactly if the unblurred ones are.
"""

import math
from dataclasses import dataclass

from torch import Tensor

from lightning_gans.errors import InputError


@dataclass(frozen=True)
class InstanceNoise:
    """How strong the noise is, and when it is gone.

    Args:
        standard_deviation: σ at the beginning, in the units of the samples (an image's range is its
            generator's, as 0 to 1).
        until_step: Generator updates after which σ has fallen to zero, on a straight line; null keeps it.
    """

    standard_deviation: float
    until_step: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.standard_deviation < math.inf:
            raise InputError(
                f"instance_noise.standard_deviation is {self.standard_deviation}, but must be positive and finite; "
                "leave instance_noise out for none"
            )
        if self.until_step is not None and self.until_step < 1:
            raise InputError(f"instance_noise.until_step is {self.until_step}, but must be 1 or more, or null")

    def at(self, step: int | Tensor) -> float | Tensor:
        """σ after ``step`` generator updates."""
        if self.until_step is None:
            return self.standard_deviation
        if isinstance(step, Tensor):
            return self.standard_deviation * (1 - step.double() / self.until_step).clamp_min(0)
        return self.standard_deviation * max(0.0, 1 - step / self.until_step)
