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
