"""Faces from the command line: fit, resume, test, traverse and encode, on a CelebA of drawn ones."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_gans.__main__ import main
from tests.cli_tools import call

CONF = Path(__file__).parents[1] / "conf"
CONFIG = CONF / "infogan_celeba.yaml"
OTHERS = ("infogan_celeba_paper", "gan_celeba")
# of conf/infogan_celeba.yaml, all that makes it slow
TINY = {
    "model.generator.size": 16,
    "model.discriminator.size": 16,
    "data.size": 16,
    "model.generator.width": 0.05,
    "model.discriminator.width": 0.05,
    "data.batch_size": 16,
    "data.download": "false",
    "trainer.val_check_interval": 4,
    "trainer.log_every_n_steps": 1,
    "checkpoints.every_n_steps": 2,
    "fidelity.extractor": "tests.callbacks.extractors.TinyClassifier",
    "fidelity.samples": 20,
    "fidelity.pairwise_samples": 12,
    "fidelity.sample_sets": 1,
    "information.generated_images": 20,
    "calibration.samples": 15,
    "pictures.rows": 1,
    "pictures.columns": 1,
}
SMALL = [f"--{name}={value}" for name, value in TINY.items()]


def fit(runs: Path, *args: object) -> Path:
    """Train in this process; give the run folder."""
    options = map(str, ("fit", "--config", CONFIG, *SMALL, "--trainer.accelerator=cpu", f"--runs={runs}", *args))
    assert main(list(options)) == 0
    return max(runs.glob("infogan_celeba/version_*"))


@pytest.fixture(autouse=True)
def faces(monkeypatch, celeba_root):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", str(celeba_root))


@pytest.fixture(scope="module")
def trained_on_faces(tmp_path_factory, celeba_root) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_GANS_DATA", str(celeba_root))
        return fit(tmp_path_factory.mktemp("faces"), "--trainer.max_steps=4")


@pytest.fixture
def checkpoint(trained_on_faces, tmp_path) -> Path:
    """Of a copy that a test may write into."""
    folder = tmp_path / "copy" / "infogan_celeba" / "version_0"
    shutil.copytree(trained_on_faces, folder)
    return folder / "checkpoints" / "last.ckpt"


def table_in(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_fit_measures_codes_against_attributes_beside_fidelity(trained_on_faces: Path) -> None:
    scores = [json.loads(line) for line in (trained_on_faces / "scores.jsonl").read_text().splitlines()]
    of_last = {score["metric"]: score for score in scores if score.get("step") == 4}
    assert {f"attribute_information/c{i}" for i in range(10)} <= set(of_last)
    assert {f"information/c{i}" for i in range(10)} <= set(of_last)
    assert {"fid_tiny_20", "calibration_error", "loss/discriminator"} <= set(of_last)
    protocol = of_last["attribute_information/c0"]["protocol"]
    assert "centre crop 148" in protocol["data"] and "to 16" in protocol["data"]
    assert not any(metric.startswith(("nmi", "error_")) for metric in of_last)  # faces have no classes

    rows = table_in(trained_on_faces / "attributes_validation.csv")
    assert len(rows) == 10 * 40
    assert {"Smiling", "Eyeglasses", "5_o_Clock_Shadow"} <= {row["attribute"] for row in rows}
    for name in ("attributes_validation", "samples", "traverse_c9"):
        with Image.open(trained_on_faces / "samples" / f"step=000004_{name}.png") as picture:
            assert picture.width > 16


def test_a_resumed_run_ends_in_the_same_bits(trained_on_faces: Path, tmp_path: Path) -> None:
    # which is not validated: that changes nothing
    half = fit(tmp_path, "--trainer.max_steps=2", "--trainer.limit_val_batches=0")
    last = half / "checkpoints" / "last.ckpt"
    resumed = fit(tmp_path, "--trainer.max_steps=4", "--trainer.limit_val_batches=0", "--ckpt_path", last)
    one, other = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True) for folder in (trained_on_faces, resumed)
    )
    assert one["global_step"] == other["global_step"] == 4
    assert one["state_dict"].keys() == other["state_dict"].keys()
    assert any("parametrizations" in name for name in one["state_dict"])
    assert all(torch.equal(one["state_dict"][name], other["state_dict"][name]) for name in one["state_dict"])


def test_test_scores_the_test_faces_from_the_checkpoint_alone(checkpoint: Path, capsys) -> None:
    assert main(["test", "--ckpt_path", str(checkpoint)]) == 0
    out = capsys.readouterr().out
    assert "attribute_information/c0" in out and "fid_tiny_20" in out
    folder = checkpoint.parents[1]
    rows = table_in(folder / "attributes_test.csv")
    assert len(rows) == 400 and {row["step"] for row in rows} == {"4"}
    assert (folder / "samples" / "step=000004_attributes_test.png").is_file()


def test_traverse_encode_and_sample_need_the_checkpoint_alone(checkpoint: Path, celeba_root: Path, capsys) -> None:
    traverse = ["traverse", "--ckpt_path", str(checkpoint), "--out", str(checkpoint.parent / "axes")]
    assert main(traverse) == 0
    assert len(list((checkpoint.parent / "axes").glob("*.png"))) >= 10
    lists = (celeba_root / "celeba" / "list_eval_partition.txt").read_text().splitlines()
    of_validation = next(line.split()[0] for line in lists if line.split()[1] == "1")
    photograph = str(celeba_root / "celeba" / "img_align_celeba" / of_validation)
    by_split, by_file = checkpoint.parent / "split.csv", checkpoint.parent / "files.csv"
    assert main(["encode", "--ckpt_path", str(checkpoint), "--split", "validation", "--out", str(by_split)]) == 0
    assert main(["encode", "--ckpt_path", str(checkpoint), photograph, "--out", str(by_file)]) == 0
    assert {"c0", "c9", "c0.probabilities[9]"} <= set(table_in(by_split)[0])
    # a photograph is cropped and resized as those in training were
    (alone,), first = table_in(by_file), table_in(by_split)[0]
    assert alone.pop(next(iter(alone))) != first.pop(next(iter(first))) and alone == first
    assert (
        main(["sample", "--ckpt_path", str(checkpoint), "-n", "4", "--codes.c3", "7", "--out", str(by_file.parent)])
        == 0
    )
    with Image.open(by_file.parent / "samples.png") as picture:
        assert picture.mode == "RGB"


@pytest.mark.parametrize("name", ["infogan_celeba", *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS)])
def test_bf16_applies_to_every_configuration_of_faces(name: str, tmp_path: Path) -> None:
    size = [f"--{key}={value}" for key, value in TINY.items() if "size" in key] if "paper" not in name else []
    args = ["fit", "--config", str(CONF / f"{name}.yaml"), "--config", str(CONF / "bf16.yaml"), "--runs", str(tmp_path)]
    narrow = [f"--{key}={value}" for key, value in TINY.items() if "width" in key or key.startswith("pictures")]
    quick = [
        "--trainer.max_steps=1",
        "--trainer.accelerator=cpu",
        "--trainer.limit_val_batches=0",
        "--data.batch_size=8",
    ]
    assert main([*args, *size, *narrow, *quick]) == 0
    saved = torch.load(tmp_path / name / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["lightning_gans"]["config"]["trainer"]["precision"] == "bf16-mixed"
    assert {w.dtype for n, w in saved["state_dict"].items() if w.is_floating_point()} == {torch.float32}


REFUSALS = {
    "another size": ({"data.size": 32}, "choose networks and data that fit"),
    "no such regulariser": ({"model.discriminator_regularisers": "[{class_path: SpectralNom}]"}, "SpectralNom"),
    "negative weight": (
        {"model.discriminator_regularisers": "[{class_path: R1, init_args: {weight: -1}}]"},
        "R1 has weight -1",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_trained_is_refused_in_one_sentence(case, refused, tmp_path, celeba_root) -> None:
    options, expected = REFUSALS[case]
    arguments = ["fit", "--config", CONFIG, *SMALL, f"--data.root={celeba_root}", "--trainer.accelerator=cpu"]
    assert expected in refused(*arguments, "--runs", tmp_path, *(f"--{key}={value}" for key, value in options.items()))


@pytest.mark.slow
def test_two_processes_train_on_faces_and_count_every_face_once(tmp_path: Path, celeba_root: Path) -> None:
    overlays = ["--config", CONF / "ddp.yaml", "--config", CONF / "bf16.yaml"]
    both = "[{class_path: SpectralNorm}, {class_path: R1, init_args: {weight: 0.1, every: 2}}]"
    alone = [*SMALL, "--trainer.accelerator=cpu", "--trainer.max_steps=2", f"--model.discriminator_regularisers={both}"]
    done = call("fit", "--config", CONFIG, *overlays, *alone, "--runs", tmp_path, data=celeba_root, timeout=300)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "infogan_celeba" / "version_0"
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    (score,) = [score for score in scores if score["metric"] == "attribute_information/c0"]
    rows = table_in(folder / "attributes_validation.csv")
    assert {int(row["images"]) for row in rows} == {score["protocol"]["n_scored"]}
    assert len(rows) == 400 and (folder / "finished.json").is_file()
    assert "train/regulariser/r1" in (folder / "metrics.csv").read_text().splitlines()[0]
