"""Randomness as a pure function of integers, so that there is no generator state to save or restore."""

from __future__ import annotations

import hashlib

import torch


def mix(*integers: int) -> int:
    """63 bits that are a function of ``integers`` alone; neighbouring inputs give unrelated outputs."""
    digest = hashlib.blake2b(",".join(map(str, integers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, *stream: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on ``device`` for the stream of random numbers named by ``seed`` and ``stream``."""
    return torch.Generator(device=device).manual_seed(mix(seed, *stream))
