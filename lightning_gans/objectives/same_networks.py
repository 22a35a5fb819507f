"""Whether the weights of a checkpoint are those of the networks that a configuration makes."""

from collections.abc import Iterable

from torch import Tensor

from lightning_gans.errors import InputError


def require_same_networks(saved: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Refuse weights of networks, or of averages of them, that differ from one's own.

    Args:
        saved: The "state_dict" of a checkpoint.
        own: That of the module it is loaded into.

    Raises:
        InputError: Naming what differs first.
    """
    for name, weights in saved.items():
        if name in own and own[name].shape != weights.shape:
            raise InputError(
                f"the checkpoint's networks have another size: {name} is {tuple(weights.shape)} there and "
                f"{tuple(own[name].shape)} in the configuration"
            )
    surplus, missing = _networks(saved.keys() - own.keys()), _networks(own.keys() - saved.keys())
    if surplus or missing:
        differences = [f"has {', '.join(surplus)}, which the configuration does not make"] if surplus else []
        differences += [f"has no {', '.join(missing)}, which the configuration makes"] if missing else []
        raise InputError(
            f"the checkpoint {' and '.join(differences)}; a run goes on only with the networks and averages that it "
            "began with"
        )


def _networks(names: Iterable[str]) -> list[str]:
    """What the weights belong to, by the attribute of the module."""
    return sorted({name.partition(".")[0] for name in names})
