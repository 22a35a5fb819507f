"""AdaGAN's synthetic data: Gaussians at random places in the plane (Tolstikhin et al. 2017, section 4.1)."""

from typing import Any

import numpy

from lightning_gans.data.mixtures import MixtureDataModule
from lightning_gans.errors import InputError
from lightning_gans.functional.mixtures import GaussianMixture

_NARROWER = {1: 3.0, 2: 3.0, 3: 8.0, 4: 20.0, 5: 10.0}


class RandomMixture(MixtureDataModule):
    """Equally likely Gaussians whose means are uniform in a square, by the protocol of AdaGAN's code.

    Means are uniform in [-15, 15]², the same for every run, and every component has the variance 15 / c in both
    coordinates, with c = 3, 3, 8, 20, 10 for 1 to 5 modes and 3 k² for more (tolstikhin/adagan 746bd8e,
    datahandler.py); the paper looks at k = 1, 2, 3, 5, 7, 10. The means are those of that code for the same seed, which
    is 821 where it has the paper's settings (adagan_gmm.py at 9e379b8; 82 in another version). The paper names none.

    Args:
        modes: Number of components, k.
        half_width: Half the side of the square.
        mixture_seed: Key of the means. It has nothing to do with the run's seed.
        train_size: Number of training points.
        **kwargs: The other arguments of `PointDataModule`.
    """

    name = "random mixture"

    def __init__(
        self,
        modes: int = 3,
        half_width: float = 15.0,
        mixture_seed: int = 821,
        train_size: int = 64_000,
        **kwargs: Any,
    ) -> None:
        if modes < 1:
            raise InputError(f"modes is {modes}, but a mixture has at least 1 component")
        if not half_width > 0:
            raise InputError(f"half_width is {half_width}, but must be positive")
        if not 0 <= mixture_seed < 2**32:
            raise InputError(f"mixture_seed is {mixture_seed}, but must lie in [0, 2^32)")
        self.modes, self.half_width, self.mixture_seed = modes, half_width, mixture_seed
        super().__init__(train_size=train_size, **kwargs)

    def make_mixture(self) -> GaussianMixture:
        """The mixture of this seed."""
        # the legacy generator is what the authors used; its streams are frozen for good
        random = numpy.random.RandomState(self.mixture_seed)
        means = random.uniform(-self.half_width, self.half_width, (self.modes, 2)).tolist()
        variance = self.half_width / _NARROWER.get(self.modes, 3.0 * self.modes**2)
        return GaussianMixture([1 / self.modes] * self.modes, means, [variance**0.5] * self.modes)
