"""torch-fidelity's command line, with our extractor added to its choices.

    python -m lightning_gans.metrics.features.fidelity \
        --feature-extractor mnist-convnet --isc --fid --kid --prc --input1 FOLDER --input2 FOLDER

torch-fidelity has no plugins: its own command ``fidelity`` cannot know what is registered elsewhere. All options
are torch-fidelity's (``--help``); folders hold PNGs. Give ``--kid-subset-size`` if there are fewer than 1,000.
"""

import sys

from lightning_gans.errors import InputError
from lightning_gans.metrics.features.fidelity_registration import register_with_torch_fidelity


def main() -> None:
    """Register ours, then do what ``fidelity`` does."""
    from torch_fidelity.fidelity import main as fidelity

    register_with_torch_fidelity()
    try:
        fidelity()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
