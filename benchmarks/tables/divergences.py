"""Tables of f-GAN where the answers are known."""

from tables.records import read


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
