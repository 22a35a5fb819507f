"""Semi-supervised learning: who learns what, exact resumption, and that unlabelled data help to classify."""

import csv
import itertools
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LambdaCallback
from torch.nn.functional import cross_entropy, logsigmoid
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader

from lightning_gans.__main__ import main
from lightning_gans.checkpoint import load_data, load_module
from lightning_gans.data import MNIST, Labelled
from lightning_gans.errors import InputError
from lightning_gans.functional import semi_supervised as functional
from lightning_gans.latent import LatentSpec, Noise
from lightning_gans.metrics import read_scores
from lightning_gans.networks import FullyConnectedClassifier, FullyConnectedGenerator, SemiSupervisedGenerator
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.networks.noise_layer import draw_noise_from
from lightning_gans.objectives import InstanceNoise, SemiSupervised, Updates
from lightning_gans.objectives.regularisers import R1
from tests.objectives.games import (
    BATCH,
    SIDE,
    TinyDiscriminator,
    TinyGenerator,
    all_equal,
    play,
    real_images,
    weights_of,
)
from tests.test_resume import assert_same_run

CONFIG = Path(__file__).parents[1] / "conf" / "semi_supervised.yaml"


def build(rate: float = 0.05, **options) -> SemiSupervised:
    torch.manual_seed(0)
    defaults = {
        "generator": TinyGenerator,
        "discriminator": FullyConnectedClassifier([1, SIDE, SIDE], [12, 8], num_classes=3),
        "latent": LatentSpec(Noise(dim=3)),
        "generator_optimizer": partial(SGD, lr=rate),
        "discriminator_optimizer": partial(SGD, lr=rate),
    }
    return SemiSupervised(**(defaults | options))


def batch(n: int = BATCH, seed: int = 0) -> dict[str, torch.Tensor]:
    labels = torch.randint(3, (n,), generator=torch.Generator().manual_seed(seed + 1000))
    return {"image": real_images(n, seed), "labelled_image": real_images(n, seed + 500), "labelled_label": labels}


def loader(n: int = BATCH, batches: int = 8, first: int = 0) -> DataLoader:
    return DataLoader([batch(n, first + place) for place in range(batches)], batch_size=None)  # type: ignore[arg-type]


def test_each_player_moves_its_own_network_alone():
    for mover, rates in (("generator", (0.1, 0.0)), ("discriminator", (0.0, 0.1))):
        module = build(generator_optimizer=partial(SGD, lr=rates[0]), discriminator_optimizer=partial(SGD, lr=rates[1]))
        module.initialised.fill_(True)
        before = {name: weights_of(getattr(module, name)) for name in ("generator", "discriminator")}
        play(module, 2, data=loader())
        for name, weights in before.items():
            assert all_equal(weights, weights_of(getattr(module, name))) == (name != mover)


@pytest.mark.parametrize("loss", ["feature_matching", "non_saturating", "minimax"])
def test_every_generator_loss_teaches_the_generator(loss):
    module = build(generator_loss=loss, feature_distance="mean_absolute")
    before = weights_of(module.generator)
    play(module, 1, data=loader())
    assert not all_equal(before, weights_of(module.generator))


@pytest.mark.parametrize(("label", "weight"), [(0.9, 0.7), (1.0, 0.0)])
def test_the_discriminators_loss_is_that_of_labelled_real_and_generated_images(label, weight):
    module = build(real_label=label, unlabelled_weight=weight)
    images, labels, real = real_images(seed=1) / 255, torch.arange(BATCH) % 3, real_images(seed=2) / 255
    latent = module.latent.sample(BATCH, torch.Generator().manual_seed(0))
    module._labelled = iter([(images, labels)])
    loss = module.discriminator_loss(real, latent)
    draw_noise_from(module.discriminator, module.random("noise in the discriminator"))
    network = module.discriminator
    by_class, of_real, of_fake = (
        network.class_logits(network.trunk(shown)) for shown in (images, real, module.generator(latent.flat))
    )
    expected = functional.supervised(by_class, labels) + weight * functional.unsupervised(of_real, of_fake, label)
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("distance", ["squared", "mean_squared", "mean_absolute"])
def test_feature_matching_compares_features_of_real_and_generated_images_without_noise_on_them(distance):
    module = build(feature_distance=distance)
    real, latent = real_images(seed=2) / 255, module.latent.sample(BATCH, torch.Generator().manual_seed(0))
    loss = module.generator_loss(real, latent)
    draw_noise_from(module.discriminator, module.random("noise in the discriminator"))
    of_real, of_fake = (module.discriminator.trunk(shown) for shown in (real, module.generator(latent.flat)))
    torch.testing.assert_close(loss, functional.feature_matching(of_real, of_fake, distance))
    # what noise is in the trunk comes before its last linear layer
    assert isinstance(list(module.discriminator.trunk.modules())[-1], torch.nn.ReLU)


@pytest.mark.parametrize(
    ("loss", "of_log_z"),
    [("non_saturating", lambda log_z: -logsigmoid(log_z)), ("minimax", lambda log_z: logsigmoid(-log_z))],
)
def test_the_other_losses_of_the_generator_are_a_gans_with_the_sum_over_classes(loss, of_log_z):
    module = build(generator_loss=loss)
    latent = module.latent.sample(BATCH, torch.Generator().manual_seed(0))
    found = module.generator_loss(real_images() / 255, latent)
    draw_noise_from(module.discriminator, module.random("noise in the discriminator"))
    network = module.discriminator
    log_z = network.class_logits(network.trunk(module.generator(latent.flat))).logsumexp(1)
    torch.testing.assert_close(found, of_log_z(log_z).mean())


def test_mean_features_keep_their_digits_under_autocast():
    module = build()
    real, latent = real_images(seed=2) / 255, module.latent.sample(BATCH, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.generator_loss(real, latent)
        draw_noise_from(module.discriminator, module.random("noise in the discriminator"))
        of_real, of_fake = (module.discriminator.trunk(shown) for shown in (real, module.generator(latent.flat)))
    assert of_real.dtype == of_fake.dtype == torch.bfloat16
    torch.testing.assert_close(loss, functional.feature_matching(of_real.float(), of_fake.float()))


def test_all_that_the_discriminator_is_shown_has_instance_noise_of_its_own():
    def shown(noise: InstanceNoise | None) -> list[torch.Tensor]:
        """What D is shown: labelled, real and generated images in its turn, real and generated ones in G's."""
        module, seen = build(instance_noise=noise), []
        module.discriminator.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
        real, latent = real_images(seed=2) / 255, module.latent.sample(BATCH, torch.Generator().manual_seed(0))
        module._labelled = iter([(real_images(seed=1) / 255, torch.zeros(BATCH, dtype=torch.int64))])
        module.discriminator_loss(real, latent)
        module.generator_loss(real, latent)
        return seen

    noises = [noisy - plain for noisy, plain in zip(shown(InstanceNoise(0.5)), shown(None), strict=True)]
    assert len(noises) == 5
    for noise in noises:
        assert float(noise.std()) == pytest.approx(0.5, rel=0.15)
    for turn in (noises[:3], noises[3:]):
        assert all((one - other).std() > 0.5 for one, other in itertools.combinations(turn, 2))


def test_the_past_weighs_what_was_asked_for():
    module = build(historical_averaging=0.3)
    module.history["generator"].see(module.generator, 0)
    with torch.no_grad():
        for parameter in module.generator.parameters():
            parameter.add_(1.0)
    penalty = module.history["generator"].penalty(module.generator)
    (player,) = (player for player in module.players() if player.name == "generator")
    plain = replace(player, loss=lambda real: torch.tensor(2.0))
    assert penalty > 0
    loss = module._remembering(plain).loss(torch.empty(0))
    torch.testing.assert_close(loss, 2 + 0.3 * penalty)
    # every parameter is 1 from its past, to which it is pulled
    for gradient in torch.autograd.grad(loss, list(module.generator.parameters())):
        torch.testing.assert_close(gradient, torch.full_like(gradient, 2 * 0.3))


def test_every_update_of_the_discriminator_has_labelled_images_of_its_own(monkeypatch):
    module = build(updates=Updates(discriminator_steps=2, accumulate=2))
    seen = []
    original = SemiSupervised._shown_labelled

    def spy(self, images):
        seen.append((images * 255).round().byte())
        return original(self, images)

    monkeypatch.setattr(SemiSupervised, "_shown_labelled", spy)
    play(module, 1, data=loader(4 * BATCH))
    assert torch.equal(torch.cat(seen), batch(4 * BATCH)["labelled_image"]) and len(seen) == 4


def test_the_first_images_initialise_the_classifier_once(monkeypatch):
    module = build(rate=0.0)
    play(module, 1, data=loader())
    first = weights_of(module.discriminator)
    assert bool(module.initialised)
    assert all_equal(first, weights_of(module.classifier_average.network))
    play(module, 1, data=loader())  # a fit that goes on from these weights
    assert all_equal(first, weights_of(module.discriminator))


def test_a_classifier_from_a_checkpoint_is_not_initialised_again():
    trained, further = build(rate=0.0), build(rate=0.0)
    play(trained, 1, data=loader())
    further.load_state_dict(trained.state_dict())
    play(further, 1, data=loader(first=20))
    assert all_equal(weights_of(trained.discriminator), weights_of(further.discriminator))


def test_the_noise_of_the_initialisation_is_that_of_the_seed():
    def initialised(seed: int) -> list[torch.Tensor]:
        module = build(rate=0.0, seed=seed)
        play(module, 1, data=loader())
        return weights_of(module.discriminator)

    first = initialised(3)
    assert all_equal(first, initialised(3)) and not all_equal(first, initialised(4))


def test_ranks_begin_with_the_mean_of_what_their_own_images_make_of_the_classifier(monkeypatch):
    def begun(seed: int, ranks: int = 1) -> SemiSupervised:
        module = build()
        module.trainer = SimpleNamespace(global_step=0, world_size=ranks)
        module.begin_round(batch(seed=seed), 0)
        return module

    own, others = (weights_of(begun(seed).discriminator) for seed in (0, 1))
    mean = [(one + other) / 2 for one, other in zip(own, others, strict=True)]

    def with_the_other_rank(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        return [(one + other) / 2 for one, other in zip(tensors, others, strict=True)]

    monkeypatch.setattr("lightning_gans.objectives.semi_supervised.average_over_ranks", with_the_other_rank)
    module = begun(0, ranks=2)
    assert not all_equal(own, mean)
    assert all_equal(weights_of(module.discriminator), mean)
    assert all_equal(weights_of(module.classifier_average.network), mean)


def test_the_classifiers_average_follows_it_with_a_decay_that_grows_to_the_given_one():
    module, seen = build(rate=0.5, classifier_ema_decay=0.25), []
    module.initialised.fill_(True)
    expected = weights_of(module.discriminator)
    keep = LambdaCallback(on_train_batch_end=lambda *_: seen.append(weights_of(module.discriminator)))
    play(module, 4, data=loader(), callbacks=[keep])
    for weights, decay in zip(seen, (1 / 10, 2 / 11, 3 / 12, 0.25), strict=True):
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, weights, strict=True)]
    for average, value in zip(weights_of(module.classifier_average.network), expected, strict=True):
        torch.testing.assert_close(average, value)


def test_classes_are_told_without_noise_also_in_the_middle_of_training():
    module = build(rate=0.5)
    play(module, 2, data=loader())
    for weights, network in (("raw", module.discriminator), ("ema", module.classifier_average.network)):
        found = module.class_probabilities(real_images(seed=4), weights)
        assert network.training
        with evaluation_mode(network), torch.no_grad():
            torch.testing.assert_close(found, network.probabilities(real_images(seed=4) / 255))


def test_a_prediction_is_the_probabilities_of_images_or_of_points():
    of_points = build(
        generator=partial(FullyConnectedGenerator, sample_shape=[2], hidden=[4]),
        discriminator=FullyConnectedClassifier([2], [5], num_classes=3),
    )
    for module, given, seen in (
        (build(), {"image": real_images()}, real_images() / 255),
        (of_points, {"point": torch.ones(3, 2), "label": torch.zeros(3)}, torch.ones(3, 2)),
    ):
        expected = module.eval().discriminator.probabilities(seen)
        torch.testing.assert_close(module.predict_step(given, 0), expected.detach())


def test_validation_compares_the_classifier_with_the_labels_of_the_held_out_images():
    module = build(rate=0.0)
    held_out = {"image": real_images(seed=3), "label": torch.arange(BATCH) % 3}
    trainer = play(module, 1, data=loader(batches=1), validation=DataLoader([held_out], batch_size=None))
    network = module.eval().discriminator
    expected = cross_entropy(network.class_logits(network.trunk(real_images(seed=3) / 255)), held_out["label"])
    found = trainer.callback_metrics["validation/loss/supervised"]
    torch.testing.assert_close(found, expected.detach(), check_dtype=False)


def test_small_batches_are_enough_if_a_round_of_several_is_large():
    def train(discriminator_steps: int) -> int:
        module = build(
            generator=partial(SemiSupervisedGenerator, sample_shape=[1, 28, 28], hidden=[4]),
            discriminator=FullyConnectedClassifier([1, 28, 28], [5]),
            updates=Updates(discriminator_steps=discriminator_steps),
        )
        data = MNIST("no-data-here", download=False, fallback="digits", batch_size=4, labelled=Labelled(2))
        return play(module, 1, data=data, limit_val_batches=0).global_step

    with pytest.raises(InputError, match="4 samples do not tell how much a unit varies"):
        train(discriminator_steps=1)
    assert train(discriminator_steps=2) == 1


def test_what_is_initialised_goes_on_with_batches_too_small_to_initialise_by(tmp_path):
    def train(steps: int, batch_size: int, checkpoint: Path | None = None) -> Trainer:
        module = build(
            generator=partial(SemiSupervisedGenerator, sample_shape=[1, 28, 28], hidden=[4]),
            discriminator=FullyConnectedClassifier([1, 28, 28], [5]),
        )
        data = MNIST("no-data-here", download=False, fallback="digits", batch_size=batch_size, labelled=Labelled(2))
        return play(module, steps, data=data, limit_val_batches=0, checkpoint=checkpoint)

    # a whole epoch: in the middle of one the batch size may not change
    train(1, 1000).save_checkpoint(tmp_path / "last.ckpt")
    assert train(2, 4, tmp_path / "last.ckpt").global_step == 2


def test_options_can_be_combined_and_are_recorded():
    module = build(
        historical_averaging=0.1,
        real_label=0.9,
        unlabelled_weight=0.5,
        discriminator_regularisers=[R1(1.0)],
        discriminator=FullyConnectedClassifier([1, SIDE, SIDE], [12, 8], num_classes=3, minibatch_kernels=3),
    )
    trainer = play(module, 3, data=loader())
    logged = trainer.callback_metrics
    for name in ("historical_average/discriminator", "historical_average/generator", "regulariser/r1"):
        assert logged[f"train/{name}"] > 0
    total = logged["train/loss/supervised"] + 0.5 * logged["train/loss/unsupervised"]
    torch.testing.assert_close(logged["train/loss/discriminator"], total)


def test_the_historical_average_is_over_the_parameters_before_every_round():
    module = build(historical_averaging=0.1, rate=0.5)
    seen = []
    original = SemiSupervised._discriminator_turn

    def turn(real: torch.Tensor) -> torch.Tensor:
        seen.append(weights_of(module.discriminator, module.generator))
        return original(module, real)

    module._discriminator_turn = turn
    play(module, 4, data=loader())
    means = [torch.stack(values).mean(0) for values in zip(*seen, strict=True)]
    averages = [*module.history["discriminator"].buffers(), *module.history["generator"].buffers()]
    for mean, average in zip(means, averages, strict=True):
        torch.testing.assert_close(average, mean)


def test_a_smoothed_label_is_undone_in_the_log_ratio():
    module = build(real_label=0.9)
    ratio = torch.tensor([-3.0, 0.0, 2.0])
    answer = 0.9 * ratio.sigmoid()  # the optimal D
    torch.testing.assert_close(module.log_ratio(answer.logit()), ratio)
    assert torch.equal(build().log_ratio(ratio), ratio)
    assert module.has_log_ratio and build().has_log_ratio


def test_bad_input_is_told_in_a_sentence():
    with pytest.raises(InputError, match="tells no classes apart"):
        build(discriminator=TinyDiscriminator())
    for name, value in (
        ("real_label", 1.5),
        ("classifier_ema_decay", 1.0),
        ("historical_averaging", 0.0),
        ("unlabelled_weight", -0.1),
    ):
        with pytest.raises(InputError, match=name):
            build(**{name: value})
    with pytest.raises(InputError, match=r"data\.labelled"):
        play(build(), 1)
    with pytest.raises(InputError, match="no averaged weights"):
        build(classifier_ema_decay=None).class_probabilities(real_images(), "ema")


def strokes(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images of three classes: a stroke in one of three columns."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (n,), generator=random)
    images = 60 * torch.rand(n, 1, SIDE, SIDE, generator=random)
    images[torch.arange(n), 0, :, 1 + 2 * labels] += 150
    return images.byte(), labels


def test_the_classifier_learns_classes_from_few_labels():
    images, _ = strokes(640, 0)
    few_images, few_labels = strokes(12, 1)
    data = [
        {
            "image": images[start : start + 32],
            "labelled_image": few_images.repeat(3, 1, 1, 1)[:32],
            "labelled_label": few_labels.repeat(3)[:32],
        }
        for start in range(0, 640, 32)
    ]
    module = build(
        discriminator=FullyConnectedClassifier([1, SIDE, SIDE], [16, 12], num_classes=3, hidden_noise=0.1),
        generator_optimizer=partial(Adam, lr=3e-3, betas=(0.5, 0.999)),
        discriminator_optimizer=partial(Adam, lr=3e-3, betas=(0.5, 0.999)),
        classifier_ema_decay=0.9,
    )
    test_images, test_labels = strokes(500, 2)

    def error(weights):
        return float((module.class_probabilities(test_images, weights).argmax(1) != test_labels).float().mean())

    before = error("raw")
    play(module, 80, data=DataLoader(data, batch_size=None))  # type: ignore[arg-type]
    assert before > 0.3 and error("raw") < 0.05 and error("ema") < 0.05
    with evaluation_mode(module.discriminator):
        assert module.class_probabilities(test_images[:7], chunk=3).shape == (7, 3)


# ---- on the command line -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """The root of two runs of the tiny configuration, seeds 0 and 1, one thread each."""
    runs = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
            for seed in ("0", "1"):
                assert main(["fit", "--config", str(CONFIG), "--runs", str(runs), "--seed_everything", seed]) == 0
    finally:
        torch.set_num_threads(threads)
    return runs / "semi_supervised"


def test_a_run_that_was_stopped_resumes_exactly(fitted, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        args = ["fit", "--config", str(CONFIG), "--runs", str(tmp_path), "--trainer.limit_val_batches", "0"]
        # 12 steps are an epoch
        assert main([*args, "--trainer.max_steps", "7"]) == 0
        assert main([*args, "--ckpt_path", "last"]) == 0
    finally:
        torch.set_num_threads(threads)
    assert_same_run(tmp_path / "semi_supervised" / "version_1", fitted / "version_0")


def test_test_reports_the_error_with_the_labels_in_its_protocol(fitted, capsys, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    folder = fitted / "version_0"
    assert main(["test", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")]) == 0
    assert "classification_error" in capsys.readouterr().out
    errors = {
        score.protocol["weights"]: score
        for score in read_scores(folder / "scores.jsonl")
        if score.metric == "classification_error" and score.protocol["split"] == "test"
    }
    assert errors.keys() == {"ema", "raw"}
    assert errors["ema"].protocol["n_labelled"] == 20 and errors["ema"].protocol["n_scored"] == 300
    module, data = load_module(folder / "checkpoints" / "last.ckpt"), load_data(folder / "checkpoints" / "last.ckpt")
    test = data.split("test")
    for weights, network in (("raw", module.discriminator), ("ema", module.classifier_average.network)):
        classes = network.eval().class_logits(network.trunk(module.generator.from_stored(test.images))).argmax(1)
        expected = (classes != test.labels).double().mean().item()
        assert errors[weights].value == pytest.approx(expected, abs=1e-5) and 0 < expected < 0.95


def test_predict_writes_the_class_of_every_test_image_and_the_probabilities_of_all(fitted, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    folder = fitted / "version_1"
    assert main(["predict", "--ckpt_path", str(folder / "checkpoints" / "last.ckpt")]) == 0
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["sample", "class", *(f"probabilities[{k}]" for k in range(10))]
    assert len(rows) == 300 and rows[7]["sample"] == "test/7"
    for row in rows:
        probabilities = [float(row[f"probabilities[{k}]"]) for k in range(10)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        assert probabilities[int(row["class"])] == max(probabilities)


def test_an_ensemble_is_tested_by_one_command(fitted, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    checkpoints = [str(fitted / f"version_{seed}" / "checkpoints" / "last.ckpt") for seed in (0, 1)]
    assert main(["ensemble", *checkpoints, "--device", "cpu", "--out", str(tmp_path)]) == 0
    assert "members" in capsys.readouterr().out
    first, second, joint = read_scores(tmp_path / "scores.jsonl")
    assert (first.protocol["members"], second.protocol["seed"], joint.protocol["seed"]) == (1, 1, [0, 1])
    assert joint.protocol["members"] == 2 and joint.step == first.step
    test = load_data(checkpoints[0]).split("test")
    members = [load_module(path).class_probabilities(test.images) for path in checkpoints]
    for score, probabilities in ((first, members[0]), (second, members[1]), (joint, members[0] + members[1])):
        wrong = (probabilities.argmax(1) != test.labels).double().mean().item()
        assert score.value == pytest.approx(wrong, abs=1e-5)


def test_an_ensemble_says_how_its_members_differ(fitted, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    own = fitted / "version_0" / "checkpoints" / "last.ckpt"
    other = torch.load(fitted / "version_1" / "checkpoints" / "last.ckpt", weights_only=True)
    step = other["lightning_gans"]["step"]
    other["lightning_gans"]["step"] = step - 1
    other["lightning_gans"]["config"]["model"]["init_args"]["classifier_ema_decay"] = None
    for name in list(other["state_dict"]):
        if name.startswith("classifier_average."):
            del other["state_dict"][name]
    torch.save(other, tmp_path / "other.ckpt")
    assert main(["ensemble", str(own), str(tmp_path / "other.ckpt"), "--device", "cpu", "--out", str(tmp_path)]) == 0
    first, second, joint = read_scores(tmp_path / "scores.jsonl")
    assert [score.step for score in (first, second, joint)] == [step, step - 1, None]
    assert [score.protocol["weights"] for score in (first, second, joint)] == ["ema", "raw", ["ema", "raw"]]


def test_members_without_probabilities_or_with_other_classes_are_refused(fitted, refused, tmp_path):
    own = str(fitted / "version_0" / "checkpoints" / "last.ckpt")
    broken = torch.load(own, weights_only=True)
    broken["lightning_gans"]["seed"] = 7
    for name, weights in broken["state_dict"].items():
        if name.startswith("classifier_average.") and weights.is_floating_point():
            weights.fill_(float("nan"))
    torch.save(broken, tmp_path / "broken.ckpt")
    assert "broken.ckpt gives no probabilities" in refused("ensemble", own, tmp_path / "broken.ckpt", "--device", "cpu")
    args = ["--config", CONFIG, "--runs", tmp_path, "--seed_everything", 3, "--model.discriminator.num_classes", 12]
    assert main([str(arg) for arg in ("fit", *args, "--trainer.max_steps", 2, "--trainer.limit_val_batches", 0)]) == 0
    more = tmp_path / "semi_supervised" / "version_0" / "checkpoints" / "last.ckpt"
    sentence = refused("ensemble", own, more, "--device", "cpu")
    assert "tells 12 classes apart" in sentence and "last.ckpt 10, so that" in sentence


def test_an_ensemble_of_one_or_of_other_labels_or_images_is_refused(fitted, refused, tmp_path):
    own = str(fitted / "version_0" / "checkpoints" / "last.ckpt")
    assert "two checkpoints or more" in refused("ensemble", own)
    other = torch.load(own, weights_only=True)
    other["lightning_gans"]["config"]["data"]["init_args"]["labelled"]["seed"] = 5
    torch.save(other, tmp_path / "other.ckpt")
    assert "different labels" in refused("ensemble", own, tmp_path / "other.ckpt")
    foreign = torch.load(own, weights_only=True)
    foreign["MNIST"]["fingerprint"] = "of other images"
    torch.save(foreign, tmp_path / "foreign.ckpt")
    assert "on different images" in refused("ensemble", own, tmp_path / "foreign.ckpt")


def test_an_ensemble_has_each_member_once(fitted, refused, tmp_path, capsys):
    own = fitted / "version_0" / "checkpoints" / "last.ckpt"
    (tmp_path / "link.ckpt").symlink_to(own)
    for again in (own, tmp_path / "link.ckpt"):
        assert "given twice" in refused("ensemble", own, fitted / "version_1" / "checkpoints" / "last.ckpt", again)
    shutil.copyfile(own, tmp_path / "copy.ckpt")
    assert main(["ensemble", str(own), str(tmp_path / "copy.ckpt"), "--device", "cpu"]) == 0
    assert "have the same seed and settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--data.labelled", "null"], "set data.labelled, such as --data.labelled.per_class 10"),
        (["--data", "StackedMNIST"], "StackedMNIST labels no samples, but semi-supervised learning needs some"),
        (["--data.batch_size", "7"], "7 samples do not tell how much a unit varies; give a batch size of 8 or more"),
    ],
)
def test_data_that_cannot_be_learned_from_are_refused_at_once(refused, tmp_path, args, words):
    config = yaml.safe_load(Path("tests/conf/semi_supervised.yaml").read_text())
    if "StackedMNIST" in args:
        config["data"] = {"class_path": "StackedMNIST", "init_args": {"fallback": "digits", "train_size": 100}}
        for name in ("generator", "discriminator"):
            network = config["model"]["init_args"][name]["init_args"]
            network.get("generator", {"init_args": network})["init_args"]["sample_shape"] = [3, 28, 28]
        args = []
    path = tmp_path / "semi_supervised.yaml"
    path.write_text(yaml.safe_dump(config))
    assert words in refused("fit", "--config", path, "--runs", tmp_path / "runs", "--trainer.max_steps", 1, *args)
    assert not list(tmp_path.glob("runs/*/version_*"))


def test_more_classes_than_the_classifier_knows_are_refused(refused):
    sentence = refused(
        "fit", "--config", "tests/conf/semi_supervised.yaml", "--model.discriminator.num_classes", 5,
        "--trainer.max_steps", 1,
    )  # fmt: skip
    assert "the data have 10 classes, but the classifier tells 5 apart" in sentence
