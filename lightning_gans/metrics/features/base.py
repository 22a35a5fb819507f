"""What every feature extractor has in common: frozen, in float32, uint8 images in, known by a hash."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest, sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError


class Features(NamedTuple):
    """What an extractor sees in a batch of images.

    Attributes:
        features: float32 ``(B, feature_size)``; distances between distributions are taken here.
        logits: float32 ``(B, num_classes)``, or None if the extractor is no classifier.
    """

    features: Tensor
    logits: Tensor | None


class FeatureExtractor(nn.Module, ABC):
    """A fixed map from images to features: the ruler by which images are measured.

    A subclass says what the map is (`embed`), sets the attributes below, and calls `freeze` at the end of its
    constructor. From then on no parameter has a gradient and nothing puts the network into training mode. The
    map is computed in float32 whatever the surroundings are: neither autocast nor TensorFloat-32 reach into it,
    for a score must not depend on the precision of the training it is called from.
    """

    name: str
    """How scores call it: ``mnist-convnet`` in ``fid_mnist-convnet_10k``."""
    feature_size: int
    """Length of one image's feature vector."""
    num_classes: int | None
    """Number of logits, or None if the extractor is no classifier."""
    preprocessing: str
    """One line on what happens to the uint8 images before the first layer. Part of every score's protocol."""

    @abstractmethod
    def embed(self, images: Tensor) -> Features:
        """Compute the features of at least one image, uint8 ``(B, C, H, W)``."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> Features:
        """Map a batch of images to features.

        Args:
            images: uint8 ``(B, C, H, W)``, on the extractor's device.

        Returns:
            The features, and the logits of a classifier. They do not depend on what else is in the batch.

        Raises:
            InputError: If these are not uint8 images.
        """
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise InputError(
                f"{self.name} measures images of type uint8 and shape (B, C, H, W), not {images.dtype} "
                f"{tuple(images.shape)}; quantise with lightning_gans.images.to_uint8."
            )
        if len(images) == 0:
            logits = None if self.num_classes is None else torch.zeros(0, self.num_classes, device=images.device)
            return Features(torch.zeros(0, self.feature_size, device=images.device), logits)
        with _exact_float32(images.device):
            return self.embed(images)

    def extract(self, images: Tensor, chunk: int = 500) -> Features:
        """Map any number of images to features, a chunk at a time.

        Args:
            images: uint8 ``(N, C, H, W)``, on any device; chunks are moved to the extractor's.
            chunk: Images in one forward pass.

        Returns:
            Features and logits of all N images, on the extractor's device.
        """
        device = next(chain(self.parameters(), self.buffers()), images).device
        parts = [self(part.to(device)) for part in images.split(chunk)]
        logits = [part.logits for part in parts if part.logits is not None]
        return Features(torch.cat([part.features for part in parts]), torch.cat(logits) if logits else None)

    @property
    def content_hash(self) -> str:
        """16 hexadecimal digits that change whenever the features of an image can have changed.

        They begin the SHA-256 over name, preprocessing and definition, and over the name, shape and float32
        content of every weight and buffer.
        """
        digest = sha256("\n".join([self.name, self.preprocessing, self._definition()]).encode())
        for key, value in chain(self.named_parameters(), self.named_buffers()):
            digest.update(f"\n{key} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def freeze(self) -> None:
        """Make this a constant. Called at the end of a subclass's constructor."""
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever is asked for."""
        return super().train(False)

    def _definition(self) -> str:
        """What determines the features besides name, preprocessing and weights: by default, the code."""
        return code_of(self)


def code_of(module: nn.Module) -> str:
    """A module with its arguments, and the source files of all classes that it is made of.

    Whole files, because a class uses helpers and constants beside it. PyTorch's own layers are left out.
    """
    classes = {kind for part in module.modules() for kind in type(part).__mro__}
    files = set()
    for kind in classes:
        if kind.__module__.split(".")[0] in ("torch", "builtins"):
            continue
        try:
            files.add(inspect.getsourcefile(kind))
        except (OSError, TypeError):  # defined in a shell, or compiled
            continue
    sources = sorted(Path(file).read_text() for file in files if file is not None and Path(file).is_file())
    return "\n".join([repr(module), *sources])


def as_grey_or_rgb(images: Tensor, channels: int) -> Tensor:
    """Bring grey or RGB images to the number of channels that a network was made for.

    Args:
        images: uint8 ``(B, 1, H, W)`` or ``(B, 3, H, W)``.
        channels: 1 or 3.

    Returns:
        uint8 ``(B, channels, H, W)``. Grey is repeated. RGB becomes luma (ITU-R 601) rounded as Pillow's
        ``convert("L")`` does it, so what was repeated comes back exactly.

    Raises:
        InputError: If the images are neither grey nor RGB.
    """
    if images.shape[1] not in (1, 3):
        raise InputError(f"Images have 1 channel (grey) or 3 (RGB) to be measured, not {images.shape[1]}.")
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    red, green, blue = images.int().unbind(1)
    luma = (19595 * red + 38470 * green + 7471 * blue + 2**15) >> 16
    return luma[:, None].to(torch.uint8)


def check_weights_file(path: Path, checksum: str, remedy: str) -> None:
    """See to it that a file of weights is the one that defines the scale.

    Args:
        path: The file.
        checksum: Its SHA-256.
        remedy: What a person shall do if it is not.

    Raises:
        InputError: If the file cannot be read, or has other content.
    """
    try:
        with path.open("rb") as file:
            found = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error
    if found != checksum:
        raise InputError(
            f"{path} has not the weights that scores are measured with: expected SHA-256 {checksum}, "
            f"found {found}; {remedy}."
        )


@contextmanager
def _exact_float32(device: torch.device) -> Iterator[None]:
    """Switch off, for a while, everything that computes float32 with fewer bits."""
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, cast(Any, torch.backends.mkldnn)
    backends: list[Any] = []
    if hasattr(cudnn, "conv"):  # torch 2.8 has only older switches, for everything at once
        backends = [cuda.matmul, cudnn.conv, mkldnn.matmul, mkldnn.conv]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
