"""Measure what real images cost in training: the memory-mapped array against decoding JPEG files in a DataLoader.

    python benchmarks/celeba_input.py

On drawn faces in CelebA's layout (tests/data/faces.py: JPEG files of 178x218 pixels and about 7 kB, as the published
ones), centre crop 148, size 64, batches of 128 in random order, mirrored at random, as float32 in [-1, 1]:

1. Images per second from `CelebA`'s training loader against torchvision's CelebA in a DataLoader with the same number
   of workers, which is none: alternating, by the clock and in process time, which other work on the machine disturbs
   less. For comparison also torchvision with a worker on each core, which the array does without.
2. What `prepare` costs, once.
3. Memory of a process that has seen an epoch, with 1, 2 and 4 times as many images, each in a fresh process: memory
   of its own (anonymous) and pages of the mapped file, which belong to the page cache, are shared by all processes
   that map it, and are given up when memory is short.

The record is benchmarks/results/celeba_input.json.
"""

import argparse
import contextlib
import ctypes
import gc
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import PIL
import torch
import torchvision
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import VisionDataset
from torchvision.transforms import CenterCrop, Compose, Normalize, RandomHorizontalFlip, Resize, ToTensor

from lightning_gans import __version__
from lightning_gans.data import CelebA
from lightning_gans.data.celeba_files import ATTRIBUTES, PARTITION, read_attributes, read_partition
from lightning_gans.files import atomic_path
from lightning_gans.images import to_float

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).parent / "results" / "celeba_input.json"
SIZE, CROP, BATCH = 64, 148, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4096, help="faces that are drawn")
    parser.add_argument("--rounds", type=int, default=5, help="alternations of the two ways")
    parser.add_argument("--decoded", type=int, default=1024, help="images that torchvision decodes in each round")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of torch")
    parser.add_argument("--memory_of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(json.dumps(memory(options.memory_of)))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LIGHTNING_GANS_CACHE"] = f"{folder}/cache"
        root = Path(folder) / "once"
        draw(root, options.images)
        load_before = os.getloadavg()[0]
        content = {
            "command": f"python benchmarks/celeba_input.py --images {options.images} --rounds {options.rounds} "
            f"--decoded {options.decoded} --threads {options.threads}",
            "version": __version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "pillow": PIL.__version__,
            "machine": f"{platform.machine()}, {cores()} cores, {options.threads} thread(s) of torch",
            "load_before": round(load_before, 2),
            "images": options.images,
            "prepare": prepare(root),
            "throughput": throughput(root, options.rounds, options.decoded),
            "memory": [memory_apart(Path(folder), root, times, options.threads) for times in (1, 2, 4)],
        }
    with atomic_path(RECORD) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content, indent=1))
    print(f"recorded in {RECORD}")


def draw(root: Path, images: int) -> None:
    """Faces in CelebA's layout."""
    sys.path.insert(0, str(ROOT))
    from tests.data.faces import write_celeba

    print(f"drawing {images} faces", file=sys.stderr)
    write_celeba(root, images)


def prepare(root: Path) -> dict[str, Any]:
    """Cost of decoding everything once."""
    data = CelebA(str(root), SIZE, CROP, BATCH, download=False)
    (seconds, cpu), _ = timed(data.prepare_data)
    images = sum(len(data.split(name)) for name in ("train", "validation", "test"))
    return {
        "images": images,
        "images_per_second": round(images / seconds),
        "images_per_cpu_second": round(images / cpu),
        "array_bytes": data.array.record["bytes"],
    }


class TorchvisionFaces(torchvision.datasets.CelebA):
    """torchvision's CelebA as it is, but for the lists of boxes and landmarks, which drawn faces do not have."""

    def __init__(self, root: Path, transform: Callable[..., Tensor]):
        VisionDataset.__init__(self, root, transform=transform)
        self.filename = read_partition(root / "celeba" / PARTITION)["train"]
        rows = read_attributes(root / "celeba" / ATTRIBUTES)[1]
        self.attr = torch.stack([torch.from_numpy(rows[name]) for name in self.filename])
        self.target_type = ["attr"]
        self.target_transform = None


def throughput(root: Path, rounds: int, decoded: int) -> dict[str, Any]:
    """Both ways alternating; the ratio is the median of the rounds' ratios."""
    transform = Compose(
        [CenterCrop(CROP), Resize(SIZE), RandomHorizontalFlip(), ToTensor(), Normalize([0.5] * 3, [0.5] * 3)]
    )
    files = TorchvisionFaces(root, transform)

    loader = CelebA(str(root), SIZE, CROP, BATCH, download=False).train_dataloader()

    def from_array() -> Iterator[Tensor]:
        for epoch in range(4):
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            for batch in loader:
                yield to_float(batch["image"], (-1, 1))

    def from_files(workers: int) -> Iterator[Tensor]:
        loader = DataLoader(files, BATCH, shuffle=True, num_workers=workers, drop_last=True)
        for image, _ in loader:
            yield image

    ways: dict[str, tuple[Callable[[], Iterator[Tensor]], int | None]] = {
        "array": (from_array, None),
        "torchvision": (lambda: from_files(0), decoded),
        f"torchvision, {cores()} workers": (lambda: from_files(cores()), None),
    }
    clock: dict[str, list[float]] = {name: [] for name in ways}
    process: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (way, limit) in ways.items():
            (seconds, cpu), images = timed(lambda way=way, limit=limit: count(way(), limit))  # type: ignore[misc]
            clock[name].append(images / seconds)
            process[name].append(images / cpu)
    many = f"torchvision, {cores()} workers"
    return {
        "images_per_second": {name: [round(rate) for rate in rates] for name, rates in clock.items()},
        "images_per_cpu_second": {name: [round(rate) for rate in process[name]] for name in ("array", "torchvision")},
        "times_faster": ratio(clock["array"], clock["torchvision"]),
        "times_faster_in_process_time": ratio(process["array"], process["torchvision"]),
        f"times_faster_than_{cores()}_workers": ratio(clock["array"], clock[many]),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def count(batches: Iterator[Tensor], limit: int | None) -> int:
    """Look at batches; how many images they had."""
    images = 0
    for batch in batches:
        images += len(batch)
        if limit is not None and images >= limit:
            break
    return images


def ratio(ours: list[float], usual: list[float]) -> float:
    """Median of the rounds' ratios."""
    ratios = sorted(a / b for a, b in zip(ours, usual, strict=True))
    return round(ratios[len(ratios) // 2], 1)


def timed(way: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Seconds by the clock and of this process, and the result."""
    started, cpu = time.perf_counter(), time.process_time()
    value = way()
    return (time.perf_counter() - started, time.process_time() - cpu), value


def memory_apart(folder: Path, once: Path, times: int, threads: int) -> dict[str, Any]:
    """Memory of a fresh process with the images of ``once`` so many times; copies are hard links."""
    root = once if times == 1 else folder / f"times_{times}"
    if times > 1:
        multiply(once / "celeba", root / "celeba", times)
    with contextlib.redirect_stdout(io.StringIO()):
        CelebA(str(root), SIZE, CROP, BATCH, download=False).prepare_data()
    command = [sys.executable, __file__, "--memory_of", str(root), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    if times > 1:
        shutil.rmtree(root)
    return json.loads(done.stdout.splitlines()[-1])


def multiply(once: Path, many: Path, times: int) -> None:
    """The same dataset with every image so many times."""
    (many / "img_align_celeba").mkdir(parents=True)
    total, names, *rows = (once / "list_attr_celeba.txt").read_text().splitlines()
    parts = (once / "list_eval_partition.txt").read_text().splitlines()
    all_rows, all_parts = [], []
    for copy in range(times):
        for row, part in zip(rows, parts, strict=True):
            name = f"{copy}_{row.split()[0]}"
            os.link(once / "img_align_celeba" / row.split()[0], many / "img_align_celeba" / name)
            all_rows.append(f"{copy}_{row}\n")
            all_parts.append(f"{copy}_{part}\n")
    (many / "list_attr_celeba.txt").write_text(f"{int(total) * times}\n{names}\n{''.join(all_rows)}")
    (many / "list_eval_partition.txt").write_text("".join(all_parts))


def memory(root: Path) -> dict[str, Any]:
    """What this process has more after an epoch than before it knew the data, in MB."""
    either = torch.zeros(2 * BATCH, 3, SIZE, SIZE, dtype=torch.uint8)
    to_float(either.flip(-1).index_select(0, torch.arange(BATCH)), (-1, 1))  # buffers of one batch are there before
    before = usage()
    data = CelebA(str(root), SIZE, CROP, BATCH, download=False)
    loader = data.train_dataloader()
    seen = count((to_float(batch["image"], (-1, 1)) for batch in loader), None)
    after = usage()
    return {
        "training_images": len(data.split("train")),
        "seen": seen,
        "array_mb": round(data.array.record["bytes"] / 1e6, 1),
        "own_mb": round(after["Anonymous"] - before["Anonymous"], 1),
        "page_cache_mb": round((after["Rss"] - after["Anonymous"]) - (before["Rss"] - before["Anonymous"]), 1),
        "whole_process_own_mb": round(after["Anonymous"], 1),
    }


def usage() -> dict[str, float]:
    """Memory of this process in MB, by kind, but for what was freed and not yet given back (Linux, glibc)."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) * 1024 / 1e6 for name, _, rest in (line.partition(":") for line in lines)}


if __name__ == "__main__":
    main()
