"""Tables of noise-contrastive estimation and its relatives."""

from tables.records import read


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
