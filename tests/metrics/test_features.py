import ast
import copy
import json
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from safetensors import safe_open
from torch import Tensor, nn

from lightning_gans.data import MNIST
from lightning_gans.errors import InputError
from lightning_gans.metrics import features
from lightning_gans.metrics.features import (
    FeatureExtractor,
    Features,
    Inception,
    MNISTConvNet,
    ModuleExtractor,
    inception,
    make_extractor,
    mnist_convnet,
    register_with_torch_fidelity,
)
from lightning_gans.metrics.features.base import as_grey_or_rgb, code_of

PACKAGE = Path(features.__file__).parent


@pytest.fixture(scope="module")
def convnet() -> MNISTConvNet:
    return MNISTConvNet()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def sentence(error: pytest.ExceptionInfo[InputError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


# ---- the classifier of digits


def test_the_shipped_weights_are_the_ones_that_define_the_scale() -> None:
    assert sha256(mnist_convnet.WEIGHTS.read_bytes()).hexdigest() == mnist_convnet.WEIGHTS_SHA256
    assert mnist_convnet.WEIGHTS.stat().st_size <= 1_000_000


def test_the_shipped_weights_say_where_they_come_from() -> None:
    record = json.loads((PACKAGE.parents[2] / "benchmarks" / "results" / "mnist_convnet.json").read_text())
    with safe_open(mnist_convnet.WEIGHTS, "pt") as file:
        about = json.loads(file.metadata()["about"])
    assert record["sha256"] == mnist_convnet.WEIGHTS_SHA256
    assert about["test_accuracy"] == record["test"]["accuracy"]
    assert all(about[key] == record[key] for key in ("command", "version", "torch"))


def test_the_classifier_reads_the_test_digits(data_root: Path, convnet: MNISTConvNet) -> None:
    split = MNIST(root=str(data_root), download=False).split("test")
    found = convnet.extract(split.images)
    assert (found.logits.argmax(1) == split.labels).double().mean() >= 0.994
    assert found.features.mean(0).abs().max() < 0.2
    assert ((found.features.var(0) - 1).abs() < 0.25).all()


def test_the_features_of_the_training_images_are_standardised(data_root: Path, convnet: MNISTConvNet) -> None:
    images = MNIST(root=str(data_root), download=False).split("train").images[::12]
    found = convnet.extract(images).features
    assert found.shape == (len(images), 64)
    assert abs(found.var(0).sum().item() - 64) < 2  # a sample of them


def test_an_image_has_the_same_features_in_any_company(convnet: MNISTConvNet) -> None:
    images = noise(7, 1, 28, 28)
    together = convnet(images)
    for alone in (convnet(images[2:3]), convnet(images.flip(0)[4:5]), convnet.extract(images, chunk=2)):
        row = together.features[2:3] if len(alone.features) == 1 else together.features
        torch.testing.assert_close(alone.features, row, rtol=1e-5, atol=1e-5)


def test_grey_images_are_the_same_with_one_channel_or_three(convnet: MNISTConvNet) -> None:
    images = noise(5, 1, 28, 28)
    assert torch.equal(convnet(images.repeat(1, 3, 1, 1)).features, convnet(images).features)


def test_colours_become_grey_as_in_pillow() -> None:
    from PIL import Image

    colours = noise(1, 3, 16, 16)
    pillow = Image.fromarray(colours[0].permute(1, 2, 0).numpy()).convert("L")
    assert np.array_equal(as_grey_or_rgb(colours, 1)[0, 0].numpy(), np.asarray(pillow))


def test_enlarged_digits_are_still_read(data_root: Path, convnet: MNISTConvNet) -> None:
    split = MNIST(root=str(data_root), download=False).split("test")
    enlarged = split.images[:500].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert (convnet(enlarged).logits.argmax(1) == split.labels[:500]).double().mean() > 0.98


def test_another_file_of_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(mnist_convnet.WEIGHTS.read_bytes()[:-1] + b"\0")
    with pytest.raises(InputError) as error:
        make_extractor("mnist-convnet", str(path))
    assert mnist_convnet.WEIGHTS_SHA256 in sentence(error)
    with pytest.raises(InputError, match="cannot be read"):
        make_extractor("mnist-convnet", str(tmp_path / "absent.safetensors"))


# ---- every extractor


class Pooled(nn.Module):
    """Means of the image's quarters, shifted by a weight; notes how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(4))
        self.norm = nn.BatchNorm1d(4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.autocast = torch.is_autocast_enabled("cpu")
        self.precision = torch.backends.mkldnn.matmul.fp32_precision
        features = nn.functional.adaptive_avg_pool2d(images.float().mean(1), 2).flatten(1) + self.shift
        return self.norm(features), features[:, :3]


def test_it_is_a_constant(convnet: MNISTConvNet) -> None:
    for extractor in (convnet, ModuleExtractor(Pooled(), (1, 8, 8))):
        nn.ModuleList([extractor]).train()
        assert not any(module.training for module in extractor.modules())
        assert not any(parameter.requires_grad for parameter in extractor.parameters())
        before = extractor.content_hash
        found = extractor(noise(3, 1, 8, 8))
        assert not found.features.requires_grad
        assert extractor.content_hash == before


def test_the_hash_changes_with_weights_preprocessing_and_name() -> None:
    def module(**changes: object) -> ModuleExtractor:
        extractor = ModuleExtractor(Pooled(), (1, 8, 8))
        for key, value in changes.items():
            setattr(extractor, key, value)
        return extractor

    nudged, running = module(), module()
    nudged.module.shift.data[1] += 1e-6
    running.module.norm.running_mean[0] += 1
    hashes = [e.content_hash for e in (module(), nudged, running, module(name="x"), module(preprocessing="/255"))]
    assert len(set(hashes)) == len(hashes)
    assert module().content_hash == hashes[0]
    assert all(len(digits) == 16 and int(digits, 16) >= 0 for digits in hashes)


def test_the_hash_knows_arguments_that_are_no_weights() -> None:
    one, other = (ModuleExtractor(nn.Sequential(nn.PixelUnshuffle(k), nn.Flatten()), (1, 8, 8)) for k in (2, 4))
    assert one.content_hash != other.content_hash


def test_the_hash_knows_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code = "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x.flatten(1) * {}\n"
    hashes = []
    for factor in (2, 3):
        (tmp_path / f"net{factor}.py").write_text(code.format(factor))
        extractor = make_extractor(f"net{factor}.Net", image_shape=(1, 4, 4))
        extractor.preprocessing = "none"
        hashes.append(extractor.content_hash)
    assert hashes[0] != hashes[1]


def test_the_hash_is_of_this_scale(convnet: MNISTConvNet) -> None:
    changed = copy.deepcopy(convnet)
    next(changed.parameters()).data.view(-1)[0] += 1e-3
    assert changed.content_hash != convnet.content_hash
    assert make_extractor("mnist-convnet", str(mnist_convnet.WEIGHTS)).content_hash == convnet.content_hash


def test_no_other_precision_reaches_into_it(convnet: MNISTConvNet) -> None:
    images, module = noise(3, 1, 28, 28), ModuleExtractor(Pooled(), (1, 28, 28))
    expected = convnet(images).features
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(convnet(images).features, expected)
            module(images)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert (module.module.autocast, module.module.precision) == (False, "ieee")


def test_no_images_have_no_features(convnet: MNISTConvNet) -> None:
    found = convnet.extract(noise(0, 1, 28, 28))
    assert (found.features.shape, found.logits.shape) == ((0, 64), (0, 10))


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 1, 28, 28), torch.zeros(2, 28, 28).byte(), torch.zeros(2, 2, 28, 28).byte()]
)
def test_what_is_no_uint8_image_is_refused(convnet: MNISTConvNet, images: Tensor) -> None:
    with pytest.raises(InputError) as error:
        convnet(images)
    assert "to_uint8" in sentence(error) or "RGB" in sentence(error)


def test_importing_needs_nothing_slow() -> None:
    for path in PACKAGE.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"torch_fidelity", "torchvision"}, path.name


# ---- by name or class path


def test_a_name_or_a_class_path_makes_an_extractor() -> None:
    assert isinstance(make_extractor("mnist-convnet"), MNISTConvNet)
    assert isinstance(make_extractor("lightning_gans.metrics.features.MNISTConvNet"), MNISTConvNet)
    pixels = make_extractor("torch.nn.Flatten", image_shape=(3, 4, 5))
    assert (pixels.name, pixels.feature_size, pixels.num_classes) == ("Flatten", 60, None)
    images = noise(2, 3, 4, 5)
    assert torch.equal(pixels(images).features, images.flatten(1).float())
    assert pixels.extract(images).logits is None


def test_a_module_may_classify() -> None:
    pooled = make_extractor(f"{__name__}.Pooled", image_shape=(1, 8, 8))
    assert (pooled.feature_size, pooled.num_classes) == (4, 3)
    assert pooled(noise(5, 1, 8, 8)).logits.shape == (5, 3)


@pytest.mark.parametrize("file", ["weights.pt", "weights.safetensors"])
def test_a_module_loads_its_weights(tmp_path: Path, file: str) -> None:
    from safetensors.torch import save_file

    trained = Pooled()
    trained.shift.data.fill_(2.5)
    save = save_file if file.endswith("safetensors") else torch.save
    save(trained.state_dict(), tmp_path / file)
    found = make_extractor(f"{__name__}.Pooled", str(tmp_path / file), (1, 8, 8))
    assert torch.equal(found.module.shift, trained.shift)
    with pytest.raises(InputError) as error:
        make_extractor("torch.nn.Flatten", str(tmp_path / file), (1, 8, 8))
    assert "state dict" in sentence(error)


class Wrong(nn.Module):
    """Features with a spatial extent."""

    def forward(self, images: Tensor) -> Tensor:
        return images


class Demanding(nn.Linear):
    """Needs arguments."""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("mnist_convnet", "did you mean mnist-convnet?"),
        ("incepton", "did you mean inception?"),
        ("lenet", "choose inception, mnist-convnet, or the class path"),
        ("no_such_package.Net", "No module named 'no_such_package'"),
        ("torch.nn.Flaten", "did you mean torch.nn.Flatten?"),
        ("torch.nn.functional.relu", "no class of torch.nn.Module"),
        (f"{__name__}.Wrong", "gives (2, 1, 28, 28) for 2 images"),
        (f"{__name__}.Demanding", "without arguments"),
        ("torch.nn.Bilinear", "without arguments"),
        ("torch.nn.AdaptiveLogSoftmaxWithLoss", "without arguments"),
        ("torch.nn.Identity.", "cannot be imported"),
        (".Flatten", "cannot be imported"),
    ],
)
def test_what_cannot_be_an_extractor_is_refused_in_one_sentence(spec: str, expected: str) -> None:
    with pytest.raises(InputError) as error:
        make_extractor(spec)
    assert expected in sentence(error)


class Fragile(nn.Module):
    """Takes colours only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.float()).flatten(1)


def test_a_module_that_fails_on_the_images_is_refused_at_once() -> None:
    with pytest.raises(InputError) as error:
        make_extractor(f"{__name__}.Fragile", image_shape=(1, 8, 8))
    assert "Fragile fails on uint8 images of shape (1, 8, 8)" in sentence(error)
    assert make_extractor(f"{__name__}.Fragile", image_shape=(3, 8, 8)).feature_size == 128


# ---- Inception, without a network


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty torch.hub folder, and every download fails at once."""
    from urllib.error import URLError

    def fail(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", fail)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"


def test_missing_inception_weights_are_explained(no_network: Path) -> None:
    with pytest.raises(InputError) as error:
        make_extractor("inception")
    text = sentence(error)
    for part in (inception.WEIGHTS_URL, inception.WEIGHTS_SHA256, str(no_network), "--fidelity.weights_path"):
        assert part in text
    assert "no route to host" in text
    assert list(no_network.parent.iterdir()) == []
    with pytest.raises(InputError, match="cannot be read"):
        make_extractor("inception", "no-such-file.pth")


def test_other_inception_weights_are_refused(no_network: Path, tmp_path: Path) -> None:
    for path, weights_path in ((tmp_path / "mine.pth", str(tmp_path / "mine.pth")), (no_network, None)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"something else")
        with pytest.raises(InputError) as error:
            make_extractor("inception", weights_path)
        assert sha256(b"something else").hexdigest() in sentence(error)
        assert inception.WEIGHTS_SHA256 in sentence(error)


def test_the_hash_is_that_of_torch_fidelitys_file() -> None:
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert inception.WEIGHTS_URL == URL_INCEPTION_V3
    assert inception.WEIGHTS_SHA256.startswith(URL_INCEPTION_V3.removesuffix(".pth").rpartition("-")[2])


def test_inception_gives_torch_fidelitys_numbers(no_network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch_fidelity import feature_extractor_inceptionv3
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    no_network.parent.mkdir(parents=True)
    names = ["2048", "logits_unbiased"]
    with monkeypatch.context() as patch:  # the network with the weights that it begins with
        torch.manual_seed(0)
        patch.setattr(feature_extractor_inceptionv3, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        theirs = FeatureExtractorInceptionV3("inception-v3-compat", names)
    torch.save(theirs.state_dict(), no_network)
    monkeypatch.setattr(inception, "WEIGHTS_SHA256", sha256(no_network.read_bytes()).hexdigest())

    ours = make_extractor("inception")
    assert isinstance(ours, Inception)
    grey, colour = noise(2, 1, 28, 28), noise(2, 3, 40, 24)
    for images, given in ((grey, grey.repeat(1, 3, 1, 1)), (colour, colour)):
        found, expected = ours(images), theirs(given)
        assert found.features.shape == (2, ours.feature_size)
        assert found.logits.shape == (2, ours.num_classes)
        assert found.features.std() > 0
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


# ---- in torch-fidelity


class Images(torch.utils.data.Dataset):
    """uint8 images as torch-fidelity takes them."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.repeat(1, 3, 1, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


def test_the_registered_extractor_is_ours(convnet: MNISTConvNet) -> None:
    from torch_fidelity.utils import create_feature_extractor

    register_with_torch_fidelity()
    register_with_torch_fidelity()
    images = noise(4, 1, 28, 28)
    theirs = create_feature_extractor("mnist-convnet", ["logits", "features"], cuda=False, verbose=False)
    logits, found = theirs(images.repeat(1, 3, 1, 1))
    assert torch.equal(found, convnet(images).features)
    assert torch.equal(logits, convnet(images).logits)
    assert theirs.get_name() == f"mnist-convnet-{convnet.content_hash}"
    with pytest.raises(InputError, match="float64"):
        create_feature_extractor("mnist-convnet", ["logits"], cuda=False, feature_extractor_internal_dtype="float64")


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    covariances = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root))


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    k = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    return float(sum(m.sum() - np.trace(m) for m in k[:2]) / (n * (n - 1)) - 2 * k[2].mean())


def inception_score(logits: np.ndarray) -> float:
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return float(np.exp((p * np.log(p / p.mean(0))).sum(1).mean()))


def two_sets(data_root: Path) -> tuple[Tensor, Tensor]:
    images = MNIST(root=str(data_root), download=False).split("test").images
    return images[:300], images[300:600].clamp(0, 180).flip(3)


def test_torch_fidelity_computes_with_it_what_the_formulas_say(data_root: Path, convnet: MNISTConvNet) -> None:
    import torch_fidelity

    register_with_torch_fidelity()
    sets = two_sets(data_root)
    got = torch_fidelity.calculate_metrics(
        input1=Images(sets[0]), input2=Images(sets[1]), feature_extractor="mnist-convnet", cuda=False, cache=False,
        isc=True, fid=True, kid=True, prc=True, isc_splits=1, kid_subsets=1, kid_subset_size=300, save_cpu_ram=True,
        verbose=False,
    )  # fmt: skip
    x, y = (convnet(images).features.double().numpy() for images in sets)
    assert got["frechet_inception_distance"] == pytest.approx(frechet(x, y), rel=1e-4)
    assert got["kernel_inception_distance_mean"] == pytest.approx(kernel(x, y), rel=1e-4)
    logits = convnet(sets[0]).logits.double().numpy()
    assert got["inception_score_mean"] == pytest.approx(inception_score(logits), rel=1e-4)
    assert 0 < got["precision"] <= 1


def test_torch_fidelitys_command_line_has_it(data_root: Path, tmp_path: Path, convnet: MNISTConvNet) -> None:
    from PIL import Image

    sets = two_sets(data_root)
    for name, images in zip("ab", sets, strict=True):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images[:100]):
            Image.fromarray(image[0].numpy()).save(tmp_path / name / f"{i:03}.png")
    command = [sys.executable, "-m", "lightning_gans.metrics.features.fidelity", "--feature-extractor", "mnist-convnet"]
    inputs = ["--input1", str(tmp_path / "a"), "--input2", str(tmp_path / "b")]
    done = subprocess.run(
        [*command, "--fid", "--json", "--cpu", "--silent", "--save-cpu-ram", *inputs],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    x, y = (convnet(images[:100]).features.double().numpy() for images in sets)
    assert json.loads(done.stdout)["frechet_inception_distance"] == pytest.approx(frechet(x, y), rel=1e-4)


def test_the_interface_is_what_the_docstring_says() -> None:
    class Constant(FeatureExtractor):
        name, feature_size, num_classes, preprocessing = "constant", 2, None, "none"

        def embed(self, images: Tensor) -> Features:
            return Features(torch.ones(len(images), 2), None)

    assert Constant().extract(noise(5, 1, 2, 2), chunk=2).features.shape == (5, 2)


def test_the_hash_of_a_module_of_ones_own_covers_whatever_its_source_file_holds(tmp_path, monkeypatch):
    source = """
import torch
SCALE = 1.0
def helper(x):
    return x.float().flatten(1) * SCALE
class Part(torch.nn.Module):
    def forward(self, x):
        return helper(x)
class Whole(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.part = Part()
    def forward(self, x):
        return self.part(x)
"""
    monkeypatch.syspath_prepend(str(tmp_path))
    hashes = []
    for name, text in (("own_one", source), ("own_two", source.replace("SCALE = 1.0", "SCALE = 2.0"))):
        (tmp_path / f"{name}.py").write_text(text)
        hashes.append(make_extractor(f"{name}.Whole"))
    first, second = hashes
    assert code_of(first.module) != code_of(second.module)
    assert code_of(first.module) == code_of(copy.deepcopy(first.module))
