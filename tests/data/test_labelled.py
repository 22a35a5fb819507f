"""Which samples have a label, and when they are shown."""

import pytest
import torch

from lightning_gans.data import MNIST, ImageSplit, Labelled, RoundSampler
from lightning_gans.data.labelled import PartlyLabelled, companions_of, fingerprint_of
from lightning_gans.errors import InputError

SIZE = 60


def split() -> ImageSplit:
    """Images that name themselves in their first pixel; six classes of unequal size."""
    images = torch.arange(SIZE, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    labels = (torch.arange(SIZE) % 9).clamp_max(5)
    return ImageSplit(images, labels)


def batches(world_size: int = 1, rank: int = 0, batch_size: int = 12, epochs: int = 2, offset: int = 0, seed: int = 0):
    sampler = RoundSampler(SIZE, batch_size, seed=seed, rank=rank, world_size=world_size)
    data = split()
    shown = PartlyLabelled(data, Labelled(2).places(data.labels, 6), sampler)
    found = []
    if offset:
        sampler.resume(0, offset)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        found += [shown[index] for index in sampler]
    return found


@pytest.mark.parametrize("per_class", [1, 3, 6])
def test_every_class_has_as_many_labelled_samples(per_class):
    labels = split().labels
    places = Labelled(per_class).places(labels, 6)
    assert torch.equal(labels[places].bincount(minlength=6), torch.full((6,), per_class))
    assert len(places.unique()) == 6 * per_class and bool((places.diff() > 0).all())


def test_the_choice_depends_on_its_own_key_alone_and_smaller_ones_are_part_of_larger_ones():
    labels = split().labels
    few, many = Labelled(2).places(labels, 6), Labelled(5).places(labels, 6)
    assert torch.equal(few, Labelled(2).places(labels, 6))
    assert set(few.tolist()) <= set(many.tolist())
    other = Labelled(2, seed=1).places(labels, 6)
    assert not torch.equal(few, other) and fingerprint_of(few) != fingerprint_of(other)


def test_choices_that_differ_in_one_sample_have_different_fingerprints():
    choices = [torch.tensor(places) for places in ([3, 5, 8], [2, 5, 8], [3, 6, 8], [3, 5, 9])]
    assert len({fingerprint_of(places) for places in choices}) == 4


def test_more_labels_than_a_class_has_samples_are_refused():
    with pytest.raises(InputError, match="class 0 has 7"):
        Labelled(10).places(split().labels, 6)
    with pytest.raises(InputError, match="1 or more"):
        Labelled(0)


def test_labels_of_unlabelled_images_are_not_shown_and_labelled_ones_have_their_own():
    data = split()
    places = Labelled(2).places(data.labels, 6)
    for batch in batches():
        assert batch.keys() == {"image", "labelled_image", "labelled_label"}
        shown = batch["labelled_image"][:, 0, 0, 0].long()
        assert set(shown.tolist()) <= set(places.tolist())
        assert torch.equal(data.labels[shown], batch["labelled_label"])


@pytest.mark.parametrize("seed", [0, 3])
def test_in_every_pass_each_labelled_sample_is_shown_once(seed):
    # twelve labelled samples, batches of twelve: every batch is a pass
    orders = [batch["labelled_image"][:, 0, 0, 0].tolist() for batch in batches(seed=seed)]
    assert all(sorted(order) == sorted(orders[0]) for order in orders)
    assert len({tuple(order) for order in orders}) == len(orders)


def test_what_is_shown_is_a_function_of_seed_and_epoch_and_a_resumed_run_sees_the_rest():
    whole, rest = batches(), batches(offset=3)
    for one, other in zip(whole[3:], rest, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(whole[0]["labelled_image"], batches(seed=1)[0]["labelled_image"])
    places = torch.arange(12)
    assert not torch.equal(companions_of(SIZE, places, 0, 0), companions_of(SIZE, places, 0, 1))


def test_two_ranks_see_together_what_one_would_see():
    one = batches()
    halves = [batches(world_size=2, rank=rank, batch_size=6) for rank in (0, 1)]
    for whole, first, second in zip(one, *halves, strict=True):
        for name in whole:
            assert torch.equal(torch.cat([first[name], second[name]]), whole[name])


def test_mnist_shows_labelled_images_in_training_alone():
    data = MNIST("no-data-here", download=False, fallback="digits", batch_size=50, labelled=Labelled(2))
    batch = next(iter(data.train_dataloader()))
    assert batch["labelled_image"].shape == batch["image"].shape == (50, 1, 28, 28)
    assert "label" not in batch
    # five shares of ten, twice each and half of a pass
    assert bool((batch["labelled_label"].bincount(minlength=10) >= 4).all())
    assert next(iter(data.val_dataloader())).keys() == {"image", "label"}
    places = data.labelled_places
    assert places is not None and len(places) == 20


def test_labelled_samples_and_sample_weights_exclude_each_other():
    with pytest.raises(InputError, match="cannot be combined"):
        MNIST(labelled=Labelled(2), sample_weights="weights.npy")


def test_a_checkpoint_that_has_learned_from_other_labels_is_refused():
    def data(**options: int) -> MNIST:
        return MNIST("no-data-here", download=False, fallback="digits", batch_size=50, labelled=Labelled(**options))

    state = data(per_class=2).state_dict()
    data(per_class=2).load_state_dict(state)
    for other in ({"per_class": 3}, {"per_class": 2, "seed": 1}):
        with pytest.raises(InputError, match=r"labels of other images than data.labelled chooses"):
            data(**other).load_state_dict(state)
