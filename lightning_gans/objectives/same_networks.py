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
    only_saved, only_own = sorted(saved.keys() - own.keys()), sorted(own.keys() - saved.keys())
    surplus, missing = _networks(only_saved), _networks(only_own)
    differences = [f"has {name}, which the configuration does not make" for name in surplus - missing]
    differences += [f"has no {name}, which the configuration makes" for name in missing - surplus]
    differences += [
        f"has a {name} of other layers than the configuration's (one has {only_saved[0]}, the other {only_own[0]})"
        for name in surplus & missing
    ]
    if differences:
        raise InputError(
            f"the checkpoint {' and '.join(sorted(differences))}; networks and averages must be those that its run "
            "began with"
        )


def _networks(names: Iterable[str]) -> set[str]:
    """What the weights belong to, by the attribute of the module."""
    return {name.partition(".")[0] for name in names}
