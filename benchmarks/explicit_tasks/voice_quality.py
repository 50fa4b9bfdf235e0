"""Held-out bits a sample of spoken digits: WaveNet, told who says which digit, beside a Markov chain; minutes."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import Row
from inference.fit import fit
from inference.schedules import cosine
from zoo.datasets import Data, Missing, load
from zoo.markov_chain import MarkovChain
from zoo.wavenet import WaveNet

STEPS = 1000


def bits(log_prob: Tensor, x: Tensor) -> float:
    return -log_prob.sum().item() / (x.numel() * math.log(2))


def chain_bits(data: Data, order: int = 2) -> float:
    chain = MarkovChain(data.event_shape, levels=256, order=order)
    chain.count(data.train.x.long())
    return bits(chain.log_prob(data.test.x.long()), data.test.x)


def wavenet_bits(data: Data, steps: int = STEPS) -> float:
    """The settings that WaveNet's docstring states."""
    labels = len(data.class_names or ())
    train, test = (F.one_hot(split.y, labels).float() for split in (data.train, data.test))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveNet(data.event_shape, context_shape=labels)
    settings = {"steps": steps, "batch_size": 2, "lr": 3e-3, "schedule": cosine(steps), "clip": 1.0}
    fit(model, {"x": data.train.x, "context": train}, progress=False, **settings)
    with torch.no_grad():
        pairs = zip(data.test.x.split(4), test.split(4), strict=True)
        return bits(torch.cat([model.log_prob(x, context=c) for x, c in pairs]), data.test.x)


def rows(rounds: int) -> list[Row]:
    try:
        data = load("spoken_digits")
    except Missing as missing:
        print(f"voice_quality is left out: {missing}")
        return []
    return [Row("wavenet_spoken_digits_bits", wavenet_bits(data), chain_bits(data), "lower", "Markov chain, order 2")]
