"""The table of codes and attributes in a run: what is scored, written and drawn, and when it stays silent."""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.nn.functional import one_hot

from lightning_gans.callbacks import AttributePanel
from lightning_gans.data import ImageDataModule, MappedSplit
from lightning_gans.errors import InputError
from lightning_gans.figures import attribute_figure
from lightning_gans.metrics import read_scores
from lightning_gans.objectives import GAN, Adversarial, InfoGAN
from lightning_gans.runs import RunLogger
from tests.callbacks.extractors import RandomImages
from tests.objectives.games import build

NAMES = ["bright", "noise", "never"]


class Known(ImageDataModule[MappedSplit]):
    """Images of one grey level each; bright ones have the first attribute, chance gives the second."""

    sample_shape = (1, 8, 8)
    num_classes = 0
    name = "known"
    attribute_names = NAMES

    def load_split(self, name: str) -> MappedSplit:
        n = {"train": 40, "validation": 600, "test": 500}[name]
        random = torch.Generator().manual_seed(n)
        grey = torch.randint(256, (n,), dtype=torch.uint8, generator=random)
        attributes = torch.stack(
            [grey >= 128, torch.rand(n, generator=random) < 0.5, torch.zeros(n, dtype=torch.bool)], dim=1
        )
        images = grey[:, None, None, None].repeat(1, *self.sample_shape)
        return MappedSplit(images, {"attributes": attributes.to(torch.uint8)})


def reads_grey_level(module: Adversarial) -> Adversarial:
    """Q that answers with the quarter of the grey levels, and a style of no meaning."""

    def encode(images: Tensor, chunk: int = 500) -> Tensor:
        digit = one_hot(images[:, 0, 0, 0].long() // 64, 4).float()
        return torch.cat([digit, torch.zeros(len(images), 2)], dim=1)

    module.encode = encode  # type: ignore[assignment]
    return module


def run(tmp_path: Path, module: Adversarial, data: ImageDataModule, panel: AttributePanel) -> Trainer:
    trainer = Trainer(
        max_steps=3,
        accelerator="cpu",
        devices=1,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[panel],
        logger=RunLogger(str(tmp_path), "run"),
    )
    trainer.fit(module, data)
    return trainer


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_code_that_knows_an_attribute_is_scored_written_and_drawn(tmp_path: Path) -> None:
    data = Known(batch_size=8)
    trainer = run(tmp_path, reads_grey_level(build(InfoGAN)), data, AttributePanel(images=None))
    folder = tmp_path / "run" / "version_0"
    scores = {(s.metric, s.step): s for s in read_scores(folder / "scores.jsonl")}
    # at the validation, and once more at the end
    assert {key for key in scores if key[0].startswith("attribute")} == {
        (f"attribute_information/{code}", step) for code in ("digit", "style[0]", "style[1]") for step in (2, 3)
    }
    digit = scores["attribute_information/digit", 3]
    assert digit.value == pytest.approx(1, abs=1e-9)
    assert digit.protocol["n_scored"] == 600 and digit.protocol["split"] == "validation"
    assert scores["attribute_information/style[0]", 3].value == 0
    assert trainer.callback_metrics["validation/attribute_information/digit"].item() == pytest.approx(1)

    rows = rows_of(folder / "attributes_validation.csv")
    assert [(row["code"], row["attribute"]) for row in rows[:3]] == [("digit", name) for name in NAMES]
    assert {row["step"] for row in rows} == {"3"} and {row["images"] for row in rows} == {"600"}
    share = {(row["code"], row["attribute"]): float(row["share"]) for row in rows}
    assert share["digit", "bright"] == pytest.approx(1)
    assert abs(share["digit", "noise"]) < 0.02
    assert share["digit", "never"] != share["digit", "never"]  # an attribute that nobody has says nothing
    for step in (2, 3):
        assert (folder / "samples" / f"step={step:06d}_attributes_validation.png").stat().st_size > 5000
    assert "validation/attribute_information/digit" in (folder / "metrics.csv").read_text().splitlines()[0]


def test_images_are_counted_up_to_the_number_that_was_asked_for(tmp_path: Path) -> None:
    run(tmp_path, reads_grey_level(build(InfoGAN)), Known(batch_size=8), AttributePanel(images=50))
    rows = rows_of(tmp_path / "run" / "version_0" / "attributes_validation.csv")
    assert {row["images"] for row in rows} == {"50"}


def test_every_process_reads_its_share_of_the_images_and_none_reads_anothers() -> None:
    data, seen = Known(batch_size=8), []
    module = reads_grey_level(build(InfoGAN))
    encode = module.encode  # type: ignore[attr-defined]
    module.encode = lambda images: seen.append(images) or encode(images)  # type: ignore[assignment, func-returns-value]
    for rank, share in enumerate((167, 167, 166)):
        seen.clear()
        place = SimpleNamespace(global_rank=rank, world_size=3)
        table = AttributePanel(images=500)._table(place, module, data, NAMES, "validation")  # type: ignore[arg-type]
        assert table.images == share
        assert torch.equal(torch.cat(seen), data.split("validation").images[:500][rank::3])


@pytest.mark.parametrize(("objective", "data"), [(GAN, Known), (InfoGAN, RandomImages)])
def test_without_codes_or_without_attributes_there_is_no_table(tmp_path: Path, objective, data) -> None:
    made = data(batch_size=8) if data is Known else data()
    run(tmp_path, build(objective), made, AttributePanel())
    folder = tmp_path / "run" / "version_0"
    assert not list(folder.rglob("*attribute*"))


def test_measuring_changes_nothing_that_is_trained(tmp_path: Path) -> None:
    modules = [build(InfoGAN), build(InfoGAN)]
    run(tmp_path, modules[0], Known(batch_size=8), AttributePanel())
    run(tmp_path, modules[1], Known(batch_size=8), AttributePanel(images=1))
    one, other = (module.state_dict() for module in modules)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_unknown_share_is_drawn_as_nothing_and_a_code_without_any_is_not_framed() -> None:
    shares = torch.tensor([[0.9, float("nan"), -0.01], [float("nan")] * 3], dtype=torch.float64)
    picture = attribute_figure(shares, ["c0", "style[0]"], ["a", "b_c", "d"], "title")
    assert picture.width > 300 and picture.height > 200


@pytest.mark.parametrize("options", [{"images": 0}, {"bins": 1}])
def test_options_that_measure_nothing_are_refused(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(InputError, match=rf"attributes\.{name} is {options[name]}, but must be"):
        AttributePanel(**options)
