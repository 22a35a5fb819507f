from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_gans import pictures
from lightning_gans.pictures import GAP, MARGIN, image_grid, save_gif, save_images, save_png


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def pixels(picture: Image.Image) -> np.ndarray:
    """(H, W, C)."""
    array = np.asarray(picture)
    return array[:, :, None] if array.ndim == 2 else array


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_cells_hold_the_images_enlarged_without_smoothing(channels: int, mode: str) -> None:
    images = noise(2, 3, channels, 5, 4)
    picture = image_grid(images, scale=3)
    assert picture.mode == mode
    assert picture.size == (2 * MARGIN + 3 * 12 + 2 * GAP, 2 * MARGIN + 2 * 15 + GAP)
    array = pixels(picture)
    covered = np.zeros(array.shape[:2], dtype=bool)
    for row in range(2):
        for column in range(3):
            place = np.s_[MARGIN + row * (15 + GAP) :, MARGIN + column * (12 + GAP) :]
            expected = images[row, column].permute(1, 2, 0).numpy().repeat(3, 0).repeat(3, 1)
            np.testing.assert_array_equal(array[place][:15, :12], expected)
            covered[place][:15, :12] = True
    assert (array[~covered] == 255).all()


@pytest.mark.parametrize(("side", "cell"), [(1, 56), (8, 56), (28, 56), (32, 64), (48, 48), (64, 64), (128, 128)])
def test_default_scale(side: int, cell: int) -> None:
    assert image_grid(noise(1, 1, 1, side, side)).size == (2 * MARGIN + cell,) * 2


def test_labels_are_drawn_in_the_margins_and_never_cut() -> None:
    images = torch.zeros(2, 2, 1, 28, 28, dtype=torch.uint8)
    plain = image_grid(images)
    picture = image_grid(images, ["digit=3 → 7, 97 %", "–"], ["a column label of length", "–"], "title\ntwo" * 9)
    array = np.asarray(picture)
    left = MARGIN + pictures._widest([pictures._legible("digit=3 → 7, 97 %")], pictures._font(13))
    assert picture.width > left + plain.width - 2 * MARGIN
    top = picture.height - plain.height + MARGIN
    assert (array[top:, :left] < 128).any(), "row labels"
    assert (array[:top, left:] < 128).any(), "column labels and title"
    frame = np.ones_like(array, dtype=bool)
    frame[4:-4, 4:-4] = False
    assert (array[frame] == 255).all(), "text reaches the border"


def test_a_label_stands_at_its_row_and_over_its_column() -> None:
    images = torch.full((3, 3, 1, 28, 28), 255, dtype=torch.uint8)
    array = np.asarray(image_grid(images, ["", "M", ""], ["", "M", ""]))
    dark = np.argwhere(array < 128)
    middle_y = array.shape[0] - MARGIN - 28 * 2 - GAP - 28
    middle_x = array.shape[1] - MARGIN - 28 * 2 - GAP - 28
    row_label, column_label = dark[dark[:, 1] < 30], dark[dark[:, 0] < 25]
    assert abs(row_label[:, 0].mean() - middle_y) < 4
    assert abs(column_label[:, 1].mean() - middle_x) < 2


@pytest.mark.parametrize("length", [1, 5, 12, 40])
@pytest.mark.parametrize("pitch", [10, 58, 66])
def test_neighbouring_labels_do_not_touch(length: int, pitch: int) -> None:
    labels = ["m" * length] * 10
    font, every = pictures._fit(labels, pitch, along_text=True)
    assert font.getlength(labels[0]) < every * pitch
    font, every = pictures._fit(labels, pitch, along_text=False)
    assert sum(font.getmetrics()) <= every * pitch


def test_letters_that_the_font_lacks_are_spelled_out() -> None:
    spelled = pictures._legible("λ→σ² – é\nΛ − 日 ±½")
    assert spelled == "lambda->sigma2 - e Lambda - ? ±1⁄2"
    assert all(pictures._has_glyph(character) for character in spelled if character != " ")


@pytest.mark.parametrize(
    "images",
    [noise(2, 2, 1, 4, 4).float(), noise(2, 1, 4, 4), noise(2, 2, 2, 4, 4), noise(2, 0, 1, 4, 4)],
)
def test_other_images_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"uint8|shape \(rows, columns, C, H, W\)"):
        image_grid(images)


def test_other_labels_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows of images need 2 row labels, not 1"):
        image_grid(noise(2, 3, 1, 4, 4), row_labels=["a"])
    with pytest.raises(ValueError, match="3 columns of images need 3 column labels, not 0"):
        image_grid(noise(2, 3, 1, 4, 4), column_labels=[])
    with pytest.raises(ValueError, match="scale"):
        image_grid(noise(2, 3, 1, 4, 4), scale=0)


def test_png_holds_the_picture(tmp_path: Path) -> None:
    picture = image_grid(noise(1, 2, 3, 8, 8), title="λ")
    save_png(picture, tmp_path / "new" / "grid.png")
    with Image.open(tmp_path / "new" / "grid.png") as read:
        assert read.format == "PNG"
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))


@pytest.mark.parametrize(("there_and_back", "levels"), [(False, [0, 90, 180]), (True, [0, 90, 180, 90])])
@pytest.mark.parametrize("loop", [True, False])
def test_gif_shows_every_frame(tmp_path: Path, there_and_back: bool, levels: list[int], loop: bool) -> None:
    frames = [Image.new("L", (8, 6), level) for level in (0, 90, 180)]
    path = tmp_path / "walk.gif"
    save_gif(frames, path, seconds_per_frame=0.2, loop=loop, there_and_back=there_and_back)
    with Image.open(path) as read:
        assert read.n_frames == len(levels)
        assert ("loop" in read.info) == loop
        for index, level in enumerate(levels):
            read.seek(index)
            assert read.info["duration"] == 200
            assert set(read.convert("L").tobytes()) == {level}


def test_gif_of_one_frame_and_of_colours(tmp_path: Path) -> None:
    save_gif([Image.new("L", (8, 6))], tmp_path / "one.gif", there_and_back=True)
    frames = [image_grid(noise(1, 1, 3, 8, 8)), image_grid(255 - noise(1, 1, 3, 8, 8))]
    save_gif(frames, tmp_path / "two.gif")
    for name, number in (("one", 1), ("two", 2)):
        with Image.open(tmp_path / f"{name}.gif") as read:
            assert read.n_frames == number


def test_impossible_animations_are_refused(tmp_path: Path) -> None:
    small, large = Image.new("L", (8, 6)), Image.new("L", (9, 6))
    with pytest.raises(ValueError, match="at least one frame"):
        save_gif([], tmp_path / "a.gif")
    with pytest.raises(ValueError, match="one size"):
        save_gif([small, large], tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"0\.01 seconds"):
        save_gif([small], tmp_path / "a.gif", seconds_per_frame=0)


def test_a_failing_save_leaves_nothing_new_and_the_old_file_whole(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "grid.png"
    path.write_bytes(b"old")

    def half(self: Image.Image, target: Path, *args: object, **kwargs: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", half)
    frame = Image.new("L", (2, 2))
    with pytest.raises(OSError, match="disk full"):
        save_png(frame, path)
    with pytest.raises(OSError, match="disk full"):
        save_gif([frame], tmp_path / "walk.gif")
    with pytest.raises(OSError, match="disk full"):
        save_images(noise(1, 1, 2, 2), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["grid.png"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_numbered_files(tmp_path: Path, channels: int) -> None:
    images = noise(3, channels, 5, 4)
    paths = save_images(images, tmp_path / "out", start=9)
    assert [path.name for path in paths] == ["000009.png", "000010.png", "000011.png"]
    for image, path in zip(images, paths, strict=True):
        with Image.open(path) as read:
            np.testing.assert_array_equal(pixels(read), image.permute(1, 2, 0).numpy())
    assert save_images(images[:1], tmp_path, stem="fake_")[0].name == "fake_000000.png"


def test_numbered_files_refuse_other_input(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        save_images(noise(1, 1, 2, 2).float(), tmp_path)
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        save_images(noise(1, 2, 2), tmp_path)
    with pytest.raises(ValueError, match="from 0 on"):
        save_images(noise(1, 1, 2, 2), tmp_path, start=-1)
