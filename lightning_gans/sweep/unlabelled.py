"""Choosing a run without labels: read the same held-out images with every run's Q, and see who agrees."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from lightning_gans.checkpoint import load_data, load_module
from lightning_gans.data import ImageDataModule
from lightning_gans.errors import InputError
from lightning_gans.latent import ContinuousCode
from lightning_gans.metrics.agreement import Encoding, centrality, pairwise_agreement
from lightning_gans.objectives import InfoGAN
from lightning_gans.sweep.results import Result
from lightning_gans.sweep.summary import Setting

IMAGES = 2000


@dataclass(frozen=True)
class Agreement:
    """How far runs agree about what their codes mean.

    Attributes:
        runs: The runs that have a Q.
        scores: For each its mean agreement with all others, in [0, 1] (ModelCentrality).
        pairwise: (R, R).
        images: Held-out images that were read.
    """

    runs: list[Result]
    scores: list[float]
    pairwise: torch.Tensor
    images: int

    def within(self, setting: Setting) -> float | None:
        """Mean agreement between the seeds of one setting (UDR); None for fewer than two."""
        places = [index for index, run in enumerate(self.runs) if run in setting.trials]
        pairs = [float(self.pairwise[i, j]) for i in places for j in places if i < j]
        return sum(pairs) / len(pairs) if pairs else None

    @property
    def best(self) -> Result:
        """The run that the others agree with most."""
        return self.runs[max(range(len(self.runs)), key=self.scores.__getitem__)]


def measure_agreement(runs: Sequence[Result], say: Callable[[str], None]) -> Agreement | None:
    """The agreement of the runs that have a Q to read images with.

    Args:
        runs: Finished runs.
        say: Told why there is nothing to measure, or how far it is.

    Returns:
        The agreement, or None if fewer than two runs have one.
    """
    here = [run for run in runs if run.checkpoint is not None]
    if len(here) < 2:
        say("no ranking without labels: it needs the checkpoints of two finished runs or more, which are not here")
        return None
    say(f"reading {IMAGES} held-out images with {len(here)} runs, to rank them without labels")
    try:
        images = _held_out(here[0])
        encodings = [encode(run, images) for run in here]
    except InputError as error:
        say(f"no ranking without labels: {error}")
        return None
    matrix = pairwise_agreement(encodings)
    return Agreement(here, centrality(matrix).tolist(), matrix, len(images))


def encode(run: Result, images: torch.Tensor) -> Encoding:
    """What a run's Q says about images.

    Args:
        run: The run; its checkpoint is here.
        images: uint8 (N, C, H, W).

    Raises:
        InputError: If it has no Q, is of other images, or its checkpoint cannot be read.
    """
    assert run.checkpoint is not None
    module = load_module(run.checkpoint)
    if not isinstance(module, InfoGAN):
        raise InputError(f"{run.name} is a {type(module).__name__}, which has no Q that reads codes")
    if tuple(module.generator.sample_shape) != tuple(images.shape[1:]):
        raise InputError(f"{run.name} is of other images than the first run")
    parts = module.latent.split_posterior(module.encode(images))
    categories: dict[str, torch.Tensor] = {}
    priors: dict[str, torch.Tensor] = {}
    dimensions: dict[str, torch.Tensor] = {}
    for name, part in parts.items():
        prior = module.latent.prior(name)
        if isinstance(prior, ContinuousCode):
            dimensions |= {f"{name}[{i}]": column for i, column in enumerate(prior.mean(part).T)}
        else:
            categories[name] = part.argmax(-1)
            priors[name] = module.latent.categorical[name].probabilities
    return Encoding(categories, priors, dimensions)


def _held_out(run: Result) -> torch.Tensor:
    assert run.checkpoint is not None
    data = load_data(run.checkpoint)
    if not isinstance(data, ImageDataModule):
        raise InputError(f"{run.name} was not trained on images")
    return data.split("validation").images[:IMAGES]


def rank_correlation(agreement: Agreement, metric: str, minimise: bool) -> float | None:
    """Spearman's correlation of the score without labels with a metric's quality; None for fewer than four runs."""
    from scipy.stats import spearmanr

    pairs = [
        (s, r.metrics[metric]) for s, r in zip(agreement.scores, agreement.runs, strict=True) if metric in r.metrics
    ]
    if len(pairs) < 4 or len({score for score, _ in pairs}) < 2 or len({value for _, value in pairs}) < 2:
        return None
    found = float(spearmanr([score for score, _ in pairs], [value for _, value in pairs]).statistic)
    return -found if minimise else found
