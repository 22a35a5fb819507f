"""Fidelity on the command line: what `test` prints and writes, a folder of images, and refusals."""

import json
import shutil
from pathlib import Path

import numpy
import pytest
from PIL import Image

from lightning_gans.__main__ import main
from lightning_gans.data.image_files import read_folder
from lightning_gans.errors import InputError
from tests.cli_tools import TINY


@pytest.fixture
def checkpoint(own_copy, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GANS_DATA", "no-data-here")
    return own_copy / "checkpoints" / "last.ckpt"


def new_scores(checkpoint: Path, before: int = 0) -> list[dict]:
    lines = (checkpoint.parents[1] / "scores.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[before:]]


def test_fit_logs_and_scores_both_weights_at_every_validation(trained):
    folder, done = trained
    header = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"validation/fid_mnist-convnet_60", "validation/raw/fid_mnist-convnet_60"} <= set(header)
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    fids = [s for s in scores if s["metric"] == "fid_mnist-convnet_60"]
    assert [(s["step"], s["protocol"]["weights"]) for s in fids] == [
        (step, weights) for step in (10, 20, 30) for weights in ("ema", "raw")
    ]
    assert all(s["protocol"]["noise_keys"] == "selection" for s in fids)
    assert "inception_score_mnist-convnet_60" in done.stdout
    assert "floor: 60 validation images in the generator's place" in done.stdout


def test_test_prints_scores_beside_their_floor_and_a_folder_beside_both(checkpoint, tmp_path, capsys):
    images = tmp_path / "images"
    assert main(["sample", "--ckpt_path", str(checkpoint), "-n", "30", "--files", "--out", str(images / "deep")]) == 0
    before = len(new_scores(checkpoint))
    assert main(["test", "--ckpt_path", str(checkpoint), "--against", str(images)]) == 0
    out = capsys.readouterr().out
    model, folder = (out.split("memorisation_z")[0], out.split("memorisation_z", 1)[1])
    (line,) = [line for line in model.splitlines() if line.startswith("fid_mnist-convnet_60")]
    assert "±" in line
    assert "floor: 60 test images in the generator's place" in out
    assert f"reference={images}" in folder.replace("\n  ", " ") and "fid_mnist-convnet_30" in folder
    for words in ("noise_keys=report 0 to 2", "extractor_hash=", "preprocessing=", "selected_by=", "quantisation="):
        assert words in out.replace("\n  ", " ")
    scores = new_scores(checkpoint, before)
    kinds = {(s["metric"].partition("_mnist")[0], s["protocol"]["split"]) for s in scores}
    assert {("fid", "test"), ("fid", "folder"), ("floor/fid", "floor"), ("loss/generator", "test")} <= kinds
    assert all("version" in s for s in scores)
    # the images are the model's own: they lie far nearer to its samples than to real ones
    values = {(s["metric"], s["protocol"].get("generated"), s["protocol"].get("reference")): s["value"] for s in scores}
    to_folder = [v for (m, _, r), v in values.items() if m == "fid_mnist-convnet_60" and r.startswith(str(images))]
    to_data = [v for (m, g, _), v in values.items() if m == "fid_mnist-convnet_30" and g and g.startswith(str(images))]
    assert len(to_folder) == len(to_data) == 1 and to_folder[0] < to_data[0]


def test_folders_that_cannot_be_scored_are_refused(checkpoint, tmp_path, refused):
    def sentence(folder: Path) -> str:
        with pytest.raises(InputError) as refusal:
            read_folder(folder, (1, 28, 28))
        return str(refusal.value)

    assert "does not exist" in refused("test", "--ckpt_path", checkpoint, "--against", tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no images" in sentence(empty)
    Image.fromarray(numpy.zeros((28, 28), dtype=numpy.uint8)).save(empty / "a.png")
    assert "only one image" in sentence(empty)
    (empty / "b.png").write_text("no picture")
    assert "b.png cannot be read" in sentence(empty)
    Image.fromarray(numpy.zeros((32, 28, 3), dtype=numpy.uint8)).save(empty / "b.png")
    assert "28x32 pixels" in sentence(empty)
    assert "is no folder" in sentence(empty / "a.png")
    Image.fromarray(numpy.full((28, 28, 3), 7, dtype=numpy.uint8)).save(empty / "b.png")
    assert read_folder(empty, (1, 28, 28)).sum((1, 2, 3)).tolist() == [0, 7 * 28 * 28]


def test_options_that_make_no_sense_are_refused_before_training(refused, tmp_path):
    fit = ["fit", "--config", TINY, "--runs", tmp_path]
    assert "leave out fidelity.against" in refused(*fit, "--fidelity.against", tmp_path)
    assert "fidelity.samples is 0" in refused(*fit, "--fidelity.samples", 0)
    assert "multiple of trainer.val_check_interval (10)" in refused(*fit, "--fidelity.every_n_steps", 15)
    assert "no feature extractor 'incepton'" in refused(*fit, "--fidelity.extractor", "incepton")
    assert "fidelity.in_training" in refused(*fit, "--fidelity.in_training", "[fjd]")
    assert "neither a low nor a high value" in refused(*fit, "--checkpoints.best_by", "validation/loss/generator")
    assert not list(tmp_path.rglob("last.ckpt"))


def test_runs_that_were_tested_can_be_ranked(checkpoint, tmp_path, capsys):
    first = checkpoint.parents[1]
    test = ["test", "--ckpt_path", str(checkpoint), "--fidelity.sample_sets", "2"]
    assert main(test) == 0
    second = shutil.copytree(first, tmp_path / "second")
    capsys.readouterr()
    assert main(["compare", str(first), str(second), "--metric", "fid"]) == 0
    out = capsys.readouterr().out
    assert "2 sample sets" in out and "lower is better" in out and str(second) in out
