"""Slopes and quotients of errors over seeds, with 95 % intervals by bootstrap."""

import math

import torch
from torch import Tensor

from lightning_gans.randomness import keyed_generator


def slope(by_size: dict[int, list[float]]) -> dict[str, float]:
    """Slope of the logarithm of the mean error against log T; its 95 % interval by bootstrap over seeds."""
    logs = torch.tensor([math.log(size) for size in by_size], dtype=torch.float64)
    values = torch.tensor(list(by_size.values()), dtype=torch.float64)
    random = keyed_generator("cpu", "nce benchmark", "bootstrap")
    chosen = torch.randint(values.shape[1], (2000, values.shape[1]), generator=random)

    def fit(of_size: Tensor) -> Tensor:
        centred = logs - logs.mean()
        return (of_size.log() * centred[:, None]).sum(0) / centred.square().sum()

    drawn = fit(values[:, chosen].mean(-1)).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return {"slope": float(fit(values.mean(1, keepdim=True))), "low": float(drawn[0]), "high": float(drawn[1])}


def quotient(of_seeds: list[list[tuple[float, float]]]) -> dict[str, float]:
    """Quotient of two mean errors on the same data, of each seed's pairs; its 95 % interval by bootstrap over seeds."""
    above, below = torch.tensor(of_seeds, dtype=torch.float64).mean(1).T
    random = keyed_generator("cpu", "nce benchmark", "bootstrap")
    chosen = torch.randint(len(of_seeds), (2000, len(of_seeds)), generator=random)
    drawn = above[chosen].mean(1) / below[chosen].mean(1)
    low, high = drawn.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return {"quotient": float(above.mean() / below.mean()), "low": low, "high": high}
