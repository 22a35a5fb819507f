"""Write README's result tables from the records in benchmarks/results, so that no number is typed by hand.

python benchmarks/readme_tables.py
"""

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
OPENING, CLOSING = "<!-- results -->\n", "<!-- /results -->"

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


def overhead() -> list[str]:
    record = json.loads((RESULTS / "overhead.json").read_text())
    lines = ["| width | `fit` / bare loop | 95 % interval |", "|---|---|---|"]
    for entry in record.values():
        low, high = entry["interval_95"]
        lines.append(f"| {entry['width']} | {entry['ratio']:.3f} | {low:.3f} to {high:.3f} |")
    return lines


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, _, rest = text.partition(OPENING)
    _, _, after = rest.partition(CLOSING)
    tables = {"ERRORS": errors(), "OVERHEAD": overhead()}
    parts = rest.partition(CLOSING)[0].split("<!-- table ")
    written = parts[0]
    for part in parts[1:]:
        name, _, tail = part.partition(" -->\n")
        prose = tail.splitlines(keepends=True)
        while prose and prose[0].startswith(("|", "\n")):
            prose.pop(0)
        written += f"<!-- table {name} -->\n" + "\n".join(tables[name]) + "\n\n" + "".join(prose)
    readme.write_text(before + OPENING + written + CLOSING + after)


if __name__ == "__main__":
    main()
