"""Tables of what was learned from images: errors, fidelity, likelihoods, classifiers."""

from typing import Any

from tables.records import over_seeds, read

ROWS = (
    ("infogan_mnist_quick", "`infogan_mnist_quick.yaml`"),
    ("infogan_mnist_quick_reuse", "quick, samples reused (`updates.reuse_samples`)"),
    ("infogan_mnist_1500_steps", "`infogan_mnist.yaml`, stopped at 1,500 of 5,000 steps"),
    ("infogan_mnist_quick_no_agreement", "quick, without the agreement on real images"),
    ("infogan_mnist_paper_quick", "quick, the published objective (`InfoGAN`)"),
    ("gan_mnist_q_baseline_quick", "quick, λ = 0 (`RecognitionBaseline`)"),
)

SCORED = (
    ("infogan_mnist_quick_fidelity", "`infogan_mnist_quick.yaml`"),
    ("infogan_mnist_quick_reuse", "`infogan_mnist_quick.yaml`, samples reused"),
    ("gan_mnist_quick", "`gan_mnist_quick.yaml`"),
    ("mmd_gan_mnist", "`mmd_gan_mnist.yaml`"),
    ("ebgan_mnist_half", "`ebgan_mnist.yaml`, half width"),
    ("began_mnist_half", "`began_mnist.yaml`, half width"),
    *((f"f_gan_{d}_mnist_quick", f"`f_gan_{d}_mnist.yaml`, quick") for d in (
        "kl", "reverse_kl", "jensen_shannon", "gan", "pearson", "squared_hellinger",
    )),
)  # fmt: skip
FID, FLOOR = "fid_mnist-convnet_10k", "floor/fid_mnist-convnet_10k"
INCEPTION_SCORE = "inception_score_mnist-convnet_10k"


def spread(values: list[int]) -> str:
    """The range of sorted values."""
    if not values:
        return "–"  # of runs that were stopped and gone on with
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def errors() -> list[str]:
    lines = [
        "| configuration | seeds | steps | error, median | worst | by majority, worst | L_I(digit), nats | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, label in ROWS:
        record = read(name)
        if record is None:
            continue
        seeds, summary = record["seeds"], record["summary"]
        hungarian, majority = summary["error_hungarian/digit"], summary["error_majority/digit"]
        bound = summary["information/digit"]
        bounds = f"{bound['min']:.3f}" if len(seeds) == 1 else f"{bound['min']:.3f} to {bound['max']:.3f}"
        minutes = sorted({round(entry["wall_seconds"] / 60) for entry in seeds.values() if entry["wall_seconds"]})
        lines.append(
            f"| {label} | {len(seeds)} | {next(iter(seeds.values()))['steps']:,} | {hungarian['median']:.2%} "
            f"| {hungarian['max']:.2%} | {majority['max']:.2%} | {bounds} | {spread(minutes)} |"
        )
    return lines


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


def gmmn() -> list[str]:
    lines = [
        "| what | updates × batch | Parzen, bandwidth by validation images, nats |",
        "|---|---|---|",
        "| GMMN, as published (recalled, not checked) | 40,000 and more × 1,000 | 147 ± 2 |",
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


def semi_supervised() -> list[str]:
    record = read("semi_supervised")
    assert record is not None
    lines = [
        "| labels | epochs | updates | test errors of 10,000, moving average of the weights | last weights |",
        "|---|---|---|---|---|",
    ]
    for run in record["runs"].values():
        errors = run["test_errors"]
        lines.append(
            f"| {run['labels']} | {run['epochs']:g} | {run['updates']:,} | {errors['ema']:,} | {errors['raw']:,} |"
        )
    return lines
