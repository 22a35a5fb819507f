import shutil
from pathlib import Path

import pytest
import torch

from lightning_gans.data import MNIST
from lightning_gans.data.digits import load_digits_split
from lightning_gans.data.idx import SHAPES, read_idx
from lightning_gans.errors import InputError

from .toy import Witness, trainer


@pytest.fixture(scope="module")
def mnist(data_root: Path) -> MNIST:
    return MNIST(str(data_root), download=False)


@pytest.fixture
def copied_root(data_root: Path, tmp_path: Path) -> Path:
    """A root whose four files are links to the real ones, so that a test can take one away."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in SHAPES:
        (raw / name).symlink_to((data_root / "MNIST" / "raw" / name).resolve())
    return tmp_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


# ---- the real dataset


def test_splits_of_mnist(mnist):
    sizes = {"train": 55_000, "validation": 5_000, "test": 10_000}
    for name, size in sizes.items():
        split = mnist.split(name)
        assert split.images.shape == (size, *mnist.sample_shape)
        assert split.images.dtype == torch.uint8
        assert split.labels.shape == (size,)
        assert split.labels.max() + 1 == mnist.num_classes
    assert mnist.split("train").labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.split("test").labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert mnist.name == "mnist"
    assert not mnist.is_fallback


def test_validation_is_the_end_of_the_training_file(mnist, data_root):
    images = read_idx(data_root / "MNIST" / "raw" / "train-images-idx3-ubyte")[:, None]
    assert torch.equal(torch.cat([mnist.split("train").images, mnist.split("validation").images]), images)


def test_fingerprint_belongs_to_the_content_and_the_split(mnist, data_root):
    assert len(mnist.fingerprint) == 64
    assert MNIST(str(data_root), seed=5, batch_size=7).fingerprint == mnist.fingerprint
    assert MNIST(str(data_root), validation_size=4999).fingerprint != mnist.fingerprint


def test_loaders(mnist):
    batch = next(iter(mnist.train_dataloader()))
    assert batch["image"].shape == (128, 1, 28, 28)
    assert batch["image"].dtype == torch.uint8
    for loader, name in [
        (mnist.val_dataloader(), "validation"),
        (mnist.test_dataloader(), "test"),
        (mnist.predict_dataloader(), "test"),
    ]:
        batches = list(loader)
        assert [set(batch) for batch in batches] == [{"image", "label"}] * len(batches)
        assert torch.equal(torch.cat([batch["image"] for batch in batches]), mnist.split(name).images)


# ---- bad files


def test_fit_does_not_read_the_test_files(copied_root):
    for name in SHAPES:
        if name.startswith("t10k"):
            (copied_root / "MNIST" / "raw" / name).unlink()
    data = MNIST(str(copied_root), fallback="digits")
    options = {"max_steps": 2, "limit_val_batches": 1}
    trainer(copied_root, **options).fit(witness := SmallWitness(), data)
    assert len(witness.seen) == 2
    assert data.name == "mnist"  # the fallback stands in for nothing but the training files
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte and .* not found in .*download https://"):
        data.split("test")


class SmallWitness(Witness):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(28 * 28, 1)


def replace(root: Path, name: str, content: bytes) -> Path:
    path = root / "MNIST" / "raw" / name
    path.unlink()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: content[:-1], "expected 60008 bytes, found 60007"),
        (lambda content: b"\0\0\x08\x03" + content[4:], "expected the IDX header 00000801"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "expected SHA-256 65a50cbb"),
        (lambda content: b"", "found 0"),
    ],
    ids=["truncated", "header", "one bit", "empty"],
)
def test_damaged_file_is_named_and_never_replaced_by_the_fallback(copied_root, damage, words):
    name = "train-labels-idx1-ubyte"
    path = replace(copied_root, name, damage((copied_root / "MNIST" / "raw" / name).read_bytes()))
    with pytest.raises(InputError, match=f"{path} is damaged: .*{words}.*; delete it"):
        MNIST(str(copied_root), fallback="digits").split("train")


def test_a_file_that_is_a_folder_is_an_input_error(copied_root):
    path = replace(copied_root, "train-labels-idx1-ubyte", b"")
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        MNIST(str(copied_root)).split("train")


# ---- no files


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist", "kmnist"])
def test_absent_files_without_fallback(tmp_path, dataset):
    folder = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}[dataset]
    words = rf"{dataset} not found in {tmp_path / folder / 'raw'} and the download failed \(.*timed out.*http"
    with pytest.raises(InputError, match=words):
        MNIST(str(tmp_path), dataset=dataset).prepare_data()
    assert not list(tmp_path.iterdir()), "a download that failed left folders behind"


def test_absent_files_without_download(tmp_path):
    with pytest.raises(InputError, match=r"not found in .*raw; download https"):
        MNIST(str(tmp_path), download=False).split("train")
    assert not list(tmp_path.iterdir())


def test_download_moves_checked_files_into_place(tmp_path, copied_root, monkeypatch):
    real = copied_root / "MNIST" / "raw"

    def download(self):
        for name in SHAPES:
            shutil.copy(real / name, Path(self.raw_folder) / name)

    monkeypatch.setattr("torchvision.datasets.MNIST.download", download)
    monkeypatch.setattr("torchvision.datasets.MNIST._load_data", lambda self: (None, None))
    root = tmp_path / "empty"
    assert len(MNIST(str(root), fallback="digits").split("validation")) == 5000
    assert sorted(path.name for path in (root / "MNIST" / "raw").iterdir()) == sorted(SHAPES)


def test_fallback_says_so_once(tmp_path, capsys, mnist):
    data = MNIST(str(tmp_path), fallback="digits", validation_size=1)
    data.prepare_data()
    assert data.is_fallback
    assert data.name == "digits (fallback for mnist)"
    assert [len(data.split(name)) for name in ("train", "validation", "test")] == [1297, 200, 300]
    assert data.fingerprint != mnist.fingerprint
    assert capsys.readouterr().err.count("NOT TRAINING ON MNIST") == 1


def test_fit_on_the_fallback(tmp_path):
    data = MNIST(str(tmp_path), fallback="digits", batch_size=32)
    trainer(tmp_path, max_steps=2, limit_val_batches=1.0).fit(witness := SmallWitness(), data)
    assert len(witness.seen) == 2


def test_digits_look_like_mnist():
    splits = {name: load_digits_split(name) for name in ("train", "validation", "test")}
    assert splits["test"].labels.bincount().tolist() == [30] * 10
    assert splits["validation"].labels.bincount().tolist() == [20] * 10
    images = torch.cat([split.images for split in splits.values()])
    assert images.shape == (1797, 1, 28, 28)
    assert images.max() == 255
    assert images[:, :, :4].sum() == images[:, :, :, -4:].sum() == 0
    assert len(images.flatten(1).unique(dim=0)) == 1797  # so the splits are disjoint


# ---- bad arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"validation_size": 0}, "validation_size is 0"),
        ({"validation_size": 60_000}, "choose 1 to 59999"),
        ({"dataset": "emnist"}, "no dataset 'emnist'"),
        ({"fallback": "noise"}, "no fallback 'noise'"),
        ({"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(InputError, match=words):
        MNIST(**arguments)


def test_unknown_split(mnist):
    with pytest.raises(InputError, match="no split 'val'; choose one of train, validation, test"):
        mnist.split("val")


def test_batch_larger_than_the_split(mnist, data_root):
    data = MNIST(str(data_root), batch_size=60_000)
    with pytest.raises(InputError, match="only 55000"):
        data.train_dataloader()
