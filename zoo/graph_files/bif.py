"""BIF, the interchange format of Bayesian networks: http://www.cs.washington.edu/dm/vfml/appendixes/bif.htm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product

import numpy as np

from zoo.graph_files.drafts import Directed, Table, shaped
from zoo.graph_files.text import Block, Piece, blocks, near, numbers, words

_COMMENTS = r"//[^\n]*|/\*.*?\*/"
_TYPE = re.compile(r"\s*type\s+(\w+)\s*\[\s*(\d+)\s*\]\s*\{(.*)\}\s*", re.DOTALL)


def read(text: str) -> Directed:
    """The network that a text declares."""
    states: dict[str, list[str]] = {}
    tables: list[Table] = []
    name = "unknown"
    tabled = []
    for block in blocks(text, _COMMENTS):
        if block.word == "network":
            name = " ".join(words(block.head.text)) or name
        elif block.word == "variable":
            variable = one_name(block)
            if variable in states:
                raise block.head.fault(f"variable {variable!r} is declared twice")
            states[variable] = _states(block, variable)
        elif block.word == "probability":
            tabled.append(block)
        else:
            raise block.head.fault(f"{block.word!r} is none of network, variable, probability")
    for block in tabled:
        tables.append(_table(block, states))
    return Directed(states, tables, name)


def one_name(block: Block) -> str:
    """The name that a declaration's head is."""
    text = block.head.text.strip()
    if not text:
        raise block.head.fault(f"a {block.word} without a name")
    return text.strip('"')


def _states(block: Block, variable: str) -> list[str]:
    for statement in block.statements:
        if statement.text.lstrip().startswith("type"):
            found = _TYPE.fullmatch(statement.text)
            if found is None:
                raise statement.fault(
                    f"the type of {variable!r} is not of the form: type discrete [ 2 ] {{ yes, no }};"
                )
            kind, count, names = found.groups()
            if kind != "discrete":
                raise statement.fault(f"variable {variable!r} is {kind}, but only discrete ones can be read")
            states = words(names)
            if len(states) != int(count):
                raise statement.fault(f"variable {variable!r} declares {count} states, but {len(states)} are named")
            if len(set(states)) < len(states):
                raise statement.fault(f"variable {variable!r} has a state twice")
            return states
    raise block.head.fault(f"variable {variable!r} has no type")


def scope_of(block: Block, states: Mapping[str, list[str]]) -> list[str]:
    """The child and its parents, of a head "( child | parent, parent )"."""
    inside = block.head.text.strip()
    if not (inside.startswith("(") and inside.endswith(")")):
        raise block.head.fault(f"expected '( variable | parents )' after {block.word!r}")
    inside = inside[1:-1].strip()
    child, bar, parents = _split(inside, "|")
    # the old form has a variable and its parents, parted by blanks
    old = not bar and child.strip() not in states
    scope = words(inside) if old else [child.strip().strip('"'), *words(parents)]
    for v in scope:
        if v not in states:
            raise block.head.fault(f"there is no variable {v!r}{near(v, states)}")
    return scope


def _split(text: str, mark: str) -> tuple[str, str, str]:
    """A text before and after a mark that stands outside quotes."""
    if '"' not in text:
        return text.partition(mark)
    found = re.search(rf'^((?:[^"{mark}]|"[^"]*")*)[{mark}](.*)$', text, re.DOTALL)
    return (found[1], mark, found[2]) if found else (text, "", "")


def _table(block: Block, states: Mapping[str, list[str]]) -> Table:
    child, *parents = scope_of(block, states)
    draft = Table((*parents, child), np.empty(0), block.head.offset)
    rows = np.full([*(len(states[p]) for p in parents), len(states[child])], np.nan)
    codes = [{name: i for i, name in enumerate(states[p])} for p in parents]
    given = np.zeros(rows.shape[:-1], dtype=bool)
    default = None
    for statement in block.statements:
        text = statement.text.lstrip()
        if text.startswith("("):
            place, values = _row(statement, text, parents, codes, child, rows.shape[-1])
            if given[place]:
                raise statement.fault(f"the table of {child!r} has this row twice")
            rows[place], given[place] = values, True
        elif text.startswith("table"):
            # the child's own states are the slowest of a whole table
            whole = shaped(states, [child, *parents], numbers(statement, text[5:]), draft)
            rows[...], given[...] = np.moveaxis(whole, 0, -1), True
        elif text.startswith("default"):
            default = numbers(statement, text[7:])
            if len(default) != rows.shape[-1]:
                raise statement.fault(f"{child!r} has {rows.shape[-1]} states, but {len(default)} values are given")
        elif not text.startswith("property"):
            raise statement.fault(f"expected a row or a table of {child!r}, not {text[:30]!r}")
    if default is not None:
        rows[~given], given[...] = default, True
    if not given.all():
        place = tuple(np.argwhere(~given)[0])
        row = ", ".join(states[p][i] for p, i in zip(parents, place, strict=True))
        raise draft.fault(
            f"the table of {child!r} has no row for ({row})" if row else f"variable {child!r} has no table"
        )
    return Table((*parents, child), rows, block.head.offset)


def _row(
    statement: Piece, text: str, parents: list[str], codes: list[dict[str, int]], child: str, count: int
) -> tuple[tuple[int, ...], list[float]]:
    names, closed, tail = _split(text[1:], ")")
    if not closed:
        raise statement.fault("expected '(states of the parents) numbers;'")
    found = words(names)
    if len(found) != len(parents):
        raise statement.fault(f"{child!r} has {len(parents)} parents, but the row names {len(found)} states")
    try:
        place = tuple(code[name] for code, name in zip(codes, found, strict=True))
    except KeyError:
        at = next(i for i, name in enumerate(found) if name not in codes[i])
        raise statement.fault(f"{parents[at]!r} has no state {found[at]!r}{near(found[at], codes[at])}") from None
    values = numbers(statement, tail)
    if len(values) != count:
        raise statement.fault(f"{child!r} has {count} states, but {len(values)} values are given")
    return place, values


_PLAIN = re.compile(r'[^\s{}()\[\];,|"/]+')


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else f'"{name}"'


def write(draft: Directed) -> str:
    """The text of a network, its numbers to the last digit."""
    lines = [f"network {_name(draft.name)} {{", "}"]
    for v, names in draft.states.items():
        listed = ", ".join(map(_name, names))
        lines += [f"variable {_name(v)} {{", f"  type discrete [ {len(names)} ] {{ {listed} }};", "}"]
    for table in draft.tables:
        *parents, child = table.scope
        if not parents:
            lines += [f"probability ( {_name(child)} ) {{", f"  table {_listed(table.values)};", "}"]
            continue
        lines.append(f"probability ( {_name(child)} | {', '.join(map(_name, parents))} ) {{")
        rows = table.values.reshape(-1, table.values.shape[-1])
        named = product(*([_name(state) for state in draft.states[p]] for p in parents))
        lines += [f"  ({', '.join(row)}) {_listed(values)};" for row, values in zip(named, rows, strict=True)]
        lines.append("}")
    return "\n".join(lines) + "\n"


def _listed(values: np.ndarray) -> str:
    return ", ".join(map(repr, values.tolist()))
