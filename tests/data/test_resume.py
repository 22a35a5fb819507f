"""A run that is killed and resumed sees the same batches and ends with the same weights, bit for bit."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer

from lightning_gans.errors import InputError

from .toy import Killed, NumberedImages, SaveAt, Witness, trainer

ROUNDS = 5  # in an epoch
BY_EPOCHS = {"max_epochs": 3}
BY_STEPS = {"max_epochs": -1, "max_steps": 3 * ROUNDS}
VALIDATING = {"limit_val_batches": 1.0, "val_check_interval": 2, "check_val_every_n_epoch": None}


def run(tmp_path: Path, stops: list[int], options: dict, hook: str = "on_train_batch_end"):
    """Train in pieces that end at the given steps; give all batches seen and the final weights."""
    seen, checkpoint = [], None
    for stop in [*stops, None]:
        witness = Witness()
        callbacks = [SaveAt(tmp_path / f"{stop}.ckpt", stop, hook)] if stop else []
        try:
            trainer(tmp_path, *callbacks, **options).fit(witness, NumberedImages(batch_size=4), ckpt_path=checkpoint)
        except Killed:
            checkpoint = tmp_path / f"{stop}.ckpt"
        seen += witness.seen
    return seen, witness.linear.weight.detach()


def assert_same(resumed, whole):
    assert resumed[0] == whole[0]
    assert torch.equal(resumed[1], whole[1])


@pytest.mark.parametrize("options", [BY_EPOCHS, BY_STEPS, BY_STEPS | VALIDATING], ids=["epochs", "steps", "val"])
def test_resume_is_exact_at_every_kind_of_step(tmp_path, options):
    whole = run(tmp_path, [], options)
    assert len(whole[0]) == 3 * ROUNDS
    for stop in (1, 2, 3, ROUNDS, ROUNDS + 1, 2 * ROUNDS - 1, 2 * ROUNDS, 3 * ROUNDS - 1):
        assert_same(run(tmp_path, [stop], options), whole)


@pytest.mark.parametrize("options", [BY_EPOCHS, BY_STEPS], ids=["epochs", "steps"])
@pytest.mark.parametrize("stops", [[5, 10], [5, 7, 8], [4, 5, 6, 10, 11]], ids=str)
def test_resume_is_exact_when_a_resumed_run_is_resumed(tmp_path, options, stops):
    assert_same(run(tmp_path, stops, options), run(tmp_path, [], options))


@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_train_epoch_end", "on_validation_end"])
def test_resume_is_exact_from_other_hooks(tmp_path, hook):
    options = BY_STEPS | {"limit_val_batches": 1.0}
    assert_same(run(tmp_path, [ROUNDS], options, hook), run(tmp_path, [], options))


@pytest.mark.parametrize("options", [BY_EPOCHS, BY_STEPS], ids=["epochs", "steps"])
@pytest.mark.parametrize("first", [3, ROUNDS, 8])
def test_a_finished_run_can_be_extended(tmp_path, options, first):
    whole = run(tmp_path, [], options)
    finished = trainer(tmp_path, **(options | {"max_steps": first}))
    finished.fit(beginning := Witness(), NumberedImages(batch_size=4))
    finished.save_checkpoint(tmp_path / "finished.ckpt")
    longer = trainer(tmp_path, **options)
    longer.fit(end := Witness(), NumberedImages(batch_size=4), ckpt_path=tmp_path / "finished.ckpt")
    assert_same((beginning.seen + end.seen, end.linear.weight.detach()), whole)
    assert longer.fit_loop.epoch_loop._batches_that_stepped == 3 * ROUNDS  # the loggers' step

    longer.save_checkpoint(tmp_path / "longer.ckpt")
    trainer(tmp_path, **options).fit(
        again := Witness(), NumberedImages(batch_size=4), ckpt_path=tmp_path / "longer.ckpt"
    )
    assert again.seen == []


def test_resume_is_exact_with_shortened_epochs(tmp_path):
    options = {"max_epochs": 4, "limit_train_batches": 3}
    whole = run(tmp_path, [], options)
    assert len(whole[0]) == 12
    for stops in ([3], [4], [6], [3, 6]):
        assert_same(run(tmp_path, stops, options), whole)


def test_epochs_differ_and_a_second_fit_in_the_process_starts_at_the_beginning(tmp_path):
    data = NumberedImages(batch_size=4)
    trainer(tmp_path).fit(first := Witness(), data)
    trainer(tmp_path).fit(second := Witness(), data)
    assert first.seen == second.seen
    epochs = [first.seen[start : start + ROUNDS] for start in range(0, 15, ROUNDS)]
    assert all(one != other for one, other in pairwise(epochs))


def test_loaders_do_not_touch_the_global_generator():
    # dropout after a resumption could not be exact if it depended on how often an iterator was made
    state = torch.get_rng_state()
    data = NumberedImages(batch_size=4)
    assert len(list(data.train_dataloader())) == ROUNDS
    assert len(list(data.val_dataloader())) == 1
    assert torch.equal(torch.get_rng_state(), state)


def test_a_round_feeds_all_batches_of_a_step(tmp_path):
    trainer(tmp_path, max_epochs=1).fit(witness := Witness(real_batches_per_step=2), NumberedImages(batch_size=5))
    assert [len(images) for images in witness.seen] == [10, 10]


def test_checkpoint_holds_plain_values_and_the_warning_about_the_loader_is_gone(tmp_path, recwarn):
    run(tmp_path, [7], BY_EPOCHS)
    state = torch.load(tmp_path / "7.ckpt", weights_only=True)["NumberedImages"]
    assert (state["epoch"], state["offset"], state["samples_per_step"]) == (1, 2, 4)
    assert all(type(value) in (int, str) for value in state.values())
    assert not [warning for warning in recwarn if "not resumable" in str(warning.message)]


class OtherImages(NumberedImages):
    name = "others"


OtherImages.__qualname__ = "NumberedImages"  # Lightning finds the state by this name


def test_other_data_are_refused(tmp_path):
    run(tmp_path, [7], BY_EPOCHS)
    with pytest.raises(InputError, match=r"trained on numbered .* this is others"):
        trainer(tmp_path).fit(Witness(), OtherImages(batch_size=4), ckpt_path=tmp_path / "7.ckpt")


@pytest.mark.parametrize(("change", "words"), [({"batch_size": 5}, "samples per step 4"), ({"seed": 1}, "seed 0")])
def test_an_epoch_cannot_be_continued_in_another_order(tmp_path, change, words):
    run(tmp_path, [7, 10], BY_EPOCHS)
    other = NumberedImages(**({"batch_size": 4} | change))
    with pytest.raises(InputError, match=words):
        trainer(tmp_path).fit(Witness(), other, ckpt_path=tmp_path / "7.ckpt")
    trainer(tmp_path).fit(witness := Witness(), other, ckpt_path=tmp_path / "10.ckpt")
    assert len(witness.seen) == 23 // other.batch_size


def test_overfit_batches_is_refused(tmp_path):
    with pytest.raises(InputError, match="limit_train_batches"):
        trainer(tmp_path, overfit_batches=1).fit(Witness(), NumberedImages(batch_size=4))


def test_samplers_that_lightning_would_put_over_ours_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "world_size", 2)
    with pytest.raises(InputError, match=r"set trainer.use_distributed_sampler=False"):
        data_of(trainer(tmp_path, use_distributed_sampler=True)).setup("fit")
    data_of(trainer(tmp_path)).setup("fit")
    monkeypatch.setattr(Trainer, "world_size", 1)
    data_of(trainer(tmp_path, use_distributed_sampler=True)).setup("fit")


def test_a_split_with_less_than_a_sample_for_each_process_is_refused(tmp_path, monkeypatch):
    data = data_of(trainer(tmp_path))
    monkeypatch.setattr(Trainer, "world_size", 8)
    with pytest.raises(InputError, match=r"The validation split has 7 samples, too few for 8 processes"):
        data.val_dataloader()
    with pytest.raises(InputError, match=r"The test split has 5 samples, too few for 8 processes"):
        data.test_dataloader()
    monkeypatch.setattr(Trainer, "world_size", 5)
    assert len(data.test_dataloader()) == 1


def test_a_test_without_samples_is_refused(tmp_path, monkeypatch):
    data = data_of(trainer(tmp_path))
    monkeypatch.setattr(data, "split", lambda name: [])
    with pytest.raises(InputError, match="The test split of numbered has no samples"):
        data.test_dataloader()


def data_of(owner: Trainer) -> NumberedImages:
    data = NumberedImages(batch_size=4)
    data.trainer = owner
    return data


def test_batch_size_must_be_positive():
    with pytest.raises(InputError, match="evaluation_batch_size is 0"):
        NumberedImages(evaluation_batch_size=0)
