"""Text as tokens, codes 0..size-1, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable


@runtime_checkable
class Tokenizer(Protocol):
    """What turns a text into codes 0..size-1 and codes into a text. Any object with these three will do."""

    @property
    def size(self) -> int: ...
    def encode(self, text: str, /) -> Sequence[int]: ...
    def decode(self, codes: Sequence[int], /) -> str: ...


@dataclass(frozen=True)
class TokenizerOf:
    """A tokenizer of functions, for those of other libraries, which say how large they are in words of their own.

    TokenizerOf(encode=lambda text: theirs.encode(text).ids, decode=theirs.decode, size=theirs.get_vocab_size())
    """

    encode: Callable[[str], Sequence[int]]
    decode: Callable[[Sequence[int]], str]
    size: int


class CharacterTokenizer:
    """Each character a token.

    Parameters:
        vocabulary: the character of each code; `list(tokenizer.vocabulary)` is all there is to save, as JSON or else.
    """

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        odd = [each for each in self.vocabulary if not isinstance(each, str) or len(each) != 1]
        if odd:
            raise ValueError(f"a vocabulary of characters holds single characters, but one is {odd[0]!r}")
        if not self.vocabulary:
            raise ValueError("a vocabulary needs at least one character, but is empty")
        self._code = {character: code for code, character in enumerate(self.vocabulary)}
        if len(self._code) < len(self.vocabulary):
            twice = next(c for code, c in enumerate(self.vocabulary) if self._code[c] != code)
            raise ValueError(f"the vocabulary holds {twice!r} twice")

    @classmethod
    def of(cls, text: str) -> Self:
        """The characters that a text is made of, sorted."""
        if not text:
            raise ValueError("the text is empty: there is no character to learn a vocabulary from")
        return cls(sorted(set(text)))

    @property
    def size(self) -> int:
        return len(self.vocabulary)

    def encode(self, text: str, /) -> list[int]:
        """The code of each character; one that is not in the vocabulary is refused, with its place."""
        try:
            return [self._code[character] for character in text]
        except KeyError as error:
            place = text.index(error.args[0])
            line = text.count("\n", 0, place) + 1
            raise ValueError(
                f"the character {error.args[0]!r} at place {place} (line {line}) is not among the {self.size} "
                "of the vocabulary"
            ) from None

    def decode(self, codes: Sequence[int], /) -> str:
        """The characters of codes; one that stands for none is refused, with its place."""
        for place, code in enumerate(codes):
            if not 0 <= code < self.size:
                top = self.size - 1
                raise ValueError(f"the code {code} at place {place} stands for no character: codes are 0 to {top}")
        return "".join(self.vocabulary[code] for code in codes)

    def __repr__(self) -> str:
        return f"CharacterTokenizer({self.size} characters)"
