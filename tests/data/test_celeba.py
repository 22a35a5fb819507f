import re
import shutil
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize

from lightning_gans.__main__ import main
from lightning_gans.data import CelebA, mapped
from lightning_gans.data.mapped import mirrored
from lightning_gans.data.sampler import epoch_order
from lightning_gans.errors import InputError
from lightning_gans.metrics import read_scores

from .faces import ATTRIBUTES, SHOWN, write_celeba
from .toy import Killed, SaveAt, Witness, trainer

IMAGES = 64
SIZES = {"train": 48, "validation": 8, "test": 8}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("celeba")
    write_celeba(folder, IMAGES)
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    write_celeba(folder, IMAGES, zip=True)
    return folder


@pytest.fixture
def own(published, tmp_path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(published, tmp_path / "own")
    return tmp_path / "own"


def celeba(root: Path, **options) -> CelebA:
    return CelebA(str(root), **({"size": 8, "batch_size": 6, "download": False} | options))


def image_file(root: Path, number: int) -> Path:
    return root / "celeba" / "img_align_celeba" / f"{number:06d}.jpg"


def refusal(root: Path, **options) -> str:
    with pytest.raises(InputError) as caught:
        celeba(root, **options).split("train")
    return str(caught.value)


# ---- what is served


@pytest.mark.parametrize(("size", "crop"), [(64, 148), (32, 108), (20, 177), (160, 148)])
def test_pixels_are_what_torchvisions_crop_and_resize_make_of_the_files(published, size, crop):
    data = celeba(published, size=size, crop=crop)
    transform = Compose([CenterCrop(crop), Resize(size)])
    numbers = iter(range(1, IMAGES + 1))
    for name in SIZES:
        images = data.split(name).images
        assert images.shape == (SIZES[name], *data.sample_shape) == (SIZES[name], 3, size, size)
        for found in images:
            with Image.open(image_file(published, next(numbers))) as image:
                expected = torch.from_numpy(numpy.array(transform(image))).permute(2, 0, 1)
            assert torch.equal(found, expected)


def test_the_archive_gives_the_same_data_as_the_folder(published, packed):
    folder, archive = celeba(published), celeba(packed)
    assert folder.locate()[0] != archive.locate()[0]
    assert folder.fingerprint == archive.fingerprint
    for name in SIZES:
        assert torch.equal(folder.split(name).images, archive.split(name).images)


def test_attributes_and_identities_belong_to_their_images(published, tmp_path):
    drawn = torch.from_numpy(write_celeba(tmp_path, IMAGES))
    data = celeba(published)
    assert data.attribute_names == ATTRIBUTES
    assert torch.equal(torch.cat([data.split(name).attributes for name in SIZES]), drawn)
    hats = drawn[:, ATTRIBUTES.index("Wearing_Hat")].bool()
    assert 0 < hats.sum() < IMAGES
    people = [set(data.split(name).known["identity"].tolist()) for name in SIZES]
    assert sum(map(len, people)) == len(set.union(*people)) == IMAGES / 4


def test_what_is_drawn_shows(published):
    # the fixture is worth something only if a metric can find the attributes in the pixels
    data = celeba(published, size=16)
    images = torch.cat([data.split(name).images for name in SIZES]).flatten(1).double()
    attributes = torch.cat([data.split(name).attributes for name in SIZES]).double()
    correlations = torch.corrcoef(torch.cat([images, attributes], 1).T).nan_to_num()[-40:, :-40].abs().amax(1)
    shown = [ATTRIBUTES.index(name) for name in SHOWN]
    assert correlations[shown].median() > 0.6


def test_a_batch_has_attributes_beside_its_images(published):
    data = celeba(published, evaluation_batch_size=5)
    split = data.split("validation")
    batches = list(data.val_dataloader())
    assert [len(batch["image"]) for batch in batches] == [5, 3]
    assert torch.equal(torch.cat([batch["image"] for batch in batches]), split.images)
    assert torch.equal(torch.cat([batch["attributes"] for batch in batches]), split.attributes)
    assert batches[0]["image"].dtype == batches[0]["attributes"].dtype == torch.uint8


@pytest.mark.parametrize("layout", ["in root", "as published"])
def test_other_places_of_the_files(own, layout):
    expected = celeba(own).fingerprint
    home = own / "celeba"
    if layout == "as published":
        for folder, name in [
            ("Img", "img_align_celeba"),
            ("Anno", "list_attr_celeba.txt"),
            ("Anno", "identity_CelebA.txt"),
            ("Eval", "list_eval_partition.txt"),
        ]:
            (home / folder).mkdir(exist_ok=True)
            (home / name).rename(home / folder / name)
    assert celeba(home).fingerprint == expected


def test_identities_are_optional(own):
    (own / "celeba" / "identity_CelebA.txt").unlink()
    assert set(celeba(own).split("test").columns) == {"image", "attributes"}


# ---- mirrored, in an order that can be resumed


def test_weights_of_images_decide_how_often_they_are_seen(published, tmp_path):
    weights = numpy.zeros(48)
    weights[7] = 1
    numpy.save(tmp_path / "weights.npy", weights)
    data = celeba(published, sample_weights=str(tmp_path / "weights.npy"))
    image = data.split("train").images[7]
    seen = torch.cat([batch["image"] for batch in data.train_dataloader()])
    assert ((seen == image).flatten(1).all(1) | (seen == image.flip(-1)).flatten(1).all(1)).all()


def test_half_of_the_images_are_mirrored_and_every_epoch_others(published):
    data = celeba(published)
    loader = data.train_dataloader()
    images = data.split("train").images
    seen = []
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)
        order = epoch_order(48, 0, epoch)
        flip = mirrored(48, 0, epoch)[order]
        batch = torch.cat([batch["image"] for batch in loader])
        assert torch.equal(batch[flip], images[order][flip].flip(-1))
        assert torch.equal(batch[~flip], images[order][~flip])
        seen.append(mirrored(48, 0, epoch))
    assert not torch.equal(*seen)
    assert mirrored(100_000, 0, 0).double().mean() == pytest.approx(0.5, abs=4 * 0.5 / 100_000**0.5)
    plain = torch.cat([batch["image"] for batch in celeba(published, horizontal_flip=False).train_dataloader()])
    assert torch.equal(plain, images[epoch_order(48, 0, 0)])


def test_two_ranks_see_what_one_sees(published, monkeypatch):
    whole = [batch["image"] for batch in celeba(published, batch_size=6).train_dataloader()]
    halves = []
    monkeypatch.setattr(CelebA, "_world_size", 2)
    for rank in (0, 1):
        monkeypatch.setattr(CelebA, "_rank", rank)
        halves.append([batch["image"] for batch in celeba(published, batch_size=3).train_dataloader()])
    assert len(whole) == len(halves[0]) == 8
    for batch, first, second in zip(whole, *halves, strict=True):
        assert torch.equal(batch, torch.cat([first, second]))


class FaceWitness(Witness):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3 * 8 * 8, 1)
        torch.nn.init.constant_(self.linear.weight, 0.01)

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        self.seen[-1] = batch["image"].flatten().tolist()  # every pixel, mirrored or not


def test_a_killed_and_resumed_run_sees_the_same_pixels(published, tmp_path):
    trainer(tmp_path).fit(whole := FaceWitness(), celeba(published))
    assert len(whole.seen) == 3 * 8
    for stop in (3, 8, 13):
        with pytest.raises(Killed):
            killed = trainer(tmp_path, SaveAt(tmp_path / "stop.ckpt", stop))
            killed.fit(first := FaceWitness(), celeba(published))
        trainer(tmp_path).fit(second := FaceWitness(), celeba(published), ckpt_path=tmp_path / "stop.ckpt")
        assert first.seen + second.seen == whole.seen
        assert torch.equal(second.linear.weight, whole.linear.weight)


def test_other_pixels_are_refused_on_resumption(published, own, tmp_path):
    with pytest.raises(Killed):
        trainer(tmp_path, SaveAt(tmp_path / "stop.ckpt", 3)).fit(FaceWitness(), celeba(published))
    for other in (celeba(published, crop=100), celeba(changed_attribute(own))):
        with pytest.raises(InputError, match="was trained on celeba"):
            trainer(tmp_path).fit(FaceWitness(), other, ckpt_path=tmp_path / "stop.ckpt")


# ---- which array


def changed_attribute(root: Path) -> Path:
    path = root / "celeba" / "list_attr_celeba.txt"
    text = path.read_text()
    row = text.index("000007.jpg") + len("000007.jpg ")
    value = text[row : row + 2]
    path.write_text(text[:row] + (" 1" if value == "-1" else "-1") + text[row + 2 :])
    return root


def test_whatever_changes_is_another_array(own):
    folders = [celeba(own).locate()[0]]

    def is_new(data: CelebA) -> bool:
        folders.append(data.locate()[0])
        return len(set(folders)) == len(folders)

    assert celeba(own, batch_size=3, seed=8, horizontal_flip=False).locate()[0] == folders[0]
    assert is_new(celeba(own, size=9))
    assert is_new(celeba(own, crop=147))
    assert is_new(celeba(changed_attribute(own)))
    before = image_file(own, 5).read_bytes()
    image_file(own, 5).write_bytes(before)  # touched
    assert is_new(celeba(own))
    image_file(own, 5).write_bytes(image_file(own, 6).read_bytes())
    assert is_new(celeba(own))
    partition = own / "celeba" / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace("000048.jpg 0", "000048.jpg 1"))
    assert is_new(celeba(own))


def test_one_changed_image_in_the_archive_is_another_array(packed, tmp_path):
    path = tmp_path / "celeba" / "img_align_celeba.zip"
    shutil.copytree(packed, tmp_path, dirs_exist_ok=True)
    assert celeba(tmp_path).locate()[0] == celeba(packed).locate()[0]  # a copy is the same
    with zipfile.ZipFile(packed / "celeba" / path.name) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            content = bytearray(old.read(info))
            if info.filename.endswith("000009.jpg"):
                content[-1] ^= 1
            new.writestr(info, bytes(content))
    assert path.stat().st_size == (packed / "celeba" / path.name).stat().st_size
    assert celeba(tmp_path).locate()[0] != celeba(packed).locate()[0]


def test_the_second_start_decodes_nothing_and_reads_no_list(published, monkeypatch):
    expected = celeba(published).fingerprint
    monkeypatch.setattr("lightning_gans.data.celeba.read_attributes", None)
    monkeypatch.setattr("lightning_gans.data.preprocessing.Preprocessing.__call__", None)
    assert celeba(published).fingerprint == expected


def test_images_are_mapped_and_not_read(published):
    data = celeba(published)
    images = data.split("train").images
    path = str(data.array.folder / "images.npy")
    mappings = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(path)]
    ranges = [[int(number, 16) for number in mapping[0].split("-")] for mapping in mappings]
    assert any(start <= images.data_ptr() < end for start, end in ranges)
    assert {mapping[1] for mapping in mappings} == {"r--s"}  # shared, and not writable


# ---- bad files


def test_absent_files_are_named_with_where_to_get_them_and_put_them(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_gans.data.celeba.download", lambda folder: "no network")
    words = refusal(tmp_path, download=True)
    for name in ("img_align_celeba.zip", "list_attr_celeba.txt", "list_eval_partition.txt", str(tmp_path / "celeba")):
        assert name in words
    assert "the download failed (no network)" in words
    assert "http" in words
    (tmp_path / "celeba").mkdir()
    (tmp_path / "celeba" / "list_attr_celeba.txt").touch()
    assert refusal(tmp_path).startswith(
        "img_align_celeba/ (or img_align_celeba.zip), list_eval_partition.txt of CelebA"
    )


def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def half(file: str, folder: str, name: str, md5: str) -> None:
        (Path(folder) / name).write_bytes(b"half")
        raise RuntimeError("File not found or corrupted.")

    monkeypatch.setattr("torchvision.datasets.utils.download_file_from_google_drive", half)
    assert "the download failed (File not found or corrupted.)" in refusal(tmp_path, download=True)
    assert not list((tmp_path / "celeba").iterdir())


def test_a_download_gets_the_files_that_are_needed(packed, tmp_path, monkeypatch):
    def copy(file: str, folder: str, name: str, md5: str) -> None:
        shutil.copy(packed / "celeba" / name, folder)

    monkeypatch.setattr("torchvision.datasets.utils.download_file_from_google_drive", copy)
    assert celeba(tmp_path, download=True).fingerprint == celeba(packed).fingerprint


def test_missing_images_are_counted_and_named(own):
    for number in range(3, 20):
        image_file(own, number).unlink()
    words = refusal(own)
    assert "17 of 64 images of CelebA are missing: 000003.jpg, 000004.jpg" in words
    assert "000007.jpg and 12 more" in words
    assert str(image_file(own, 1).parent) in words


def test_images_that_are_none_are_counted_and_named(own):
    content = image_file(own, 4).read_bytes()
    image_file(own, 4).write_bytes(content[: len(content) // 2])
    image_file(own, 50).write_bytes(b"")
    image_file(own, 60).write_text("<html>quota exceeded</html>")
    Image.new("RGB", (100, 100)).save(image_file(own, 61))
    words = refusal(own)
    assert "4 of 64 images of CelebA cannot be read: 000004.jpg (image file is truncated" in words
    assert (
        "000050.jpg (empty), 000060.jpg (no image), 000061.jpg (100x100 pixels, too small for a crop of 148)" in words
    )
    listing = Path(re.search(r"all of them: (.*)\)", words)[1])
    assert [line.split()[0] for line in listing.read_text().splitlines()] == [
        "000004.jpg",
        "000050.jpg",
        "000060.jpg",
        "000061.jpg",
    ]
    assert refusal(own) == words  # not taken for complete now


def test_an_archive_that_was_cut_short_is_recognised(packed, tmp_path):
    shutil.copytree(packed, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "celeba" / "img_align_celeba.zip"
    content = path.read_bytes()
    path.write_bytes(content[:-1000])
    assert f"{path} is no whole zip archive (it has {len(content) - 1000} bytes" in refusal(tmp_path)


def test_a_damaged_image_in_the_archive_is_named(packed, tmp_path):
    shutil.copytree(packed, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "celeba" / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        content[archive.getinfo("img_align_celeba/000012.jpg").header_offset + 3000] ^= 255
    path.write_bytes(content)
    assert "1 of 64 images of CelebA cannot be read: 000012.jpg (Bad CRC-32" in refusal(tmp_path, size=10)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("list_attr_celeba.txt", lambda text: text[: len(text) // 2], "is damaged: line .* 40 times 1 or -1"),
        ("list_attr_celeba.txt", lambda text: text[: text.rindex("000064")], "list 64 images, but lists 63"),
        ("list_attr_celeba.txt", lambda text: "", "first two lines"),
        ("list_attr_celeba.txt", lambda text: text.replace("000008.jpg", "000800.jpg"), "nothing of 1 .* 000008.jpg"),
        ("list_eval_partition.txt", lambda text: text.replace("000010.jpg 0", "000010.jpg"), "line 10"),
        ("list_eval_partition.txt", lambda text: text[: text.index("000057")], "no image of the test split"),
        ("identity_CelebA.txt", lambda text: text.replace("000010.jpg 3", "000010.jpg x"), "line 10"),
    ],
)
def test_a_damaged_list_is_named(own, name, change, words):
    path = own / "celeba" / name
    path.write_text(change(path.read_text()))
    assert re.search(rf"{path} .*{words}", refusal(own))


@pytest.mark.parametrize(("option", "words"), [({"size": 0}, "size is 0"), ({"crop": -3}, "crop is -3")])
def test_impossible_sizes_are_refused(published, option, words):
    with pytest.raises(InputError, match=words):
        celeba(published, **option)


def test_the_cuda_path_gathers_in_the_order_of_the_index(published, monkeypatch):
    # without a GPU: pinned memory and the copy are left out, the rest is the same
    images = celeba(published).split("train").images
    empty = torch.empty
    asked = []
    monkeypatch.setattr(
        torch, "empty", lambda *size, pin_memory, **more: asked.append(pin_memory) or empty(*size, **more)
    )
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking: asked.append(non_blocking) or self)
    index = torch.tensor([5, 2, 2, 40])
    assert torch.equal(mapped.deliver(images, index, torch.device("cuda")), images[index])
    assert asked == [True, True]


# ---- the command line


def test_faces_train_from_the_command_line_and_scores_name_the_crop(published, tmp_path):
    config = Path(__file__).parent / "tiny_celeba.yaml"
    common = ["--config", str(config), "--data.root", str(published), "--runs", str(tmp_path)]
    assert main(["fit", *common]) == 0
    scores = read_scores(tmp_path / "tiny_celeba" / "version_0" / "scores.jsonl")
    assert {score.protocol["data"] for score in scores} == {"celeba (centre crop 148, antialiased bilinear to 8)"}
    assert main(["fit", *common, "--ckpt_path", "last", "--trainer.max_steps", "6"]) == 0
