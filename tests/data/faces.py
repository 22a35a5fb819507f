"""A small CelebA in the exact layout of the published one: drawn faces whose attributes can be seen."""

import builtins
import io
import zipfile
from pathlib import Path

import numpy
from PIL import Image, ImageDraw

ATTRIBUTES = [
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
]
"""The 40 attributes in the published order; those in `SHOWN` are drawn, the others are noise."""
HAIR = {
    "Black_Hair": (25, 20, 22),
    "Blond_Hair": (225, 195, 110),
    "Brown_Hair": (105, 65, 35),
    "Gray_Hair": (160, 160, 165),
}
HATS = ((170, 30, 40), (30, 70, 160), (40, 130, 60))
SHOWN = (*HAIR, "Eyeglasses", "Goatee", "Male", "No_Beard", "Pale_Skin", "Smiling", "Wearing_Hat", "Wearing_Lipstick")
FACES_OF_A_PERSON = 4


def write_celeba(
    folder: Path, images: int = 60, size: tuple[int, int] = (178, 218), zip: bool = False, seed: int = 0
) -> numpy.ndarray:
    """Write ``<folder>/celeba/...`` with all lists; images are JPEG, three quarters of them for training.

    Args:
        folder: Where ``celeba`` is made.
        images: How many; 16 or more, so that no split is empty.
        size: (width, height).
        zip: Whether the images stay in ``img_align_celeba.zip``.
        seed: Of everything that is drawn.

    Returns:
        The attributes, uint8 of 0 and 1, (images, 40).
    """
    random = numpy.random.default_rng(seed)
    home = folder / "celeba"
    home.mkdir(parents=True, exist_ok=True)
    attributes = numpy.stack([draw_attributes(random) for _ in range(images)])
    names = [f"{number:06d}.jpg" for number in range(1, images + 1)]
    files = ((name, jpeg(draw_face(row, size, random))) for name, row in pair(names, attributes))
    if zip:
        with zipfile.ZipFile(home / "img_align_celeba.zip", "w") as archive:
            archive.writestr("img_align_celeba/", b"")
            for name, content in files:
                archive.writestr(f"img_align_celeba/{name}", content)
    else:
        (home / "img_align_celeba").mkdir(exist_ok=True)
        for name, content in files:
            (home / "img_align_celeba" / name).write_bytes(content)

    # persons come in a row, so that none is in two splits; as published, there is a space after the last attribute's
    # name, and a value takes two places
    persons = numpy.arange(images) // FACES_OF_A_PERSON
    people = persons[-1] + 1
    splits = numpy.digitize(persons, [people * 3 // 4, people * 7 // 8])
    rows = [
        f"{name} {' '.join(f'{2 * int(value) - 1:2d}' for value in row)}\n" for name, row in pair(names, attributes)
    ]
    (home / "list_attr_celeba.txt").write_text(f"{images}\n{' '.join(ATTRIBUTES)} \n{''.join(rows)}")
    lines = [f"{name} {split}\n" for name, split in pair(names, splits)]
    (home / "list_eval_partition.txt").write_text("".join(lines))
    lines = [f"{name} {person + 1}\n" for name, person in pair(names, persons)]
    (home / "identity_CelebA.txt").write_text("".join(lines))
    return attributes


def pair(left, right):
    return builtins.zip(left, right, strict=True)


def draw_attributes(random: numpy.random.Generator) -> numpy.ndarray:
    """Attributes that do not contradict one another: one colour of hair, no bearded women, lipstick on no man."""
    has = dict(pair(ATTRIBUTES, random.random(len(ATTRIBUTES)) < 0.3))
    has |= dict.fromkeys(HAIR, False) | {str(random.choice(list(HAIR))): True, "Bald": False}
    has["Male"], has["Smiling"], has["Young"] = (bool(value) for value in random.random(3) < (0.42, 0.48, 0.77))
    has["Goatee"] = bool(has["Male"] and random.random() < 0.4)
    has["No_Beard"] = not has["Goatee"]
    has["5_o_Clock_Shadow"] = has["Mustache"] = has["Sideburns"] = False
    has["Wearing_Lipstick"] = bool(not has["Male"] and random.random() < 0.8)
    return numpy.array([has[name] for name in ATTRIBUTES], numpy.uint8)


def draw_face(attributes: numpy.ndarray, size: tuple[int, int], random: numpy.random.Generator) -> Image.Image:
    """A face with the attributes; where it lies, its shape and the background vary."""
    has = dict(pair(ATTRIBUTES, attributes.astype(bool)))
    width, height = size
    # in units of the published size, with the eyes where alignment puts them
    x0, y0 = 89 + random.normal(0, 2), 125 + random.normal(0, 2)
    a, b = 42 + random.normal(0, 2.5), 55 + random.normal(0, 2.5)
    base = random.integers(40, 215, 3)
    noise = base + random.normal(0, 25, (6, 5, 3))
    ground = Image.fromarray(noise.clip(0, 255).astype(numpy.uint8)).resize((178, 218), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(ground)

    def colour(values, spread: float = 8) -> tuple[int, ...]:
        return tuple(int(v) for v in (numpy.array(values) + random.normal(0, spread)).clip(0, 255))

    def oval(x: float, y: float, rx: float, ry: float, fill, **more) -> None:
        draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=fill, **more)

    hair = colour(next(rgb for name, rgb in HAIR.items() if has[name]))
    skin = colour((250, 226, 214) if has["Pale_Skin"] else (214, 164, 128), 6)
    dark = tuple(int(value * 0.6) for value in skin)
    if not has["Male"]:  # long hair, behind the face
        draw.rounded_rectangle((x0 - a - 16, y0 - b - 8, x0 + a + 16, y0 + b + 30), 40, fill=hair)
    draw.rectangle((x0 - 18, y0 + 30, x0 + 18, 218), fill=dark)
    draw.pieslice((x0 - 80, y0 + b + 8, x0 + 80, y0 + b + 130), 180, 360, fill=colour(random.integers(20, 230, 3)))
    oval(x0, y0 - 10, a + 5, b + 5, hair)
    oval(x0, y0, a, b, skin)
    draw.pieslice((x0 - a - 3, y0 - b - 14, x0 + a + 3, y0 + b - 40), 190, 350, fill=hair)
    if has["Goatee"]:
        draw.chord((x0 - 27, y0 + 8, x0 + 27, y0 + b + 3), 15, 165, fill=hair)
    eyes = [(x0 - 18, y0 - 10), (x0 + 18, y0 - 10)]
    iris = colour((70, 90, 110), 25)
    for x, y in eyes:
        oval(x, y, 8, 4.5, (245, 245, 245))
        oval(x, y, 3.8, 3.8, iris)
        draw.line((x - 10, y - 11, x + 10, y - 12), fill=hair, width=4 if has["Male"] else 2)
    if has["Eyeglasses"]:
        for x, y in eyes:
            oval(x, y, 14, 11, None, outline=(15, 15, 20), width=3)
        draw.line((x0 - 4, y0 - 10, x0 + 4, y0 - 10), fill=(15, 15, 20), width=3)
    draw.line((x0, y0 - 4, x0 - 4, y0 + 14, x0 + 4, y0 + 15), fill=dark, width=2)
    mouth = (190, 25, 50) if has["Wearing_Lipstick"] else (150, 85, 80)
    if has["Smiling"]:
        draw.chord((x0 - 19, y0 + 10, x0 + 19, y0 + 40), 15, 165, fill=(250, 250, 250), outline=mouth, width=4)
    else:
        draw.line((x0 - 13, y0 + 29, x0 + 13, y0 + 29), fill=mouth, width=5)
    if has["Wearing_Hat"]:
        hat = colour(HATS[random.integers(len(HATS))])
        draw.pieslice((x0 - a - 8, y0 - b - 40, x0 + a + 8, y0 + 10), 180, 360, fill=hat)
        draw.rectangle((x0 - a - 18, y0 - 32, x0 + a + 18, y0 - 24), fill=hat)
    return ground if size == (178, 218) else ground.resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image) -> bytes:
    """The bytes of a JPEG file, compressed as the published ones are (about 7 kB each)."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
