"""Tables of sweeps."""

from tables.records import read

METRICS = {
    "L_I(digit), nats": ("validation/information/digit", 2),
    "error, one to one": ("validation/error_hungarian/digit", 3),
    "error, by majority": ("validation/error_majority/digit", 3),
    "FID": ("validation/fid_mnist-convnet_10k", 2),
}


def sweep() -> list[str]:
    record = read("infogan_lambda_mnist_quick")
    assert record is not None
    lines = ["| categories | λ | " + " | ".join(METRICS) + " | seeds |", "|---" * (len(METRICS) + 3) + "|"]
    for entry in record["settings"]:
        found = {key.rpartition(".")[2]: value for key, value in entry["settings"].items()}
        cells = []
        for metric, decimals in METRICS.values():
            spread = f" ± {entry['sd'][metric]:.{decimals}f}" if metric in entry["sd"] else ""
            cells.append(f"{entry['mean'][metric]:.{decimals}f}{spread}")
        lines.append(f"| {found['size']} | {found['weight']:g} | {' | '.join(cells)} | {len(entry['seeds'])} |")
    return lines
