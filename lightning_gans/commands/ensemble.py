"""``ensemble``: several semi-supervised classifiers asked together."""

import argparse
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

from torch import Tensor

import lightning_gans
from lightning_gans.checkpoint import changed_settings, configuration, load_data
from lightning_gans.checkpoint_file import read_checkpoint
from lightning_gans.commands.options import SentenceArgumentParser, load, require_folder
from lightning_gans.data import ImageDataModule
from lightning_gans.data.labelled import fingerprint_of
from lightning_gans.errors import InputError
from lightning_gans.metrics import ProtocolValue, Score, append_scores, format_scores
from lightning_gans.objectives import SemiSupervised
from lightning_gans.runs import SCORES

DESCRIPTION = """Test several semi-supervised classifiers together: their class probabilities are averaged.

Prints the errors of each and of all together on the test images; with --out they are added to scores.jsonl in that
folder. All must have been trained on the same data with the same labels (data.labelled): with others, an ensemble would
know more labels than each of its members.
"""


def main(args: list[str]) -> None:
    """Run the command."""
    parser = SentenceArgumentParser("ensemble", DESCRIPTION)
    parser.add_argument("checkpoints", nargs="+", metavar="PATH", help="checkpoint files of two or more trained runs")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder whose scores.jsonl the scores are added to")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, … (default: cuda where there is one)")
    options = parser.parse(args)
    if len(options.checkpoints) < 2:
        raise InputError("an ensemble has two checkpoints or more; `test --ckpt_path` tests one")
    require_folder(options.out)
    require_different(options.checkpoints)
    data = load_data(options.checkpoints[0])
    places = getattr(data, "labelled_places", None)
    if not isinstance(data, ImageDataModule) or places is None:
        raise InputError(f"{options.checkpoints[0]} was not trained with labelled images, so it has no test error")
    require_same_data(options.checkpoints)
    protocol: dict[str, ProtocolValue] = {
        "split": "test",
        "code": lightning_gans.__version__,
        "data": data.name,
        "data_fingerprint": data.fingerprint[:16],
        "fallback_data": data.is_fallback,
        "quantisation": "uint8, half up",
        "n_labelled": len(places),
        "labelled_images": fingerprint_of(places),
    }
    scores = measure(options, data, protocol)
    print(format_scores(scores))
    if options.out is not None:
        append_scores(options.out / SCORES, scores)
        print(f"added to {options.out / SCORES}")


def measure(options: argparse.Namespace, data: Any, protocol: dict[str, ProtocolValue]) -> list[Score]:
    """The error of each member, and of all together."""
    test = data.split("test")
    scores: list[Score] = []
    total: Tensor | float = 0.0
    seeds, weights, steps = [], [], []
    for path in options.checkpoints:
        module = load(argparse.Namespace(ckpt_path=path, device=options.device))
        if not isinstance(module, SemiSupervised):
            raise InputError(f"{path} holds a model of the objective {type(module).__name__}, which has no classes")
        own = module.class_probabilities(test.images).cpu().double()
        if not own.isfinite().all():
            raise InputError(f"{path} gives no probabilities (NaN), so it can be no member; leave it out")
        if isinstance(total, Tensor) and total.shape != own.shape:
            raise InputError(
                f"{path} tells {own.shape[1]} classes apart, but {options.checkpoints[0]} {total.shape[1]}, so that "
                "they are no ensemble"
            )
        total = total + own
        seeds.append(module.seed)
        weights.append(module.classifier_weights)
        steps.append(module.trained_steps)
        of_member = protocol | {"seed": module.seed, "weights": weights[-1], "members": 1}
        scores.append(Score("classification_error", _error(own, test.labels), of_member, step=steps[-1]))
    assert isinstance(total, Tensor)
    joint = protocol | {
        "seed": seeds,
        "weights": weights[0] if len(set(weights)) == 1 else weights,
        "members": len(seeds),
    }
    step = steps[0] if len(set(steps)) == 1 else None
    return [*scores, Score("classification_error", _error(total, test.labels), joint, step=step)]


def require_different(paths: list[str]) -> None:
    """Refuse a member that is named twice, and warn of two that are one run as far as their settings tell.

    Raises:
        InputError: Naming the member.
    """
    files = [Path(path).resolve() for path in paths]
    for path, file in zip(paths, files, strict=True):
        if files.count(file) > 1:
            raise InputError(f"{path} is given twice, but each member of an ensemble counts once; name another")
    settings = [(path, configuration(read_checkpoint(path), path)) for path in paths]
    for (first, one), (second, other) in combinations(settings, 2):
        if not changed_settings(one, other):
            print(
                f"warning: {first} and {second} have the same seed and settings, so they are hardly two members; "
                "train them with different --seed_everything",
                file=sys.stderr,
            )


def require_same_data(paths: list[str]) -> None:
    """Refuse members that learned from other data or other labels.

    Raises:
        InputError: Naming the two that differ.
    """

    def learned_from(path: str) -> tuple[Any, ...]:
        checkpoint = read_checkpoint(path)
        data = configuration(checkpoint, path).get("data") or {}
        saved = checkpoint.get(str(data.get("class_path")).rpartition(".")[2], {})
        return saved.get("fingerprint"), (data.get("init_args") or {}).get("labelled")

    first = learned_from(paths[0])
    for path in paths[1:]:
        if learned_from(path) != first:
            raise InputError(
                f"{paths[0]} and {path} were trained on different images or with different labels, so they are no "
                "ensemble; train its members with different --seed_everything alone"
            )


def _error(scores: Tensor, labels: Tensor) -> float:
    """Share of the rows whose largest entry is not at the label."""
    return round(float((scores.argmax(1) != labels).double().mean()), 6)
