"""From the word in a configuration to a feature extractor."""

from difflib import get_close_matches
from importlib import import_module

from torch import nn

from lightning_gans.errors import InputError
from lightning_gans.metrics.features.base import FeatureExtractor
from lightning_gans.metrics.features.inception import Inception
from lightning_gans.metrics.features.mnist_convnet import MNISTConvNet
from lightning_gans.metrics.features.module import ModuleExtractor, load_weights

EXTRACTORS: dict[str, type[Inception | MNISTConvNet]] = {"inception": Inception, "mnist-convnet": MNISTConvNet}
"""The feature extractors that have a name."""


def make_extractor(
    spec: str, weights_path: str | None = None, image_shape: tuple[int, int, int] = (1, 28, 28)
) -> FeatureExtractor:
    """Make the feature extractor that a configuration asks for.

    Args:
        spec: ``inception``, ``mnist-convnet``, or the class path of a `torch.nn.Module` that can be made without
            arguments and maps uint8 images to features (see `ModuleExtractor`), like ``torch.nn.Flatten``.
        weights_path: The file of its weights. For the two with a name, where the one file lies that they accept;
            for a module, its state dict (``.safetensors`` or ``torch.save``).
        image_shape: ``(C, H, W)`` of the images; only a module needs to know.

    Returns:
        The extractor, frozen, on the CPU.

    Raises:
        InputError: If there is no such extractor, or its weights are missing or wrong.
    """
    if spec in EXTRACTORS:
        return EXTRACTORS[spec](weights_path)
    if "." not in spec:
        raise InputError(f"There is no feature extractor {spec!r}{_choices(spec, list(EXTRACTORS))}.")
    try:
        module = _find_class(spec)()
    except TypeError as error:
        raise InputError(
            f"{spec} cannot be made without arguments ({error}); give the path of a class that can."
        ) from error
    if weights_path is not None:
        load_weights(module, weights_path)
    return module if isinstance(module, FeatureExtractor) else ModuleExtractor(module, image_shape)


def _find_class(path: str) -> type[nn.Module]:
    """Import ``package.module.Class``."""
    module_name, _, name = path.rpartition(".")
    try:
        module = import_module(module_name)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"The feature extractor {path} cannot be imported ({error}){_choices(path, list(EXTRACTORS))}."
        ) from error
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, nn.Module):
        return found
    if found is not None:
        raise InputError(
            f"{path} is no class of torch.nn.Module, so it cannot be a feature extractor; name one that is."
        )
    modules = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)]
    near = "".join(f"; did you mean {module_name}.{match}?" for match in get_close_matches(name, modules, 1))
    raise InputError(f"{module_name} has no {name} to extract features with{near or '.'}")


def _choices(spec: str, known: list[str]) -> str:
    near = get_close_matches(spec.lower().replace("_", "-"), known, 1)
    meant = f"did you mean {near[0]}? Else " if near else ""
    return f"; {meant}choose {', '.join(known)}, or the class path of a torch.nn.Module"
