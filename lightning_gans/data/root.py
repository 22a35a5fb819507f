"""Where data are looked for."""

import os


def data_root(root: str | None) -> str:
    """The folder of all data.

    Args:
        root: What was asked for; null for LIGHTNING_GANS_DATA, and where that is not set for ``data``.
    """
    return os.environ.get("LIGHTNING_GANS_DATA", "data") if root is None else root
