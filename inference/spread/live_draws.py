"""Random numbers that are functions of what they are for, so that two runs share them where they are for the same.

References:
    Fast Splittable Pseudorandom Number Generators (Steele, Lea and Flood, 2014), https://doi.org/10.1145/2660193.2660195
"""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


GOLDEN, FIRST, SECOND = (_signed(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _mixed(z: Tensor) -> Tensor:
    """SplitMix64's bits of int64 counters."""
    for shift, factor in ((30, FIRST), (27, SECOND)):
        z = (z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))) * factor
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def uniform(seed: int, stream: int, run: Tensor, key: Tensor) -> Tensor:
    """Numbers between 0 and 1, float64, each a function of a seed, a stream, a run and a key (int64)."""
    begin = _mixed(torch.tensor([_signed(seed), stream], device=run.device) + GOLDEN)
    begin = _mixed(_mixed(begin[0] + begin[1] * GOLDEN) + run * GOLDEN)
    bits = _mixed(begin + key * GOLDEN)
    return (((bits >> 11) & ((1 << 53) - 1)).double() + 0.5) * 2.0**-53


def exponential(seed: int, stream: int, run: Tensor, key: Tensor) -> Tensor:
    return -uniform(seed, stream, run, key).log()
