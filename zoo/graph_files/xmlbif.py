"""XMLBIF 0.3: https://www.cs.cmu.edu/afs/cs/user/fgcozman/www/Research/InterchangeFormat/."""

from __future__ import annotations

import xml.etree.ElementTree as etree
from collections.abc import Mapping
from xml.parsers import expat

import numpy as np

from zoo.graph_files.drafts import Directed, Table, shaped
from zoo.graph_files.text import Fault


class _Lines:
    """A tree of elements, with the line at which each begins."""

    def __init__(self, text: str) -> None:
        self.of: dict[etree.Element, int] = {}
        self._builder = etree.TreeBuilder()
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._builder.end
        self._parser.CharacterDataHandler = self._builder.data
        try:
            self._parser.Parse(text.encode("utf-8"), True)
        except expat.ExpatError as error:
            raise Fault(f"it is not well-formed XML ({expat.ErrorString(error.code)})", line=error.lineno) from None
        self.root = self._builder.close()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.of[self._builder.start(tag, attributes)] = self._parser.CurrentLineNumber

    def text(self, element: etree.Element, tag: str) -> str:
        found = element.find(tag)
        if found is None or not (found.text or "").strip():
            raise self.fault(element, f"a {element.tag} without its {tag}")
        return (found.text or "").strip()

    def fault(self, element: etree.Element, message: str) -> Fault:
        return Fault(message, line=self.of[element])


def read(text: str) -> Directed:
    """The network that a text declares."""
    # expat reads bytes, and what was decoded is UTF-8 whatever the declaration says
    body = text[text.index("?>") + 2 :] if text.lstrip().startswith("<?xml") and "?>" in text else text
    skipped = text[: len(text) - len(body)].count("\n")
    tree = _Lines("\n" * skipped + body)
    network = tree.root.find("NETWORK")
    if tree.root.tag != "BIF" or network is None:
        raise tree.fault(tree.root, "expected a BIF element with a NETWORK in it")
    states: dict[str, list[str]] = {}
    for element in network.findall("VARIABLE"):
        v = tree.text(element, "NAME")
        kind = element.get("TYPE", "nature")
        if kind != "nature":
            raise tree.fault(element, f"variable {v!r} is of type {kind!r}, but only nature can be read")
        if v in states:
            raise tree.fault(element, f"variable {v!r} is declared twice")
        states[v] = [(outcome.text or "").strip() for outcome in element.findall("OUTCOME")]
    tables = [_table(tree, element, states) for element in network.findall("DEFINITION")]
    title = network.find("NAME")
    return Directed(states, tables, ((title.text if title is not None else "") or "unknown").strip())


def _table(tree: _Lines, element: etree.Element, states: Mapping[str, list[str]]) -> Table:
    child = tree.text(element, "FOR")
    scope = (*((given.text or "").strip() for given in element.findall("GIVEN")), child)
    table = element.find("TABLE")
    if table is None:
        raise tree.fault(element, f"the definition of {child!r} has no TABLE")
    draft = Table(scope, np.empty(0), line=tree.of[element])
    flat = []
    for entry in "".join(table.itertext()).split():
        try:
            flat.append(float(entry))
        except ValueError:
            raise tree.fault(table, f"the table of {child!r}: expected a number, not {entry!r}") from None
    return Table(scope, shaped(states, scope, flat, draft), line=draft.line)


def write(draft: Directed) -> str:
    """The text of a network, its numbers to the last digit."""
    root = etree.Element("BIF", VERSION="0.3")
    network = etree.SubElement(root, "NETWORK")
    etree.SubElement(network, "NAME").text = draft.name
    for v, names in draft.states.items():
        variable = etree.SubElement(network, "VARIABLE", TYPE="nature")
        etree.SubElement(variable, "NAME").text = v
        for name in names:
            etree.SubElement(variable, "OUTCOME").text = name
    for table in draft.tables:
        *parents, child = table.scope
        definition = etree.SubElement(network, "DEFINITION")
        etree.SubElement(definition, "FOR").text = child
        for parent in parents:
            etree.SubElement(definition, "GIVEN").text = parent
        etree.SubElement(definition, "TABLE").text = " ".join(map(repr, table.values.ravel().tolist()))
    etree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + etree.tostring(root, encoding="unicode") + "\n"
