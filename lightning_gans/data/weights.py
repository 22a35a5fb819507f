"""How often each training sample is seen, as a file: a NumPy array of N numbers."""

from hashlib import sha256
from pathlib import Path

import numpy
import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path


def write_weights(path: str | Path, weights: Tensor) -> None:
    """Write weights, (N,), as a .npy file of float64; atomically."""
    path = Path(path)
    with atomic_path(path) as temporary:
        numpy.save(temporary, weights.double().cpu().numpy(), allow_pickle=False)


def read_weights(path: str | Path, size: int) -> Tensor:
    """Read the weights of a training split.

    Args:
        path: A .npy file of N numbers, 0 or more.
        size: N, the number of training samples.

    Returns:
        float64, (N,), summing to 1.

    Raises:
        InputError: If the file is missing or holds no weights of this split.
    """
    try:
        content = numpy.load(path, allow_pickle=False)
    except OSError as error:
        raise InputError(f"the sample weights {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"the sample weights {path} are no .npy file of numbers") from error
    if content.shape != (size,) or content.dtype.kind not in "fiu":
        raise InputError(
            f"the sample weights {path} are {content.dtype} of shape {content.shape}, but the training split has "
            f"{size} samples; it needs a number for each"
        )
    weights = torch.from_numpy(content.astype("float64"))
    if not bool(weights.isfinite().all()) or bool((weights < 0).any()) or not bool((weights > 0).any()):
        raise InputError(f"the sample weights {path} must be finite and 0 or more, and not all 0")
    return weights / weights.sum()


def fingerprint_of(weights: Tensor | None) -> str:
    """SHA-256 of weights; "none" if all samples are seen equally often."""
    return "none" if weights is None else sha256(weights.numpy().data).hexdigest()
