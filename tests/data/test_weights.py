"""Training samples seen more or less often: the file, the statistics, the resumption."""

from contextlib import suppress
from pathlib import Path

import numpy
import pytest
import torch

from lightning_gans.data import RandomMixture, Ring, RoundSampler
from lightning_gans.data.sampler import epoch_order, systematic_sample
from lightning_gans.data.weights import read_weights, write_weights
from lightning_gans.errors import InputError
from lightning_gans.randomness import keyed_generator

from .test_mixtures import SMALL, PointWitness
from .toy import Killed, SaveAt, trainer


def some_weights(size: int) -> torch.Tensor:
    weights = torch.rand(size, dtype=torch.float64, generator=keyed_generator("cpu", "weights")) ** 4
    weights[::7] = 0
    return weights / weights.sum()


def test_every_sample_is_seen_as_often_as_its_weight_says_rounded_up_or_down():
    weights = some_weights(500)
    expected = 500 * weights
    for epoch in range(5):
        counts = torch.bincount(epoch_order(500, 0, epoch, weights), minlength=500)
        assert (counts >= expected.floor()).all() and (counts <= expected.ceil()).all()
        assert not counts[::7].any()


def test_over_many_epochs_the_mean_is_the_weight():
    weights = some_weights(50)
    counts = sum(torch.bincount(epoch_order(50, 0, epoch, weights), minlength=50) for epoch in range(2000)) / 2000
    # each count's standard deviation is 1/2 at most: five standard errors
    assert (counts - 50 * weights).abs().max() < 5 * 0.5 / 2000**0.5


def test_equal_weights_are_the_unweighted_order():
    assert torch.equal(epoch_order(1000, 3, 2, torch.full((1000,), 1e-3).double()), epoch_order(1000, 3, 2))


def test_rounding_at_the_end_never_reaches_a_sample_of_no_weight():
    weights = torch.tensor([0.1] * 10 + [0.0] * 10, dtype=torch.float64)
    for key in range(200):
        assert int(systematic_sample(weights, keyed_generator("cpu", key)).max()) < 10


def test_the_weighted_order_is_shuffled_and_a_function_of_seed_and_epoch():
    weights = some_weights(300)
    orders = {key: tuple(epoch_order(300, *key, weights).tolist()) for key in [(0, 0), (0, 1), (1, 0)]}
    assert len(set(orders.values())) == 3
    assert orders[0, 0] == tuple(epoch_order(300, 0, 0, weights).tolist())
    assert list(orders[0, 0]) != sorted(orders[0, 0])


def test_ranks_together_see_what_one_process_would():
    weights = some_weights(120)
    one = torch.stack(list(RoundSampler(120, 12, weights=weights)))
    two = [torch.stack(list(RoundSampler(120, 6, rank=r, world_size=2, weights=weights))) for r in (0, 1)]
    assert torch.equal(torch.cat(two, dim=1), one)


def test_a_killed_run_goes_on_with_the_same_weighted_points(tmp_path: Path):
    write_weights(tmp_path / "weights.npy", some_weights(200))

    def run(stop: int | None, checkpoint: Path | None) -> tuple[list[list[float]], torch.Tensor]:
        torch.manual_seed(0)
        witness = PointWitness()
        data = Ring(batch_size=60, sample_weights=str(tmp_path / "weights.npy"), **SMALL)
        with suppress(Killed):
            callbacks = [SaveAt(tmp_path / "stop.ckpt", stop)] if stop else []
            trainer(tmp_path, *callbacks).fit(witness, data, ckpt_path=checkpoint)
        return witness.seen, witness.linear.weight.detach()

    whole, weights = run(None, None)
    begun, _ = run(4, None)
    rest, resumed = run(None, tmp_path / "stop.ckpt")
    assert begun + rest == whole
    assert torch.equal(resumed, weights)
    write_weights(tmp_path / "weights.npy", some_weights(200).flip(0))
    with pytest.raises(InputError, match="trained with other sample weights"):
        run(None, tmp_path / "stop.ckpt")


def test_weights_change_no_fingerprint_and_are_read_for_training_only(tmp_path: Path):
    data = Ring(sample_weights=str(tmp_path / "not there.npy"), **SMALL)
    assert data.fingerprint == Ring(**SMALL).fingerprint
    assert len(list(data.val_dataloader())) == 1
    with pytest.raises(InputError, match=r"not there.npy cannot be read: No such file"):
        data.train_dataloader()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (numpy.ones(3), "has 4 samples"),
        (numpy.array([1, 2, -1, 0.0]), "0 or more"),
        (numpy.array([1, 2, numpy.nan, 0.0]), "finite"),
        (numpy.zeros(4), "not all 0"),
        (numpy.array(["a"] * 4), "needs a number for each"),
    ],
)
def test_what_are_no_weights_is_refused(tmp_path: Path, content, words):
    numpy.save(tmp_path / "w.npy", content)
    with pytest.raises(InputError, match=words):
        read_weights(tmp_path / "w.npy", 4)


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "w.npy").write_text("weights")
    with pytest.raises(InputError, match=r"no .npy file"):
        read_weights(tmp_path / "w.npy", 4)


# ---- random mixtures


def test_random_mixtures_are_those_of_the_authors_code():
    # numpy.random.seed(821); numpy.random.uniform(-15, 15, (k, 2)); 15 / variance_factor(k, 2)
    variances = {1: 5, 2: 5, 3: 1.875, 4: 0.75, 5: 1.5, 7: 15 / 147, 10: 0.05}
    for modes, variance in variances.items():
        mixture = RandomMixture(modes=modes, train_size=10, evaluation_size=10).mixture
        means = numpy.random.RandomState(821).uniform(-15, 15, (modes, 2))
        assert mixture.means == means.tolist()
        assert [s**2 for s in mixture.standard_deviations] == pytest.approx([variance] * modes)
        assert mixture.weights == pytest.approx([1 / modes] * modes)
    assert RandomMixture(modes=3).train_size == 64_000


def test_another_square_and_another_seed_give_another_random_mixture():
    mixture = RandomMixture(modes=4, half_width=2.0, mixture_seed=5, train_size=10, evaluation_size=10).mixture
    assert mixture.means == numpy.random.RandomState(5).uniform(-2, 2, (4, 2)).tolist()
    assert [s**2 for s in mixture.standard_deviations] == pytest.approx([2 / 20] * 4)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"modes": 0}, "modes is 0"),
        ({"half_width": 0.0}, "half_width is 0.0"),
        ({"mixture_seed": -1}, "mixture_seed is -1"),
        ({"mixture_seed": 2**32}, "mixture_seed is 4294967296"),
    ],
)
def test_what_is_no_random_mixture_is_refused(option, words):
    with pytest.raises(InputError, match=words):
        RandomMixture(**option)
