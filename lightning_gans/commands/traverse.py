"""``traverse``: what each latent code does, as a labelled grid and as a GIF."""

from lightning_gans.commands.options import CommandParser, load, out_path, require_folder
from lightning_gans.errors import InputError
from lightning_gans.pictures import image_grid, save_gif, save_png
from lightning_gans.traversal import traversal_images, traversal_picture

DESCRIPTION = """Draw what each latent code does.

For every categorical code, and for every dimension of a continuous one, writes traverse_CODE.png, a grid
in which this code changes and all else is held, and traverse_CODE.gif, which steps through it, into the
folder --out (by default traversals/ in the checkpoint's run folder). Rows are ordered by and named after
the class that each category was matched to, where the run has measured it. Continuous codes go beyond the
range of their prior, twice as far, as in the paper's figure.
"""


def main(args: list[str]) -> None:
    """Run the command."""
    parser = CommandParser("traverse", DESCRIPTION)
    parser.add_argument("--code", help="only this code (default: all)")
    parser.add_argument("--columns", type=int, default=10, help="columns of each grid (default: 10)")
    parser.add_argument("--frames", type=int, default=24, help="frames of a continuous code's GIF (default: 24)")
    parser.add_argument("--seed", type=int, default=0, help="key of the latents that are held")
    options = parser.parse(args)
    for name in ("columns", "frames"):
        if getattr(options, name) < 2:
            raise InputError(f"--{name} is {getattr(options, name)}, but must be 2 or more")
    require_folder(options.out)
    module = load(options)
    axes = module.latent.axes
    if options.code is not None:
        module.latent.prior(options.code)
        axes = [axis for axis in axes if axis.code == options.code]
    if not axes:
        raise InputError(f"the checkpoint {options.ckpt_path} has no latent codes to traverse; try `sample`")
    if len(module.generator.sample_shape) != 3:
        raise InputError(f"the checkpoint {options.ckpt_path} holds a model of points, and only images are traversed")
    folder = out_path(options, "traversals")
    for axis in axes:
        path = folder / f"traverse_{axis}.png"
        save_png(traversal_picture(module, axis, options.columns, options.seed), path)
        print(path)
        frames = []
        if axis.index is None:
            # one frame for each category: the same noise, category after category
            grid = traversal_images(module, axis, options.columns, options.seed)
            for row, label in zip(grid.images, grid.row_labels, strict=True):
                frames.append(image_grid(row.unsqueeze(0), None, None, label))
        else:
            # one frame for each value: all categories side by side
            grid = traversal_images(module, axis, options.frames, options.seed)
            labels = grid.column_labels or [""] * options.frames
            for column, label in zip(grid.images.transpose(0, 1), labels, strict=True):
                frames.append(image_grid(column.unsqueeze(0), None, None, f"{axis} = {label}"))
        path = path.with_suffix(".gif")
        seconds = 0.6 if axis.index is None else 0.1
        save_gif(frames, path, seconds_per_frame=seconds, there_and_back=axis.index is not None)
        print(path)
