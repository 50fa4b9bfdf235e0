"""Real data by name: `load("digits")`, `names()`, and the networks that pgmpy ships, `networks()`.

    data = load("digits").dequantised().logit()
    data.train.x                      # [1347, 1, 8, 8]
    data.bits_per_dim(log_prob, x)    # bits a dimension of the raw levels
    data.restore(x)                   # the levels again

    from_text(open("book.txt").read())          # a text of one's own, by the character or by any tokenizer

Nothing is downloaded but `mnist`, `fashion_mnist`, `binarized_mnist` and `tinyshakespeare`, and these only
where the folder that the environment variable ZOO_DATA names does not hold them; `spoken_digits`, `sp500` and the
sets of ADBench (`cardio`, `thyroid`, ...) are read from that folder alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from zoo.datasets import images, measured, shapes, sounds, tables, text
from zoo.datasets.data import Data, Split
from zoo.datasets.files import Missing
from zoo.datasets.text import Windows, from_text
from zoo.graph_files import shipped_networks

__all__ = ["Data", "Missing", "Split", "Windows", "from_text", "load", "names", "networks"]

Loader = Callable[[int], Data]


def _fixed(build: Callable[[], Data]) -> Loader:
    """A loader of data that comes with its own split and has no use for a seed."""
    return lambda _seed: build()


def _registry() -> dict[str, tuple[str, Loader]]:
    lines = images.DESCRIPTIONS | text.DESCRIPTIONS | sounds.DESCRIPTIONS | measured.DESCRIPTIONS
    entries: dict[str, tuple[str, Loader]] = {"digits": (lines["digits"], images.digits)}
    for name, (line, draw) in shapes.SHAPES.items():
        entries[name] = (line, partial(shapes.shape, name, line, draw))
    for name, (line, _, _) in tables.TABLES.items():
        entries[name] = (line, partial(tables.table, name))
    for name in measured.ANOMALIES:
        entries[name] = (lines[name], partial(measured.anomalies, name))
    entries["synthetic_voice"] = (lines["synthetic_voice"], sounds.synthetic_voice)
    fixed: dict[str, Callable[[], Data]] = {
        **{name: partial(images.idx_set, name) for name in images.IDX},
        "binarized_mnist": images.binarized_mnist,
        "pydoc_topics": text.pydoc_topics,
        "tinyshakespeare": text.tinyshakespeare,
        "spoken_digits": sounds.spoken_digits,
        "sp500": measured.sp500,
    }
    return entries | {name: (lines[name], _fixed(build)) for name, build in fixed.items()}


_DATA = _registry()


def load(name: str, *, seed: int = 0) -> Data:
    """The data of that name.

    The seed draws the 2-d shapes and the synthetic voice, and permutes the rows of digits and the tables before
    they are split; 0 gives the splits that published figures refer to. Data with its own split ignores it.
    """
    if name not in _DATA:
        near = difflib.get_close_matches(str(name), _DATA, n=3, cutoff=0.5)
        advice = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(_DATA)}"
        if name in networks():
            advice = "it is a Bayesian network that pgmpy ships, a model and not data"
        raise ValueError(f"there is no data named {name!r}: {advice}")
    return _DATA[name][1](seed)


def names() -> dict[str, str]:
    """What there is: each name with a line on it."""
    return {name: line for name, (line, _) in _DATA.items()}


def networks() -> tuple[str, ...]:
    """The names of the Bayesian networks with probability tables that pgmpy ships."""
    return shipped_networks()
