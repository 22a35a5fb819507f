"""What is known of real images is kept once, found again only for the same, and never in a broken state."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lightning_gans.callbacks.real_side import cache_folder, real_side
from lightning_gans.metrics.fidelity import FidelityMetrics
from lightning_gans.metrics.real_side import content_of, kept_images, look_at, order_of
from lightning_gans.metrics.real_side_cache import RealSideCache, key_of
from tests.callbacks.extractors import RandomImages, TinyClassifier

TRAINER = SimpleNamespace(is_global_zero=True, world_size=1, progress_bar_callback=None)


def images():
    return RandomImages().split("train").images


def seen_by(extractor: TinyClassifier, folder: Path, data: RandomImages | None = None, samples: int = 50):
    data = data or RandomImages()
    split = data.split("train").images
    return real_side(TRAINER, split, data.fingerprint, "train", extractor, samples, folder)  # type: ignore[arg-type]


def same(one, other) -> bool:
    pairs = zip((*one.moments, one.histogram, one.features, one.logits),
                (*other.moments, other.histogram, other.features, other.logits), strict=True)  # fmt: skip
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in pairs)


def test_a_real_side_is_what_the_extractor_sees() -> None:
    extractor = TinyClassifier()
    features, logits = extractor.extract(images())
    side = look_at(images(), extractor, kept=40)
    assert side.moments.n == 300
    torch.testing.assert_close(side.moments.mean, features.double().mean(0))
    torch.testing.assert_close(side.moments.covariance, features.double().T.cov())
    assert logits is not None and side.histogram is not None and side.logits is not None
    assert torch.equal(side.histogram, logits.argmax(1).bincount(minlength=4))
    assert side.features.shape == (40, 6) and side.logits.shape == (40, 4)
    # a choice at random, without repetition
    rows = [int((features - row).square().sum(1).argmin()) for row in side.features]
    assert len(set(rows)) == 40 and rows != sorted(rows)
    assert torch.equal(look_at(images(), extractor, kept=300).features[:40], side.features)


def test_a_kept_real_side_is_used_without_looking_again(tmp_path: Path) -> None:
    first, second = TinyClassifier(), TinyClassifier()
    side = seen_by(first, tmp_path)
    assert first.seen == 300
    assert same(seen_by(second, tmp_path), side)
    assert second.seen == 0


def test_whatever_could_change_it_gives_it_another_name() -> None:
    class OtherPreprocessing(TinyClassifier):
        preprocessing = "halved"

    data = RandomImages()
    keys = [
        key_of(data.fingerprint, "train", 300, 300, TinyClassifier()),
        key_of(RandomImages(shift=1).fingerprint, "train", 300, 300, TinyClassifier()),
        key_of(data.fingerprint, "validation", 300, 300, TinyClassifier()),
        key_of(data.fingerprint, "train", 299, 300, TinyClassifier()),
        key_of(data.fingerprint, "train", 300, 299, TinyClassifier()),
        key_of(data.fingerprint, "train", 300, 300, TinyClassifier(seed=1)),
        key_of(data.fingerprint, "train", 300, 300, OtherPreprocessing()),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key_of(RandomImages().fingerprint, "train", 300, 300, TinyClassifier())
    split = images()
    one_pixel = split.clone()
    one_pixel[7, 0, 3, 3] ^= 1
    assert len({content_of(part) for part in (split, one_pixel, split[:-1], split.view(300, 1, 4, 16))}) == 4


def test_changed_data_or_weights_are_looked_at_anew(tmp_path: Path) -> None:
    seen_by(TinyClassifier(), tmp_path)
    for extractor, data in ((TinyClassifier(), RandomImages(shift=1)), (TinyClassifier(seed=1), RandomImages())):
        seen_by(extractor, tmp_path, data)
        assert extractor.seen == 300
    assert len(list(tmp_path.glob("*.real"))) == 3


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "another format"])
def test_a_damaged_file_is_noticed_and_replaced(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    side = seen_by(TinyClassifier(), tmp_path)
    (file,) = tmp_path.glob("*.real")
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    cut = {"truncated": content[:-100], "flipped": content, "empty": b"", "another format": b"x" + content[1:]}
    file.write_bytes(cut[damage])
    extractor = TinyClassifier()
    assert same(seen_by(extractor, tmp_path), side)
    assert extractor.seen == 300
    assert f"{file} is damaged" in capsys.readouterr().err
    assert same(RealSideCache(tmp_path, print).read(file.stem), side)


def test_a_killed_write_leaves_nothing_that_could_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(Killed):
            seen_by(TinyClassifier(), tmp_path)
    assert not list(tmp_path.iterdir())
    # a kill that leaves no time to clean up
    extractor = TinyClassifier()
    key = key_of(RandomImages().fingerprint, "train", 300, 300, extractor)
    (tmp_path / f".{key}.1.partial.real").write_bytes(b"half")
    seen_by(extractor, tmp_path)
    assert extractor.seen == 300


def test_where_nothing_can_be_written_measuring_goes_on(capsys: pytest.CaptureFixture) -> None:
    assert seen_by(TinyClassifier(), Path("/proc/nowhere")).moments.n == 300
    assert "choose another folder with --fidelity.cache" in capsys.readouterr().err


def test_features_are_kept_of_as_many_images_as_fit() -> None:
    extractor = TinyClassifier()
    assert kept_images(1000, 10, extractor) == 1000
    extractor.feature_size = 2**20
    assert kept_images(1000, 10, extractor) == 64
    assert kept_images(1000, 100, extractor) == 100


def test_the_folder_is_chosen_by_the_option_then_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTNING_GANS_CACHE", "/from/environment")
    assert cache_folder("/from/option") == Path("/from/option/real_sides")
    assert cache_folder(None) == Path("/from/environment/real_sides")
    monkeypatch.delenv("LIGHTNING_GANS_CACHE")
    assert cache_folder(None) == Path.home() / ".cache/lightning_gans/real_sides"


def test_copies_of_training_images_are_found_under_the_numbers_of_their_originals() -> None:
    extractor, data = TinyClassifier(), RandomImages()
    train = data.split("train").images
    real, held_out = (look_at(data.split(name).images, extractor, 300) for name in ("train", "test"))
    copied = torch.arange(20, 220, 20)
    metrics = FidelityMetrics(extractor, real, 10, ["memorisation"], 10, held_out)
    metrics.update(extractor(train[copied]), torch.arange(10))
    metrics.compute()
    found = {pair.generated: int(order_of(300)[pair.train]) for pair in metrics.closest}
    assert found == dict(enumerate(copied.tolist()))
    assert max(pair.distance for pair in metrics.closest) < 1e-5
