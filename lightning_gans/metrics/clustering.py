"""How well a categorical code sorts real images into their classes, although it never saw a label.

Every real image is given the category with the largest posterior Q(c = k | x); the confusion
``N[k, y]`` counts how many images of class ``y`` were given category ``k``. The categories carry no
names, so a matching of categories to classes is fitted on one set of images and its error is measured
on another (Chen et al. 2016, section 7.2, report 5 % on MNIST without saying which matching they used:
hence both are here, and the method is part of the score). The two indices need no matching.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.errors import InputError

Method = Literal["hungarian", "majority"]
UNMATCHED = -1
"""The class of a category that has none."""


class CodeClassConfusion(Metric):
    """Counts how often each category was given to an image of each class.

    The counts are int64 and summed over ranks, so any split of the images gives the same result.

    Args:
        num_categories: Categories of the code, K.
        num_classes: Classes of the images, Y.

    Raises:
        InputError: If either number is below 1, or both are 1.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    counts: Tensor
    outside: Tensor

    def __init__(self, num_categories: int, num_classes: int) -> None:
        super().__init__()
        # one category and one class leave nothing to sort (and torchmetrics makes a scalar of one element)
        if min(num_categories, num_classes) < 1 or num_categories == num_classes == 1:
            raise InputError(
                f"nothing can be sorted with {num_categories} categories and {num_classes} classes: "
                "each must be at least 1, and one of them more"
            )
        self.num_categories = num_categories
        self.num_classes = num_classes
        self.add_state("counts", torch.zeros(num_categories, num_classes, dtype=torch.int64), "sum")
        self.add_state("outside", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, categories: Tensor, labels: Tensor) -> None:
        """Count one batch.

        Args:
            categories: int64, (B,), in ``[0, K)``: the category with the largest posterior.
            labels: int64, (B,), in ``[0, Y)``: the true class.

        Raises:
            InputError: If the two are not int64 vectors of one length.
        """
        if categories.dtype != torch.int64 or labels.dtype != torch.int64:
            raise InputError(f"categories and labels must be int64, not {categories.dtype} and {labels.dtype}")
        if categories.ndim != 1 or categories.shape != labels.shape:
            raise InputError(
                "categories and labels must be vectors of one length, "
                f"not of shapes {tuple(categories.shape)} and {tuple(labels.shape)}"
            )
        # Looking at the values here would make the device wait, and so would torch.bincount (it reads the
        # largest value): strays are counted apart and reported by compute, the rest is added by index.
        inside = (categories >= 0) & (categories < self.num_categories)
        inside &= (labels >= 0) & (labels < self.num_classes)
        cell = torch.where(inside, categories * self.num_classes + labels, 0)
        cells = self.counts.new_zeros(self.counts.numel()).index_add_(0, cell, inside.long())
        self.counts += cells.view_as(self.counts)
        self.outside += (~inside).sum()

    def compute(self) -> Tensor:
        """Give the counts.

        Returns:
            int64, (K, Y): images of class y that were given category k.

        Raises:
            InputError: If a category or a label was out of range.
        """
        if self.outside > 0:
            raise InputError(
                f"{int(self.outside)} images have a category outside [0, {self.num_categories}) "
                f"or a label outside [0, {self.num_classes})"
            )
        return self.counts.clone()


@dataclass(frozen=True)
class Matching:
    """Which class each category stands for.

    Attributes:
        classes: (K,) class of each category, or -1 for a category that stands for none: one that is left
            over when there are more categories than classes (hungarian), or one that no image was given
            (majority).
        purity: (K,) fraction, in [0, 1], of the images of category k that belong to its class, among the
            images it was fitted on; 0 for a category without images or without class.
        method: How it was fitted.
    """

    classes: tuple[int, ...]
    purity: tuple[float, ...]
    method: Method

    def error(self, counts: Tensor) -> float:
        """Measure the matching on images it was not fitted on.

        Args:
            counts: int64, (K, Y), the confusion of those images.

        Returns:
            The fraction of images, in [0, 1], whose category stands for another class than theirs. Images
            of a category that stands for no class count as errors.

        Raises:
            InputError: If the counts are empty or of another size than the matching.
        """
        counts = _checked(counts)
        if len(counts) != len(self.classes) or max(self.classes) >= counts.shape[1]:
            raise InputError(
                f"a matching of {len(self.classes)} categories to classes up to {max(self.classes)} "
                f"cannot be scored on counts of shape {tuple(counts.shape)}"
            )
        correct = sum(int(counts[k, y]) for k, y in enumerate(self.classes) if y != UNMATCHED)
        total = int(counts.sum())
        return (total - correct) / total

    def order(self) -> list[int]:
        """Sort the categories by the class they stand for, then by index; those without class come last."""
        return sorted(range(len(self.classes)), key=lambda k: (self.classes[k] == UNMATCHED, self.classes[k], k))

    def describe(self, k: int, code_name: str, class_names: Sequence[str] | None = None) -> str:
        """Say in a few words what category ``k`` of a code means.

        Args:
            k: The category, in [0, K).
            code_name: What the code is called.
            class_names: (Y,) names of the classes; their numbers by default.

        Returns:
            For example ``digit=3 → 7, 97 %``, or ``digit=3 → –`` where category 3 stands for no class.
        """
        y = self.classes[k]
        if y == UNMATCHED:
            return f"{code_name}={k} → –"
        return f"{code_name}={k} → {class_names[y] if class_names else y}, {100 * self.purity[k]:.0f} %"

    def to_dict(self) -> dict[str, Any]:
        """Give plain containers, which a checkpoint loads with ``weights_only=True``."""
        return {"classes": list(self.classes), "purity": list(self.purity), "method": self.method}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Matching":
        """Read what :meth:`to_dict` gave.

        Raises:
            InputError: If it is not a matching.
        """
        try:
            classes = tuple(int(y) for y in plain["classes"])
            purity = tuple(float(fraction) for fraction in plain["purity"])
            method = plain["method"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a matching of categories to classes: {plain!r}") from error
        if method not in get_args(Method) or len(classes) != len(purity) or not classes:
            raise InputError(f"not a matching of categories to classes: {plain!r}")
        return cls(classes, purity, method)


def hungarian_matching(counts: Tensor) -> Matching:
    """Match categories to classes one to one such that most images are sorted correctly.

    Solves  max_pi sum_k N[k, pi(k)]  over the injective pi (the assignment problem; Kuhn 1955). With more
    categories than classes the surplus stays unmatched; with fewer, some classes are not reached.

    Args:
        counts: int64, (K, Y), the confusion.

    Raises:
        InputError: If the counts are empty.
    """
    from scipy.optimize import linear_sum_assignment

    counts = _checked(counts)
    classes = [UNMATCHED] * len(counts)
    for k, y in zip(*linear_sum_assignment(counts.numpy(), maximize=True), strict=True):
        classes[k] = int(y)
    return _matching(counts, classes, "hungarian")


def majority_matching(counts: Tensor) -> Matching:
    """Let each category stand for the class that most of its images belong to.

    Several categories may stand for one class, so the error never exceeds the Hungarian one on the counts
    it was fitted on, and it falls by itself as K grows: compare it at equal K only. Ties go to the
    smaller class; a category without images stands for no class.

    Args:
        counts: int64, (K, Y), the confusion.

    Raises:
        InputError: If the counts are empty.
    """
    counts = _checked(counts)
    # numpy takes the first of equal values; torch promises no order
    classes = [int(row.argmax()) if row.any() else UNMATCHED for row in counts.numpy()]
    return _matching(counts, classes, "majority")


def normalized_mutual_information(counts: Tensor) -> float:
    """Mutual information of category and class over the arithmetic mean of their two entropies.

    Strehl and Ghosh 2002 with the mean of scikit-learn's default. Two partitions that both put all images
    together agree: 1. If only one of them does, it tells nothing: 0.

    Args:
        counts: int64, (K, Y), the confusion.

    Returns:
        A number in [0, 1]; it does not change when categories or classes are renamed.

    Raises:
        InputError: If the counts are empty.
    """
    joint = _checked(counts).double()
    joint = joint / joint.sum()
    category, label = joint.sum(1), joint.sum(0)
    entropy_category, entropy_label = _entropy(category), _entropy(label)
    if entropy_category + entropy_label == 0:
        return 1.0
    information = entropy_category + entropy_label - _entropy(joint)
    return min(1.0, max(0.0, 2 * information / (entropy_category + entropy_label)))


def adjusted_rand_index(counts: Tensor) -> float:
    """Agreement of the two partitions about pairs of images, corrected for chance.

    Hubert and Arabie 1985, eq. 5: (index - expected) / (maximum - expected), where the index counts the
    pairs that share both category and class.

    Args:
        counts: int64, (K, Y), the confusion.

    Returns:
        A number in [-0.5, 1]: 1 for equal partitions, 0 on average for random ones.

    Raises:
        InputError: If the counts are empty.
    """
    exact = _checked(counts).double()
    index = _pairs(exact)
    same_category, same_class, total = _pairs(exact.sum(1)), _pairs(exact.sum(0)), _pairs(exact.sum())
    # Both put all images together, or both each image alone: equal, though the formula reads 0 / 0.
    if same_category == same_class and same_category in (0.0, total):
        return 1.0
    expected = same_category * (same_class / total)
    return (index - expected) / ((same_category + same_class) / 2 - expected)


def _checked(counts: Tensor) -> Tensor:
    """The counts on the CPU, after refusing what is not a confusion of at least one image."""
    if counts.ndim != 2 or counts.is_floating_point() or counts.is_complex() or counts.dtype == torch.bool:
        raise InputError(f"counts must be integers of shape (K, Y), not {counts.dtype} of shape {tuple(counts.shape)}")
    counts = counts.detach().cpu().long()
    if bool((counts < 0).any()) or not bool(counts.any()):
        raise InputError("counts must be non-negative and hold at least one image")
    return counts


def _matching(counts: Tensor, classes: Sequence[int], method: Method) -> Matching:
    """Add to the classes how pure each category is."""
    sizes = counts.sum(1).tolist()
    purity = [int(counts[k, y]) / sizes[k] if sizes[k] and y != UNMATCHED else 0.0 for k, y in enumerate(classes)]
    return Matching(tuple(classes), tuple(purity), method)


def _entropy(probabilities: Tensor) -> float:
    """Entropy in nats, with 0 log 0 = 0; exactly 0 for a certain outcome."""
    return max(0.0, -math.fsum(p * math.log(p) for p in probabilities.flatten().tolist() if p > 0))


def _pairs(sizes: Tensor) -> float:
    """Number of unordered pairs within groups of these sizes; float64, exact below 2^53."""
    return float((sizes * (sizes - 1) / 2).sum())
