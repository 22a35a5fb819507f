"""Four Laplacian sources, mixed and found again (Gutmann & Hyvarinen 2010): the best of three runs by its own J."""

import math
import statistics
from collections.abc import Callable
from typing import Any

import torch
from nce_statistics import slope
from torch import Tensor

from lightning_gans.data.linear import random_mixing, random_sources
from lightning_gans.functional import nce
from lightning_gans.functional.separation import amari_index
from lightning_gans.networks import GaussianNoise, IndependentComponents
from lightning_gans.randomness import keyed_generator

SIZES, RATIO, STARTS = (500, 2000, 8000), 10.0, 3

Estimates = dict[str, dict[str, float]]


def ica(size: int, seed: int) -> Estimates:
    """Amari index, squared error of the matched B, and of c, by NCE and by maximum likelihood."""
    random = keyed_generator("cpu", "nce benchmark", "ica", seed)
    mixing = random_mixing(4, random)
    points = random_sources(size, 4, "laplace", random) @ mixing.T
    noise = GaussianNoise(4).double()
    noise.fit(points)
    contrast = noise(torch.randn(round(RATIO * size), 4, dtype=torch.float64, generator=random))
    log_noise = [noise.log_density(which) for which in (points, contrast)]

    def contrastive(model: IndependentComponents) -> Tensor:
        logits = [nce.logit(model(x), log, RATIO) for x, log in zip((points, contrast), log_noise, strict=True)]
        return nce.loss(*logits, RATIO)

    def negative_log_likelihood(model: IndependentComponents) -> Tensor:
        # c is not in it: its gradient is that of c², whose minimum is the start
        return (
            -(model.unnormalised(points).mean() + torch.linalg.slogdet(model.unmixing).logabsdet)
            + model.log_normaliser**2
        )

    found = {}
    for name, loss in (("nu 10", contrastive), ("mle", negative_log_likelihood)):
        torch.manual_seed(seed)
        models = [fitted(IndependentComponents(4).double(), loss) for _ in range(STARTS)]
        model = min(models, key=lambda one: float(loss(one).detach()))
        c = float((model.log_normaliser if name == "nu 10" else model.exact_log_normaliser()).detach())
        true_c = -float(torch.linalg.slogdet(mixing).logabsdet) - 2 * math.log(2)
        unmixing = model.unmixing.detach()
        found[name] = {
            "amari_index": float(amari_index(unmixing, mixing)),
            "unmixing": float((matched(unmixing, mixing) - torch.linalg.inv(mixing)).square().sum()),
            "c": (c - true_c) ** 2,
        }
    return found


def fitted(model: IndependentComponents, loss: Callable[[IndependentComponents], Tensor]) -> IndependentComponents:
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        optimizer.zero_grad()
        now = loss(model)
        now.backward()
        return now

    optimizer.step(value)
    return model


def matched(unmixing: Tensor, mixing: Tensor) -> Tensor:
    """B with its rows in the sources' order and with their signs, as far as they can be told."""
    product = unmixing @ mixing
    rows = product.abs().argmax(0)
    return product[rows, torch.arange(len(rows))].sign()[:, None] * unmixing[rows]


def summary_of_ica(entries: dict[str, Estimates]) -> dict[str, Any]:
    by_size = {size: [entry for key, entry in entries.items() if key.split("/")[0] == str(size)] for size in SIZES}
    keys = ("amari_index", "unmixing", "c")
    return {
        name: {
            "median": {
                str(size): {key: statistics.median(entry[name][key] for entry in found) for key in keys}
                for size, found in by_size.items()
            },
            "worst_amari_index": {
                str(size): max(e[name]["amari_index"] for e in found) for size, found in by_size.items()
            },
            "slope": slope({size: [entry[name]["unmixing"] for entry in found] for size, found in by_size.items()}),
        }
        for name in ("nu 10", "mle")
    }
