"""Reading declarations of the form `head { statement; statement; }`, as BIF and NET files are made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any


class Fault(Exception):
    """What is wrong with a file, and where: an offset of its text, or a line, or neither."""

    def __init__(self, message: str, offset: int | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.offset, self.line = offset, line


def near(given: Any, names: Any) -> str:
    """The known names that a wrong one is close to, as the end of a sentence."""
    known = [str(name) for name in names]
    close = get_close_matches(str(given), known, n=3, cutoff=0.5)
    return f"; near: {', '.join(close)}" if close else f"; known: {', '.join(known[:24])}"


@dataclass(frozen=True)
class Piece:
    """A part of a file's text, which knows where it stands."""

    text: str
    offset: int

    def fault(self, message: str) -> Fault:
        # what is meant begins after the blanks that come before it
        return Fault(message, self.offset + len(self.text) - len(self.text.lstrip()))


@dataclass(frozen=True)
class Block:
    """One declaration: its first word, the rest of its head, and its statements."""

    word: str
    head: Piece
    statements: list[Piece]


_QUOTED = re.compile(r'"[^"]*"')
_BODY = re.compile(r"(?:[^{}]++|\{[^{}]*+\})*+")
_BETWEEN = re.compile(r"[\s;]*+")
_WORDS = re.compile(r'"([^"]*)"|([^\s"(),]+)')


def blocks(text: str, comments: str) -> Iterator[Block]:
    """The declarations of a text; `comments` is a pattern of what to skip."""
    masked = _masked(text, comments)
    start = _after(masked, 0)
    while start < len(masked):
        opening = masked.find("{", start)
        if opening < 0:
            raise Fault(f"expected '{{' after {text[start : start + 30].split()[0]!r}", start)
        body = _BODY.match(masked, opening + 1)
        assert body is not None
        closing = body.end()
        if masked[closing : closing + 1] != "}":
            raise Fault(f"{text[start:opening].strip()!r} is not closed: a '}}' is missing", start)
        word = re.split(r"[\s({]", masked[start : opening + 1], maxsplit=1)[0]
        head = Piece(_clean(text, masked, start + len(word), opening), start + len(word))
        yield Block(word.lower(), head, _statements(text, masked, opening + 1, closing))
        start = _after(masked, closing + 1)


def _after(masked: str, at: int) -> int:
    """Where the next thing begins."""
    found = _BETWEEN.match(masked, at)
    return found.end() if found else at


def _masked(text: str, comments: str) -> str:
    """The text with what is quoted and what is comment replaced, a character each, so that offsets stay."""

    def hide(match: re.Match) -> str:
        found = match.group()
        blank = "\x00" if found.startswith('"') else " "
        inside = re.sub(r"[^\n]", blank, found)
        return f'"{inside[1:-1]}"' if blank == "\x00" else inside

    return re.compile(f"{_QUOTED.pattern}|{comments}", re.DOTALL).sub(hide, text)


def _clean(text: str, masked: str, start: int, end: int) -> str:
    """The text between two offsets, its comments blank."""
    part = masked[start:end]
    if "\x00" not in part:
        return part
    return "".join(own if hidden == "\x00" else hidden for own, hidden in zip(text[start:end], part, strict=True))


def _statements(text: str, masked: str, start: int, end: int) -> list[Piece]:
    found = []
    while start < end:
        stop = masked.find(";", start, end)
        # BIF has braces inside a statement, never a semicolon inside braces
        if stop < 0:
            if masked[start:end].strip():
                raise Fault(f"a ';' is missing after {masked[start:end].strip()[:40]!r}", _after(masked, start))
            break
        if masked[start:stop].strip():
            found.append(Piece(_clean(text, masked, start, stop), start))
        start = stop + 1
    return found


def words(text: str) -> list[str]:
    """Names parted by commas, which may hold blanks, or else by blanks; quoted where they hold either."""
    if '"' in text:
        return [quoted or plain for quoted, plain in _WORDS.findall(text)]
    return [name.strip() for name in text.split(",") if name.strip()] if "," in text else text.split()


def numbers(piece: Piece, text: str) -> list[float]:
    """The numbers of a part of a statement."""
    entries = text.replace(",", " ").split()
    try:
        return list(map(float, entries))
    except ValueError:
        wrong = next(entry for entry in entries if not _is_number(entry))
        found = re.search(rf"(?<![^\s,(=]){re.escape(wrong)}(?![^\s,);])", piece.text)
        raise Fault(f"expected a number, not {wrong!r}", piece.offset + (found.start() if found else 0)) from None


def _is_number(entry: str) -> bool:
    try:
        float(entry)
    except ValueError:
        return False
    return True
