"""UAI, the format of the UAI inference competitions: numbers alone, no names.

A variable is called var_0, var_1, ... and its states "0", "1", ... In a BAYES file the last variable of a scope is
the child. The last variable of a scope is always the fastest of its table:
https://uaicompetition.github.io/uci-2022/file-formats/model-format/
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import accumulate
from typing import Any

import numpy as np

from zoo.graph_files.drafts import Directed, Table, Undirected
from zoo.graph_files.text import Fault

_KINDS: dict[str, type[Directed] | type[Undirected]] = {"BAYES": Directed, "MARKOV": Undirected}


class _Words:
    """The words of a text, one after another."""

    def __init__(self, text: str) -> None:
        self._words, self.at = text.split(), 0
        self._ends = list(accumulate(len(line.split()) for line in text.splitlines()))

    def line(self, at: int) -> int:
        """The line of a word by its number."""
        return min(bisect_right(self._ends, at) + 1, len(self._ends))

    def fault(self, message: str) -> Fault:
        """What is wrong with the word that was taken last."""
        return Fault(message, line=self.line(max(self.at - 1, 0)))

    def take(self, count: int, what: str) -> list[str]:
        taken = self._words[self.at : self.at + count]
        if len(taken) < count:
            raise Fault(f"it ends where {what} was expected", line=self.line(len(self._words) - 1))
        self.at += count
        return taken

    def whole(self, what: str, least: int, most: float = math.inf) -> int:
        word = self.take(1, what)[0]
        if not word.isdecimal() or not least <= int(word) <= most:
            limit = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise self.fault(f"{what} is {word!r}, but a whole number of {limit} was expected")
        return int(word)

    def end(self) -> None:
        if self.at < len(self._words):
            self.at += 1
            raise self.fault(f"{self._words[self.at - 1]!r} comes after the last table")


def read(text: str) -> Directed | Undirected:
    """The network that a text declares."""
    words = _Words(text)
    kind = words.take(1, "BAYES or MARKOV")[0]
    if kind not in _KINDS:
        raise words.fault(f"expected BAYES or MARKOV, not {kind!r}")
    count = words.whole("the number of variables", 1)
    cards = [words.whole(f"the number of states of var_{i}", 1) for i in range(count)]
    scopes = [_scope(words, i, count) for i in range(words.whole("the number of tables", 0))]
    tables = [_table(words, i, scope, cards) for i, scope in enumerate(scopes)]
    words.end()
    return _KINDS[kind]({f"var_{i}": [str(s) for s in range(card)] for i, card in enumerate(cards)}, tables)


def _scope(words: _Words, number: int, count: int) -> list[int]:
    size = words.whole(f"the size of table {number}", 0)
    return [words.whole(f"a variable of table {number}", 0, count - 1) for _ in range(size)]


def _table(words: _Words, number: int, scope: list[int], cards: list[int]) -> Table:
    shape = [cards[i] for i in scope]
    count = words.whole(f"the number of values of table {number}", 0)
    if count != math.prod(shape):
        raise words.fault(f"table {number} has {count} values, but {math.prod(shape)} were expected")
    start = words.at
    entries = words.take(count, f"a value of table {number}")
    try:
        values = np.array(list(map(float, entries))).reshape(shape)
    except ValueError:
        words.at = start
        raise _wrong(words, entries, number) from None
    return Table(tuple(f"var_{i}" for i in scope), values, line=words.line(start))


def _wrong(words: _Words, entries: list[str], number: int) -> Fault:
    for entry in entries:
        words.at += 1
        try:
            float(entry)
        except ValueError:
            return words.fault(f"table {number}: expected a number, not {entry!r}")
    raise AssertionError("every entry is a number")


def write(draft: Directed | Undirected) -> str:
    """The text of a network: its names are lost, variables and states are numbered in their order."""
    place = {v: str(i) for i, v in enumerate(draft.states)}
    lines = [draft.kind, str(len(place)), " ".join(str(len(names)) for names in draft.states.values())]
    lines += [str(len(draft.tables))]
    lines += [" ".join([str(len(table.scope)), *(place[v] for v in table.scope)]) for table in draft.tables]
    for table in draft.tables:
        lines += ["", str(table.values.size), " ".join(map(repr, table.values.ravel().tolist()))]
    return "\n".join(lines) + "\n"


def evidence(text: str, states: dict[Any, list]) -> dict[Any, Any]:
    """What an evidence file states: the states observed, by variable, both in the order of a network's variables."""
    words = _Words(text)
    numbers = text.split()
    if not numbers:
        return {}
    if numbers[0] == "1" and len(numbers) % 2 == 0:
        words.take(1, "the number of samples")  # the older form, which may hold several
    variables = list(states)
    found = {}
    for _ in range(words.whole("the number of observed variables", 0)):
        v = variables[words.whole("an observed variable", 0, len(variables) - 1)]
        found[v] = states[v][words.whole(f"the state of {v}", 0, len(states[v]) - 1)]
    words.end()
    return found
