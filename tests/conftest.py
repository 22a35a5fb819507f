import os
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder that holds real MNIST, or a skip that says how to get it."""
    root = Path(os.environ.get("LIGHTNING_GANS_DATA", SHARED_DATA))
    if not (root / "MNIST" / "raw" / "train-images-idx3-ubyte").is_file():
        pytest.skip(f"no MNIST under {root}; set LIGHTNING_GANS_DATA")
    return root
