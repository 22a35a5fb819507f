"""Write the tables of benchmarks/README.md from the records in benchmarks/results: no number is typed by hand.

python benchmarks/readme_tables.py
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

ROWS = (
    ("infogan_mnist_quick", "`infogan_mnist_quick.yaml`"),
    ("infogan_mnist_1500_steps", "`infogan_mnist.yaml`, stopped at 1,500 of 5,000 steps"),
    ("infogan_mnist_quick_no_agreement", "quick, without the agreement on real images"),
    ("infogan_mnist_paper_quick", "quick, the published objective (`InfoGAN`)"),
    ("gan_mnist_q_baseline_quick", "quick, λ = 0 (`RecognitionBaseline`)"),
)


def spread(values: list[int]) -> str:
    """The range of sorted values."""
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def errors() -> list[str]:
    lines = [
        "| configuration | seeds | steps | error, median | worst | by majority, worst | L_I(digit), nats | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, label in ROWS:
        path = RESULTS / f"{name}.json"
        if not path.is_file():
            continue
        record = json.loads(path.read_text())
        seeds, summary = record["seeds"], record["summary"]
        hungarian, majority = summary["error_hungarian/digit"], summary["error_majority/digit"]
        bound = summary["information/digit"]
        bounds = f"{bound['min']:.3f}" if len(seeds) == 1 else f"{bound['min']:.3f} to {bound['max']:.3f}"
        minutes = sorted({round(entry["wall_seconds"] / 60) for entry in seeds.values()})
        lines.append(
            f"| {label} | {len(seeds)} | {next(iter(seeds.values()))['steps']:,} | {hungarian['median']:.2%} "
            f"| {hungarian['max']:.2%} | {majority['max']:.2%} | {bounds} | {spread(minutes)} |"
        )
    return lines


SCORED = (
    ("infogan_mnist_quick_fidelity", "`infogan_mnist_quick.yaml`"),
    ("gan_mnist_quick", "`gan_mnist_quick.yaml`"),
    *((f"f_gan_{d}_mnist_quick", f"`f_gan_{d}_mnist.yaml`, quick") for d in (
        "kl", "reverse_kl", "jensen_shannon", "gan", "pearson", "squared_hellinger",
    )),
)  # fmt: skip
FID, FLOOR = "fid_mnist-convnet_10k", "floor/fid_mnist-convnet_10k"
INCEPTION_SCORE = "inception_score_mnist-convnet_10k"


def read(name: str) -> dict[str, Any] | None:
    """A record, if it is there."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def over_seeds(entry: dict[str, Any], decimals: int) -> str:
    """Mean ± standard deviation; the mean alone of one seed."""
    spread = "" if entry["sd"] is None else f" ± {entry['sd']:.{decimals}f}"
    return f"{entry['mean']:.{decimals}f}{spread}"


def scored() -> list[tuple[str, dict[str, Any]]]:
    """The label and the record of every configuration with a Fréchet distance."""
    records = [(label, read(name)) for name, label in SCORED]
    return [(label, record) for label, record in records if record and FID in record["summary"]]


def fidelity() -> list[str]:
    lines = [
        "| configuration | seeds | steps | FID | its floor | IS | precision | recall | density | coverage |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for label, record in scored():
        seeds, summary = record["seeds"], record["summary"]
        pairwise = " | ".join(
            over_seeds(summary[f"{metric}_mnist-convnet_5k"], 2)
            for metric in ("precision", "recall", "density", "coverage")
        )
        lines.append(
            f"| {label} | {len(seeds)} | {next(iter(seeds.values()))['steps']:,} | {over_seeds(summary[FID], 2)} "
            f"| {summary[FLOOR]['mean']:.3f} | {over_seeds(summary[INCEPTION_SCORE], 2)} | {pairwise} |"
        )
    return lines


def parzen() -> list[str]:
    lines = [
        "| configuration | seeds | steps | bandwidth by cross-validation | by validation images |",
        "|---|---|---|---|---|",
    ]
    for label, record in scored():
        name = "parzen_cross_validation"
        if name not in record["summary"]:
            continue
        seeds = record["seeds"].values()
        errors = [
            max(entry["spreads"][f"parzen_{way}"] for entry in seeds) for way in ("cross_validation", "validation")
        ]
        lines.append(
            f"| {label} | {len(seeds)} | {next(iter(seeds))['steps']:,} "
            f"| {record['summary'][name]['mean']:.0f} ± {errors[0]:.1f} "
            f"| {record['summary']['parzen_validation']['mean']:.0f} ± {errors[1]:.1f} |"
        )
    return lines


def gaussian() -> list[str]:
    record = read("f_gan_gaussian")
    assert record is not None
    lines = [
        "| divergence | seeds | D* | D at μ̂, σ̂ | F | μ* | μ̂ | worst error | σ* | σ̂ | worst error | worst excess |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, entry in record["divergences"].items():
        best, found = entry["optimum"], entry.get("summary")
        if found is None:
            continue
        arguments = ", ".join(f"{key} = {value}" for key, value in entry["parameters"].items())
        lines.append(
            f"| {name}{f' ({arguments})' if arguments else ''} | {found['seeds']} | {best['divergence']:.4f} "
            f"| {found['divergence']:.4f} | {found['bound']:.4f} | {best['mean']:.3f} | {found['mean']:.3f} "
            f"| {found['worst_mean_error']:.3f} | {best['deviation']:.3f} | {found['deviation']:.3f} "
            f"| {found['worst_deviation_error']:.3f} | {found['worst_excess']:.2%} |"
        )
    return lines


def cross() -> list[str]:
    record = read("f_gan_gaussian")
    assert record is not None
    entries = record["cross"]
    names = list(dict.fromkeys(key.split(" -> ")[0] for key in entries))
    lines = ["| trained with | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for trained in names:
        cells = [entries.get(f"{trained} -> {tested}") for tested in names]
        shown = [f"{cell['bound']:.4f} of {cell['divergence']:.4f}" if cell else "" for cell in cells]
        lines.append(f"| {trained} | " + " | ".join(shown) + " |")
    return lines


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


MODES = ("gan", "kl", "reverse_kl", "pearson", "squared_hellinger")


def cost_of_scores() -> list[str]:
    record = read("fidelity")
    assert record is not None
    trace, evaluation = record["trace"], record["evaluation"]
    return [
        "| what | ratio |",
        "|---|---|",
        f"| trace of the Fréchet distance, d = {trace['dimensions']}, against `scipy.linalg.sqrtm` "
        f"| {trace['times_faster']:.1f} times faster |",
        f"| FID and IS of {evaluation['samples']:,} MNIST images, against all of `{evaluation['config']}` "
        f"| {evaluation['share']:.1%} |",
    ]


METHODS = {
    "vanilla": "one GAN",
    "best_of_10": "best of 10",
    "ensemble_10": "ensemble of 10",
    "boosted_3": "AdaGAN, T = 3",
    "boosted_10": "AdaGAN, T = 10",
}


def adagan() -> list[str]:
    record = read("adagan")
    assert record is not None
    modes = list(record["floor"])
    lines = ["| | k = " + " | ".join(modes) + " |", "|---" * (len(modes) + 1) + "|"]
    for method, label in METHODS.items():
        cells = [record["coverage"][method][k] for k in modes]
        shown = [f"{cell['median']:.3f} ({cell['5%']:.2f}; {cell['95%']:.2f})" for cell in cells]
        lines.append(f"| {label} | " + " | ".join(shown) + " |")
    floor = " | ".join(f"{record['floor'][k]:.3f}" for k in modes)
    return [*lines, f"| exact samples | {floor} |"]


def nce() -> list[str]:
    record = read("nce")
    assert record is not None
    summary = record["summary"]["gaussian"]
    ratios = summary["nu 10 over mle"]
    lines = [
        "| | slope of log MSE in log T, ν = 10 | of maximum likelihood | MSE over maximum likelihood's, ν = 10 "
        "| at the worst T |",
        "|---|---|---|---|---|",
    ]
    for what, label in (("precision", "precision"), ("c", "log-normaliser")):
        slopes = [
            f"{found['slope']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
            for found in (summary["slope"][way][what] for way in ("nu 10", "mle"))
        ]
        whole = ratios[what]["all"]
        worst = max(found["quotient"] for size, found in ratios[what].items() if size != "all")
        quotient = f"{whole['quotient']:.2f} ({whole['low']:.2f} to {whole['high']:.2f})"
        lines.append(f"| {label} | {slopes[0]} | {slopes[1]} | {quotient} | {worst:.2f} |")
    return lines


def ica() -> list[str]:
    record = read("nce")
    assert record is not None
    summary = record["summary"]["ica"]
    sizes = list(summary["mle"]["median"])
    lines = ["| | T = " + " | ".join(f"{int(size):,}" for size in sizes) + " |", "|---" * (len(sizes) + 1) + "|"]
    for way, label in (("nu 10", "NCE, ν = 10"), ("mle", "maximum likelihood")):
        values = [f"{summary[way]['median'][size]['amari_index']:.3f}" for size in sizes]
        lines.append(f"| {label} | " + " | ".join(values) + " |")
    return lines


def density_ratios() -> list[str]:
    record = read("nce")
    assert record is not None
    table = record["summary"]["ratios"]
    lines = ["| | " + " | ".join(table) + " |", "|---" * (len(table) + 1) + "|"]
    for estimator in next(iter(table.values())):
        cells = [f"{table[pair][estimator]:.3f}" for pair in table]
        lines.append(f"| {estimator} | {' | '.join(cells)} |")
    return lines


def gmmn() -> list[str]:
    lines = [
        "| what | updates × batch | Parzen, bandwidth by validation images, nats |",
        "|---|---|---|",
        "| GMMN, as published | 40,000 and more × 1,000 | 147 ± 2 |",
    ]
    for name in ("gmmn_mnist_500", "gmmn_mnist_quick"):
        record = read(name)
        assert record is not None
        batch = int(record["overrides"][record["overrides"].index("--data.batch_size") + 1])
        entry = next(iter(record["seeds"].values()))
        score, error = record["summary"]["parzen_validation"]["mean"], entry["spreads"]["parzen_validation"]
        lines.append(
            f"| ours, {len(record['seeds'])} seed | {entry['steps']:,} × {batch} | {score:.1f} ± {error:.1f} |"
        )
    return lines


def celeba_input() -> list[str]:
    record = read("celeba_input")
    assert record is not None
    found = record["throughput"]
    return [
        "| the array against torchvision's decoding | times faster |",
        "|---|---|",
        f"| as many workers (none), by the clock | {found['times_faster']:.1f} |",
        f"| as many workers, in processor time | {found['times_faster_in_process_time']:.1f} |",
        f"| torchvision with 2 workers, by the clock | {found['times_faster_than_2_workers']:.1f} |",
    ]


def communication() -> list[str]:
    record = read("communication")
    assert record is not None
    sent, spent = record["bytes_per_step"], record["milliseconds_per_step"]
    lines = [
        "| gradients averaged | MB sent per step | ms per step, 2 processes here | modelled ms on 8 / 64 / 512 GPUs |",
        "|---|---|---|---|",
    ]
    for way, label in (("once", "once per update, by the game"), ("reducer", "in every backward, by Lightning")):
        model = " / ".join(f"{record['modelled'][n][way]['milliseconds']:.2f}" for n in ("8", "64", "512"))
        lines.append(f"| {label} | {sent[way] / 1e6:.0f} | {spent[way]:.0f} | {model} |")
    return [*lines, f"| one process alone | 0 | {spent['one process alone']:.0f} | |"]


def throughput() -> list[str]:
    record = read("throughput")
    assert record is not None
    pairs = {
        "fit / bare": "`fit` / by hand",
        "fast / bare": "`fast.yaml` / by hand",
        "compiled / bare": "and compiled / by hand",
        "fit / fed": "`fit` / by hand, fed by a DataLoader",
        "fit / half": "`fit` / `fit` on half the data",
    }
    lines = [
        f"| game | `fit`, updates/s | {' | '.join(pairs.values())} | peak MB, `fit` and by hand |",
        "|---" * 8 + "|",
    ]
    for name, entry in record.items():
        ratios = [entry["ratios"][pair]["wall"] for pair in pairs]
        shown = [f"{r['ratio']:.2f} ({r['interval_95'][0]:.2f} to {r['interval_95'][1]:.2f})" for r in ratios]
        memory = entry["peak_memory_mb"]
        lines.append(
            f"| {name} | {entry['updates_per_second']['fit']:.2g} | {' | '.join(shown)} "
            f"| {memory['fit']:.0f}, {memory['bare']:.0f} |"
        )
    return lines


def semi_supervised() -> list[str]:
    record = read("semi_supervised")
    assert record is not None
    lines = ["| labels | epochs | updates | test errors of 10,000, averaged | raw |", "|---|---|---|---|---|"]
    for run in record["runs"].values():
        errors = run["test_errors"]
        lines.append(
            f"| {run['labels']} | {run['epochs']:g} | {run['updates']:,} | {errors['ema']:,} | {errors['raw']:,} |"
        )
    return lines


PACGAN = {
    ("ring", 1): "6.3 ± 0.5, 0.98, 0.45",
    ("ring", 2): "7.9 ± 0.1, 0.96, 0.07",
    ("grid", 1): "17.3 ± 0.8, 0.95, 0.70",
    ("grid", 2): "23.8 ± 0.7, 0.91, 0.13",
}
"""Modes, high quality and KL as published (Lin et al. 2018, table 1; ± the standard error of 10 trials)."""


def packs() -> list[str]:
    lines = ["| | modes | high quality | KL | seeds | published: modes, high quality, KL |", "|---" * 6 + "|"]
    for data, modes_of in (("ring", 8), ("grid", 25)):
        for packing in (1, 2):
            record = read(f"pacgan_{data}_quick_packing{packing}")
            if record is None:
                continue
            summary = record["summary"]
            lines.append(
                f"| {data}, packs of {packing} | {over_seeds(summary['density/modes'], 1)} of {modes_of} "
                f"| {over_seeds(summary['density/high_quality'], 2)} | {over_seeds(summary['density/mode_kl'], 2)} "
                f"| {len(record['seeds'])} | {PACGAN[data, packing]} |"
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


def sweep() -> list[str]:
    record = read("infogan_lambda_mnist_quick")
    assert record is not None
    metrics = {
        "L_I(digit), nats": ("validation/information/digit", 2),
        "error": ("validation/error_hungarian/digit", 3),
        "FID": ("validation/fid_mnist-convnet_5k", 1),
    }
    lines = ["| categories | λ | " + " | ".join(metrics) + " | seeds |", "|---" * (len(metrics) + 3) + "|"]
    for entry in record["settings"]:
        found = {key.rpartition(".")[2]: value for key, value in entry["settings"].items()}
        cells = []
        for metric, decimals in metrics.values():
            spread = f" ± {entry['sd'][metric]:.{decimals}f}" if metric in entry["sd"] else ""
            cells.append(f"{entry['mean'][metric]:.{decimals}f}{spread}")
        lines.append(f"| {found['size']} | {found['weight']:g} | {' | '.join(cells)} | {len(entry['seeds'])} |")
    return lines


TABLES = {
    "SWEEP": sweep,
    "ERRORS": errors,
    "FIDELITY": fidelity,
    "GAUSSIAN": gaussian,
    "CROSS": cross,
    "MODES": modes,
    "PARZEN": parzen,
    "PACKS": packs,
    "BEGAN": began,
    "ADAGAN": adagan,
    "SEMI_SUPERVISED": semi_supervised,
    "NCE": nce,
    "ICA": ica,
    "DENSITY_RATIOS": density_ratios,
    "GMMN": gmmn,
    "COST_OF_SCORES": cost_of_scores,
    "CELEBA_INPUT": celeba_input,
    "COMMUNICATION": communication,
    "THROUGHPUT": throughput,
}


def main() -> None:
    page = ROOT / "benchmarks" / "README.md"
    first, *parts = page.read_text().split("<!-- table ")
    written = first
    for part in parts:
        name, _, tail = part.partition(" -->\n")
        prose = tail.splitlines(keepends=True)
        while prose and prose[0].startswith(("|", "\n")):
            prose.pop(0)
        written += f"<!-- table {name} -->\n" + "\n".join(TABLES[name]()) + "\n\n" + "".join(prose)
    page.write_text(written.rstrip() + "\n")


if __name__ == "__main__":
    main()
