"""Write the tables of README.md and benchmarks/README.md from the records in benchmarks/results: none is typed by hand.

python benchmarks/readme_tables.py
"""

from pathlib import Path

from tables import costs, densities, divergences, images, modes, sweeps

PAGES = [folder / "README.md" for folder in Path(__file__).parents[:2]]

TABLES = {
    "SWEEP": sweeps.sweep,
    "ERRORS": images.errors,
    "FIDELITY": images.fidelity,
    "GAUSSIAN": divergences.gaussian,
    "CROSS": divergences.cross,
    "MODES": modes.modes,
    "PARZEN": images.parzen,
    "PACKS": modes.packs,
    "BEGAN": modes.began,
    "ADAGAN": modes.adagan_821,
    "ADAGAN_82": modes.adagan_82,
    "ADAGAN_ON_DATA": modes.adagan_on_data,
    "SEMI_SUPERVISED": images.semi_supervised,
    "NCE": densities.nce,
    "ICA": densities.ica,
    "DENSITY_RATIOS": densities.density_ratios,
    "GMMN": images.gmmn,
    "COST_OF_SCORES": costs.cost_of_scores,
    "CELEBA_INPUT": costs.celeba_input,
    "COMMUNICATION": costs.communication,
    "SPEED": costs.speed,
    "THROUGHPUT": costs.throughput,
    "TIME_TO_ERROR": costs.time_to_error,
}


def main() -> None:
    for page in PAGES:
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
