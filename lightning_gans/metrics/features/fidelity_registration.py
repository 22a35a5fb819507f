"""Our extractor in torch-fidelity, for its Python interface and, by ``features.fidelity``, its command line."""

from functools import cache
from typing import Any

from torch import Tensor

from lightning_gans.errors import InputError
from lightning_gans.metrics.features.mnist_convnet import MNISTConvNet


def register_with_torch_fidelity() -> None:
    """Make ``mnist-convnet`` known to torch-fidelity. Calling it again does nothing.

    Then ``torch_fidelity.calculate_metrics(feature_extractor="mnist-convnet", fid=True, ...)`` works with every
    metric of it that needs an extractor: isc on the logits, fid, kid and prc on the 64 features.
    """
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor

    if MNISTConvNet.name not in FEATURE_EXTRACTORS_REGISTRY:
        register_feature_extractor(MNISTConvNet.name, _adapter())


@cache
def _adapter() -> type[Any]:
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase  # slow: it brings torchvision

    class FeatureExtractorMNISTConvNet(FeatureExtractorBase):
        """`MNISTConvNet` behind torch-fidelity's interface: uint8 ``(B, 3, H, W)`` to a tuple of tensors."""

        def __init__(
            self,
            name: str,
            features_list: list[str],
            feature_extractor_weights_path: str | None = None,
            feature_extractor_internal_dtype: str | None = None,
            **_: Any,
        ) -> None:
            super().__init__(name, features_list)
            if feature_extractor_internal_dtype not in ("float32", None):
                raise InputError(f"{name} computes in float32, not {feature_extractor_internal_dtype}.")
            self.extractor = MNISTConvNet(feature_extractor_weights_path)

        def get_name(self) -> str:
            """The name in torch-fidelity's cache; with the hash, so that no other weights' entry is found."""
            return f"{self.name}-{self.extractor.content_hash}"

        def forward(self, input: Tensor) -> tuple[Tensor | None, ...]:
            found = self.extractor(input)
            return tuple(getattr(found, layer) for layer in self.features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return {"isc": "logits", "fid": "features", "kid": "features", "prc": "features"}[metric]

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        @staticmethod
        def get_dummy_input_for_compile() -> Tensor:
            raise NotImplementedError("this extractor is not compiled")

    return FeatureExtractorMNISTConvNet
