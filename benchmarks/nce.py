"""Noise-contrastive estimation on its papers' problems, density ratios on known pairs, and NCE beside a GAN.

    python benchmarks/nce.py

1. Gaussian (Gutmann & Hyvarinen 2012, section 3): the precision and the log-normaliser of a random 5-D Gaussian from
   T data points and ν T noise points, against maximum likelihood and against the asymptotic theory. The model is
   log-linear, so J is concave and is maximised exactly (`fit_log_linear`).
2. ICA (Gutmann & Hyvarinen 2010): four Laplacian sources; the best of three L-BFGS runs by its own J.
3. Density ratios of known pairs by four kinds of estimators.
4. Two pictures: errors against T, and the one classifier of NCE and a GAN with the model on either side.

Finished entries are kept in the record, benchmarks/results/nce.json, so a stopped benchmark goes on where it was.
"""

import argparse
import json
import logging
import math
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nce_pictures import draw_errors, draw_one_idea
from torch import Tensor

from lightning_gans import __version__
from lightning_gans.data.linear import random_covariance, random_mixing, random_sources
from lightning_gans.files import atomic_path
from lightning_gans.functional import density_ratios, f_divergences, kernel_ratios, nce
from lightning_gans.functional.separation import amari_index
from lightning_gans.networks import GaussianNoise, IndependentComponents
from lightning_gans.randomness import keyed_generator

RECORD = Path(__file__).parent / "results" / "nce.json"
SIZES, RATIOS = (500, 2000, 8000, 32000), (0.1, 1.0, 10.0, 100.0)
LARGEST = 500_000
"""Noise points at most; a larger pair of T and ν is left out."""
ICA_SIZES, ICA_RATIO, STARTS = (500, 2000, 8000), 10.0, 3
PAIRS = ("shift, 1-D", "narrow, 1-D", "shift, 5-D", "correlated, 2-D")
SAMPLES = 1000

Estimates = dict[str, dict[str, float]]


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 1 or more")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussian_seeds", type=positive, default=30)
    parser.add_argument("--ica_seeds", type=positive, default=10)
    parser.add_argument("--ratio_seeds", type=positive, default=10)
    parser.add_argument("--record", type=Path, default=RECORD)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    record = json.loads(options.record.read_text()) if options.record.is_file() else {}
    print(f"recording to {options.record}", flush=True)
    jobs: list[tuple[str, str, Callable[[], Any]]] = [
        ("gaussian", f"{size}/{seed}", lambda size=size, seed=seed: gaussian(size, seed))
        for size in SIZES
        for seed in range(options.gaussian_seeds)
    ]
    jobs += [
        ("ica", f"{size}/{seed}", lambda size=size, seed=seed: ica(size, seed))
        for size in ICA_SIZES
        for seed in range(options.ica_seeds)
    ]
    jobs += [
        ("ratios", f"{pair}/{seed}", lambda pair=pair, seed=seed: ratios(pair, seed))
        for pair in PAIRS
        for seed in range(options.ratio_seeds)
    ]
    for number, (section, key, work) in enumerate(jobs, 1):
        if key in record.setdefault(section, {}):
            continue
        record[section][key] = work()
        write(options.record, record)
        if number % 10 == 0 or number == len(jobs):
            print(f"{number} of {len(jobs)}: {section} {key}, {time.process_time():.0f} s of CPU time", flush=True)
    record["summary"] = {
        "gaussian": summary_of_gaussians(record["gaussian"]),
        "ica": summary_of_ica(record["ica"]),
        "ratios": summary_of_ratios(record["ratios"]),
    }
    write(options.record, record)
    print(json.dumps(record["summary"], indent=1))
    draw_errors(record["summary"]["gaussian"], options.record.with_name("nce_errors.png"))
    if not (picture := options.record.with_name("nce_and_gan.png")).is_file():
        draw_one_idea(picture)


# ---- the Gaussian


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
    draw = lambda n, of: torch.randn(n, 5, dtype=torch.float64, generator=random) @ torch.linalg.cholesky(of).T  # noqa: E731
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


# ---- independent components


def ica(size: int, seed: int) -> Estimates:
    """Amari index, squared error of the matched B, and of c, by NCE and by maximum likelihood."""
    random = keyed_generator("cpu", "nce benchmark", "ica", seed)
    mixing = random_mixing(4, random)
    points = random_sources(size, 4, "laplace", random) @ mixing.T
    noise = GaussianNoise(4).double()
    noise.fit(points)
    contrast = noise(torch.randn(round(ICA_RATIO * size), 4, dtype=torch.float64, generator=random))
    log_noise = [noise.log_density(which) for which in (points, contrast)]

    def contrastive(model: IndependentComponents) -> Tensor:
        logits = [nce.logit(model(x), log, ICA_RATIO) for x, log in zip((points, contrast), log_noise, strict=True)]
        return nce.loss(*logits, ICA_RATIO)

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
        c = float(model.log_normaliser if name == "nu 10" else model.exact_log_normaliser())
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
    by_size = {size: [entry for key, entry in entries.items() if key.split("/")[0] == str(size)] for size in ICA_SIZES}
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


# ---- density ratios


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
    divergences = ("kl", "reverse_kl", "squared_hellinger", "jensen_shannon")
    estimates = {
        "constant 1": torch.ones_like(truth),
        "class probability, quadratic": density_ratios.class_probability(p, q)(q),
        "class probability, kernels": density_ratios.class_probability(p, q, kernels, ridge=1e-3)(q),
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


def write(path: Path, record: dict[str, Any]) -> None:
    content = record | {
        "command": "python benchmarks/nce.py",
        "version": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
