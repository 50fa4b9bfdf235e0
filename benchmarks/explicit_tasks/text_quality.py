"""What a small Transformer learns of a text in minutes: the excerpt of Shakespeare, and a curve beside a chain.

`tinyshakespeare` (ZOO_DATA) has nanoGPT's settings for a CPU and its windows: 64 characters are read, those after
each of them scored. On `pydoc_topics` the same network goes on for four times as many steps and is scored on the whole
last tenth, each character given at least 32 before it, beside a chain of order 4 that counts the rest once.

Measured on tinyshakespeare, seeds 0, 1, 2: 1.759, 1.746, 1.766 nats (1.751, 1.736, 1.756 in random batches), 166 CPU
seconds each; nanoGPT names 1.88. On `pydoc_topics`, seed 0: 2.823 bits after 250 steps (22 CPU s), 1.868 after 2,000
(162), 1.758 after 3,000 (241), where the chain has 1.759, 1.695 after 6,000 (500), and then, overfitted, 1.780. That a
larger rate learns sooner was seen on the last tenth of what `pydoc_topics` gives to train on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

import zoo
from benchmarks.common import Row
from inference.em import em
from inference.fit import fit
from inference.schedules import cosine
from inference.settings import adamw
from zoo.datasets import Data, Windows
from zoo.datasets.files import find
from zoo.markov_chain import MarkovChain
from zoo.transformer import Transformer

BLOCK, BATCH = 64, 12
STEPS, CURVE_STEPS = 2000, 8000
THEIRS, SOONER = 1e-3, 2e-3
"""The learning rate of nanoGPT, and one that learns sooner."""
CURVE = (250, 500, 1000, 2000, 3000, 4000, 6000, CURVE_STEPS)


def fitted(data: Data, steps: int, rate: float, **told: Any) -> Transformer:
    """nanoGPT's settings for a CPU: four layers of width 128, AdamW down a cosine to a tenth of a rate."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(BLOCK + 1, levels=int(data.levels or 0), layers=4, heads=4, width=128)
    fit(
        model,
        Windows(data.train.x, BLOCK + 1),
        steps=steps,
        batch_size=BATCH,
        lr=rate,
        optimizer=partial(adamw, weight_decay=0.1, betas=(0.9, 0.99)),
        schedule=cosine(steps, 0.1, warmup=100),
        clip=float(BLOCK + 1),  # nanoGPT's 1 is of the mean over characters, and a row has so many
        progress=False,
        **told,
    )
    return model


@torch.no_grad()
def nats(model: Transformer, codes: Tensor, unscored: int) -> float:
    """Mean nats of each of a sequence's codes, the first `unscored` of each window only read.

    All are scored once but the first `unscored` of the sequence, and those at its end that fill no window.
    """
    rows = codes.unfold(0, model.features, model.features - unscored)
    found = [-model.step_log_prob(part)[:, unscored:] for part in rows.split(64)]
    return float(torch.cat(found).double().mean())


@torch.no_grad()
def nats_of_random_windows(model: Transformer, codes: Tensor) -> float:
    """As nanoGPT estimates it: 200 batches of 12 windows, the characters after the first of each."""
    begin = torch.randint(len(codes) - BLOCK, (200, 12), generator=torch.Generator().manual_seed(0))
    rows = codes.unfold(0, BLOCK + 1, 1)
    return float(torch.stack([-model.step_log_prob(rows[index])[:, 1:].mean() for index in begin]).mean())


def shakespeare() -> list[Row]:
    if find("tinyshakespeare", "input.txt") is None:
        print("tinyshakespeare/input.txt is not in the folder that ZOO_DATA names: left out", flush=True)
        return []
    data = zoo.datasets.load("tinyshakespeare")
    model, name = fitted(data, STEPS, THEIRS), "transformer_tinyshakespeare_nats"
    return [
        Row(name, nats(model, data.test.x, 1), 1.88, "lower", "nanoGPT"),
        Row(f"{name}_random", nats_of_random_windows(model, data.test.x), 1.88, "lower", "nanoGPT"),
    ]


def chain_bits(data: Data) -> float:
    """Bits a character of the whole last tenth by the 5-grams of the rest."""
    model = MarkovChain(len(data.train), levels=int(data.levels or 0), order=4)
    em(model, data.train.x[None], steps=1, progress=False)
    return -float(model.step_log_prob(data.test.x[None]).mean()) / math.log(2)


def curve(say: Callable[[str], None] = print) -> list[Row]:
    """Bits a character after so many steps, with the CPU seconds that they took."""
    data = zoo.datasets.load("pydoc_topics")
    chain, spent = chain_bits(data), [time.process_time(), 0.0]
    found = [Row("chain_pydoc_bits", chain, 2.24, "lower")]

    def look(progress: Any) -> None:
        if progress.step not in CURVE:
            return
        spent[1] += time.process_time() - spent[0]
        bits = nats(progress.model.eval(), data.test.x, BLOCK // 2 + 1) / math.log(2)
        progress.model.train()
        say(f"{progress.step} steps, {spent[1]:.0f} CPU s: {bits:.3f} bits a character (chain: {chain:.3f})")
        goal = 2.24 if progress.step == CURVE_STEPS else math.log2(int(data.levels or 0))
        words = f"{chain:.3f} by the chain; {spent[1]:.0f} CPU s"
        found.append(Row(f"transformer_pydoc_bits_{progress.step}_steps", bits, goal, "lower", words))
        spent[0] = time.process_time()

    fitted(data, CURVE_STEPS, SOONER, callbacks=[look])
    return found


def rows(rounds: int) -> list[Row]:
    return [*shakespeare(), *curve()]
