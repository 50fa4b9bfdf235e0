"""Markov chains: 5-grams of a million characters counted beside a dictionary of dictionaries, and a text's bits.

The text to count is the source of Python's own library as installed (some 126,000 different 5-grams).
"""

from __future__ import annotations

import math
import sysconfig
from pathlib import Path

import torch

import zoo
from benchmarks.common import Row, alternate, ratio
from inference.em import em
from zoo.markov_chain import MarkovChain

ORDER, CHARACTERS = 4, 1_000_000


def source() -> str:
    """A million characters of ASCII."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = "".join(file.read_text(encoding="utf8", errors="ignore") for file in files[: len(files) // 2])
    return "".join(letter for letter in text[: 2 * CHARACTERS] if letter.isascii())[:CHARACTERS]


def by_dictionary(text: str) -> dict[str, dict[str, int]]:
    """The counts of what follows each four characters."""
    counts: dict[str, dict[str, int]] = {}
    for place in range(ORDER, len(text)):
        history = text[place - ORDER : place]
        after = counts.get(history)
        if after is None:
            after = counts[history] = {}
        letter = text[place]
        after[letter] = after.get(letter, 0) + 1
    return counts


def counting(rounds: int) -> Row:
    text = source()
    letters = {letter: code for code, letter in enumerate(sorted(set(text)))}
    x = torch.tensor([[letters[letter] for letter in text]])

    def ours() -> None:
        MarkovChain(len(text), levels=len(letters), order=ORDER).count(x)

    times = alternate({"ours": ours, "dictionary": lambda: by_dictionary(text)}, rounds)
    return Row("five_grams_count", ratio(times, "ours", "dictionary"), 0.03, "lower", "a dictionary of dictionaries")


def bits(smoothing: str) -> float:
    """Bits a character of the last tenth of Python's help; the settings are the family's defaults."""
    data = zoo.datasets.load("pydoc_topics")
    train, test = data.train.x[None], data.test.x[None]
    model = MarkovChain(train.shape[1], levels=data.levels, order=ORDER, smoothing=smoothing)
    em(model, train, steps=1, progress=False)
    return -model.step_log_prob(test).mean().item() / math.log(2)


def quality() -> list[Row]:
    kinds = ("kneser-ney", "absolute")
    return [Row(f"five_grams_bits_{kind}", bits(kind), 2.24, "lower") for kind in kinds]


def rows(rounds: int) -> list[Row]:
    return [counting(rounds), *quality()]
