from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from lightning_gans.data import ImageFolderDataModule
from lightning_gans.errors import InputError

MODES = ("RGB", "L", "RGBA", "P")
FORMATS = ("png", "jpg", "webp", "PNG", "jpeg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """60 images of several formats, modes and sizes in nested folders, and other files between them."""
    root = tmp_path_factory.mktemp("flowers")
    random = numpy.random.default_rng(0)
    for number in range(60):
        width, height = random.integers(20, 40, 2)
        image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=numpy.uint8))
        suffix = FORMATS[number % len(FORMATS)]
        mode = MODES[number % len(MODES)] if suffix.lower() == "png" else "RGB"
        path = root / "abc"[number % 3] / f"{number}.{suffix}"
        path.parent.mkdir(exist_ok=True)
        image.convert(mode).save(path)
    (root / "readme.txt").write_text("no image")
    (root / ".hidden.png").write_text("no image")
    return root


def data_of(folder: Path, **options) -> ImageFolderDataModule:
    return ImageFolderDataModule(
        str(folder), **({"size": 8, "validation_fraction": 0.2, "test_fraction": 0.2} | options)
    )


def splits(data: ImageFolderDataModule) -> dict[str, set[bytes]]:
    names = ("train", "validation", "test")
    return {name: {image.numpy().tobytes() for image in data.split(name).images} for name in names}


def test_every_image_is_in_one_split(folder):
    data = data_of(folder)
    found = splits(data)
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 60
    assert len(found["train"]) > 25
    assert data.name.startswith(f"{folder.name} (largest centred square")
    assert data.num_classes == 0
    batch = next(iter(data.val_dataloader()))
    assert set(batch) == {"image"}
    assert batch["image"].shape[1:] == data.sample_shape == (3, 8, 8)


def test_pixels_are_pillows_own(folder):
    found = set.union(*splits(data_of(folder)).values())
    for path in folder.rglob("*.jp*g"):
        with Image.open(path) as image:
            side = min(image.size)
            left, top = round((image.width - side) / 2), round((image.height - side) / 2)
            small = image.crop((left, top, left + side, top + side)).resize((8, 8), Image.Resampling.BILINEAR)
        assert numpy.asarray(small).transpose(2, 0, 1).tobytes() in found


def test_grey(folder):
    data = data_of(folder, channels=1)
    assert data.sample_shape == tuple(data.split("train").images.shape[1:]) == (1, 8, 8)


def test_transparency_is_laid_on_black(tmp_path):
    for number in range(40):
        Image.new("RGBA", (9, 9), (255, 255, 255, number)).save(tmp_path / f"{number}.png")
    values = {int(image[0]) for images in splits(data_of(tmp_path)).values() for image in images}
    assert values == set(range(40))


def test_photographs_stand_upright(tmp_path):
    for number in range(40):
        pixels = numpy.zeros((16, 16, 3), numpy.uint8)
        pixels[:8] = 200  # bright above
        exif = Image.Exif()
        exif[0x0112] = 3  # but the camera was held upside down
        Image.fromarray(pixels + number).save(tmp_path / f"{number}.png", exif=exif)
    images = data_of(tmp_path).split("train").images
    assert (images[:, :, 7] > images[:, :, 0]).all()


def test_an_added_image_does_not_move_the_others_and_is_another_array(folder, tmp_path):
    before = data_of(folder)
    for path in folder.rglob("*.*g*"):
        target = tmp_path / path.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    small = data_of(tmp_path)
    small_splits = splits(small)
    random = numpy.random.default_rng(1)
    Image.fromarray(random.integers(0, 256, (20, 20, 3), dtype=numpy.uint8)).save(tmp_path / "a" / "new.png")
    larger = data_of(tmp_path)
    assert small.locate()[0] != before.locate()[0]
    assert larger.array.folder != small.array.folder
    larger_splits = splits(larger)
    assert all(small_splits[name] <= larger_splits[name] for name in small_splits)
    assert sum(map(len, larger_splits.values())) == sum(map(len, small_splits.values())) + 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"root": "/no/such/folder"}, "/no/such/folder does not exist"),
        ({"root": __file__}, "is no folder"),
        ({"validation_fraction": 0.0}, "above 0"),
        ({"test_fraction": 0.9}, "together below 1"),
        ({"channels": 2}, "channels is 2"),
        ({"crop": 25}, "images of flowers.* cannot be read: .*too small for a crop of 25"),
        ({"validation_fraction": 1e-9}, "none of the 60 images .* validation split"),
    ],
)
def test_bad_options_are_refused(folder, change, words):
    with pytest.raises(InputError, match=words):
        data_of(**({"folder": change.pop("root", folder)} | change)).split("train")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no images \(.png, .jpg, .jpeg, .webp\)"):
        data_of(tmp_path).split("train")


def test_mirroring_is_off_unless_asked_for(folder):
    plain, images = data_of(folder, batch_size=4), data_of(folder).split("train").images
    seen = torch.cat([batch["image"] for batch in plain.train_dataloader()])
    assert {image.numpy().tobytes() for image in seen} <= {image.numpy().tobytes() for image in images}
    mirrored = torch.cat([b["image"] for b in data_of(folder, batch_size=4, horizontal_flip=True).train_dataloader()])
    assert not {image.numpy().tobytes() for image in mirrored} <= {image.numpy().tobytes() for image in images}
