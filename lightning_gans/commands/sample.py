"""``sample``: images from a checkpoint, with codes of one's choice."""

from pathlib import Path

import numpy

from lightning_gans.commands.options import CommandParser, code_values, fixed_codes, load, out_path, require_folder
from lightning_gans.data.image_files import SUFFIXES
from lightning_gans.errors import InputError
from lightning_gans.files import atomic_path
from lightning_gans.pictures import image_grid, save_images, save_png
from lightning_gans.randomness import keyed_generator

DESCRIPTION = """Draw images from a trained generator.

Writes one grid, samples.png, or with --files one numbered PNG file for each image, into the folder --out
(by default samples_drawn/ in the checkpoint's run folder, and samples_drawn/files/ for single files); --files
refuses a folder that holds other images, with which a score would mix them. A model of points writes samples.csv
instead, one row for each point.

Codes are drawn from their priors unless fixed:
  --codes.NAME VALUE    a category (--codes.digit 3) or a list of numbers (--codes.style '[-1.5,0]'),
                        also beyond the prior's range, which extrapolates
"""


def main(args: list[str]) -> None:
    """Run the command."""
    parser = CommandParser("sample", DESCRIPTION)
    parser.add_argument("-n", "--number", type=int, default=100, help="how many images (default: 100)")
    parser.add_argument("--columns", type=int, default=10, help="columns of the grid (default: 10)")
    parser.add_argument("--files", action="store_true", help="write one PNG file for each image instead of a grid")
    parser.add_argument("--seed", type=int, default=0, help="key of the latents; the same gives the same images")
    options, rest = parser.parse_known_args(args)
    codes = fixed_codes(rest, parser)
    for name in ("number", "columns"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} is {getattr(options, name)}, but must be 1 or more")
    if options.seed < 0:
        raise InputError(f"--seed is {options.seed}, but must be 0 or more")
    require_folder(options.out)
    module = load(options)
    fixed = code_values(module.latent, codes)
    folder = out_path(options, "samples_drawn/files" if options.files else "samples_drawn")
    if options.files:
        if len(module.generator.sample_shape) != 3:
            raise InputError("--files writes one image each, but this is a model of points; leave it out")
        require_no_others(folder, options.number)
    generator = keyed_generator(module.device, options.seed, "sample command")
    images = module.generate(module.latent.sample(options.number, generator, fixed)).cpu()
    if images.ndim == 2:
        path = folder / "samples.csv"
        with atomic_path(path) as temporary:
            numpy.savetxt(temporary, images.numpy(), fmt="%.8g", delimiter=",")
        print(path)
        return
    if options.files:
        paths = save_images(images, folder)
        print(f"{len(paths)} images written to {folder}")
        return
    columns = min(options.columns, options.number)
    rows = -(-options.number // columns)
    # an incomplete last row ends in white
    grid = images.new_full((rows * columns, *images.shape[1:]), 255)
    grid[: options.number] = images
    path = folder / "samples.png"
    save_png(image_grid(grid.view(rows, columns, *images.shape[1:]), None, None, None), path)
    print(path)


def require_no_others(folder: Path, number: int) -> None:
    """Refuse a folder in which other images would lie beside those that are written: a score would mix them.

    Args:
        folder: Where they are written; those of an earlier draw of as many are replaced.
        number: How many.

    Raises:
        InputError: If it holds others, of a larger draw for example.
    """
    written = {folder / f"{index:06d}.png" for index in range(number)}
    others = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f not in written)
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise InputError(
            f"{folder} already holds {others[0].relative_to(folder)}{more}, with which these images would be mixed; "
            "remove what is there, or give an empty folder as --out"
        )
