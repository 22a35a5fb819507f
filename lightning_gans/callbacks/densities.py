"""What the players know about known densities, in numbers and in pictures: for points, not for images."""

import math
from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch import Tensor

from lightning_gans.callbacks.animation import animate
from lightning_gans.callbacks.drawing import Drawing
from lightning_gans.callbacks.panel import Panel
from lightning_gans.callbacks.protocol import Measured, protocol_of_run, trained_steps, write_scores
from lightning_gans.callbacks.publish import publish
from lightning_gans.data import MixtureDataModule
from lightning_gans.errors import InputError
from lightning_gans.figures import Reading, line_figure, plane_figure
from lightning_gans.functional import f_divergences
from lightning_gans.functional.kernel_density import KernelDensity, kernel_log_densities, reference_bandwidth
from lightning_gans.functional.mixtures import GaussianMixture
from lightning_gans.functional.quadrature import divergence_by_panels, panel_edges
from lightning_gans.metrics import ModeCoverage, ProtocolValue, mass_coverage
from lightning_gans.metrics.coverage import HELD_OUT, KERNELS, REAL
from lightning_gans.networks import AffineGenerator
from lightning_gans.networks.minibatch_discrimination import MinibatchDiscrimination
from lightning_gans.networks.modes import evaluation_mode
from lightning_gans.objectives import GAN, Adversarial
from lightning_gans.objectives.game import Weights
from lightning_gans.pictures import save_png
from lightning_gans.randomness import keyed_generator
from lightning_gans.runs import SAMPLES, run_folder

_COLLAPSED = 1e-3
"""Bandwidth for a generator that makes one point only, of which no bandwidth could be the likeliest."""
_INFINITE = 1e12
_NARROWEST, _FARTHEST = 1e-150, 1e12
"""A generator's deviation that its density can be computed for, and its distance in deviations of the data."""


class DensityPanel(Panel, Drawing):
    """Compares both players with the truth, where the data's density is known (`MixtureDataModule`).

    Measured at every validation and in `test`, on generated points of a fixed key:

    - density/modes, density/high_quality, density/mode_kl: which components of the mixture are reached
      (PacGAN's protocol: a point is of high quality within three standard deviations of a mean);
    - density/coverage: share of the data where the generator's density is above the level that 95 % of its own
      points exceed (AdaGAN's protocol, see `mass_coverage`; from 1500 generated points on);
    - density/discriminator_error: mean |D(x) - p/(p+q)| over both densities' points, in one dimension;
    - density/divergence: the divergence of data and generator by quadrature, density/generator_mean and
      density/generator_deviation, where the generator's density is known too (`AffineGenerator`).

    Drawn into ``samples/`` for one and two dimensions: densities, critic and discriminator, learned beside
    optimal; at the end all of them as one animation.

    Args:
        generated_points: Generated points for scores and pictures.
        resolution: Places along each axis of a picture.
    """

    def __init__(self, generated_points: int = 10_000, resolution: int = 400):
        super().__init__()
        for name, value in (("generated_points", generated_points), ("resolution", resolution)):
            if value < 10:
                raise InputError(f"densities.{name} is {value}, but must be 10 or more")
        self.generated_points = generated_points
        self.resolution = resolution

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the final state, and the animation."""
        super().on_train_end(trainer, pl_module)
        folder = run_folder(trainer)
        if trainer.is_global_zero and folder is not None:
            animate(folder / SAMPLES, "densities")

    # ---- numbers

    def measure(self, trainer: Trainer, module: LightningModule, stage: str) -> Mapping[str, float]:
        """Compare generated points with the density that they should have."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, MixtureDataModule) or not isinstance(module, Adversarial):
            return {}
        points = self._generated(module)
        # every rank has generated the same points, so there is nothing to add up between them
        coverage = ModeCoverage(data.mixture, sync_on_compute=False).to(points.device)
        coverage.update(points)
        result = coverage.compute()
        protocol = protocol_of_run(trainer, module, stage)
        found: list[tuple[Measured, dict[str, ProtocolValue]]] = [
            (measured, {"n_generated": len(points)})
            for measured in (
                ("density/modes", float(result.modes)),
                ("density/high_quality", float(result.high_quality)),
                ("density/mode_kl", float(result.reverse_kl)),
            )
        ]
        if len(points) >= KERNELS + HELD_OUT:
            real = data.split(stage)[torch.arange(min(REAL, len(data.split(stage))))]["point"]
            covered = mass_coverage(points[: KERNELS + HELD_OUT].cpu(), real).coverage
            sizes: dict[str, ProtocolValue] = {"n_generated": KERNELS + HELD_OUT, "n_scored": len(real)}
            found.append((("density/coverage", covered), sizes))
        # NaN has no density; the run is stopped for it elsewhere, with a sentence
        if data.mixture.dim == 1 and points.isfinite().all() and _knows_ratios(module):
            noise = _noise(trainer, module)
            error = self._discriminator_error(module, data.mixture, noise)
            # the discriminator plays against the raw weights
            found += [(measured, {"weights": "raw", "instance_noise": noise}) for measured in error]
            found += [(measured, {"divergence": _name_of(module)}) for measured in _exact(module, data.mixture)]
        for measured, own in found:
            write_scores(trainer, module, [measured], protocol | own)
        return dict(measured for measured, _ in found)

    def _discriminator_error(self, module: Adversarial, mixture: GaussianMixture, noise: float) -> list[Measured]:
        points = self._generated(module, "raw").cpu()
        if not points.isfinite().all():
            return []
        # where the data are, and where the generated points are: that may be elsewhere
        lines = [_line_around(ends, 4 * self.resolution) for ends in (places_around(mixture, 2), points)]
        places = torch.cat(lines).sort().values[:, None]
        reading = read(module, mixture, points, places, noise)
        if reading.discriminator is None:
            return []
        x = places[:, 0]
        weight = (reading.log_p.exp() + reading.log_q.exp()) / 2
        error = (reading.discriminator - reading.optimal_discriminator).abs()
        mean = torch.trapezoid(error * weight, x) / torch.trapezoid(weight, x)
        return [("density/discriminator_error", float(mean))]

    def _generated(self, module: Adversarial, weights: Weights | None = None) -> Tensor:
        generator = keyed_generator(module.device, module.seed, "densities")
        return module.generate(module.latent.sample(self.generated_points, generator), chunk=5000, weights=weights)

    # ---- pictures

    @rank_zero_only
    def draw(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw what is learned beside what is optimal, on a line or in the plane."""
        folder, data = run_folder(trainer), getattr(trainer, "datamodule", None)
        if folder is None or not isinstance(data, MixtureDataModule) or not isinstance(module, Adversarial):
            return
        if data.mixture.dim > 2 or not _knows_ratios(module):
            return
        points = self._generated(module, "raw").cpu()
        if not points.isfinite().all():
            return
        on_line = data.mixture.dim == 1
        places = places_around(data.mixture, self.resolution if on_line else min(self.resolution, 200))
        noise = _noise(trainer, module)
        reading = read(module, data.mixture, points, places, noise)
        draw = line_figure if on_line else plane_figure
        blurred = f", densities blurred by instance noise {noise:.2g}" if noise else ""
        picture = draw(reading, points, f"after {trained_steps(trainer, module)} steps{blurred}")
        path = folder / SAMPLES / f"step={trainer.global_step:06d}_densities.png"
        save_png(picture, path)
        publish(trainer, "densities", path, picture)


def places_around(mixture: GaussianMixture, resolution: int) -> Tensor:
    """Places for pictures: the line or the square that holds the mixture, (N, d), the same in every step."""
    spread = mixture.covariance.diagonal().sqrt()
    # the points of a ring or a grid reach little further than its spread; a rare mode may lie beyond it
    reach = 3.5 if mixture.dim == 1 else 2
    _, means, deviations = mixture.tensors()
    low = min(float((mixture.mean - reach * spread).min()), float((means - 3.5 * deviations).min()))
    high = max(float((mixture.mean + reach * spread).max()), float((means + 3.5 * deviations).max()))
    line = torch.linspace(low, high, resolution)
    if mixture.dim == 1:
        return line[:, None]
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def _line_around(points: Tensor, resolution: int) -> Tensor:
    """Places on a line, (N,), which reach beyond the points on both sides by half of their range."""
    low, high = float(points.min()), float(points.max())
    room = (high - low) / 2 + 10 * _COLLAPSED
    return torch.linspace(low - room, high + room, resolution)


def _exact(module: Adversarial, mixture: GaussianMixture) -> list[Measured]:
    """What is known without sampling of a generator whose distribution is a Gaussian."""
    generator = module.evaluation_generator
    if not _is_gaussian(module):
        return []
    assert isinstance(generator, AffineGenerator)
    return [
        ("density/divergence", exact_divergence(module, mixture)),
        ("density/generator_mean", float(generator.mean.detach())),
        ("density/generator_deviation", float(generator.standard_deviation.detach().abs())),
    ]


def _is_gaussian(module: Adversarial) -> bool:
    """Whether what it generates has a normal distribution."""
    latent = module.latent
    is_normal = latent.noise.distribution == "normal"
    is_normal = is_normal and all(code.distribution == "gaussian" for code in latent.codes.values())
    return is_normal and isinstance(module.generator, AffineGenerator)


def exact_divergence(module: Adversarial, mixture: GaussianMixture) -> float:
    """D_f of the data and an `AffineGenerator` in one dimension, by quadrature; JSD where there is no f."""
    generator = module.evaluation_generator
    assert isinstance(generator, AffineGenerator)
    divergence = getattr(module, "divergence", None) or f_divergences.get("weighted_jensen_shannon", pi=0.5)
    mean, deviation = float(generator.mean.detach()), float(generator.standard_deviation.detach().abs())
    _, means, deviations = mixture.tensors()
    # a divergence does not depend on the origin; around 0, float64 tells apart the places of any narrow generator
    means, deviations = means[:, 0] - mean, deviations[:, 0]
    if deviation < _NARROWEST or float((means.abs() / deviations).max()) > _FARTHEST:
        # one point, or so far away that float64 has no places between the data's: they share nothing
        return divergence.upper_bound
    data = GaussianMixture(mixture.weights, means[:, None].tolist(), deviations.tolist())
    generated = GaussianMixture([1.0], [[0.0]], [deviation])
    own = torch.zeros(1, dtype=torch.float64)
    # the margin is for the chi-squared divergences' tails
    edges = panel_edges(torch.cat([means, own]), torch.cat([deviations, own + deviation]), margin=10)
    value = divergence_by_panels(divergence.scaled_f, data.log_density, generated.log_density, edges, of_log_ratio=True)
    # a Pearson or Neyman divergence whose integral does not exist ends as a huge finite number
    return value if value < _INFINITE else math.inf


def fitted_bandwidth(points: Tensor) -> float:
    """Bandwidth for a picture's kernel estimate: the likeliest for points left out, of eight.

    Silverman's and Scott's rules are made for one mode and would smear a ring of narrow ones.
    """
    first, second = points[:2000].chunk(2)
    if not (first - first[0]).any():
        return _COLLAPSED
    widest = reference_bandwidth(first)
    bandwidths = [widest * 2.0**-halvings for halvings in range(8)]
    likelihoods = kernel_log_densities(first, second, bandwidths).mean(1)
    return bandwidths[int(likelihoods.argmax())]


def _noise(trainer: Trainer, module: Adversarial) -> float:
    """Standard deviation of the instance noise that the discriminator has learned under."""
    return 0.0 if module.instance_noise is None else float(module.instance_noise.at(trained_steps(trainer, module)))


def _knows_ratios(module: Adversarial) -> bool:
    """Whether the discriminator is of the kind whose optimum is a function of p/q at a place.

    Energies and witnesses are not, nor is one that looks at what else is in a batch, here a grid of places.
    """
    if any(isinstance(layer, MinibatchDiscrimination) for layer in module.discriminator.modules()):
        return False
    return module.has_log_ratio or getattr(module, "divergence", None) is not None


def _name_of(module: Adversarial) -> str:
    """The divergence that density/divergence is, with its parameters."""
    divergence = getattr(module, "divergence", None)
    return "Jensen-Shannon" if divergence is None else str(divergence)


@torch.no_grad()
def read(module: Adversarial, mixture: GaussianMixture, points: Tensor, places: Tensor, noise: float = 0.0) -> Reading:
    """What the module's discriminator says at places, beside the optimal one's answer.

    The discriminator plays against the raw weights, and that is whose density it is compared with.

    Args:
        module: An objective whose discriminator estimates a density ratio (it has `log_ratio`).
        mixture: The data's distribution.
        points: Points generated by the raw weights, (M, d), on the CPU.
        places: Where to look, (N, d), on the CPU.
        noise: Standard deviation of the instance noise on all that the discriminator was shown.
    """
    # a discriminator of packs can be asked about single places too
    judge = getattr(module.discriminator, "single", module.discriminator)
    with evaluation_mode(module.discriminator):
        output = torch.cat([judge(part.to(module.device)) for part in places.split(10_000)])
    ratio = module.log_ratio(output).cpu() if module.has_log_ratio else None
    output = output.cpu()
    log_p = _blurred(mixture, noise).log_density(places)
    generator = module.generator
    q_known = _is_gaussian(module)
    if q_known:
        assert isinstance(generator, AffineGenerator)
        deviations = generator.standard_deviation.abs().tolist()
        generated = GaussianMixture([1.0], [generator.mean.tolist()], [deviations])
        log_q = _blurred(generated, noise).log_density(places)
    else:
        bandwidth = math.hypot(fitted_bandwidth(points), noise)
        log_q = KernelDensity(points, bandwidth).log_density(places)
    divergence = getattr(module, "divergence", None) or f_divergences.get("gan")
    # a GAN's output is the log ratio only if its labels are not smoothed
    critic_output = ratio if isinstance(module, GAN) and ratio is not None else output
    return Reading(
        places=places,
        log_p=log_p,
        log_q=log_q,
        discriminator=None if ratio is None else ratio.sigmoid(),
        critic=divergence.output_activation(critic_output),
        optimal_critic=divergence.optimal_critic_of_log_ratio(log_p - log_q),
        critic_name=f"T of {divergence.name}",
        q_known=q_known,
    )


def _blurred(mixture: GaussianMixture, noise: float) -> GaussianMixture:
    """The mixture convolved with N(0, noise²)."""
    _, _, deviations = mixture.tensors()
    wider = (deviations.square() + noise**2).sqrt().tolist()
    return GaussianMixture(mixture.weights, mixture.means, wider)
