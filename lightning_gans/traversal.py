"""The picture of what one latent code does."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lightning_gans.latent import Axis
from lightning_gans.metrics import Matching
from lightning_gans.pictures import image_grid
from lightning_gans.randomness import keyed_generator

if TYPE_CHECKING:
    from PIL import Image

    from lightning_gans.objectives import Adversarial


def matching_of(module: "Adversarial", code: str) -> Matching | None:
    """Which class each category was found to stand for, if the run has measured it."""
    saved: dict[str, Any] = module.findings.get("matching", {})
    return Matching.from_dict(saved[code]) if code in saved else None


def category_names(module: "Adversarial", code: str) -> tuple[list[int], list[str]]:
    """The categories of a code in the order in which people want to see them, and their names.

    With a matching: sorted by class and named like "digit=3 → 7, 97 %"; without: as they are.
    """
    size = module.latent.categorical[code].size
    matching = matching_of(module, code)
    order = list(range(size)) if matching is None else matching.order()
    names = [f"{code}={k}" if matching is None else matching.describe(k, code) for k in order]
    return order, names


@dataclass(frozen=True)
class TraversalImages:
    """Images of a traversal, rows in display order.

    Attributes:
        images: uint8 (rows, columns, C, H, W).
        row_labels: One for each row.
        column_labels: One for each column, or None.
    """

    images: torch.Tensor
    row_labels: list[str]
    column_labels: list[str] | None


def traversal_images(module: "Adversarial", axis: Axis, columns: int, key: int) -> TraversalImages:
    """The images of `traversal_picture` before they are drawn; arguments are the same."""
    generator = keyed_generator(module.device, module.seed, "traversal", key)
    latent, (row_labels, column_labels) = module.latent.traversal(axis, columns, generator)
    images = module.generate(latent).cpu()
    images = images.view(-1, columns, *images.shape[1:])
    row_code = axis.code if axis.index is None else next(iter(module.latent.categorical), None)
    if row_code is not None:
        order, row_labels = category_names(module, row_code)
        images = images[order]
    return TraversalImages(images, row_labels, column_labels if any(column_labels) else None)


def traversal_picture(
    module: "Adversarial", axis: Axis, columns: int = 10, key: int = 0, mark: bool = True
) -> "Image.Image":
    """A labelled grid in which one code changes and all else is held.

    Args:
        module: The trained objective.
        axis: What changes: along the rows for a categorical code, along the columns for a continuous one.
        columns: Number of columns.
        key: Key of the latents that are held; the same key gives the same picture.
        mark: Whether to draw a title.

    Returns:
        The picture, rows ordered by and named after the class that each category matches.
    """
    grid = traversal_images(module, axis, columns, key)
    title = f"{axis}: each row one category" if axis.index is None else f"{axis} from left to right"
    return image_grid(grid.images, grid.row_labels, grid.column_labels, title if mark else None)
