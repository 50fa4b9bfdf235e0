"""Networks as files: BIF, XMLBIF, UAI and NET, read and written to the last digit, and those that pgmpy ships.

    graph = load_network("asia")
    write_network(graph, "asia.xmlbif")
    graph = read_network("asia.xmlbif")

The graphs are pgmpy's, their tables as the file has them: columns that a file rounds are not divided by their sum.
The names of variables and states are text. pgmpy's own readers and writers take up to 11 s a network, tell no line,
and change names and orders; these are tested equal to them where they are right.
"""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo.graph_files import bif, net, uai, xmlbif
from zoo.graph_files.drafts import Directed, Undirected, draft_of
from zoo.graph_files.text import Fault, near

__all__ = ["load_network", "read_evidence", "read_network", "shipped_networks", "write_network"]

FORMATS = {".bif": bif, ".xmlbif": xmlbif, ".xml": xmlbif, ".net": net, ".uai": uai}


class NoFile(FileNotFoundError, ValueError):
    """There is no such file."""


def read_network(path: str | Path) -> Any:
    """The pgmpy network of a file: .bif, .xmlbif (.xml), .net or .uai, any of them with .gz behind it.

    A .uai file gives a `DiscreteBayesianNetwork` or a `DiscreteMarkovNetwork`, by its first word; the others give
    the former. What is wrong with a file is a ValueError that names the line.
    """
    path = Path(path)
    form = _format(path)
    text = _text(path)
    try:
        draft = form.read(text)
        draft.check()
    except Fault as fault:
        raise ValueError(f"{path}{_place(fault, text)}: {fault}") from None
    return draft.graph()


def write_network(graph: Any, path: str | Path) -> Path:
    """Write a pgmpy network to a file whose name says its format; beside it first, then renamed.

    Numbers are written to the last digit. Names that are not text, whole numbers say, are written as text; a .uai
    file numbers variables and states in their order, and it alone can hold a Markov network.
    """
    path = Path(path)
    form = _format(path)
    try:
        draft = draft_of(graph)
        draft.check()
        if form is not uai:
            _check_names(draft, quoted=form is not xmlbif)
    except Fault as fault:
        raise ValueError(f"{path} was not written: {fault}") from None
    data = form.write(draft).encode("utf-8")
    _put(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data, path)
    return path


def read_evidence(path: str | Path, graph: Any) -> dict[Any, Any]:
    """What a .evid file of the UAI competitions says is observed: the state of each variable, by name."""
    text = _text(Path(path), may_be_empty=True)
    try:
        draft = draft_of(graph)
        return uai.evidence(text, dict(draft.states))
    except Fault as fault:
        raise ValueError(f"{path}{_place(fault, text)}: {fault}") from None


def shipped_networks() -> tuple[str, ...]:
    """The names of the networks that pgmpy ships with their tables."""
    return tuple(sorted(file.name.removesuffix(".bif.gz") for file in _shipped()))


def load_network(network: str | Path) -> Any:
    """A network that pgmpy ships, by name ("asia"), read from its package and never downloaded; or that of a file."""
    if isinstance(network, Path) or Path(network).suffix or Path(network).name != network:
        return read_network(network)
    files = {file.name.removesuffix(".bif.gz"): file for file in _shipped()}
    if network not in files:
        raise ValueError(f"pgmpy ships no network {network!r}{near(network, sorted(files))}")
    return read_network(files[network])


def _shipped() -> list[Path]:
    # pgmpy takes seconds to import, and only its folder is wanted
    spec = find_spec("pgmpy")
    places = (spec.submodule_search_locations if spec else None) or ()
    return [file for place in places for file in Path(place, "utils", "example_models").glob("*.bif.gz")]


def _place(fault: Fault, text: str) -> str:
    line = fault.line if fault.offset is None else text.count("\n", 0, fault.offset) + 1
    return "" if line is None else f", line {line}"


def _format(path: Path) -> Any:
    suffix = Path(path.stem if path.suffix == ".gz" else path.name).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path} is of no known format by its name; known: {', '.join(FORMATS)}")
    return FORMATS[suffix]


def _text(path: Path, may_be_empty: bool = False) -> str:
    if not path.is_file():
        raise NoFile(f"there is no file {str(path)!r}")
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is not a whole gzip file: {error}") from None
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: it is not UTF-8 text") from None
    if not text.strip() and not may_be_empty:
        raise ValueError(f"{path} is empty")
    return text


def _check_names(draft: Directed | Undirected, quoted: bool) -> None:
    if isinstance(draft, Undirected):
        raise Fault("a Markov network has no tables given parents; only a .uai file can hold it")
    names = [draft.name, *draft.states, *(state for states in draft.states.values() for state in states)]
    for name in names:
        if not name or name != name.strip() or not name.isprintable():
            raise Fault(f"the name {name!r} is empty, or has blanks at its ends or unprintable characters")
        if quoted and '"' in name:
            raise Fault(f"the name {name!r} holds a quotation mark; only XMLBIF can hold it")


def _put(data: bytes, path: Path) -> None:
    """Write beside, then rename: a reader never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
