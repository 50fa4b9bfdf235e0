"""Runs whose data is text: rows cut from one sequence, the vocabulary kept beside the weights, draws that are read."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.datasets import Data
from zoo.registry import family
from zoo.spec import SpecError
from zoo.tokens import CharacterTokenizer, Tokenizer

TOKENS = "tokens.json"


def cut(data: Data, model: Mapping[str, Any]) -> tuple[Data, dict[str, Any]]:
    """A text in rows as long as the model's event_shape says, and the model's table with the text's levels."""
    written = model.get("event_shape")
    size = written[0] if isinstance(written, list) and len(written) == 1 else written
    if type(size) is not int:
        raise SpecError(
            f"model.event_shape is {'missing' if written is None else repr(written)}: {data.name} is one sequence of "
            f"{len(data.train):,} tokens, to be cut into rows; say how long they are, such as event_shape = [64]"
        )
    try:
        data = data.windows(size)
    except ValueError as error:
        raise SpecError(f"model.event_shape: {error}") from None
    return data, {**model, **_levels(data, model)}


def _levels(data: Data, model: Mapping[str, Any]) -> dict[str, Any]:
    """The size of the vocabulary, for a model that takes one and was not told; what else is wrong `build` says."""
    try:
        takes = inspect.signature(family(str(model.get("family"))).load().__init__).parameters
    except ValueError:
        return {}
    return {"levels": data.levels} if "levels" in takes and "levels" not in model else {}


def write_tokens(data: Data, folder: Path) -> None:
    """The vocabulary, a list of characters as JSON; nothing where the data has none."""
    if data.vocabulary is not None:
        (folder / TOKENS).write_text(json.dumps(data.vocabulary) + "\n", encoding="utf-8")


def read_tokens(folder: Path) -> Tokenizer | None:
    """The tokenizer of a run's folder, or None."""
    path = folder / TOKENS
    if not path.exists():
        return None
    try:
        return CharacterTokenizer(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a list of characters as JSON: {error}") from None


def as_text(tokenizer: Tokenizer, x: Tensor) -> str:
    """Rows of codes as text; where there are several, each under its number."""
    texts = [tokenizer.decode(row.long().tolist()) for row in x.cpu()]
    return texts[0] if len(texts) == 1 else "\n".join(f"--- {i}\n{text}" for i, text in enumerate(texts, 1))


def beside(data: Data, draws: Mapping[str, Tensor | None], most: int = 4) -> str:
    """Held-out text and what models drew, the first rows of each, for a report."""
    assert data.tokenizer is not None
    rows = {"held-out data": data.test.x, **draws}
    parts = [f"=== {name}\n{as_text(data.tokenizer, x[:most])}" for name, x in rows.items() if x is not None]
    return "\n\n".join(parts)
