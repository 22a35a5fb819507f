"""Pictures as training goes: the same latents every time, and one traversal per code."""

from typing import TYPE_CHECKING

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lightning_gans.callbacks.drawing import Drawing
from lightning_gans.callbacks.publish import publish
from lightning_gans.errors import InputError
from lightning_gans.objectives import Adversarial
from lightning_gans.pictures import image_grid, save_png
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import SAMPLES, run_folder
from lightning_gans.traversal import traversal_picture

if TYPE_CHECKING:
    from PIL import Image


class Pictures(Drawing):
    """Draws a grid of samples and a traversal of every code at each validation and at the end.

    They are written to ``samples/`` in the run folder, and to W&B or TensorBoard where that logger is on.
    The latents are the same every time, so that a sequence of pictures shows training and nothing else.

    Args:
        rows: Rows of the sample grid.
        columns: Columns of every grid.
    """

    def __init__(self, rows: int = 10, columns: int = 10):
        super().__init__()
        if rows < 1 or columns < 1:
            raise InputError(f"pictures needs at least 1 row and 1 column, but has {rows} and {columns}")
        self.rows = rows
        self.columns = columns

    @rank_zero_only
    def draw(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw samples, and what each code does."""
        folder = run_folder(trainer)
        if folder is None or not isinstance(module, Adversarial) or module.generator.output_range is None:
            return  # points have pictures of their own
        pictures = {"samples": self._grid(module, trainer.global_step)}
        for axis in module.latent.axes:
            pictures[f"traverse_{axis}"] = traversal_picture(module, axis, self.columns)
        for name, picture in pictures.items():
            path = folder / SAMPLES / f"step={trainer.global_step:06d}_{name}.png"
            save_png(picture, path)
            publish(trainer, name, path, picture)

    def _grid(self, module: Adversarial, step: int) -> "Image.Image":
        generator = keyed_generator(module.device, module.seed, "sample grid")
        images = module.generate(module.latent.sample(self.rows * self.columns, generator)).cpu()
        grid = images.view(self.rows, self.columns, *images.shape[1:])
        return image_grid(grid, None, None, f"samples after {step} steps")
