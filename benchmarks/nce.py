"""Noise-contrastive estimation on its papers' problems, density ratios on known pairs, and NCE beside a GAN.

    python benchmarks/nce.py

1. Gaussian (nce_gaussian.py): precision and log-normaliser, against maximum likelihood and theory.
2. Independent components (nce_ica.py): four Laplacian sources.
3. Density ratios of known pairs (nce_ratios.py) by four kinds of estimators.
4. Two pictures (nce_pictures.py): errors against T, and the one classifier of NCE and a GAN, the model on either side.

Finished entries are kept in the record, benchmarks/results/nce.json, so a stopped benchmark goes on where it was.
"""

import argparse
import json
import logging
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from nce_gaussian import SIZES, gaussian, summary_of_gaussians
from nce_ica import SIZES as ICA_SIZES
from nce_ica import ica, summary_of_ica
from nce_pictures import draw_errors, draw_one_idea
from nce_ratios import PAIRS, ratios, summary_of_ratios

from lightning_gans import __version__
from lightning_gans.files import atomic_path

RECORD = Path(__file__).parent / "results" / "nce.json"


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 1 or more")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gaussian_seeds", type=positive, default=30)
    parser.add_argument("--ica_seeds", type=positive, default=10)
    parser.add_argument("--ratio_seeds", type=positive, default=10)
    parser.add_argument("--record", type=Path, default=RECORD)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    record = json.loads(options.record.read_text()) if options.record.is_file() else {}
    print(f"recording to {options.record}", flush=True)
    jobs: list[tuple[str, str, Callable[[], Any]]] = [
        ("gaussian", f"{size}/{seed}", lambda size=size, seed=seed: gaussian(size, seed))
        for size in SIZES
        for seed in range(options.gaussian_seeds)
    ]
    jobs += [
        ("ica", f"{size}/{seed}", lambda size=size, seed=seed: ica(size, seed))
        for size in ICA_SIZES
        for seed in range(options.ica_seeds)
    ]
    jobs += [
        ("ratios", f"{pair}/{seed}", lambda pair=pair, seed=seed: ratios(pair, seed))
        for pair in PAIRS
        for seed in range(options.ratio_seeds)
    ]
    for number, (section, key, work) in enumerate(jobs, 1):
        if key in record.setdefault(section, {}):
            continue
        record[section][key] = work()
        write(options.record, record)
        if number % 10 == 0 or number == len(jobs):
            print(f"{number} of {len(jobs)}: {section} {key}, {time.process_time():.0f} s of CPU time", flush=True)
    record["summary"] = {
        "gaussian": summary_of_gaussians(record["gaussian"]),
        "ica": summary_of_ica(record["ica"]),
        "ratios": summary_of_ratios(record["ratios"]),
    }
    write(options.record, record)
    print(json.dumps(record["summary"], indent=1))
    draw_errors(record["summary"]["gaussian"], options.record.with_name("nce_errors.png"))
    if not (picture := options.record.with_name("nce_and_gan.png")).is_file():
        draw_one_idea(picture)


def write(path: Path, record: dict[str, Any]) -> None:
    content = record | {
        "command": "python benchmarks/nce.py",
        "version": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
