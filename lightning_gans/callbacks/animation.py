"""The pictures of a run, one after the other."""

from pathlib import Path

from lightning_gans.pictures import save_gif


def animate(folder: Path, name: str, seconds_per_frame: float = 0.4) -> None:
    """Write all ``step=*_<name>.png`` of a folder as one ``<name>.gif``, if there are two or more.

    They are read from the folder, so that a resumed run's animation is whole.

    Args:
        folder: The folder of the pictures, where the animation goes too.
        name: What they show.
        seconds_per_frame: How long each stays.
    """
    from PIL import Image

    frames = []
    # names of a million steps and more are longer
    for path in sorted(folder.glob(f"step=*_{name}.png"), key=lambda path: (len(path.name), path)):
        with Image.open(path) as frame:
            frames.append(frame.convert("RGB"))
    if len(frames) > 1:
        save_gif(frames, folder / f"{name}.gif", seconds_per_frame=seconds_per_frame)
