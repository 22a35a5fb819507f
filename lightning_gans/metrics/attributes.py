"""What the latent codes tell about known attributes of images: a table of mutual information.

    U(a|c) = I(c; a) / H(a)          the share of what is uncertain about an attribute that a code tells (Theil 1970)

1 if the code determines the attribute, 0 if it tells nothing. Counted from N images, the information between an
independent code of K categories and an attribute of A values is not 0 but on average b = (K - 1)(A - 1) / 2N nats
(Miller 1955), with the standard deviation √(2 (K - 1)(A - 1)) / 2N, for 2N I is then χ²-distributed. The table
corrects for it so that the ends stay where they are:

    (I - b) / (H(a) - b)

No label of a category enters: codes that are permuted or renamed score the same.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.errors import InputError
from lightning_gans.latent import Axis, CategoricalCode, ContinuousCode, GaussianCode, LatentSpec, UniformCode


class Cell(NamedTuple):
    """One code and one attribute.

    Attributes:
        information: I(c; a) as counted, nats.
        entropy: H(a) of the attribute on these images, nats.
        chance: b, what an independent code would be counted to tell on average, nats.
        chance_deviation: Standard deviation of that, nats.
    """

    information: float
    entropy: float
    chance: float
    chance_deviation: float

    @property
    def share(self) -> float:
        """(I - b) / (H(a) - b), at most 1 and about 0 by chance; NaN where N images are too few to tell."""
        if self.entropy <= self.chance or self.entropy == 0:
            return math.nan
        return (self.information - self.chance) / (self.entropy - self.chance)


class AttributeTable(NamedTuple):
    """Every code against every attribute.

    Attributes:
        codes: Names of the rows: categorical codes, and each dimension of continuous ones.
        attributes: Names of the columns.
        cells: Rows of cells.
        images: N, how many images were counted.
    """

    codes: tuple[str, ...]
    attributes: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    images: int

    @property
    def shares(self) -> Tensor:
        """`Cell.share` of all cells, float64 of shape (codes, attributes)."""
        return torch.tensor([[cell.share for cell in row] for row in self.cells], dtype=torch.float64)

    def best(self) -> dict[str, tuple[str, float]]:
        """The attribute that each code tells most about, and its share; codes without any known share are left out."""
        found = {}
        for code, shares in zip(self.codes, self.shares.tolist(), strict=True):
            known = [(share, name) for share, name in zip(shares, self.attributes, strict=True) if share == share]
            if known:
                share, name = max(known, key=lambda pair: pair[0])
                found[code] = (name, share)
        return found

    def records(self) -> list[dict[str, str | float]]:
        """The table as rows of a file, one for each cell."""
        return [
            {
                "code": code,
                "attribute": attribute,
                "share": cell.share,
                "information_nats": cell.information,
                "entropy_nats": cell.entropy,
                "chance_nats": cell.chance,
                "chance_deviation_nats": cell.chance_deviation,
                "images": self.images,
            }
            for code, row in zip(self.codes, self.cells, strict=True)
            for attribute, cell in zip(self.attributes, row, strict=True)
        ]


class AttributeInformation(Metric):
    """Counts what Q reads from images against their binary attributes.

    A categorical code is read as its most probable category. Each dimension of a continuous one is read as Q's mean,
    in bins of equal probability under the prior; what lies outside belongs to the outermost bin. The counts are
    int64 and summed over ranks, so any split of the images gives the same result.

    Args:
        latent: The codes.
        attributes: Names of the attributes.
        bins: Bins for each dimension of a continuous code.

    Raises:
        InputError: If there are no codes or no attributes, or fewer than two bins.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(self, latent: LatentSpec, attributes: list[str], bins: int = 10) -> None:
        super().__init__()
        if not latent.codes or not attributes:
            raise InputError("a table of codes and attributes needs at least one of each")
        if bins < 2:
            raise InputError(f"attributes.bins is {bins}, but must be 2 or more")
        self.latent = latent
        self.names = tuple(attributes)
        self.bins = bins
        self.axes = latent.axes
        for number, axis in enumerate(self.axes):
            prior = latent.prior(axis.code)
            categories = prior.size if isinstance(prior, CategoricalCode) else bins
            # [images that have the attribute], and last all images of the category
            zeros = torch.zeros(categories, len(attributes) + 1, dtype=torch.int64)
            self.add_state(f"counts_{number}", zeros, dist_reduce_fx="sum")

    def update(self, posterior: Tensor, attributes: Tensor) -> None:
        """Count one batch.

        Args:
            posterior: Q's output for the images, shape (B, posterior_size).
            attributes: Whether each image has each attribute, shape (B, attributes), of 0 and 1 or truth values.

        Raises:
            InputError: If the shapes do not fit.
        """
        if attributes.shape != (len(posterior), len(self.names)):
            raise InputError(
                f"attributes must have the shape {(len(posterior), len(self.names))}, not {tuple(attributes.shape)}"
            )
        has = attributes.to(torch.bool).long()
        rows = torch.cat([has, has.new_ones(len(has), 1)], dim=1)
        parts = self.latent.split_posterior(posterior.float())
        for number, axis in enumerate(self.axes):
            counts = getattr(self, f"counts_{number}")
            setattr(self, f"counts_{number}", counts.index_add(0, self._category(axis, parts[axis.code]), rows))

    def compute(self) -> AttributeTable:
        """The table.

        Raises:
            InputError: If no image was counted.
        """
        rows = []
        for number in range(len(self.axes)):
            counts = getattr(self, f"counts_{number}").cpu()
            have, all_images = counts[:, :-1], counts[:, -1:]
            # (categories, 2) for each attribute
            rows.append(tuple(_cell(joint) for joint in torch.stack([all_images - have, have], dim=-1).unbind(1)))
            images = int(all_images.sum())
        return AttributeTable(tuple(map(str, self.axes)), self.names, tuple(rows), images)

    def _category(self, axis: Axis, posterior: Tensor) -> Tensor:
        """What is read of a code, int64 (B,)."""
        prior = self.latent.prior(axis.code)
        if not isinstance(prior, ContinuousCode):
            return posterior.argmax(-1)
        mean = prior.mean(posterior)[:, axis.index].contiguous()
        return torch.bucketize(mean, _edges(prior, self.bins).to(mean))


def _edges(prior: ContinuousCode, bins: int) -> Tensor:
    """The inner borders of bins of equal probability, shape (bins - 1,)."""
    quantiles = torch.arange(1, bins, dtype=torch.float64) / bins
    if isinstance(prior, UniformCode):
        return prior.low + (prior.high - prior.low) * quantiles
    assert isinstance(prior, GaussianCode)
    return torch.special.ndtri(quantiles)


def _cell(joint: Tensor) -> Cell:
    """The information in counts of shape (K, A), int64."""
    n = int(joint.sum())
    if n == 0:
        raise InputError("no image was counted, so nothing is known about the codes and attributes")
    code, attribute = joint.sum(1), joint.sum(0)
    # what never occurs has no probability to be estimated wrongly
    freedom = (int((code > 0).sum()) - 1) * (int((attribute > 0).sum()) - 1)
    entropy = _entropy(attribute)
    information = max(0.0, _entropy(code) + entropy - _entropy(joint))
    return Cell(min(information, entropy), entropy, freedom / (2 * n), math.sqrt(2 * freedom) / (2 * n))


def _entropy(counts: Tensor) -> float:
    """In nats, with 0 log 0 = 0."""
    n = int(counts.sum())
    return -math.fsum(k / n * math.log(k / n) for k in counts.flatten().tolist() if k)
