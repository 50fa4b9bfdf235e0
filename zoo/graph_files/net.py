"""NET, the format of Hugin: nodes with their states, and a potential of nested brackets for each."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from zoo.graph_files.bif import one_name, scope_of
from zoo.graph_files.drafts import Directed, Table, shaped
from zoo.graph_files.text import Block, blocks, numbers, words

_COMMENTS = r"%[^\n]*|//[^\n]*|/\*.*?\*/"
_STATES = re.compile(r"\s*states\s*=\s*\((.*)\)\s*", re.DOTALL)
_DATA = re.compile(r"\s*data\s*=(.*)", re.DOTALL)
_NAME = re.compile(r'\s*name\s*=\s*"([^"]*)"\s*')
# any word may come before "node" in Hugin's own files; only chance nodes of tables are read
_OTHER = ("decision", "utility", "continuous", "class", "function")


def read(text: str) -> Directed:
    """The network that a text declares."""
    states: dict[str, list[str]] = {}
    name = "unknown"
    tabled = []
    for block in blocks(text, _COMMENTS):
        if block.word == "net":
            found = [match[1] for s in block.statements if (match := _NAME.fullmatch(s.text))]
            name = found[0] if found and found[0] else name
        elif block.word in ("node", "discrete"):
            variable = one_name(block).removeprefix("node ").strip().strip('"')
            if variable in states:
                raise block.head.fault(f"variable {variable!r} is declared twice")
            states[variable] = _states(block, variable)
        elif block.word == "potential":
            tabled.append(block)
        elif block.word in _OTHER:
            raise block.head.fault(f"a {block.word} node: only discrete chance nodes can be read")
        else:
            raise block.head.fault(f"{block.word!r} is none of net, node, potential")
    return Directed(states, [_table(block, states) for block in tabled], name)


def _states(block: Block, variable: str) -> list[str]:
    for statement in block.statements:
        if found := _STATES.fullmatch(statement.text):
            return words(found[1])
    raise block.head.fault(f"variable {variable!r} has no states")


def _table(block: Block, states: Mapping[str, list[str]]) -> Table:
    child, *parents = scope_of(block, states)
    for statement in block.statements:
        if found := _DATA.fullmatch(statement.text):
            flat = numbers(statement, found[1].replace("(", " ").replace(")", " "))
            draft = Table((*parents, child), np.empty(0), block.head.offset)
            return Table(draft.scope, shaped(states, draft.scope, flat, draft), draft.offset)
    raise block.head.fault(f"the potential of {child!r} has no data")


_PLAIN = re.compile(r"[A-Za-z0-9_.\-]+")


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else f'"{name}"'


def write(draft: Directed) -> str:
    """The text of a network, its numbers to the last digit."""
    lines = ["net", "{", f'  name = "{draft.name}";', "}"]
    for v, names in draft.states.items():
        listed = " ".join(f'"{name}"' for name in names)
        lines += [f"node {_name(v)}", "{", f"  states = ( {listed} );", "}"]
    for table in draft.tables:
        *parents, child = table.scope
        given = f" | {' '.join(map(_name, parents))}" if parents else ""
        lines += [f"potential ( {_name(child)}{given} )", "{", f"  data = {_nested(table.values.tolist())};", "}"]
    return "\n".join(lines) + "\n"


def _nested(values: list | float) -> str:
    return f"({' '.join(map(_nested, values))})" if isinstance(values, list) else repr(values)
