"""Low-dimensional data: points of a known distribution, the same ones in every run."""

import math
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from lightning.pytorch.cli import LightningArgumentParser

from lightning_gans.data import Grid, Mixture, PointDataModule, PointSplit, Ring
from lightning_gans.errors import InputError
from lightning_gans.functional.mixtures import GaussianMixture, f_gan_mixture, grid, ring

from .toy import Killed, SaveAt, Witness, trainer

SMALL = {"train_size": 200, "evaluation_size": 50}
KINDS = (Mixture, Ring, Grid)


class PointWitness(Witness):
    """Writes down the first coordinate of all points."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        super().training_step({"image": batch["point"][:, :, None, None]}, batch_idx)


# ---- the papers' distributions


def test_the_defaults_are_the_papers() -> None:
    assert Mixture(**SMALL).mixture == f_gan_mixture()
    assert Ring(**SMALL).mixture == ring(modes=8, radius=1.0, standard_deviation=0.01)
    assert Grid(**SMALL).mixture == grid(side=5, spacing=2.0, standard_deviation=0.05)
    shapes = [(data.sample_shape, data.num_classes) for data in (kind(**SMALL) for kind in KINDS)]
    assert shapes == [((1,), 2), ((2,), 8), ((2,), 25)]


def test_the_f_gan_mixture_has_the_papers_variances() -> None:
    _, means, deviations = Mixture(**SMALL).mixture.tensors()
    assert means.flatten().tolist() == [-1, 2]
    assert deviations.square().flatten().tolist() == pytest.approx([0.0625, 2])


def test_another_grid_is_as_wide_and_as_fine_as_asked_for() -> None:
    corners = [[-1.5, -1.5], [-1.5, 1.5], [1.5, -1.5], [1.5, 1.5]]
    expected = GaussianMixture([0.25] * 4, corners, [0.2] * 4)
    assert Grid(side=2, spacing=3.0, standard_deviation=0.2, **SMALL).mixture == expected


def test_the_log_density_is_in_nats() -> None:
    data = Mixture(weights=[1.0], means=[[1.0, 0.0]], standard_deviations=[2.0], **SMALL)
    found = data.log_density(torch.tensor([[1.0, 0.0], [1.0, 4.0]]))
    assert found.tolist() == pytest.approx([-math.log(8 * math.pi), -math.log(8 * math.pi) - 2])


def test_points_have_the_mixtures_moments_and_their_label_is_their_component() -> None:
    data = Mixture(train_size=100_000, evaluation_size=10)
    split = data.split("train")
    assert isinstance(split, PointSplit)
    points, labels = split.points[:, 0], split.labels
    assert len(points) == 100_000
    for component, (weight, mean, deviation) in enumerate([(0.33, -1.0, 0.25), (0.67, 2.0, math.sqrt(2))]):
        mine = points[labels == component]
        assert len(mine) / len(points) == pytest.approx(weight, abs=5 * math.sqrt(0.25 / len(points)))
        assert mine.mean().item() == pytest.approx(mean, abs=5 * deviation / math.sqrt(len(mine)))
        assert mine.std().item() == pytest.approx(deviation, rel=5 / math.sqrt(2 * len(mine)))


# ---- the same in every run


@pytest.mark.parametrize("kind", KINDS)
def test_every_seed_trains_on_the_same_points(kind: type[PointDataModule]) -> None:
    first, other = kind(seed=0, **SMALL), kind(seed=1, **SMALL)
    for name in ("train", "validation", "test"):
        for column, values in first.split(name).columns.items():
            assert torch.equal(values, other.split(name).columns[column])
    assert first.fingerprint == other.fingerprint


def test_the_seed_is_the_order() -> None:
    def order(seed: int) -> torch.Tensor:
        return torch.cat([batch["point"] for batch in Ring(seed=seed, batch_size=20, **SMALL).train_dataloader()])

    first, again, other = order(0), order(0), order(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first.sort(0).values, other.sort(0).values)


def test_no_two_splits_share_a_point() -> None:
    data = Mixture(train_size=100, evaluation_size=100)
    points = torch.cat([data.split(name).points for name in ("train", "validation", "test")])
    assert len(points.unique()) == 300


def test_the_fingerprint_is_the_points_and_not_the_batches() -> None:
    fingerprint = Ring(**SMALL).fingerprint
    assert Ring(batch_size=7, evaluation_batch_size=3, **SMALL).fingerprint == fingerprint
    changed = [
        Ring(modes=7, **SMALL),
        Ring(radius=1.001, **SMALL),
        Ring(standard_deviation=0.011, **SMALL),
        Ring(train_size=201, evaluation_size=50),
        Ring(train_size=200, evaluation_size=51),
        Mixture(**SMALL),
        Mixture(weights=[0.34, 0.66], **SMALL),
    ]
    assert len({fingerprint, *(data.fingerprint for data in changed)}) == 1 + len(changed)


# ---- batches


def test_batches_hold_points_and_labels() -> None:
    data = Grid(batch_size=64, evaluation_batch_size=30, **SMALL)
    batches = list(data.train_dataloader())
    assert [len(batch["point"]) for batch in batches] == [64] * 3
    for batch in batches:
        assert batch.keys() == {"point", "label"}
        assert batch["point"].shape == (64, 2) and batch["point"].dtype == torch.float32
        assert batch["label"].dtype == torch.int64
        # every point is next to the mean of its component
        _, means, _ = data.mixture.tensors(torch.float32)
        assert (batch["point"] - means[batch["label"]]).abs().max() < 0.5
    assert [len(batch["point"]) for batch in data.val_dataloader()] == [30, 20]
    assert torch.equal(torch.cat([b["point"] for b in data.test_dataloader()]), data.split("test").points)


def test_a_run_that_was_killed_goes_on_with_the_same_points(tmp_path: Path) -> None:
    def run(stop: int | None, checkpoint: Path | None) -> tuple[list[list[float]], torch.Tensor]:
        torch.manual_seed(0)
        witness = PointWitness()
        callbacks = [SaveAt(tmp_path / "stop.ckpt", stop)] if stop else []
        with suppress(Killed):
            trainer(tmp_path, *callbacks).fit(witness, Ring(batch_size=60, **SMALL), ckpt_path=checkpoint)
        return witness.seen, witness.linear.weight.detach()

    whole, weights = run(None, None)
    assert len(whole) == 9
    begun, _ = run(4, None)
    rest, resumed = run(None, tmp_path / "stop.ckpt")
    assert begun + rest == whole
    assert torch.equal(resumed, weights)


def test_other_points_than_the_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trainer(tmp_path, SaveAt(tmp_path / "stop.ckpt", 2)).fit(PointWitness(), Ring(batch_size=60, **SMALL))
    other = Ring(batch_size=60, radius=2.0, **SMALL)
    with pytest.raises(InputError, match=r"trained on ring \(fingerprint .* but this is ring"):
        trainer(tmp_path).fit(PointWitness(), other, ckpt_path=tmp_path / "stop.ckpt")


# ---- written in YAML

CUSTOM = """
data:
  class_path: Mixture
  init_args:
    weights: [0.5, 0.25, 0.25]
    means: [[0, 0, 0], [1, 0, 0], [0, 2, 0]]
    standard_deviations: [[0.1, 0.2, 0.3], [1, 1, 1], [2, 2, 2]]
    train_size: 100
    evaluation_size: 10
    batch_size: 5
"""


def test_any_mixture_can_be_written_in_yaml(tmp_path: Path) -> None:
    (tmp_path / "custom.yaml").write_text(CUSTOM)
    parser = LightningArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(PointDataModule, "data")
    config = parser.parse_args(["--config", str(tmp_path / "custom.yaml")])
    data = parser.instantiate_classes(config).data
    assert isinstance(data, Mixture)
    assert (data.sample_shape, data.num_classes, data.batch_size) == ((3,), 3, 5)
    assert data.mixture.standard_deviations[0] == [0.1, 0.2, 0.3]
    assert data.split("train").points.shape == (100, 3)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Mixture(weights=[0.5, 0.6]), "must be positive and sum to 1"),
        (lambda: Mixture(means=[[0.0], [1.0, 2.0]]), "must be of one dimension"),
        (lambda: Mixture(standard_deviations=[0.1]), "as many means and standard deviations"),
        (lambda: Ring(modes=0), "at least 1 mode"),
        (lambda: Ring(standard_deviation=0.0), "positive"),
        (lambda: Grid(side=0), "at least 1 mode"),
        (lambda: Grid(train_size=0), "train_size is 0"),
        (lambda: Grid(evaluation_size=-1), "evaluation_size is -1"),
        (lambda: Grid(batch_size=0), "batch_size is 0"),
    ],
)
def test_what_is_no_data_is_refused(make, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("points", "labels"),
    [
        (torch.zeros(3, 2, dtype=torch.float64), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(3, 2), torch.zeros(3)),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64)),
    ],
)
def test_a_split_is_of_float32_points_with_as_many_labels(points: torch.Tensor, labels: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="must be"):
        PointSplit(points, labels)
