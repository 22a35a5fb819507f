"""Feature extractors and image data for tests: fast, and different from each other where it matters."""

import torch
from torch import Tensor, nn

from lightning_gans.data import ImageDataModule, ImageSplit
from lightning_gans.metrics.features import FeatureExtractor, Features


class TinyClassifier(FeatureExtractor):
    """Six features and four classes of images of any size; counts the images that it has seen."""

    name = "tiny"
    feature_size = 6
    num_classes = 4
    preprocessing = "none"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        self.register_buffer("layer", torch.randn(64, 6, generator=random))
        self.register_buffer("head", torch.randn(6, 4, generator=random))
        self.seen = 0
        self.freeze()

    def embed(self, images: Tensor) -> Features:
        self.seen += len(images)
        small = nn.functional.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), 8)
        features = (small.flatten(1) / 255) @ self.layer
        return Features(features, features @ self.head)


class RandomImages(ImageDataModule):
    """Images of 8x8 pixels with some structure."""

    sample_shape = (1, 8, 8)
    num_classes = 4
    name = "random images"

    def __init__(self, shift: int = 0, train: int = 300) -> None:
        super().__init__(batch_size=8)
        self.sizes = {"train": train, "validation": 20, "test": 70}
        self.shift = shift

    def load_split(self, name: str) -> ImageSplit:
        random = torch.Generator().manual_seed(len(name))
        brightness = 0.2 + 0.8 * torch.rand(self.sizes[name], 1, 1, 1, generator=random)
        images = torch.rand(self.sizes[name], *self.sample_shape, generator=random) * brightness * 200 + self.shift
        return ImageSplit(images.to(torch.uint8), torch.zeros(self.sizes[name], dtype=torch.int64))
