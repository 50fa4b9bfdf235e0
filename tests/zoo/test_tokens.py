"""Tokenizers: there and back, refusals that name the place, and texts of one's own as data."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import datasets
from zoo.datasets import Windows, from_text
from zoo.tokens import CharacterTokenizer, Tokenizer, TokenizerOf

LINE = "to be, or not to be\n"


@settings(max_examples=15, deadline=None)
@given(text=st.text(min_size=1, max_size=40))
def test_there_and_back_and_through_json(text: str) -> None:
    tokenizer = CharacterTokenizer.of(text)
    codes = tokenizer.encode(text)
    assert isinstance(tokenizer, Tokenizer)
    assert sorted(set(codes)) == list(range(tokenizer.size))
    again = CharacterTokenizer(json.loads(json.dumps(tokenizer.vocabulary)))
    assert again.vocabulary == tokenizer.vocabulary
    assert again.encode(text) == codes
    assert again.decode(codes) == text


def test_what_is_unknown_is_named_with_its_place() -> None:
    tokenizer = CharacterTokenizer.of(LINE)
    with pytest.raises(ValueError, match=r"'Q' at place 23 \(line 2\) is not among the 9 of the vocabulary"):
        tokenizer.encode(LINE + "to Q")
    with pytest.raises(ValueError, match="the code 9 at place 1 stands for no character: codes are 0 to 8"):
        tokenizer.decode([0, 9])
    with pytest.raises(ValueError, match="the code -1 at place 0"):
        tokenizer.decode([-1])
    assert tokenizer.encode("") == []
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "at least one character"),
        (["a", "b", "a"], "holds 'a' twice"),
        (["a", "bc"], "single characters, but one is 'bc'"),
        (["a", 3], "single characters, but one is 3"),
    ],
)
def test_wrong_vocabularies_are_refused(vocabulary: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CharacterTokenizer(vocabulary)
    with pytest.raises(ValueError, match="the text is empty"):
        CharacterTokenizer.of("")


def test_any_tokenizer_serves_a_text_of_ones_own() -> None:
    words = sorted({"to", "be,", "or", "not", "be"})
    tokenizer = TokenizerOf(
        encode=lambda text: [words.index(word) for word in text.split()],
        decode=lambda codes: " ".join(words[code] for code in codes),
        size=len(words),
    )
    data = from_text(LINE * 5, tokenizer, name="hamlet")
    assert isinstance(tokenizer, Tokenizer)
    assert (data.levels, data.space, data.measure, data.vocabulary) == (5, "codes", "mass", None)
    assert len(data.train) + len(data.test) == 30
    assert data.text(data.train.x[:6]) == LINE.strip()
    assert data.windows(3).event_shape == torch.Size([3])
    characters = from_text(LINE * 5)
    assert characters.text(characters.train.x) + characters.text(characters.test.x) == LINE * 5
    with pytest.raises(ValueError, match="gave codes from 0 to 4, but its size says 0 to 2"):
        from_text(LINE, TokenizerOf(tokenizer.encode, tokenizer.decode, 3))
    with pytest.raises(ValueError, match="has 1 tokens; at least two"):
        from_text("a")


def test_windows_are_every_stretch_of_a_sequence() -> None:
    codes = torch.arange(10)
    windows = Windows(codes, 4)
    assert len(windows) == 7
    assert torch.equal(torch.stack([windows[i] for i in range(7)]), codes.unfold(0, 4, 1))
    for wrong in ((codes, 11), (codes, 0), (codes[None], 1)):
        with pytest.raises(ValueError, match="windows are cut from a sequence"):
            Windows(*wrong)
    assert len(Windows(datasets.load("pydoc_topics").test.x, 65)) > 40_000
