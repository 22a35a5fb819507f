"""What fidelity scores need to know about real images; costly to find, and the same for every model."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from lightning_gans.metrics.features import FeatureExtractor
from lightning_gans.metrics.frechet import FeatureMoments, Moments
from lightning_gans.randomness import keyed_generator

CHUNK = 500
"""Images in one forward pass of an extractor."""
KEPT_ENTRIES = 2**26
"""Features are kept of as many images as make up so many numbers (256 MiB)."""


@dataclass(frozen=True)
class RealSide:
    """A set of real images in the eyes of an extractor, on the CPU.

    Attributes:
        moments: Of the features of all images.
        histogram: int64, (classes,), how often each is the most probable; None without a classifier.
        features: float32, (K, d), of the first K images in an order that depends on their number only.
        logits: float32, (K, classes), of the same images; None without a classifier.
    """

    moments: Moments
    histogram: Tensor | None
    features: Tensor
    logits: Tensor | None


def kept_images(n: int, samples: int, extractor: FeatureExtractor) -> int:
    """Of how many among n real images the features are kept: all of them, unless they would not fit."""
    return min(n, max(samples, KEPT_ENTRIES // extractor.feature_size))


def order_of(n: int) -> Tensor:
    """The order in which n real images are looked at: the i-th kept features are of image ``order_of(n)[i]``."""
    return torch.randperm(n, generator=keyed_generator("cpu", "order of real images", n))


@torch.no_grad()
def look_at(
    images: Tensor,
    extractor: FeatureExtractor,
    kept: int,
    watched: Callable[[Iterable[Tensor]], Iterable[Tensor]] = iter,
) -> RealSide:
    """Find out about real images, a chunk at a time.

    Args:
        images: uint8, (N, C, H, W).
        extractor: On the device where the work shall be done.
        kept: Of how many images features and logits are kept.
        watched: Wraps the iteration over chunks, for a progress bar.
    """
    moments = FeatureMoments(extractor.feature_size)
    histogram = None if extractor.num_classes is None else torch.zeros(extractor.num_classes, dtype=torch.int64)
    order = order_of(len(images))
    features, logits, seen = [], [], 0
    for numbers in watched(order.split(CHUNK)):
        found = extractor.extract(images[numbers])
        moments.update(found.features.cpu())
        if histogram is not None and found.logits is not None:
            histogram += found.logits.argmax(1).bincount(minlength=len(histogram)).cpu()
        if seen < kept:
            features.append(found.features[: kept - seen].cpu())
            if found.logits is not None:
                logits.append(found.logits[: kept - seen].cpu())
        seen += len(numbers)
    # the class's own compute is of this rank alone; an instance's would wait for the others
    of_all = FeatureMoments.compute(moments)
    return RealSide(of_all, histogram, torch.cat(features), torch.cat(logits) if logits else None)


def content_of(images: Tensor) -> str:
    """SHA-256 of images, in their order, and of their shape."""
    digest = sha256(str(tuple(images.shape)).encode())
    digest.update(images.cpu().contiguous().view(-1).numpy().data)
    return digest.hexdigest()
