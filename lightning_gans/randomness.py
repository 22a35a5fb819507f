"""Random numbers that are a pure function of their key.

Every latent draw comes from a generator keyed by (seed, rank, step, purpose): ranks differ, reruns agree,
and resuming needs no saved state, because nothing depends on how many numbers were drawn before.
"""

import hashlib

import torch


def derive_seed(*key: int | str) -> int:
    """Hash a key to a 63-bit seed; different keys give independent streams.

    A hash and not ``seed + step``: with sums, seed 0 at step 1 would equal seed 1 at step 0.
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def keyed_generator(device: torch.device | str, *key: int | str) -> torch.Generator:
    """A generator on ``device`` that depends on ``key`` and nothing else.

    Args:
        device: Where the numbers shall be drawn. CPU and CUDA give different numbers for one key.
        key: Any integers and strings, e.g. (seed, rank, step, "generator").

    Returns:
        A fresh generator.
    """
    return torch.Generator(device).manual_seed(derive_seed(*key))


def seed_default_generators(device: torch.device | str, *key: int | str) -> None:
    """Let what draws from torch's own generators (dropout) draw numbers that depend on ``key`` and nothing else.

    Args:
        device: Where, besides the CPU.
        key: Any integers and strings.
    """
    seed = derive_seed(*key)
    torch.default_generator.manual_seed(seed)
    if torch.device(device).type == "cuda":
        torch.cuda.manual_seed(seed)
    elif torch.device(device).type == "mps":
        torch.mps.manual_seed(seed)


class KeyedGenerators:
    """The same numbers as `keyed_generator`'s, from generators that stay the same objects from round to round.

    A recorded round draws from the generators that it was recorded with; `rekey` gives them, before each replay, the
    keys of the step.

    Args:
        device: Where the numbers shall be drawn.
        base: What every key begins with, before the step: (seed, rank).
    """

    def __init__(self, device: torch.device | str, *base: int | str):
        self._device = device
        self._base = base
        self._generators: dict[tuple[int | str, ...], torch.Generator] = {}
        self._asked: dict[tuple[int | str, ...], int] = {}
        self._step = 0

    @property
    def all(self) -> list[torch.Generator]:
        """Every generator that was ever asked for."""
        return list(self._generators.values())

    def rekey(self, step: int) -> None:
        """Begin a round: each generator starts anew with the key (*base, step, *its own)."""
        self._step = step
        self._asked = {}
        for key, generator in self._generators.items():
            self._seed(generator, key[:-1])

    def get(self, *key: int | str) -> torch.Generator:
        """The generator that stands for `keyed_generator(device, *base, step, *key)`.

        Whoever asks for the same key again in a round gets a generator of its own, at the beginning of the same
        numbers.
        """
        asked = self._asked.get(key, 0)
        self._asked[key] = asked + 1
        own = (*key, asked)
        if own not in self._generators:
            self._generators[own] = torch.Generator(self._device)
            self._seed(self._generators[own], key)
        return self._generators[own]

    def _seed(self, generator: torch.Generator, key: tuple[int | str, ...]) -> None:
        generator.manual_seed(derive_seed(*self._base, self._step, *key))
