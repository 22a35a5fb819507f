"""Small handwritten digits that need no download: scikit-learn's, brought to MNIST's format."""

import torch
from torch.nn import functional

from lightning_gans.data.split import ImageSplit

TEST_PER_CLASS = 30
VALIDATION_PER_CLASS = 20
_SPLIT_KEY = 1797


def load_digits_split(name: str) -> ImageSplit:
    """Give one split of the 1,797 digits that come with scikit-learn (UCI optical recognition, test part).

    Every class gives 30 images to ``test`` and 20 to ``validation``, so these hold 300 and 200 images; the
    remaining 1,297 are ``train``. Which ones is fixed. The images are chosen at random within the class
    because the file is ordered by writer.

    The 8x8 images (values 0 to 16) are enlarged bilinearly to 20x20 and centred in 28x28, as MNIST's digits
    lie in a box of 20x20.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = torch.from_numpy(digits.target).long()
    generator = torch.Generator().manual_seed(_SPLIT_KEY)
    chosen = []
    for label in range(10):
        of_class = (labels == label).nonzero().flatten()
        of_class = of_class[torch.randperm(len(of_class), generator=generator)]
        end = TEST_PER_CLASS + VALIDATION_PER_CLASS
        parts = {
            "test": slice(TEST_PER_CLASS),
            "validation": slice(TEST_PER_CLASS, end),
            "train": slice(end, None),
        }
        chosen.append(of_class[parts[name]])
    index = torch.cat(chosen).sort().values

    images = torch.from_numpy(digits.images)[index, None].double()  # double: one rounding, the same everywhere
    images = functional.interpolate(images, size=(20, 20), mode="bilinear") * (255 / 16)
    images = images.add(0.5).floor().clamp(0, 255).to(torch.uint8)
    return ImageSplit(functional.pad(images, (4, 4, 4, 4)), labels[index])
