"""Any network as a feature extractor."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_gans.errors import InputError
from lightning_gans.metrics.features.base import FeatureExtractor, Features, code_of


class ModuleExtractor(FeatureExtractor):
    """A module of the user's that maps uint8 images to features, or to features and logits.

    It is given the images as they are, so its preprocessing is its own. ``torch.nn.Flatten()`` measures pixels.

    Args:
        module: Maps uint8 ``(B, C, H, W)`` to ``(B, d)``, or to a pair of ``(B, d)`` and ``(B, classes)``. It is
            frozen.
        image_shape: ``(C, H, W)`` of the images that will be measured; d is found by trying one.

    Raises:
        InputError: If it fails on such an image, or gives something else.
    """

    def __init__(self, module: nn.Module, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        kind = type(module)
        self.name = kind.__name__
        self.preprocessing = f"uint8 as it is, for {kind.__module__}.{kind.__qualname__}"
        self.module = module
        self.freeze()

        device = next(module.parameters(), torch.empty(0)).device
        probe = torch.zeros(2, *image_shape, dtype=torch.uint8, device=device)
        try:
            features, logits = self(probe)
        except InputError:
            raise
        except Exception as error:  # whatever a stranger's code raises
            raise InputError(
                f"{self.name} fails on uint8 images of shape {image_shape} ({type(error).__name__}: "
                f"{' '.join(str(error).split())}); a feature extractor receives them unscaled."
            ) from error
        self.feature_size = features.shape[1]
        self.num_classes = None if logits is None else logits.shape[1]

    def embed(self, images: Tensor) -> Features:
        """Call the module, and see to it that what it gives are features."""
        given = self.module(images)
        features, logits = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
        for values in (features,) if logits is None else (features, logits):
            if not isinstance(values, Tensor) or values.ndim != 2 or len(values) != len(images):
                shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
                raise InputError(
                    f"{self.name} gives {shape} for {len(images)} images, but a feature extractor gives (B, d), or a "
                    "pair of that and the logits (B, classes)."
                )
        return Features(features.float(), None if logits is None else logits.float())

    def _definition(self) -> str:
        return code_of(self.module)


def load_weights(module: nn.Module, weights_path: str) -> None:
    """Load a state dict, from a ``.safetensors`` file or one written by ``torch.save``.

    Args:
        module: Whose weights these are, all of them.
        weights_path: The file.

    Raises:
        InputError: If the file cannot be read, or the weights belong to another module.
    """
    path = Path(weights_path).expanduser()
    try:
        module.load_state_dict(_read_state(path))
    except Exception as error:  # pickle, zip, safetensors and load_state_dict each have their own
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path} has no weights for {type(module).__name__} ({reason}); give its state dict."
        ) from error


def _read_state(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
