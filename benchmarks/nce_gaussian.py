"""Precision and log-normaliser of a random Gaussian (Gutmann & Hyvarinen 2012, section 3).

From T data points and ν T noise points, against maximum likelihood and against the asymptotic theory. The model is
log-linear, so J is concave and is maximised exactly (`fit_log_linear`).
"""

import math
import statistics
from typing import Any

import torch
from nce_statistics import quotient, slope
from torch import Tensor

from lightning_gans.data.linear import random_covariance
from lightning_gans.functional import nce
from lightning_gans.randomness import keyed_generator

SIZES, RATIOS = (500, 2000, 8000, 32000), (0.1, 1.0, 10.0, 100.0)
LARGEST = 500_000
"""Noise points at most; a larger pair of T and ν is left out."""

Estimates = dict[str, dict[str, float]]


def features(points: Tensor) -> Tensor:
    """1 and -x_i x_j (halved for i = j), whose coefficients are c and the entries of the precision."""
    rows, columns = torch.triu_indices(points.shape[1], points.shape[1])
    products = -points[:, rows] * points[:, columns]
    return torch.cat([torch.ones_like(points[:, :1]), torch.where(rows == columns, 0.5, 1.0) * products], dim=1)


def parameters(precision: Tensor) -> Tensor:
    """c, and the entries of the precision on and above the diagonal."""
    c = 0.5 * torch.linalg.slogdet(precision).logabsdet - 0.5 * len(precision) * math.log(2 * math.pi)
    return torch.cat([c[None], precision[tuple(torch.triu_indices(*precision.shape))]])


def log_gaussian(points: Tensor, precision: Tensor) -> Tensor:
    return features(points) @ parameters(precision)


def gaussian(size: int, seed: int) -> Estimates:
    """Squared errors of all estimates from T points, and tr Σ / T where theory gives it; one random covariance."""
    random = keyed_generator("cpu", "nce benchmark", "gaussian", seed)
    covariance = random_covariance(5, (0.1, 0.9), random)
    truth = parameters(torch.linalg.inv(covariance))

    def draw(n: int, of: Tensor) -> Tensor:
        return torch.randn(n, 5, dtype=torch.float64, generator=random) @ torch.linalg.cholesky(of).T

    points = draw(size, covariance)
    sample_covariance = points.T @ points / size
    likeliest = torch.linalg.inv(sample_covariance)
    found: Estimates = {"mle": errors(parameters(likeliest), truth)}
    many = draw(20_000, covariance)
    for nu in RATIOS:
        # the noise of many data points is the data's own distribution here
        sigma = nce.asymptotic_covariance(features(many), torch.zeros(len(many)), nu).diagonal() / size
        expected = {"expected_precision": float(sigma[1:].sum()), "expected_c": float(sigma[0])}
        if nu * size <= LARGEST:
            noise = draw(round(nu * size), sample_covariance)
            logs = [log_gaussian(which, likeliest) for which in (points, noise)]
            theta = nce.fit_log_linear(features(points), features(noise), *logs, nu)
            found[f"nu {nu:g}"] = errors(theta, truth) | expected
    sigma = nce.asymptotic_covariance(features(many), torch.zeros(len(many)), math.inf).diagonal() / size
    found["mle"] |= {"expected_precision": float(sigma[1:].sum()), "expected_c": float(sigma[0])}
    return found


def errors(theta: Tensor, truth: Tensor) -> dict[str, float]:
    squared = (theta - truth).square()
    return {"precision": float(squared[1:].sum()), "c": float(squared[0])}


def summary_of_gaussians(entries: dict[str, Estimates]) -> dict[str, Any]:
    """Medians for each T and ν, their quotient to maximum likelihood's, and slopes of log error against log T."""
    by_size = {size: [entry for key, entry in entries.items() if key.split("/")[0] == str(size)] for size in SIZES}
    estimators = ["mle", *(f"nu {nu:g}" for nu in RATIOS)]
    table: dict[str, Any] = {"seeds": len(by_size[SIZES[0]]), "median": {}, "mean": {}, "slope": {}}
    for estimator in estimators:
        for name, average in (("median", statistics.median), ("mean", statistics.fmean)):
            table[name][estimator] = {
                str(size): {key: average(entry[estimator][key] for entry in found) for key in found[0][estimator]}
                for size, found in by_size.items()
                if found and estimator in found[0]
            }
        table["slope"][estimator] = {
            key: slope(
                {
                    size: [entry[estimator][key] for entry in found]
                    for size, found in by_size.items()
                    if estimator in found[0]
                }
            )
            for key in ("precision", "c")
        }
    # errors times T are of one size, so that all T can be taken together
    table["nu 10 over mle"] = {
        key: {
            str(size): quotient([[(entry["nu 10"][key], entry["mle"][key])] for entry in found])
            for size, found in by_size.items()
        }
        | {
            # all T of a seed share its covariance, so they are drawn together
            "all": quotient(
                [
                    [(n * e["nu 10"][key], n * e["mle"][key]) for n, e in zip(by_size, of_seed, strict=True)]
                    for of_seed in zip(*by_size.values(), strict=True)
                ]
            )
        }
        for key in ("precision", "c")
    }
    return table
