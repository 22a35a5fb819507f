"""Real sides for all ranks: read from the cache, or found out by the first rank and kept there."""

import os
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from lightning.pytorch import Trainer
from torch import Tensor
from tqdm import tqdm

from lightning_gans.errors import InputError
from lightning_gans.metrics.features import FeatureExtractor
from lightning_gans.metrics.real_side import CHUNK, RealSide, kept_images, look_at
from lightning_gans.metrics.real_side_cache import RealSideCache, key_of

LONG = 5000
"""Images of which looking at them is worth a progress bar and a word."""


def cache_folder(folder: str | None) -> Path:
    """The folder that was asked for, else LIGHTNING_GANS_CACHE, else ~/.cache/lightning_gans."""
    chosen = folder or os.environ.get("LIGHTNING_GANS_CACHE") or "~/.cache/lightning_gans"
    return Path(chosen).expanduser() / "real_sides"


def real_side(
    trainer: Trainer, images: Tensor, content: str, split: str, extractor: FeatureExtractor, samples: int, folder: Path
) -> RealSide:
    """A set of real images in the eyes of an extractor; every rank gets the same.

    The first rank looks at the images and writes, the others wait for it and read. Where they do not see its
    folder, they look for themselves: that takes longer and gives the same.

    Args:
        trainer: The trainer.
        images: uint8, (N, C, H, W).
        content: Their hash.
        split: What they are called.
        extractor: What looks at them.
        samples: Of at least how many features are needed.
        folder: The cache.
    """
    kept = kept_images(len(images), samples, extractor)
    key = key_of(content, split, len(images), kept, extractor)
    cache = RealSideCache(folder, _tell)
    look = partial(look_at, images, extractor, kept)
    found: RealSide | None = None
    problem = None
    if trainer.is_global_zero:
        try:
            found = cache.read(key)
            if found is None:
                long = len(images) > LONG
                found = look(partial(_watched, split=split) if long and trainer.progress_bar_callback else iter)
                path = cache.write(key, found)
                if long and path is not None:
                    _tell(f"{len(images)} {split} images seen by {extractor.name}; kept in {path}")
        except InputError as error:
            problem = str(error)
    if trainer.world_size > 1:
        # also where the others wait; without it they would wait for ever after an error here
        problem = trainer.strategy.broadcast(problem)
    if problem is not None:
        raise InputError(problem)
    if found is None:
        found = cache.read(key)
    return look() if found is None else found


def _watched(chunks: Iterable[Tensor], split: str) -> Iterable[Tensor]:
    return tqdm(
        chunks, desc=f"features of the {split} images", leave=False, unit_scale=CHUNK, unit=" images", file=sys.stderr
    )


def _tell(message: str) -> None:
    tqdm.write(message, file=sys.stderr)
