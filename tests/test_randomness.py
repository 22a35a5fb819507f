import itertools

import pytest
import torch

from lightning_gans.randomness import KeyedGenerators, derive_seed, keyed_generator


def draws(*key: int | str, n: int = 8) -> list[float]:
    return torch.rand(n, generator=keyed_generator("cpu", *key), dtype=torch.float64).tolist()


def test_nearby_keys_never_share_a_seed() -> None:
    keys = list(itertools.product(range(12), range(4), range(40), ("discriminator", "generator")))
    assert len({derive_seed(*key) for key in keys}) == len(keys)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, 1), (1, 0)),
        ((0, 12), (1, 2)),
        ((1, 23), (12, 3)),
        ((1,), ("1",)),
        ((0,), (0, 0)),
        (("ab", "c"), ("a", "bc")),
        (("a, b",), ("a", "b")),
        ((-1,), (1,)),
        ((), ("",)),
    ],
)
def test_keys_that_look_alike_give_different_numbers(one: tuple, other: tuple) -> None:
    assert derive_seed(*one) != derive_seed(*other)
    assert set(draws(*one)).isdisjoint(draws(*other))


def test_equal_keys_give_equal_numbers() -> None:
    assert draws(3, 0, 17, "generator") == draws(3, 0, 17, "generator")


def test_the_seed_of_a_key_is_the_same_in_every_process_and_version() -> None:
    """Resuming an old run relies on it; Python's own hash of strings would differ in each process."""
    assert derive_seed(0, 0, 0, "discriminator", 0, 0, "latent") == 6_747_091_597_708_335_674
    assert derive_seed() == 5_460_801_731_388_113_703


def test_seeds_fit_a_signed_64_bit_integer() -> None:
    seeds = [derive_seed(k) for k in range(2000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    # and all of it is used: the largest of 2,000 is above 2^62 but for a chance of 2^-2000
    assert max(seeds) > 2**62
    assert min(seeds) < 2**62


def test_numbers_of_different_keys_are_uncorrelated() -> None:
    streams = torch.tensor([draws(seed, 0, step, n=2000) for seed in range(5) for step in range(5)])
    correlation = torch.corrcoef(streams).fill_diagonal_(0)
    # 5 standard errors of 2,000 draws
    assert correlation.abs().max() < 5 / 2000**0.5


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    first = draws(1, 2)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(99)
    assert draws(1, 2) == first


def test_generators_that_are_kept_draw_what_fresh_ones_would() -> None:
    kept = KeyedGenerators("cpu", 3, 0)
    seen = set()
    for step in (5, 6, 5):
        kept.rekey(step)
        for key in (("generator", 0, "latent"), ("discriminator", 0, "latent")):
            drawn = torch.rand(4, generator=kept.get(*key))
            assert torch.equal(drawn, torch.rand(4, generator=keyed_generator("cpu", 3, 0, step, *key)))
            seen.add(tuple(drawn.tolist()))
    assert len(seen) == 4
    assert len(kept.all) == 2


def test_who_asks_again_in_a_round_begins_at_the_beginning() -> None:
    kept = KeyedGenerators("cpu", 3, 0)
    for step in (0, 1):
        kept.rekey(step)
        first, second = kept.get("noise"), kept.get("noise")
        assert first is not second
        assert torch.equal(torch.rand(4, generator=first), torch.rand(4, generator=second))
    assert len(kept.all) == 2
