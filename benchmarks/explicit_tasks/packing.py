"""Bytes of packed data over the model's own bits: text by a chain, black and white digits by MADE.

Whole files are measured, header and all, of what is held out: 45 kB of `pydoc_topics`, and 450 digits. Bits a number
are printed beside lzma's of the same text, and of the pixels a byte each.

Reproducible: seed 0, CPython 3.11's topics: 1.7705 bits a character, 1.0012 of the chain's own (lzma 2.0056); digits
1,542 bytes, 1.0083 of MADE's own (lzma 2,592).
"""

from __future__ import annotations

import lzma
import math

import torch
from torch import Tensor

from benchmarks.common import Row
from benchmarks.foundation_tasks.data import binarised_digits
from inference.compression import compress, decompress
from inference.fit import fit
from zoo import datasets
from zoo.made import MADE
from zoo.markov_chain import MarkovChain

GOAL = 1.01
LENGTH = 1024


def overhead(name: str, model: MADE | MarkovChain, x: Tensor, plain: bytes) -> Row:
    """The file's bits over those of log p(x), after it was found to give x back to the bit."""
    packed = compress(model, x)
    if not torch.equal(decompress(model, packed), x):
        raise AssertionError(f"{name} did not come back as it was")
    with torch.no_grad():
        own = -float(model.log_prob(x).double().sum()) / math.log(2)
    other = len(lzma.compress(plain, preset=9 | lzma.PRESET_EXTREME))
    count = x.numel()
    print(
        f"{name}: {len(packed):,} bytes, {len(packed) * 8 / count:.4f} bits a number "
        f"(the model's own {own / count:.4f}); lzma {other:,} bytes, {other * 8 / count:.4f}"
    )
    return Row(f"packing_{name}_overhead", len(packed) * 8 / own, GOAL, "lower")


def text() -> Row:
    data = datasets.load("pydoc_topics").windows(LENGTH)
    model = MarkovChain(LENGTH, levels=data.levels or 0, order=4)
    model.count(data.train.x)
    return overhead("text", model, data.test.x, data.text(data.test.x).encode())


def digits() -> Row:
    train, held_out = binarised_digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MADE(64)
    fit(model, train, steps=600, progress=False)
    return overhead("digits", model, held_out, bytes(held_out.flatten().to(torch.uint8).tolist()))


def rows(rounds: int) -> list[Row]:
    """Nothing is timed, so that `rounds` does not matter."""
    return [text(), digits()]
