"""Fidelity in training and in `test`: the numbers, their noise, what is left alone, and two processes."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import scipy.linalg
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lightning_gans.callbacks import Fidelity, RunCheckpoints
from lightning_gans.callbacks.fidelity_measurement import FidelityMeasurement
from lightning_gans.data import ImageSplit, Mixture
from lightning_gans.errors import InputError
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.metrics import read_scores
from lightning_gans.metrics.features import make_extractor, register_with_torch_fidelity
from lightning_gans.metrics.fidelity import FidelityMetrics
from lightning_gans.metrics.inception_score import InceptionScore
from lightning_gans.metrics.real_side import look_at, order_of
from lightning_gans.networks import AffineGenerator, FullyConnectedDiscriminator
from lightning_gans.objectives import GAN, Adversarial
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import RunLogger
from tests.callbacks.ddp_script import main as score
from tests.callbacks.extractors import RandomImages, TinyClassifier
from tests.cli_tools import environment
from tests.objectives.games import all_equal, build, play, state_of

TINY = "tests.callbacks.extractors.TinyClassifier"
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIGHTNING_GANS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fidelity(**options: object) -> Fidelity:
    return Fidelity(**{"extractor": TINY, "samples": 50, "pairwise_samples": 40} | options)  # type: ignore[arg-type]


def fit(module: Adversarial, *callbacks: object, steps: int = 4, **options: object) -> Trainer:
    data, checkpoint = options.pop("data", RandomImages()), options.pop("checkpoint", None)
    defaults: dict[str, object] = {"logger": False, "enable_checkpointing": False}
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),  # type: ignore[arg-type]
        **defaults | options,  # type: ignore[arg-type]
    )
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint)  # type: ignore[arg-type]
    return trainer


def report(module: Adversarial, *callbacks: object, logger: object = False, **options: object) -> Trainer:
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,  # type: ignore[arg-type]
    )
    trainer.test(module, datamodule=RandomImages(), verbose=False)
    return trainer


# ---- an independent computation


def images_of(module: Adversarial, *key: object, weights: str | None = None, n: int = 50) -> Tensor:
    latent = module.latent.sample(n, keyed_generator("cpu", module.seed, "fidelity", *key))
    return module.generate(latent, weights=weights)  # type: ignore[arg-type]


def frechet(one: Tensor, other: Tensor) -> float:
    """By numpy and scipy, in the textbook's form."""
    extractor = TinyClassifier()
    x, y = (extractor(images).features.double().numpy() for images in (one, other))
    s, t = numpy.cov(x.T), numpy.cov(y.T)
    root = scipy.linalg.sqrtm(s @ t).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + numpy.trace(s + t - 2 * root))


def inception(images: Tensor) -> float:
    logits = TinyClassifier()(images).logits
    assert logits is not None
    p = logits.double().softmax(1).numpy()
    parts = [p[part::10] for part in range(10)]
    return float(numpy.mean([numpy.exp((q * numpy.log(q / q.mean(0))).sum(1).mean()) for q in parts]))


# ---- in training


def test_numbers_in_training_are_those_of_an_independent_computation() -> None:
    module = build(GAN, ema_decay=0.9, rate=2.0)
    found = fit(module, fidelity()).callback_metrics
    train = RandomImages().split("train").images
    for prefix, weights in (("validation/", "ema"), ("validation/raw/", "raw")):
        images = images_of(module, "selection", weights=weights)
        assert float(found[f"{prefix}fid_tiny_50"]) == pytest.approx(frechet(images, train), rel=1e-5)
        assert float(found[f"{prefix}inception_score_tiny_50"]) == pytest.approx(inception(images), rel=1e-5)
    assert found["validation/fid_tiny_50"] != found["validation/raw/fid_tiny_50"]


def test_without_an_average_the_raw_weights_are_the_only_ones() -> None:
    module = build(GAN)
    found = fit(module, fidelity()).callback_metrics
    expected = frechet(images_of(module, "selection"), RandomImages().split("train").images)
    assert float(found["validation/fid_tiny_50"]) == pytest.approx(expected, rel=1e-5)
    assert not [name for name in found if "raw" in name]
    with pytest.raises(InputError, match="no averaged weights"):
        module.generate(module.latent.sample(1, torch.Generator()), weights="ema")


def test_lightnings_own_checkpoints_can_be_chosen_by_it(tmp_path: Path) -> None:
    kept = ModelCheckpoint(tmp_path, monitor="validation/fid_tiny_50", save_top_k=1)
    trainer = fit(build(GAN), fidelity(), kept, enable_checkpointing=True, steps=6)
    assert kept.best_model_score is not None
    assert float(kept.best_model_score) <= float(trainer.callback_metrics["validation/fid_tiny_50"])
    assert Path(kept.best_model_path).is_file()


def test_nothing_of_the_extractor_is_in_the_module_or_in_a_checkpoint(tmp_path: Path) -> None:
    with_it, without = build(GAN), build(GAN)
    measuring = fit(with_it, fidelity())
    plain = fit(without)
    for trainer, name in ((measuring, "with"), (plain, "without")):
        trainer.strategy.connect(trainer.lightning_module)
        trainer.save_checkpoint(tmp_path / name)
    assert with_it.state_dict().keys() == without.state_dict().keys()
    one, other = (torch.load(tmp_path / name, weights_only=True) for name in ("with", "without"))
    assert one["state_dict"].keys() == other["state_dict"].keys()
    assert not any("Fidelity" in key for key in one.get("callbacks", {}))
    assert abs((tmp_path / "with").stat().st_size - (tmp_path / "without").stat().st_size) < 1000


def test_measuring_does_not_change_the_course_of_training() -> None:
    watched, alone = build(GAN, ema_decay=0.9), build(GAN, ema_decay=0.9)
    torch.manual_seed(3)
    fit(watched, fidelity())
    after = torch.rand(1)
    torch.manual_seed(3)
    fit(alone)
    assert torch.equal(torch.rand(1), after)
    assert all_equal(state_of(watched).values(), state_of(alone).values())


def test_every_n_steps_is_a_choice_among_the_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    generate = FidelityMeasurement.generate

    def counted(self, trainer, *args):  # type: ignore[no-untyped-def]
        seen.append(trainer.global_step)
        generate(self, trainer, *args)

    monkeypatch.setattr(FidelityMeasurement, "generate", counted)
    options = {"extractor": TINY, "samples": 10, "in_training": ["fid"]}
    fit(build(GAN), Fidelity(every_n_steps=4, **options), steps=8)  # type: ignore[arg-type]
    assert seen == [4, 8]
    with pytest.raises(InputError, match=r"a multiple of trainer.val_check_interval \(2\)"):
        fit(build(GAN), Fidelity(every_n_steps=3, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"samples": 0}, "fidelity.samples is 0"),
        ({"samples": -5}, "fidelity.samples is -5"),
        ({"pairwise_samples": 1}, "fidelity.pairwise_samples is 1"),
        ({"sample_sets": 0}, "fidelity.sample_sets is 0"),
        ({"every_n_steps": 0}, "fidelity.every_n_steps is 0"),
    ],
)
def test_senseless_numbers_are_refused(options: dict[str, int], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Fidelity(**options)  # type: ignore[arg-type]


def test_an_extractor_that_cannot_be_had_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build(GAN)
    before = state_of(module)
    for spec in ("incepton", "tests.callbacks.extractors.Nothing"):
        with pytest.raises(InputError, match=spec.rpartition(".")[2]):
            fit(module, fidelity(extractor=spec))
    assert all_equal(state_of(module).values(), before.values())
    # one that nobody asked for is done without
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nowhere")
    assert not [name for name in fit(module, fidelity(extractor="auto")).callback_metrics if "fid" in name]
    report(module, fidelity(extractor="auto"))


def test_other_data_than_images_are_left_alone() -> None:
    callback = fidelity()
    trainer = play(build(GAN), 2, callbacks=[callback])  # loaders without a data module
    assert callback._measurement is None and not [name for name in trainer.callback_metrics if "fid" in name]


def test_points_are_left_alone() -> None:
    networks = {"generator": AffineGenerator, "discriminator": FullyConnectedDiscriminator([1], [4])}
    module = build(GAN, latent=LatentSpec(Noise(dim=1)), **networks)
    callback = Fidelity()
    data = Mixture(train_size=50, evaluation_size=10, batch_size=8)
    trainer = fit(module, callback, data=data, steps=2)
    assert callback._measurement is None and not [name for name in trainer.callback_metrics if "fid" in name]


# ---- in `test`


def test_reporting_is_on_fresh_noise_and_gives_mean_and_deviation(tmp_path: Path) -> None:
    module = build(GAN, ema_decay=0.9)
    logger = RunLogger(str(tmp_path), "reported")
    report(module, fidelity(), logger=logger)
    scores = {score.metric: score for score in read_scores(logger.folder / "scores.jsonl")}
    train = RandomImages().split("train").images
    values = [frechet(images_of(module, "report", number), train) for number in range(3)]
    score = scores["fid_tiny_50"]
    assert score.value == pytest.approx(numpy.mean(values), rel=1e-6)
    assert score.spread == pytest.approx(numpy.std(values, ddof=1), rel=1e-4)
    assert frechet(images_of(module, "selection"), train) not in [pytest.approx(value, rel=1e-6) for value in values]
    assert score.protocol["noise_keys"] == "report 0 to 2" and score.protocol["n_real"] == 300
    assert {name.partition("_tiny")[0] for name in scores if not name.startswith("floor/")} == {
        "fid", "kid", "kid_rbf", "inception_score", "inception_score_sd_of_parts", "precision", "recall",
        "density", "coverage", "class_histogram_kl", "classes_covered", "memorisation_ratio", "memorisation_z",
    }  # fmt: skip
    assert len(list((logger.folder / "samples").glob("step=*_closest_training_images.png"))) == 1


def test_the_floor_is_the_test_images_score(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path), "floor")
    report(build(GAN), fidelity(samples=70), logger=logger)
    scores = {score.metric: score for score in read_scores(logger.folder / "scores.jsonl")}
    data = RandomImages()
    expected = frechet(data.split("test").images, data.split("train").images)
    assert scores["floor/fid_tiny_70"].value == pytest.approx(expected, rel=1e-6)
    assert "weights" not in scores["floor/fid_tiny_70"].protocol
    # with more samples than test images, the floor is of those there are
    report(build(GAN), fidelity(samples=200), logger=logger)
    assert [s.metric for s in read_scores(logger.folder / "scores.jsonl")].count("floor/fid_tiny_70") == 2


def test_in_training_the_floor_is_the_validation_images_score_measured_once(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path), "floor")
    module, data = build(GAN), RandomImages()
    fit(module, fidelity(samples=60), logger=logger, data=data, steps=6)
    scores = read_scores(logger.folder / "scores.jsonl")
    (floor,) = [score for score in scores if score.metric.startswith("floor/fid")]
    expected = frechet(data.split("validation").images, data.split("train").images)
    assert floor.metric == "floor/fid_tiny_20" and floor.value == pytest.approx(expected, rel=1e-6)
    assert floor.protocol["generated"] == "20 validation images"
    # a later session of the run knows it
    resumed = RunLogger(str(tmp_path), "floor", logger.folder)
    fit(build(GAN), fidelity(samples=60), logger=resumed, data=RandomImages(), steps=2)
    later = read_scores(logger.folder / "scores.jsonl")
    assert len(later) > len(scores)
    assert [score.metric for score in later].count("floor/fid_tiny_20") == 1


def test_what_a_later_session_measures_besides_has_its_floor_too(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path), "floor")
    fit(build(GAN), fidelity(), logger=logger, steps=2)
    resumed = RunLogger(str(tmp_path), "floor", logger.folder)
    fit(build(GAN), fidelity(in_training=("fid", "kid")), logger=resumed, steps=2)
    floors = [s.metric for s in read_scores(logger.folder / "scores.jsonl") if s.metric.startswith("floor/")]
    assert "floor/kid_tiny_20" in floors


def test_training_never_reads_the_test_images() -> None:
    class Sealed(RandomImages):
        def load_split(self, name: str) -> ImageSplit:
            assert name != "test"
            return super().load_split(name)

    fit(build(GAN), fidelity(), data=Sealed())


def test_the_rbf_kernels_bandwidth_is_the_median_distance_of_real_features(tmp_path: Path) -> None:
    module, logger = build(GAN), RunLogger(str(tmp_path), "rbf")
    report(module, fidelity(sample_sets=1), logger=logger)
    (score,) = [s for s in read_scores(logger.folder / "scores.jsonl") if s.metric == "kid_rbf_tiny_40"]
    train = RandomImages().split("train").images
    real = TinyClassifier()(train[order_of(len(train))[:40]]).features.double()
    generated = TinyClassifier()(images_of(module, "report", 0)[:40]).features.double()
    bandwidth = torch.pdist(real).median()
    kernel = [
        torch.exp(-torch.cdist(x, y).square() / (2 * bandwidth**2))
        for x, y in itertools.product((real, generated), repeat=2)
    ]
    distinct = 1 - torch.eye(40, dtype=torch.float64)
    within = [(k * distinct).sum() / (40 * 39) for k in (kernel[0], kernel[3])]
    assert score.value == pytest.approx(float(sum(within) - 2 * kernel[1].mean()), rel=1e-4)


def test_one_sample_set_has_no_deviation(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path), "one")
    report(build(GAN), fidelity(sample_sets=1), logger=logger)
    assert all(score.spread is None for score in read_scores(logger.folder / "scores.jsonl"))


def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "tests.callbacks.ddp_script", "2", str(tmp_path / "two.json")]
    done = subprocess.run(
        [*script, str(tmp_path / "cache of two")],
        env=environment("no-data-here"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    score(1, tmp_path / "one.json", tmp_path / "cache")
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    names = [name for name in one if "_tiny_" in name]
    assert len(names) == 3 + 3 + 13 and one.keys() == two.keys()
    for name in names:
        assert two[name] == pytest.approx(one[name], rel=1e-6, abs=1e-7), name


def test_torch_fidelity_finds_the_same_on_the_same_images() -> None:
    """Where both can compute a number: the distance, and the inception score of one split."""
    from torch.utils.data import Dataset
    from torch_fidelity import calculate_metrics

    class InColour(Dataset):
        def __init__(self, images: Tensor) -> None:
            self.images = images.expand(-1, 3, -1, -1)

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> Tensor:
            return self.images[index]

    register_with_torch_fidelity()
    module = build(GAN)
    extractor = make_extractor("mnist-convnet")
    fake, train = images_of(module, "report", 0, n=90), RandomImages().split("train").images
    metrics = FidelityMetrics(extractor, look_at(train, extractor, 300), 90, ("fid", "inception_score"), 90)
    metrics.inception = InceptionScore(10, splits=1)
    metrics.update(extractor.extract(fake), torch.arange(90))
    ours = {found.name.partition("_mnist")[0]: found.value for found in metrics.compute()}
    theirs = calculate_metrics(
        input1=InColour(fake),
        input2=InColour(train),
        feature_extractor="mnist-convnet",
        fid=True,
        isc=True,
        isc_splits=1,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    assert ours["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)
    assert ours["inception_score"] == pytest.approx(theirs["inception_score_mean"], rel=1e-5)


# ---- the best checkpoint


class Scripted(Fidelity):
    """Logs values that a test has chosen."""

    def __init__(self, values: dict[int, float]) -> None:
        super().__init__(TINY, in_training=[])
        self.values = values

    def on_validation_epoch_end(self, trainer, pl_module) -> None:  # type: ignore[no-untyped-def]
        pl_module.log("validation/fid_tiny_50", self.values[trainer.global_step])


def best_of(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)


def test_the_best_checkpoint_is_kept_and_a_resumed_run_does_not_lose_it(tmp_path: Path) -> None:
    values = {2: 5.0, 4: 3.0, 6: 4.0, 8: 3.5, 10: 2.0}
    options = {"enable_checkpointing": True}
    logger = RunLogger(str(tmp_path), "best")
    first = RunCheckpoints(every_n_steps=2, best_by="validation/fid_tiny_50")
    fit(build(GAN), Scripted(values), first, logger=logger, steps=6, **options)
    assert best_of(logger.folder)["global_step"] == 4
    assert best_of(logger.folder)["lightning_gans"]["findings"]["selected_by"] == "validation/fid_tiny_50"
    last = logger.folder / "checkpoints" / "last.ckpt"
    assert "selected_by" not in torch.load(last, weights_only=True)["lightning_gans"]["findings"]

    for steps, best in ((8, 4), (10, 10)):
        again = RunLogger(str(tmp_path), "best", logger.folder, steps - 2)
        resumed = RunCheckpoints(every_n_steps=2, best_by="validation/fid_tiny_50")
        fit(build(GAN), Scripted(values), resumed, logger=again, steps=steps, checkpoint=last, **options)
        assert best_of(logger.folder)["global_step"] == best


def test_in_a_new_folder_the_best_is_found_anew(tmp_path: Path) -> None:
    values = {2: 1.0, 4: 3.0}
    options = {"enable_checkpointing": True}
    logger, other = RunLogger(str(tmp_path), "old"), RunLogger(str(tmp_path), "new")
    best_by = "validation/fid_tiny_50"
    fit(build(GAN), Scripted(values), RunCheckpoints(best_by=best_by), logger=logger, steps=2, **options)
    last = logger.folder / "checkpoints" / "last.ckpt"
    checkpoints = RunCheckpoints(best_by=best_by)
    fit(build(GAN), Scripted(values), checkpoints, logger=other, steps=4, checkpoint=last, **options)
    assert best_of(other.folder)["global_step"] == 4


def test_a_metric_that_is_not_logged_is_named_with_those_that_are(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(best_by="validation/fid_tiny_49")
    logger = RunLogger(str(tmp_path), "unknown")
    with pytest.raises(
        InputError, match=r"fid_tiny_49, but this validation logged .*; did you mean validation/fid_tiny_50\?"
    ):
        fit(build(GAN), fidelity(), checkpoints, logger=logger, enable_checkpointing=True)
    with pytest.raises(InputError, match="neither a low nor a high value"):
        RunCheckpoints(best_by="validation/loss/generator")


def test_a_validation_without_fidelity_is_not_blamed_for_it(tmp_path: Path) -> None:
    logger = RunLogger(str(tmp_path), "paused")
    checkpoints = RunCheckpoints(best_by="validation/fid_tiny_50")
    fit(build(GAN), fidelity(every_n_steps=4), checkpoints, logger=logger, enable_checkpointing=True, steps=6)
    assert best_of(logger.folder)["global_step"] == 4


def test_where_fidelity_pauses_another_panels_best_is_kept(tmp_path: Path) -> None:
    class Modes(Callback):
        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.log("validation/stacked_modes_mnist-convnet_50", float(trainer.global_step == 2))

    logger = RunLogger(str(tmp_path), "modes")
    checkpoints = RunCheckpoints(best_by="validation/stacked_modes_mnist-convnet_50")
    callbacks = (fidelity(every_n_steps=4), Modes(), checkpoints)
    fit(build(GAN), *callbacks, logger=logger, enable_checkpointing=True, steps=4)
    assert best_of(logger.folder)["global_step"] == 2
