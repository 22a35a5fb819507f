"""The Inception network by which photographs are scored, as torch-fidelity computes it."""

import socket
import sys
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.metrics.features.base import FeatureExtractor, Features, as_grey_or_rgb, check_weights_file

WEIGHTS_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
"""The weights of the original TensorFlow network (2015-12-05), converted by torch-fidelity; 91 MiB."""
WEIGHTS_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""SHA-256 of that file. Its name carries the first eight digits."""
_TIMEOUT_SECONDS = 10.0


class Inception(FeatureExtractor):
    """InceptionV3 with the weights and the resizing of the original score (Salimans et al. 2016, Heusel et al. 2017).

    The network is torch-fidelity's, which agrees with the TensorFlow original: features are the 2048 of the last
    average pooling, logits are the 1008 without their bias. Grey images are repeated to three channels.

    Args:
        weights_path: Where the file of weights lies. By default in torch.hub's folder, into which it is
            downloaded if it is not there.

    Raises:
        InputError: If the file is missing and cannot be downloaded, or is another one.
    """

    name = "inception"
    feature_size = 2048
    num_classes = 1008
    preprocessing = "grey repeated to RGB, 299x299 bilinear as TensorFlow 1 (no antialias), (x-128)/128"

    def __init__(self, weights_path: str | None = None) -> None:
        super().__init__()
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # slow to import

        path = _find_weights() if weights_path is None else Path(weights_path).expanduser()
        check_weights_file(path, WEIGHTS_SHA256, _remedy())
        self.network = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
        )
        self.freeze()

    def embed(self, images: Tensor) -> Features:
        """Compute the features of grey or RGB images of any size."""
        return Features(*self.network(as_grey_or_rgb(images, channels=3)))

    def _definition(self) -> str:
        return ""  # there is one file of weights only, and its network does not change when this text does


def cached_weights() -> Path:
    """Where torch-fidelity and we keep the file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_URL.rpartition("/")[2]


def _remedy() -> str:
    return (
        f"download {WEIGHTS_URL} (SHA-256 {WEIGHTS_SHA256}) on a machine with network and put it at "
        f"{cached_weights()}, or name its place with --fidelity.weights_path"
    )


def _find_weights() -> Path:
    """The file in torch.hub's folder, downloaded if it is not there."""
    path = cached_weights()
    if path.exists():
        return path
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_SECONDS)  # torch.hub sets none and would wait for minutes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"downloading {WEIGHTS_URL}", file=sys.stderr)
        # into a temporary file, which is moved once its hash is right
        torch.hub.download_url_to_file(WEIGHTS_URL, str(path), WEIGHTS_SHA256, progress=sys.stderr.isatty())
    except (RuntimeError, OSError, HTTPException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path.name} not found and the download failed ({reason}); {_remedy()}.") from error
    finally:
        socket.setdefaulttimeout(timeout)
    return path
