"""Density ratios of known pairs by four kinds of estimators."""

import statistics

import torch
from torch import Tensor

from lightning_gans.functional import density_ratios, f_divergences, kernel_ratios
from lightning_gans.randomness import keyed_generator

PAIRS = ("shift, 1-D", "narrow, 1-D", "shift, 5-D", "correlated, 2-D")
SAMPLES = 1000


def pair_of(name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Mean and covariance of P and of Q."""
    one, five = torch.ones(1, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    eye = torch.eye(5, dtype=torch.float64)
    correlated = torch.tensor([[1.0, 0.6], [0.6, 1.0]], dtype=torch.float64)
    return {
        "shift, 1-D": ((0.5 * one, eye[:1, :1]), (0 * one, eye[:1, :1])),
        "narrow, 1-D": ((0.5 * one, 0.25 * eye[:1, :1]), (0 * one, eye[:1, :1])),
        "shift, 5-D": ((five + 0.3, eye), (five, eye)),
        "correlated, 2-D": ((five[:2], correlated), (five[:2], eye[:2, :2])),
    }[name]


def ratios(pair: str, seed: int) -> dict[str, float]:
    """Root of E_Q[(r̂ - r)²] / E_Q[r²] at the samples of Q, for every estimator."""
    random = keyed_generator("cpu", "nce benchmark", "ratios", pair, seed)
    distributions = [torch.distributions.MultivariateNormal(*moments) for moments in pair_of(pair)]
    p, q = (
        of.mean + torch.randn(SAMPLES, len(of.mean), dtype=torch.float64, generator=random) @ of.scale_tril.T
        for of in distributions
    )
    truth = (distributions[0].log_prob(q) - distributions[1].log_prob(q)).exp()
    kernels = kernel_ratios.GaussianKernels(p[:100], kernel_ratios.median_bandwidth(p, q))

    def kernels_and_a_constant(x: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(x[:, :1]), kernels(x)], dim=1)

    divergences = ("kl", "reverse_kl", "squared_hellinger", "jensen_shannon")
    estimates = {
        "constant 1": torch.ones_like(truth),
        "class probability, quadratic": density_ratios.class_probability(p, q)(q),
        "class probability, kernels": density_ratios.class_probability(p, q, kernels_and_a_constant, ridge=1e-3)(q),
        **{
            f"f-divergence {name}, quadratic": density_ratios.f_divergence(f_divergences.get(name), p, q)(q)
            for name in divergences
        },
        "least squares (uLSIF), kernels": kernel_ratios.cross_validated_least_squares(p, q)[0](q),
        "moment matching (KMM), kernels": kernel_ratios.moment_matching(p, q, kernels.bandwidth),
    }
    return {
        name: float((found - truth).square().mean().sqrt() / truth.square().mean().sqrt())
        for name, found in estimates.items()
    }


def summary_of_ratios(entries: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Medians over seeds."""
    return {
        pair: {
            name: statistics.median(entry[name] for key, entry in entries.items() if key.startswith(pair + "/"))
            for name in next(iter(entries.values()))
        }
        for pair in PAIRS
    }
