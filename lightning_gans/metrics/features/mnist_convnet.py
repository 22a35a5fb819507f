"""A small classifier of digits whose features are the scale for MNIST. Its weights come with the package."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_gans.metrics.features.base import FeatureExtractor, Features, as_grey_or_rgb, check_weights_file

WEIGHTS = Path(__file__).with_name("mnist_convnet.safetensors")
"""The weights that define the scale, written by ``benchmarks/mnist_convnet.py``."""
WEIGHTS_SHA256 = "d7ba343474598ff2d06e5fadd046dac938cf4aa6b043099ce3984fff148e43d8"
"""SHA-256 of `WEIGHTS`, which read 99.58 % of the test images."""


class DigitNetwork(nn.Module):
    """Grey 28x28 images in [0, 1] -> 64 features -> 10 logits, without any layer that mixes a batch.

    ==========================  ============
    layer                       output
    ==========================  ============
    5x5 convolution, stride 2   32 x 14 x 14
    3x3 convolution             32 x 14 x 14
    2x2 maximum                 32 x 7 x 7
    3x3 convolution             64 x 7 x 7
    3x3 convolution             64 x 7 x 7
    3x3 convolution, unpadded   64 x 5 x 5
    linear                      64 features
    ReLU, linear                10 logits
    ==========================  ============

    Every convolution is followed by a ReLU. It is trained with batch normalisation, which is then folded into
    the weights.

    The features are taken before their nonlinearity, and are scaled to mean 0 and variance 1 over the training
    images: so they are closer to the normal distribution that the Fréchet distance assumes, every one of them
    counts alike, and the distance has a unit (real images have a total variance of 64).
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 5 * 5, 64),
        )
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(64, 10))

    def forward(self, images: Tensor) -> Features:
        """Map float ``(B, 1, 28, 28)`` to features ``(B, 64)`` and logits ``(B, 10)``."""
        features = self.trunk(images)
        return Features(features, self.head(features))


class MNISTConvNet(FeatureExtractor):
    """Features and class probabilities of handwritten digits, by a classifier of our own.

    Inception has seen photographs only; digits of 28x28 pixels are far from anything it can tell apart. This
    network has read MNIST's 60,000 training images. As its weights come with the package and are checked, every
    user's number is on the same scale.

    Args:
        weights_path: Where the file of weights lies, if not in the package. It has to be the same file.

    Raises:
        InputError: If the file is missing or is another one.
    """

    name = "mnist-convnet"
    feature_size = 64
    num_classes = 10
    preprocessing = "grey (Pillow's luma), 28x28 bilinear with antialias, /255"

    def __init__(self, weights_path: str | None = None) -> None:
        super().__init__()
        path = WEIGHTS if weights_path is None else Path(weights_path).expanduser()
        check_weights_file(path, WEIGHTS_SHA256, "reinstall lightning_gans to get the file back, and leave it as it is")
        self.network = DigitNetwork()
        self.network.load_state_dict(load_file(path))
        self.network.to(memory_format=torch.channels_last)  # faster on a CPU
        self.freeze()

    def embed(self, images: Tensor) -> Features:
        """Compute the features of grey or RGB images of any size."""
        pixels = as_grey_or_rgb(images, channels=1).float()
        if pixels.shape[2:] != (28, 28):
            pixels = F.interpolate(pixels, (28, 28), mode="bilinear", antialias=True)
        return self.network(pixels / 255)

    def _definition(self) -> str:
        return ""  # there is one file of weights only, and its network does not change when this text does
