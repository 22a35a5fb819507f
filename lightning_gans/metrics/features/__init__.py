"""Feature extractors: the fixed networks in whose eyes two sets of images are compared.

A distance between distributions of features is a number on the extractor's own scale, so its name and content
hash belong to every score.
"""

from lightning_gans.metrics.features.base import FeatureExtractor, Features
from lightning_gans.metrics.features.fidelity_registration import register_with_torch_fidelity
from lightning_gans.metrics.features.inception import Inception
from lightning_gans.metrics.features.mnist_convnet import MNISTConvNet
from lightning_gans.metrics.features.module import ModuleExtractor
from lightning_gans.metrics.features.resolve import EXTRACTORS, make_extractor

__all__ = [
    "EXTRACTORS",
    "FeatureExtractor",
    "Features",
    "Inception",
    "MNISTConvNet",
    "ModuleExtractor",
    "make_extractor",
    "register_with_torch_fidelity",
]
