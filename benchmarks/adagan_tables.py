"""AdaGAN's table 1 as numbers, as text and as a picture."""

import statistics
from pathlib import Path

import torch

from lightning_gans.files import atomic_path

MODES = (1, 2, 3, 5, 7, 10)


def summary(values: list[float]) -> dict[str, object]:
    five, ninety_five = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.05, 0.95]).double()).tolist()
    return {
        "median": round(statistics.median(values), 4),
        "5%": round(five, 4),
        "95%": round(ninety_five, 4),
        "seeds": [round(value, 4) for value in values],
    }


def format_table(name: str, table: dict) -> str:
    lines = [f"{f'median {name}':<22}" + "".join(f"{f'k = {k}':<22}" for k in MODES)]
    for method, row in table.items():
        cells = [f"{c['median']:.3f} ({c['5%']:.2f}; {c['95%']:.2f})" for c in row.values()]
        lines.append(f"{method:<22}" + "".join(f"{cell:<22}" for cell in cells))
    return "\n".join(lines)


def plot(table: dict, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(table))
    of_several = ("vanilla", "best_of", "ensemble", "boosted")
    methods = sorted(table, key=lambda method: (*[not method.startswith(kind) for kind in of_several], len(method)))
    for index, method in enumerate(methods):
        row = table[method]
        x = [place + (index - (len(table) - 1) / 2) * width for place in range(len(MODES))]
        medians = [cell["median"] for cell in row.values()]
        below = [cell["median"] - cell["5%"] for cell in row.values()]
        above = [cell["95%"] - cell["median"] for cell in row.values()]
        axes.bar(x, medians, width, label=method.replace("_", " "))
        axes.errorbar(x, medians, [below, above], fmt="none", color="black", linewidth=0.8)
    axes.set_xticks(range(len(MODES)), [f"k = {k}" for k in MODES])
    axes.set_ylabel("coverage C: median, 5 to 95 %")
    axes.set_ylim(0, 1.05)
    axes.legend(fontsize=8, ncols=len(table), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
