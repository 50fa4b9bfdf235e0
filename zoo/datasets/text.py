"""Texts: one long sequence of characters as codes, the last tenth held out."""

from __future__ import annotations

import torch

from zoo.datasets.data import Data, Split
from zoo.datasets.files import fetch

DESCRIPTIONS = {
    "pydoc_topics": "Python's own help on its language, by the character (comes with CPython)",
    "tinyshakespeare": "1,115,394 characters of Shakespeare (ZOO_DATA or download)",
}
SHAKESPEARE = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
CHECKSUM = "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def text(name: str, content: str) -> Data:
    """The characters of a text as codes, [N]: each row is one character (`windows` cuts longer ones).

    The vocabulary is the sorted characters of the whole text.
    """
    vocabulary = tuple(sorted(set(content)))
    code = {character: index for index, character in enumerate(vocabulary)}
    codes = torch.tensor([code[character] for character in content])
    kept = len(codes) * 9 // 10
    return Data(
        name=name,
        description=DESCRIPTIONS[name],
        train=Split(codes[:kept]),
        test=Split(codes[kept:]),
        levels=len(vocabulary),
        value_range=(0, len(vocabulary) - 1),
        vocabulary=vocabulary,
    )


def pydoc_topics() -> Data:
    """The topics of `pydoc_data`, joined by newlines; its length depends on the version of Python."""
    from pydoc_data.topics import topics

    return text("pydoc_topics", "\n".join(topics.values()))


def tinyshakespeare() -> Data:
    """The excerpt of Shakespeare's plays that char-rnn made known."""
    path = fetch("tinyshakespeare", "input.txt", [SHAKESPEARE], CHECKSUM)
    return text("tinyshakespeare", path.read_bytes().decode("utf-8"))
