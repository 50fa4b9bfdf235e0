"""Many cases put to a network: rows of a CSV file in, their posteriors out, block by block."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from inference.exact import Engine, TooLarge
from inference.exact.evidence import MISSING, Evidence, read_evidence, state_code
from inference.exact.tracing import most_probable
from zoo.app.networks import Case, under
from zoo.app.writing import writer
from zoo.graph_files.text import near

BLOCK = 10_000
"""Rows that are read, answered and written at once."""
AS_TEXT: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [""], "encoding": "utf-8-sig"}
"""How cells are read: states are text ("NA" or "None" may be one), and only an empty cell is unknown."""


@dataclass(frozen=True)
class Rows:
    """A file of rows as evidence: which of its columns are, which are carried along, and what is asked of each row."""

    path: Path
    engine: Engine
    fixed: Evidence
    columns: tuple[str, ...]
    evidence: tuple[str, ...]
    kept: tuple[str, ...]
    targets: tuple[int, ...]
    impossible: str

    def read(self) -> Generator[tuple[int, pd.DataFrame]]:
        """Blocks of rows, each with the number of its first."""
        start = 0
        with _as_csv(self.path):
            blocks = pd.read_csv(
                self.path,
                chunksize=BLOCK,
                names=list(self.columns),
                header=0,
                index_col=False,
                skip_blank_lines=len(self.columns) > 1,  # in a single column a blank line is an unknown cell
                **AS_TEXT,
            )
            with blocks:
                for frame in filter(len, blocks):
                    yield start, frame
                    start += len(frame)
        if not start:
            raise ValueError(f"{self.path} has no rows")

    def known(self, start: int, frame: pd.DataFrame) -> Evidence:
        """The codes of a block's cells, beside what is known of every row."""
        place = self.engine.factors.place
        codes = {v: each.expand(len(frame)) for v, each in self.fixed.codes.items()}
        for name in self.evidence:
            codes[place[name]] = self._codes(name, frame[name], start)
        return Evidence(len(frame), codes)

    def _codes(self, name: str, column: pd.Series, start: int) -> torch.Tensor:
        states = self.engine.factors.states[name]
        places, values = pd.factorize(column, use_na_sentinel=True)
        known = []
        for i, value in enumerate(values):
            try:
                known.append(state_code(name, _whole(value, states), states))
            except ValueError:
                row = start + int((places == i).argmax())
                raise ValueError(
                    f"{self.path}: row {row}: {name!r} has no state {value!r}{near(value, states)}"
                ) from None
        return torch.from_numpy(np.array([*known, MISSING])[places])

    def refuse_impossible(self, start: int, evidence: Evidence, log_evidence: torch.Tensor) -> torch.Tensor:
        """Which rows can't be as they are; the first of them raised, unless they are allowed."""
        bad = ~(log_evidence > -torch.inf)
        if self.impossible == "raise" and bad.any():
            row = int(bad.nonzero()[0])
            try:
                self.engine.run(evidence.take(torch.tensor([row])), (), ())
            except ValueError as error:
                raise ValueError(
                    f"{self.path}: row {start + row}: {error}; --impossible allow leaves such rows empty"
                ) from None
        return bad


def _whole(value: str, states: Sequence) -> str:
    """A column of whole numbers with gaps is often written with ".0" behind each."""
    short = value.removesuffix(".0")
    text = [str(state) for state in states]
    return short if value not in text and short in text else value


# ---- opening


def opened(
    asked: Case, path: Path, keep: Sequence[str] = (), impossible: str = "raise", explained: bool = False
) -> Rows:
    """The rows of a file against a network: every name is checked before a row is answered."""
    own = asked.engine
    columns = header(path)
    for name in keep:
        if name not in columns:
            raise ValueError(f"{path} has no column {name!r} to keep{near(name, columns)}")
    for name in columns:
        if name not in keep and name not in own.factors.place:
            raise ValueError(
                f"{path} has a column {name!r}, but the network no such variable{near(name, own.variables)}; "
                "--keep carries a column along unused"
            )
    evidence = tuple(name for name in columns if name not in keep and name not in asked.find)
    for option, known in (("--given", asked.given), ("--do", asked.do)):
        both = [str(v) for v in known if v in evidence]
        if both:
            raise ValueError(f"{both[0]!r} is both in {option} and a column of {path}: leave it out of one")
    targets = _targets(asked, own, evidence, explained)
    engine, fixed = _fixed(asked, targets)
    return Rows(path, engine, fixed, columns, evidence, tuple(keep), targets, impossible)


def _fixed(asked: Case, targets: Sequence[int]) -> tuple[Engine, Evidence]:
    """The engine after what is set, and what is known of every row."""
    own = asked.engine
    engine, done = under(own, asked.do)
    given = read_evidence(own.variables, own.factors.states, asked.given)
    for v in given.codes:
        if v in done.codes:
            raise ValueError(f"{own.variables[v]!r} is both given and set by do; keep one of them")
    fixed = replace(given, codes={**given.codes, **done.codes})
    for v in targets:
        if v in fixed.codes:
            raise ValueError(f"{own.variables[v]!r} is both asked for and known; ask for it without giving it")
    return engine, fixed


def _targets(asked: Case, engine: Engine, evidence: Sequence[str], explained: bool) -> tuple[int, ...]:
    """What is asked; where nothing is named, what is no column; of an explanation, the columns' gaps as well."""
    if asked.find:
        return tuple(engine.position(name) for name in asked.find)
    free = asked.targets if explained else [v for v in asked.targets if v not in evidence]
    if not free:
        raise ValueError("every variable is a column or given: name what to ask about with --find")
    return tuple(engine.position(v) for v in free)


def header(path: Path) -> tuple[str, ...]:
    """The names of a file's columns."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    with _as_csv(path):
        first = pd.read_csv(path, header=None, nrows=2, index_col=False, skip_blank_lines=False, **AS_TEXT)
    names = ["" if pd.isna(name) else str(name) for name in first.iloc[0]]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(f"{path} has two columns {name!r}")
    if len(first) < 2:
        raise ValueError(f"{path} has no rows")
    return tuple(names)


@contextmanager
def _as_csv(path: Path) -> Iterator[None]:
    """What pandas can't read, or reads by leaving cells out, said in one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            yield
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a CSV file of rows: {error}") from None


# ---- answering


def posteriors(rows: Rows, start: int, frame: pd.DataFrame) -> pd.DataFrame:
    """P(target = state) of each row, and the log evidence in nats."""
    evidence = rows.known(start, frame)
    found, log_evidence = rows.engine.run(evidence, rows.targets, (), "allow")
    bad = rows.refuse_impossible(start, evidence, log_evidence)
    found = found.masked_fill(bad, torch.nan)
    names = [f"{v}={state}" for v in _names(rows) for state in rows.engine.factors.states[v]]
    table = {**_kept(rows, frame), **dict(zip(names, found.numpy(), strict=True))}
    return pd.DataFrame({**table, "log_evidence": log_evidence.numpy()})


def explanations(rows: Rows, start: int, frame: pd.DataFrame) -> pd.DataFrame:
    """The targets' most probable states in each row, their log probability given the evidence, and the log evidence."""
    evidence = rows.known(start, frame)
    log_evidence = rows.engine.run(evidence, (), (), "allow")[1]
    bad = rows.refuse_impossible(start, evidence, log_evidence)
    free = tuple(v for v in rows.targets if v not in evidence.wholly)
    codes = {v: evidence.codes[v] for v in rows.targets if v not in free}
    log_p = torch.zeros_like(log_evidence)
    if free:
        states, logs = most_probable(rows.engine, evidence, free)
        codes |= {v: states[:, i] for i, v in enumerate(free)}
        log_p = (logs - (log_evidence - rows.engine.factors.log_constant)).clamp(max=0.0)
    named = {}
    for v, name in zip(rows.targets, _names(rows), strict=True):
        labels = np.array([*map(str, rows.engine.factors.states[name]), None], dtype=object)
        named[str(name)] = labels[codes[v].masked_fill(bad, MISSING).numpy()]
    log_p = log_p.masked_fill(bad, torch.nan)
    return pd.DataFrame(
        {**_kept(rows, frame), **named, "log_probability": log_p.numpy(), "log_evidence": log_evidence.numpy()}
    )


def _names(rows: Rows) -> list[Hashable]:
    return [rows.engine.variables[v] for v in rows.targets]


def _kept(rows: Rows, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: frame[name].to_numpy(dtype=object) for name in rows.kept}


def answer(
    rows: Rows, ask: Callable[[Rows, int, pd.DataFrame], pd.DataFrame], out: Path | None, say: Callable[[str], None]
) -> int:
    """Answer every row and write it, to a .csv or .parquet file or to the terminal; how many there were."""
    for name in rows.columns:
        if name not in rows.evidence and name not in rows.kept:
            say(f"{name} is asked for, so its column in {rows.path} is not used as evidence")
    done = 0
    try:
        with (
            writer(out) as write,
            tqdm(total=_lines(rows.path), disable=None, unit=" rows", leave=False) as bar,
            closing(rows.read()) as blocks,
        ):
            for start, frame in blocks:
                write(ask(rows, start, frame))
                bar.update(len(frame))
                done += len(frame)
    except TooLarge as error:
        raise ValueError(str(error).split(";")[0]) from None
    return done


def _lines(path: Path) -> int | None:
    """About how many rows there are; None of a compressed file."""
    if path.suffix.lower() in (".gz", ".zip", ".bz2", ".xz", ".zst"):
        return None
    with path.open("rb") as file:
        return max(0, sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b"")) - 1)
