"""Tables of which modes are reached."""

from functools import partial
from typing import Any

from tables.records import over_seeds, read

MODES = ("gan", "kl", "reverse_kl", "pearson", "squared_hellinger")

METHODS = {
    "vanilla": "one GAN",
    "best_of_10": "best of 10",
    "ensemble_10": "ensemble of 10",
    "boosted_3": "AdaGAN, T = 3",
    "boosted_10": "AdaGAN, T = 10",
}

PACGAN = {
    ("ring", 1): "6.3 ± 0.5, 0.98, 0.45",
    ("ring", 2): "7.9 ± 0.1, 0.96, 0.07",
    ("ring", 3): "7.8 ± 0.1, 0.98, 0.10",
    ("ring", 4): "7.8 ± 0.1, 0.96, 0.07",
    ("grid", 1): "17.3 ± 0.8, 0.95, 0.70",
    ("grid", 2): "23.8 ± 0.7, 0.91, 0.13",
    ("grid", 3): "24.6 ± 0.4, 0.94, 0.06",
    ("grid", 4): "24.8 ± 0.2, 0.94, 0.04",
}
"""Modes, high quality and KL as published (Lin et al. 2018, table 1; ± the standard error of 10 trials)."""


def modes() -> list[str]:
    lines = [
        "| divergence | ring: modes of 8 | high quality | KL | grid: modes of 25 | high quality | KL | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label in MODES:
        cells, counts = [], []
        for data in ("ring", "grid"):
            record = read(f"f_gan_{data}_{label}_6000")
            if record is None:
                cells += ["", "", ""]
                continue
            summary = record["summary"]
            counts.append(str(len(record["seeds"])))
            cells += [
                over_seeds(summary["density/modes"], 1),
                over_seeds(summary["density/high_quality"], 2),
                over_seeds(summary["density/mode_kl"], 2),
            ]
        if counts:
            lines.append(f"| {label} | {' | '.join(cells)} | {', '.join(dict.fromkeys(counts))} |")
    return lines


def packs() -> list[str]:
    lines = [
        "| | updates | modes | high quality | KL | seeds | published: modes, high quality, KL |",
        "|---" * 7 + "|",
    ]
    for data, modes_of in (("ring", 8), ("grid", 25)):
        for packing in (1, 2, 3, 4):
            for name in (f"pacgan_{data}_quick_packing{packing}", f"pacgan_{data}_quick_40000_packing{packing}"):
                record = read(name)
                if record is None:
                    continue
                summary, seeds = record["summary"], record["seeds"]
                lines.append(
                    f"| {data}, packs of {packing} | {next(iter(seeds.values()))['steps']:,} "
                    f"| {over_seeds(summary['density/modes'], 1)} of {modes_of} "
                    f"| {over_seeds(summary['density/high_quality'], 2)} | {over_seeds(summary['density/mode_kl'], 2)} "
                    f"| {len(seeds)} | {PACGAN[data, packing]} |"
                )
    return lines


def began() -> list[str]:
    record = read("began_ring")
    assert record is not None
    summary = record["summary"]
    return [
        "| modes | high quality | KL | seeds |",
        "|---|---|---|---|",
        f"| {over_seeds(summary['density/modes'], 1)} of 8 | {over_seeds(summary['density/high_quality'], 2)} "
        f"| {over_seeds(summary['density/mode_kl'], 2)} | {len(record['seeds'])} |",
    ]


def adagan(name: str) -> list[str]:
    record = read(name)
    assert record is not None
    rows = [_row(label, record["coverage"][method]) for method, label in METHODS.items()]
    return [*_header(record), *rows, _row("exact samples", record["floor"])]


adagan_821 = partial(adagan, "adagan_70")
adagan_82 = partial(adagan, "adagan_82")


def adagan_on_data() -> list[str]:
    lines: list[str] = []
    for name in ("adagan_82", "adagan_long"):
        record = read(name)
        assert record is not None
        settings = record["protocol"]["settings"]
        updates = f"{settings['steps']:,} updates, {settings['seeds']} trials"
        lines = lines or _header(record)
        for method in ("vanilla", "ensemble_10", "boosted_10"):
            scores = {"coverage": "C", "on_data": "on the data"}
            if name == "adagan_82":  # whose C is in the table above
                del scores["coverage"]
            lines += [_row(f"{METHODS[method]}, {updates}: {label}", record[s][method]) for s, label in scores.items()]
    return lines


def _header(record: dict[str, Any]) -> list[str]:
    modes = list(record["floor"])
    return ["| | k = " + " | ".join(modes) + " |", "|---" * (len(modes) + 1) + "|"]


def _row(label: str, cells: dict[str, Any]) -> str:
    shown = [f"{cell['median']:.3f} ({cell['5%']:.2f}; {cell['95%']:.2f})" for cell in cells.values()]
    return f"| {label} | " + " | ".join(shown) + " |"
