"""Figures of what the players know: densities, critics and discriminators, learned beside optimal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from PIL import Image

DATA, MODEL, LEARNED = "#1f77b4", "#d62728", "#2ca02c"
_POINTS_SHOWN = 2000


@dataclass(frozen=True)
class Reading:
    """What a discriminator says on a set of places, beside what the optimal one would say.

    Attributes:
        places: Points of shape (N, d), d = 1 or 2; for d = 2 a square grid in row order.
        log_p: Log density of the data there, (N,).
        log_q: Log density of the generator's distribution there, (N,).
        discriminator: σ of the learned log density ratio, (N,); None if the critic knows its sign only.
        critic: The learned T, (N,).
        optimal_critic: T* there, (N,).
        critic_name: What T is, for the axis: "T of kl".
        q_known: Whether log_q is exact rather than a kernel density estimate.
    """

    places: Tensor
    log_p: Tensor
    log_q: Tensor
    discriminator: Tensor | None
    critic: Tensor
    optimal_critic: Tensor
    critic_name: str
    q_known: bool

    @property
    def optimal_discriminator(self) -> Tensor:
        """p / (p + q), (N,)."""
        return (self.log_p - self.log_q).sigmoid()


def line_figure(reading: Reading, samples: Tensor, title: str) -> Image.Image:
    """Three panels over one axis: the densities of P and Q, T beside T*, D beside p/(p+q).

    Args:
        reading: On a line, places of shape (N, 1) in ascending order.
        samples: Generated points, (M, 1), drawn as a histogram.
        title: Above everything.
    """
    figure = _figure(7.0, 7.5)
    densities, critic, discriminator = figure.subplots(3, 1, sharex=True)
    x = reading.places[:, 0].numpy()
    p, q = reading.log_p.exp().numpy(), reading.log_q.exp().numpy()
    low, high = float(x[0]), float(x[-1])
    seen = samples[(samples[:, 0] >= low) & (samples[:, 0] <= high), 0]
    if len(seen):  # of no points there is no histogram
        densities.hist(seen.numpy(), bins=100, range=(low, high), density=True, color=MODEL, alpha=0.25)
    densities.plot(x, p, color=DATA, label="P, the data")
    densities.plot(x, q, color=MODEL, label="Q, the generator" + ("" if reading.q_known else " (kernel estimate)"))
    densities.set_ylim(0, 1.3 * float(p.max()))
    densities.set_ylabel("density")
    critic.plot(x, reading.optimal_critic.numpy(), color="black", linestyle="--", label="optimal T*")
    critic.plot(x, reading.critic.numpy(), color=LEARNED, label="learned T")
    critic.set_ylabel(reading.critic_name)
    critic.set_ylim(*_where_it_matters(reading, reading.optimal_critic))
    discriminator.plot(x, reading.optimal_discriminator.numpy(), color="black", linestyle="--", label="p / (p + q)")
    if reading.discriminator is not None:
        discriminator.plot(x, reading.discriminator.numpy(), color=LEARNED, label="learned D")
    discriminator.set_ylim(-0.03, 1.03)
    discriminator.set_ylabel("D(x)")
    discriminator.set_xlabel("x")
    discriminator.set_xlim(low, high)
    for axes in (densities, critic, discriminator):
        axes.legend(loc="best", fontsize=8, framealpha=0.8)
        axes.grid(alpha=0.25)
    return _finish(figure, title)


def plane_figure(reading: Reading, samples: Tensor, title: str) -> Image.Image:
    """Six panels of the plane: the two densities, D beside p/(p+q), and T beside T*.

    Args:
        reading: On a square grid, places of shape (N², 2).
        samples: Generated points, (M, 2), drawn over the data's density.
        title: Above everything.
    """
    figure = _figure(13.0, 8.2)
    upper, lower = figure.subplots(2, 3)
    side = round(len(reading.places) ** 0.5)
    low, high = float(reading.places.min()), float(reading.places.max())

    def show(axes: Axes, values: Tensor, name: str, **options: Any) -> None:
        image = axes.imshow(values.view(side, side).numpy(), origin="lower", extent=(low, high, low, high), **options)
        figure.colorbar(image, ax=axes, shrink=0.8)
        axes.set_title(name, fontsize=10)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
        axes.set_aspect("equal")

    # logarithms over six decades: between narrow modes the density itself is zero to the eye
    top = reading.log_p.max()
    show(upper[0], (reading.log_p - top).clamp_min(-14), "log p below its maximum, and samples of Q", cmap="Blues")
    drawn = samples[:_POINTS_SHOWN].numpy()
    upper[0].scatter(drawn[:, 0], drawn[:, 1], s=3, color=MODEL, linewidths=0)
    by_kernels = "" if reading.q_known else ", q by kernel estimate"
    show(lower[0], (reading.log_q - top).clamp(-14, 0), f"log q on the same scale{by_kernels[3:]}", cmap="Reds")
    probability: dict[str, Any] = {"cmap": "RdBu", "vmin": 0, "vmax": 1}
    if reading.discriminator is not None:
        show(upper[1], reading.discriminator, "learned D", **probability)
    else:
        upper[1].set_axis_off()  # the critic knows the ratio's sign only
    show(lower[1], reading.optimal_discriminator, f"p / (p + q){by_kernels}", **probability)
    # T* falls to hundreds below zero between narrow modes; on the learned T's scale both can be seen
    smallest, largest = _where_it_matters(reading, reading.critic)
    heights: dict[str, Any] = {"cmap": "PuOr", "vmin": smallest, "vmax": largest}
    show(upper[2], reading.critic, f"learned {reading.critic_name}", **heights)
    show(lower[2], reading.optimal_critic, f"optimal T*{by_kernels}", **heights)
    return _finish(figure, title)


def landscape_figure(places: Tensor, heights: Tensor, name: str, real: Tensor, fake: Tensor, title: str) -> Image.Image:
    """A function over the plane, once with real and once with generated points on it.

    Args:
        places: A square grid in row order, (N², 2).
        heights: The function there, (N²,).
        name: What it is.
        real: Real points, (m, 2).
        fake: Generated points, (n, 2).
        title: Above everything.
    """
    figure = _figure(10.0, 4.9)
    side = round(len(places) ** 0.5)
    low, high = float(places.min()), float(places.max())
    # far from everything it may be as high as it likes
    limits = {"vmin": float(heights.min()), "vmax": float(heights.quantile(0.9))}
    panels = figure.subplots(1, 2)
    for axes, points, kind, colour in zip(panels, (real, fake), ("data", "generated"), ("white", MODEL), strict=True):
        image = axes.imshow(
            heights.view(side, side).numpy(), origin="lower", extent=(low, high, low, high), cmap="viridis", **limits
        )
        drawn = points[:_POINTS_SHOWN].numpy()
        axes.scatter(drawn[:, 0], drawn[:, 1], s=3, color=colour, linewidths=0)
        axes.set_title(f"{name}, and {kind} points", fontsize=10)
        axes.set_xlim(low, high)
        axes.set_ylim(low, high)
    figure.colorbar(image, ax=panels, shrink=0.8)
    return _finish(figure, title)


def calibration_figure(said: Tensor, is_real: Tensor, bins: int, title: str) -> Image.Image:
    """The share of real samples among those of which the discriminator says a probability, and how many there are.

    Args:
        said: Probabilities, (N,).
        is_real: Truth values, (N,).
        bins: Intervals of equal length.
        title: Above everything.
    """
    figure = _figure(5.0, 6.0)
    share, count = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bin_of = (said * bins).long().clamp(0, bins - 1)
    total = torch.bincount(bin_of, minlength=bins)
    there = total > 0
    mean = torch.bincount(bin_of, said, minlength=bins)[there] / total[there]
    real = torch.bincount(bin_of, is_real.float(), minlength=bins)[there] / total[there]
    share.plot([0, 1], [0, 1], color="black", linestyle="--", label="calibrated")
    share.plot(mean.numpy(), real.numpy(), "o-", color=LEARNED, label="D")
    share.set_ylabel("share of real samples")
    share.set_ylim(-0.03, 1.03)
    share.legend(loc="best", fontsize=8)
    edges = torch.linspace(0, 1, bins + 1).numpy()
    for kind, colour, name in ((is_real, DATA, "real"), (~is_real, MODEL, "generated")):
        count.hist(said[kind].numpy(), bins=edges, color=colour, alpha=0.5, label=name)
    count.set_xlabel("D(x), the probability of being real that it says")
    count.set_ylabel("samples")
    count.legend(fontsize=8)
    return _finish(figure, title)


def attribute_figure(shares: Tensor, codes: Sequence[str], attributes: Sequence[str], title: str) -> Image.Image:
    """What each code tells about each attribute, as a heat map; the best attribute of each code is framed.

    Args:
        shares: Shares in [0, 1] or a little below, NaN where unknown; shape (codes, attributes).
        codes: Names of the rows.
        attributes: Names of the columns.
        title: Above everything.
    """
    figure = _figure(3.0 + 0.27 * len(attributes), 2.6 + 0.3 * len(codes))
    axes = figure.subplots()
    # the colours of a share do not depend on the table, so that pictures can be compared
    image = axes.imshow(shares.clamp_min(0).numpy(), cmap="magma_r", vmin=0, vmax=1, aspect="auto")
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the attribute's entropy")
    axes.set_xticks(range(len(attributes)), [name.replace("_", " ") for name in attributes], rotation=90, fontsize=7)
    axes.set_yticks(range(len(codes)), list(codes), fontsize=8)
    for row, values in enumerate(shares):
        if values.nan_to_num(-1.0).max() >= 0.005:  # shown as 1 or more in a hundred
            best = int(values.nan_to_num(-1.0).argmax())
            colour = "white" if values[best] > 0.5 else "black"
            axes.add_patch(_frame(best, row, colour))
            axes.text(best, row, f"{100 * float(values[best]):.0f}", color=colour, fontsize=6, ha="center", va="center")
    return _finish(figure, title)


def _frame(column: int, row: int, colour: str) -> Patch:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=0.8)


def _where_it_matters(reading: Reading, critic: Tensor) -> tuple[float, float]:
    """Limits for drawing T: what this critic spans where there are samples at all, with room for the other."""
    density = torch.logaddexp(reading.log_p, reading.log_q)
    values = critic[density > density.max() - 6]
    low, high = float(values.quantile(0.02)), float(values.quantile(0.98))
    room = 0.5 * max(high - low, 0.1)
    return low - room, high + room


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure  # slow to import; and without pyplot there is no global state

    return Figure(figsize=(width, height), dpi=100, layout="constrained")


def _finish(figure: Figure, title: str) -> Image.Image:
    from PIL import Image

    figure.suptitle(title, fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")
