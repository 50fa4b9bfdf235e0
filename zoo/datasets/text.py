"""Texts: one long sequence of characters as codes, the last tenth held out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.datasets.data import Data, Split
from zoo.datasets.files import fetch
from zoo.tokens import CharacterTokenizer, Tokenizer

DESCRIPTIONS = {
    "pydoc_topics": "Python's own help on its language, by the character (comes with CPython)",
    "tinyshakespeare": "1,115,394 characters of Shakespeare (ZOO_DATA or download)",
}
SHAKESPEARE = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
CHECKSUM = "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def from_text(
    content: str, tokenizer: Tokenizer | None = None, *, name: str = "text", description: str = "a text of one's own"
) -> Data:
    """A text as codes, [N], the last tenth held out: each row is one token (`windows` cuts longer ones).

    The tokens are the sorted characters of the whole text, unless another tokenizer is given. A likelihood is per
    token: where a token is more than a character, figures per character divide the same nats by the characters.
    """
    tokenizer = CharacterTokenizer.of(content) if tokenizer is None else tokenizer
    codes = torch.tensor(tokenizer.encode(content), dtype=torch.long)
    if len(codes) < 2:
        raise ValueError(f"{name} has {len(codes)} tokens; at least two are needed, one of them to hold out")
    if codes.min() < 0 or codes.max() >= tokenizer.size:
        raise ValueError(
            f"the tokenizer gave codes from {codes.min()} to {codes.max()}, but its size says 0 to {tokenizer.size - 1}"
        )
    kept = len(codes) * 9 // 10
    return Data(
        name=name,
        description=description,
        train=Split(codes[:kept]),
        test=Split(codes[kept:]),
        levels=tokenizer.size,
        value_range=(0, tokenizer.size - 1),
        tokenizer=tokenizer,
    )


class Windows(Dataset[Tensor]):
    """Every stretch of `length` codes of a long sequence, wherever it begins: rows for `fit`, [length] each.

    `Data.windows` cuts the same sequence at every `length`-th code only, which shows a model the same cuts again.
    """

    def __init__(self, codes: Tensor, length: int) -> None:
        if codes.dim() != 1 or not 0 < length <= len(codes):
            raise ValueError(
                f"windows are cut from a sequence, [N], at a length of 1 to N, not {list(codes.shape)} and {length}"
            )
        self.codes, self.length = codes, length

    def __len__(self) -> int:
        return len(self.codes) - self.length + 1

    def __getitem__(self, index: int) -> Tensor:
        return self.codes[index : index + self.length]


def _named(name: str, content: str) -> Data:
    return from_text(content, name=name, description=DESCRIPTIONS[name])


def pydoc_topics() -> Data:
    """The topics of `pydoc_data`, joined by newlines; its length depends on the version of Python."""
    from pydoc_data.topics import topics

    return _named("pydoc_topics", "\n".join(topics.values()))


def tinyshakespeare() -> Data:
    """The excerpt of Shakespeare's plays that char-rnn made known."""
    path = fetch("tinyshakespeare", "input.txt", [SHAKESPEARE], CHECKSUM)
    return _named("tinyshakespeare", path.read_bytes().decode("utf-8"))
