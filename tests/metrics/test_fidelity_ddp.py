"""Two processes that share the samples unevenly give what one gives.

A process of its own for each rank costs seconds of imports, so one launch does all metrics.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchmetrics import Metric

from lightning_gans.metrics.class_histogram import ClassHistogram
from lightning_gans.metrics.frechet import FeatureMoments, FrechetDistance
from lightning_gans.metrics.inception_score import InceptionScore
from lightning_gans.metrics.kernel_distance import KernelDistance
from lightning_gans.metrics.manifold import Manifold
from lightning_gans.metrics.memorisation import Memorisation

REAL, GENERATED, FEATURES, CLASSES = 101, 67, 5, 4


def samples() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "real": torch.randn(REAL, FEATURES, generator=random),
        "generated": torch.randn(GENERATED, FEATURES, generator=random) * 1.1 + 0.2,
        "held_out": torch.randn(53, FEATURES, generator=random),
        "logits": torch.randn(GENERATED, CLASSES, generator=random) * 2,
        "labels": torch.randint(0, CLASSES, (REAL,), generator=random),
    }


def metrics() -> dict[str, Metric]:
    return {
        "moments": FeatureMoments(FEATURES),
        "frechet": FrechetDistance(FEATURES),
        "inception": InceptionScore(CLASSES, splits=3),
        "kernel": KernelDistance(subsets=4, subset_size=20),
        "rbf": KernelDistance("rbf", (1.0, 2.0)),
        "manifold": Manifold(),
        "classes": ClassHistogram(CLASSES),
        "memorisation": Memorisation(pairs=6),
    }


def fill(all_metrics: Mapping[str, Metric], share: Mapping[str, Tensor]) -> None:
    """Give every metric the samples whose numbers are in the share, in batches of 10."""
    data = samples()
    for side in ("real", "generated", "held_out"):
        for number in share[side].split(10) if len(share[side]) else ():
            batch = data[side][number]
            all_metrics["memorisation"].update(batch, "train" if side == "real" else side, number)
            if side == "held_out":
                continue
            for name in ("frechet", "kernel", "rbf", "manifold"):
                all_metrics[name].update(batch, real=side == "real")
            if side == "real":
                all_metrics["moments"].update(batch)
                all_metrics["classes"].update(data["labels"][number], real=True)
            else:
                all_metrics["inception"].update(data["logits"][number], number)
                all_metrics["classes"].update(data["logits"][number], real=False)


def everything() -> dict[str, Tensor]:
    return {"real": torch.arange(REAL), "generated": torch.arange(GENERATED), "held_out": torch.arange(53)}


def results(share: Mapping[str, Tensor]) -> dict[str, Any]:
    filled = metrics()
    fill(filled, share)
    found = {name: plain(metric.compute()) for name, metric in filled.items()}
    # what the other rank sent must be gone afterwards, so that more can be added
    for metric in filled.values():
        assert not metric._is_synced
        metric._computed = None
    assert {name: plain(metric.compute()) for name, metric in filled.items()} == found
    return found


def plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.flatten().tolist()
    return [plain(entry) for entry in value] if isinstance(value, tuple) else value


def numbers(value: Any) -> list[float]:
    if isinstance(value, list):
        return [number for entry in value for number in numbers(entry)]
    return [math.nan if value is None else float(value)]


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    interleaved = {side: whole[rank::2] for side, whole in everything().items()}
    # rank 0 has one side only and rank 1 the rest, as with a tiny evaluation on many ranks
    lopsided = {
        side: whole if (side == "generated") == (rank == 0) else whole[:0] for side, whole in everything().items()
    }
    found = {"interleaved": results(interleaved), "lopsided": results(lopsided)}
    torch.save(found, Path(folder) / f"rank_{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two ranks found, by the way they shared the samples."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"rank_{rank}.pt") for rank in (0, 1)]


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return results(everything())


@pytest.mark.parametrize("way", ["interleaved", "lopsided"])
@pytest.mark.parametrize("name", metrics())
def test_two_ranks_give_what_one_gives(
    name: str, way: str, shared: list[dict[str, Any]], alone: dict[str, Any]
) -> None:
    assert shared[0][way][name] == shared[1][way][name]
    expected = pytest.approx(numbers(alone[name]), rel=1e-6, abs=1e-12, nan_ok=True)
    assert numbers(shared[0][way][name]) == expected
