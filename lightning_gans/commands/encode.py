"""``encode``: the codes of images, with the parameters of Q's posterior."""

import csv
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_gans.checkpoint import configuration, load_data
from lightning_gans.checkpoint_file import read_checkpoint
from lightning_gans.commands.options import CommandParser, load, out_path
from lightning_gans.data import ImageDataModule
from lightning_gans.data.image_files import find_images, read_image, read_upright
from lightning_gans.data.preprocessing import Preprocessing, Unreadable
from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path
from lightning_gans.objectives import InfoGAN
from lightning_gans.traversal import matching_of

DESCRIPTION = """Read the latent codes of images.

IMAGES are image files or folders of them (read as the files that the model was trained on were, cropped and
resized; else converted to the model's size and number of channels, 16 bits scaled to 8, transparency laid on
black), or with --split the images of a split of the run's own data.
Writes one record for each image: the category with its probabilities, or the mean and standard deviation
of each continuous code; and the class that the category was matched to, where the run has measured it.
The file is --out (by default codes.csv in the checkpoint's run folder); its suffix, .csv or .json, chooses
the format.
"""


def main(args: list[str]) -> None:
    """Run the command."""
    parser = CommandParser("encode", DESCRIPTION, out="FILE")
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGES", help="image files or folders of them")
    parser.add_argument("--split", choices=("train", "validation", "test"), help="a split of the run's own data")
    options = parser.parse(args)
    if bool(options.images) == bool(options.split):
        raise InputError("encode needs either image files or folders, or --split train|validation|test")
    out = out_path(options, "codes.csv")
    if out.suffix not in (".csv", ".json"):
        raise InputError(f"--out is {out}, but its suffix must be .csv or .json")
    module = load(options)
    if not isinstance(module, InfoGAN):
        raise InputError(
            f"the checkpoint {options.ckpt_path} holds a {type(module).__name__}, which has no Q to read codes with"
        )
    if options.split:
        data = load_data(options.ckpt_path)
        if not isinstance(data, ImageDataModule):
            raise InputError(f"{type(data).__name__} has no image splits to encode")
        images = data.split(options.split).images
        names = [f"{options.split}/{index}" for index in range(len(images))]
    else:
        if len(module.generator.sample_shape) != 3:
            raise InputError(f"the checkpoint {options.ckpt_path} holds a model of points, not of images")
        files = find_images(options.images)
        names = [str(file) for file in files]
        preprocessing = preprocessing_of(options.ckpt_path)
        images = torch.stack([read(file, module.generator.sample_shape, preprocessing) for file in files])
    posterior = torch.cat([module.encode(part.to(module.device)).cpu() for part in images.split(1000)])
    records = code_records(module, posterior, names)
    write(records, out)
    print(f"{len(records)} images encoded to {out}")


def preprocessing_of(checkpoint: Path) -> Preprocessing | None:
    """What was done to the image files that a model was trained on; None where its data were no files."""
    arguments = configuration(read_checkpoint(checkpoint), checkpoint)["data"].get("init_args", {})
    if "crop" not in arguments:
        return None
    return Preprocessing(arguments["size"], arguments["crop"], arguments.get("channels", 3))


def read(file: Path, shape: tuple[int, ...], preprocessing: Preprocessing | None) -> Tensor:
    """An image as the model's own data are read; one of the model's size, as samples are, just as it is."""
    if preprocessing is not None and read_upright(file).size != (shape[2], shape[1]):
        try:
            return torch.from_numpy(preprocessing(file.read_bytes()))
        except Unreadable as error:
            raise InputError(f"{file} cannot be encoded: {error}") from error
    return read_image(file, shape)  # type: ignore[arg-type]


def code_records(module: InfoGAN, posterior: Tensor, names: list[str]) -> list[dict[str, Any]]:
    """One record for each image.

    Args:
        module: The trained model.
        posterior: Q's output for the images, shape (N, posterior_size).
        names: N names.

    Returns:
        Records with "image", and for each code its posterior parameters.
    """
    records: list[dict[str, Any]] = [{"image": name} for name in names]
    for name, part in module.latent.split_posterior(posterior).items():
        parameters = {key: value.tolist() for key, value in module.latent.prior(name).parameters(part).items()}
        matching = matching_of(module, name) if name in module.latent.categorical else None
        for index, record in enumerate(records):
            values = {key: rows[index] for key, rows in parameters.items()}
            if "probabilities" in values:
                category = max(range(len(values["probabilities"])), key=values["probabilities"].__getitem__)
                record[name] = category
                if matching is not None:
                    record[f"{name}.class"] = matching.classes[category]
            for key, value in values.items():
                record[f"{name}.{key}"] = value
    return records


def write(records: list[dict[str, Any]], path: Path) -> None:
    """Write records as JSON, or as CSV with one column for each number; atomically."""
    with atomic_path(path) as temporary:
        if path.suffix == ".json":
            temporary.write_text(json.dumps(records, indent=1) + "\n")
            return
        rows = [_flat(record) for record in records]
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, list):
            flat |= {f"{key}[{index}]": f"{number:.6g}" for index, number in enumerate(value)}
        else:
            flat[key] = value
    return flat
