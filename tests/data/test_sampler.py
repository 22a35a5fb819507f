import pytest
import torch
from torch.utils.data import DataLoader

from lightning_gans.data import EvaluationSampler, ImageSplit, RoundSampler
from lightning_gans.data.sampler import epoch_order
from lightning_gans.errors import InputError


def rounds(sampler: RoundSampler, epoch: int = 0) -> torch.Tensor:
    sampler.set_epoch(epoch)
    return torch.stack(list(sampler))


@pytest.mark.parametrize(("size", "batch_size", "batches"), [(23, 4, 1), (100, 3, 5), (64, 64, 1)])
def test_an_epoch_shows_each_image_at_most_once_and_drops_less_than_a_block(size, batch_size, batches):
    sampler = RoundSampler(size, batch_size, batches)
    seen = rounds(sampler)
    assert seen.shape == (len(sampler), batch_size * batches)
    assert len(seen.unique()) == seen.numel() > size - batch_size * batches


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("batches", [1, 5])
def test_ranks_together_see_in_every_update_what_one_process_would(world_size, batches):
    one = rounds(RoundSampler(500, 6 * world_size, batches, seed=3), epoch=2)
    ranks = [
        rounds(RoundSampler(500, 6, batches, seed=3, rank=rank, world_size=world_size), epoch=2)
        for rank in range(world_size)
    ]
    # the round of each rank is `batches` batches of 6; update by update the ranks complete one another
    updates = torch.stack([rank.view(len(one), batches, 6) for rank in ranks], dim=2)
    assert torch.equal(updates.flatten(1), one)


def test_order_is_a_function_of_seed_and_epoch():
    orders = {(seed, epoch): tuple(epoch_order(50, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(set(orders.values())) == len(orders)  # in particular (0, 1) is not (1, 0)
    assert all(tuple(epoch_order(50, *key).tolist()) == order for key, order in orders.items())


def test_resumed_epoch_continues_at_the_offset_and_the_next_one_is_whole():
    whole = RoundSampler(23, 4, seed=1)
    resumed = RoundSampler(23, 4, seed=1)
    resumed.resume(epoch=2, offset=3)
    assert len(resumed) == 5
    assert torch.equal(rounds(resumed, 2), rounds(whole, 2)[3:])
    assert torch.equal(rounds(resumed, 3), rounds(whole, 3))


def test_epoch_is_read_when_the_first_round_is_asked_for():
    sampler = RoundSampler(23, 4)
    iter(sampler)  # made and never used
    iterator = iter(sampler)
    sampler.set_epoch(7)
    assert torch.equal(next(iterator), rounds(RoundSampler(23, 4), 7)[0])


def test_block_larger_than_the_split_is_refused():
    with pytest.raises(InputError, match=r"batch size 8 x 5 batches per step x 2 ranks.* only 79"):
        RoundSampler(79, 8, 5, world_size=2)
    assert len(RoundSampler(80, 8, 5, world_size=2)) == 1


@pytest.mark.parametrize("size", [0, 1, 2, 10, 11])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_shows_each_image_exactly_once(size, world_size):
    samplers = [EvaluationSampler(size, 4, rank, world_size) for rank in range(world_size)]
    for sampler in samplers:
        assert len(list(sampler)) == len(sampler)
    seen = [index for sampler in samplers for batch in sampler for index in batch.tolist()]
    assert sorted(seen) == list(range(size))


def test_a_batch_is_one_indexing_operation_on_uint8():
    images = torch.randint(0, 256, (23, 1, 2, 2), dtype=torch.uint8)
    split = ImageSplit(images, torch.arange(23))
    loader = DataLoader(split, sampler=RoundSampler(23, 4, 2), batch_size=None)
    for batch in loader:
        assert batch["image"].dtype == torch.uint8
        assert batch["image"].shape == (8, 1, 2, 2)
        assert batch["label"].dtype == torch.int64
        assert torch.equal(batch["image"], images[batch["label"]])
