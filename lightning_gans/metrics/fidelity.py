"""Everything that is measured of one set of images, in one pass over their features."""

from collections.abc import Collection
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.metrics.class_histogram import ClassHistogram
from lightning_gans.metrics.features import FeatureExtractor, Features
from lightning_gans.metrics.frechet import FrechetDistance
from lightning_gans.metrics.inception_score import InceptionScore
from lightning_gans.metrics.kernel_distance import KernelDistance
from lightning_gans.metrics.manifold import Manifold
from lightning_gans.metrics.memorisation import Memorisation, Pair
from lightning_gans.metrics.naming import fidelity_name
from lightning_gans.metrics.real_side import RealSide

Measure = Literal["fid", "inception_score", "kid", "kid_rbf", "manifold", "classes", "memorisation"]
"""What can be measured; `manifold` is precision, recall, density and coverage."""
MEASURES: tuple[Measure, ...] = get_args(Measure)

PAIRS_SHOWN = 10
"""Generated images closest to a training image that are remembered, for a picture."""
SPLITS = 10
"""Parts of the samples that an inception score is the mean over."""
SETTINGS = (
    f"inception score of {SPLITS} parts, kid by the cubic kernel, kid_rbf at the real features' median distance, "
    "precision k = 3, density k = 5"
)
"""What else a protocol must say."""


class Measured(NamedTuple):
    """One number.

    Attributes:
        name: With extractor and n.
        value: The number.
        n_real: Real images behind it.
        n_fake: Images behind it that stand in the generator's place.
    """

    name: str
    value: float
    n_real: int
    n_fake: int


class FidelityMetrics:
    """The metrics of n images against a real side, with their states summed over ranks.

    Scores that compare every image with every other (kid, manifold) take the first `pairwise` images of both
    sides; memorisation takes a tenth of that, against all real images whose features are kept. What cannot be
    measured of so few images, or by an extractor that is no classifier, is left out.

    Args:
        extractor: Whose features will come.
        real: The real side, the same on every rank.
        n: Images that will come, on all ranks together.
        measures: What to measure.
        pairwise: See above.
        held_out: Real images that the generator was not trained on, for memorisation.
        rank: This rank.
        world_size: Number of ranks.
        device: Where the features come and the states lie.

    Attributes:
        closest: The generated images that lie closest to a training image, after `compute` of memorisation;
            training images are numbered in `real_side.order_of`.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        real: RealSide,
        n: int,
        measures: Collection[Measure],
        pairwise: int,
        held_out: RealSide | None = None,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
    ):
        self.extractor = extractor
        self.real = real
        self.n = n
        self.device = device
        self.pairs = min(pairwise, n)
        neighbours = real.features[: min(pairwise, len(real.features))].to(device)
        self.n_neighbours = len(neighbours)
        self.copies = 0
        self.closest: tuple[Pair, ...] = ()
        fewest = min(self.pairs, self.n_neighbours)
        classes = extractor.num_classes

        self.frechet = self.inception = self.manifold = self.histogram = self.memory = None
        self.kernels: dict[str, KernelDistance] = {}
        if "fid" in measures and n >= 2:
            self.frechet = FrechetDistance(extractor.feature_size).to(device)
            self.frechet.set_real(real.moments)
        if "inception_score" in measures and classes is not None:
            self.inception = InceptionScore(classes, min(SPLITS, n)).to(device)
        if fewest >= 3:
            if "kid" in measures:
                self.kernels["kid"] = KernelDistance()
            if "kid_rbf" in measures and (bandwidth := _median_distance(neighbours)) > 0:
                # of the real side alone, so that all models are compared by the same kernel
                self.kernels["kid_rbf"] = KernelDistance("rbf", [bandwidth])
            for kernel in self.kernels.values():
                kernel.to(device).set_real(neighbours)
        if "manifold" in measures and fewest > 5:
            self.manifold = Manifold().to(device)
            self.manifold.set_real(neighbours)
        if "classes" in measures and classes is not None and real.histogram is not None:
            self.histogram = ClassHistogram(classes).to(device)
            self.histogram.set_real(real.histogram)
        if "memorisation" in measures and held_out is not None:
            self.copies = min(max(self.pairs // 10, 10), self.n)
            self.memory = Memorisation(pairs=PAIRS_SHOWN, keep_real=True).to(device)
            # every rank brings a share, and all of them together are the whole
            share = slice(rank, None, world_size)
            numbers = torch.arange(len(real.features), device=device)[share]
            self.memory.update(real.features[share].to(device), "train", numbers)
            self.memory.update(held_out.features[: self.copies][share].to(device), "held_out")

    def update(self, found: Features, numbers: Tensor) -> None:
        """Add a batch of this rank.

        Args:
            found: Features and logits of B images.
            numbers: int64, (B,), the number of each image among those of all ranks.
        """
        features, logits = found.features.to(self.device), found.logits
        numbers = numbers.to(self.device)
        if self.frechet is not None:
            self.frechet.update(features, real=False)
        if logits is not None:
            if self.inception is not None:
                self.inception.update(logits.to(self.device), numbers)
            if self.histogram is not None:
                self.histogram.update(logits.to(self.device), real=False)
        paired = features[numbers < self.pairs]
        for kernel in self.kernels.values():
            kernel.update(paired, real=False)
        if self.manifold is not None:
            self.manifold.update(paired, real=False)
        if self.memory is not None:
            self.memory.update(features[numbers < self.copies], "generated", numbers[numbers < self.copies])

    def compute(self) -> list[Measured]:
        """The numbers, equal on every rank."""
        everything, pairs = (self.real.moments.n, self.n), (self.n_neighbours, self.pairs)
        values: list[tuple[str, float, tuple[int, int]]] = []
        if self.frechet is not None:
            values.append(("fid", float(self.frechet.compute()), everything))
        values += [(name, kernel.compute().value, pairs) for name, kernel in self.kernels.items()]
        if self.inception is not None:
            over_parts = self.inception.compute()
            values.append(("inception_score", over_parts.mean, (0, self.n)))
            values.append(("inception_score_sd_of_parts", over_parts.sd, (0, self.n)))
        if self.manifold is not None:
            values += [(name, value, pairs) for name, value in self.manifold.compute()._asdict().items()]
        if self.histogram is not None:
            counted = self.histogram.compute()
            values.append(("class_histogram_kl", counted.kl, everything))
            values.append(("classes_covered", counted.covered, everything))
        if self.memory is not None:
            try:
                copied = self.memory.compute()
                self.closest = copied.pairs
            except InputError:
                pass  # real images that repeat each other cannot tell what a copy is
            else:
                sizes = (len(self.real.features), self.copies)
                values += [("memorisation_ratio", copied.ratio, sizes), ("memorisation_z", copied.z, sizes)]
        return [
            Measured(fidelity_name(kind, self.extractor.name, n_fake), float(value), n_real, n_fake)
            for kind, value, (n_real, n_fake) in values
        ]

    def reset(self) -> None:
        """Forget the images, but not the real side."""
        metrics = (self.frechet, self.inception, self.manifold, self.histogram, self.memory)
        for metric in (*metrics, *self.kernels.values()):
            if metric is not None:
                metric.reset()


def _median_distance(features: Tensor) -> float:
    """Median distance between the first thousand features, 0 if most are equal."""
    return float(torch.pdist(features[:1000].double().cpu()).median())
