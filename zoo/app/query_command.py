"""`zoo query`: its options, which of them go together, and the answer printed, drawn or written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

EXAMPLES = """zoo query asia --given smoke=yes dysp=yes --find lung bronc
  zoo query asia --given xray=yes                     everything that is not known
  zoo query asia --do smoke=no --find lung            an intervention, not an observation
  zoo query asia --given xray=yes --mpe --best 3      the three most probable explanations
  zoo query asia --given dysp=yes --find lung --value-of      what to look at next
  zoo query asia --given smoke=yes --draw asia.svg    the network, its posteriors as bars
  zoo query munin1 --plan                             what an answer would cost
  zoo query alarm --rows rows.csv --find HYPOVOLEMIA --out posteriors.csv
  zoo query runs/flu --find peak peak_time            the posterior of a program's run
  zoo query runs/flu --find saved --do contacts=0.5   of an outbreak: had they met half as often; or vaccinate=200
  zoo query rumour.toml --find source --given infected=Valjean,Javert step=4     a spread on a graph: who began it
  zoo query rumour.toml --find saved --given I=Valjean steps=9 --do vaccinate=Javert cut=Valjean:Cosette

a spread on a graph (`zoo query SPEC.toml`): a spec with
  [spread]
  compartments = "si"                 sis, sir, ...; or one's own, as `zoo run --help` has them
  graph = {file = "edges.txt"}        an edge a line, perhaps with a weight; or les_miserables, karate_club
  rates = {beta = 0.05}
--find source, infected, total, peak, peak_step, saved, or a compartment; see inference.query

rows (--rows): a CSV file with a column a variable and a state's name in each cell; an empty cell is not known. Each
row is a case of its own; --given and --do hold for all of them. The column of a variable that is asked for with --find
is never used as evidence. Out come, row by row, a column VARIABLE=STATE for each state of each variable asked for
and log_evidence, the log probability of what is known of the row in nats; with --mpe, the most probable states
themselves and their log probability (without --find, of every variable: the row completed). The rows
are read and answered in blocks of 10,000, and are counted from 0"""


def add_query(add: Callable[..., argparse.ArgumentParser]) -> None:
    command = add("query", query_network, "ask a Bayesian network what is likely, given what is known", EXAMPLES)
    command.add_argument(
        "network",
        metavar="NETWORK",
        help="a network by name, a .bif, .xmlbif, .net or .uai file, a run's folder, or the .toml of a spread",
    )
    command.add_argument(
        "--find", nargs="+", default=[], metavar="VARIABLE", help="what to ask about (default: all that is not known)"
    )
    command.add_argument("--given", nargs="+", default=[], metavar="VAR=STATE", help="what has been seen")
    command.add_argument("--do", nargs="+", default=[], metavar="VAR=STATE", help="what is set from outside")
    command.add_argument("--mpe", action="store_true", help="the states that are most probable together, others summed")
    command.add_argument("--best", type=int, metavar="K", help="with --mpe: the K most probable")
    command.add_argument(
        "--value-of", action="store_true", help="what observing each variable is expected to tell of the one in --find"
    )
    command.add_argument("--plan", action="store_true", help="what the answer would cost, without answering")
    command.add_argument("--draw", type=Path, metavar="FILE", help="draw the network and the answer: .png or .svg")
    command.add_argument(
        "--estimate", type=int, metavar="DRAWS", help="estimate by weighted draws, where an exact answer would not fit"
    )
    command.add_argument("--rows", type=Path, metavar="ROWS.csv", help="many cases at once, a row each")
    command.add_argument("--out", type=Path, metavar="FILE", help="with --rows: a .csv or .parquet file")
    command.add_argument(
        "--keep", nargs="+", default=[], metavar="COLUMN", help="with --rows: carried along, not used as evidence"
    )
    command.add_argument(
        "--impossible",
        choices=("raise", "allow"),
        help="with --rows: raise names a row that can't be, allow leaves it empty",
    )


def query_network(arguments: Any) -> None:
    check_options(arguments)
    given, do = _pairs(arguments.given, "given"), _pairs(arguments.do, "do")
    from zoo.app import networks

    asked = networks.case(arguments.network, arguments.find, given, do)
    of_networks = [name for name in ("draw", "estimate") if getattr(arguments, name) is not None]
    if of_networks and not (asked.is_network or asked.is_hybrid):
        raise ValueError(f"--{of_networks[0]} is of networks, and {arguments.network} is none")
    if arguments.rows is not None:
        _ask_rows(asked, arguments)
    elif arguments.plan:
        print(networks.plan(asked, explained=arguments.mpe))
    elif arguments.value_of:
        print(networks.worth(asked))
    elif arguments.mpe:
        print(networks.explain(asked, 1 if arguments.best is None else arguments.best))
    else:
        found = networks.answer(asked, arguments.estimate)
        print(found)
        if arguments.draw is not None:
            networks.draw(asked, found, arguments.draw)
            print(f"drawing: {arguments.draw}")


def _ask_rows(asked: Any, arguments: Any) -> None:
    from zoo.app import networks, posteriors, writing

    writing.check_parquet(arguments.out)
    rows = posteriors.opened(asked, arguments.rows, arguments.keep, arguments.impossible or "raise", arguments.mpe)
    if arguments.plan:
        print(networks.plan(asked, rows.evidence, arguments.mpe))
        return
    ask = posteriors.explanations if arguments.mpe else posteriors.posteriors
    count = posteriors.answer(rows, ask, arguments.out, lambda text: print(f"zoo query: {text}", file=sys.stderr))
    if arguments.out is not None:
        print(f"{count:,} rows: {arguments.out}")


WITHOUT = (
    ("best", "mpe", "--best goes with --mpe"),
    ("out", "rows", "--out goes with --rows, a file of cases"),
    ("keep", "rows", "--keep goes with --rows, a file of cases"),
    ("impossible", "rows", "--impossible goes with --rows, a file of cases"),
)
TOGETHER = (
    ("rows", "best", "--best is of one case; leave out --rows, or --best"),
    ("rows", "value_of", "--value-of is of one case; leave out --rows"),
    ("rows", "draw", "--draw is of one case; leave out --rows"),
    ("rows", "estimate", "--estimate is of one case; leave out --rows"),
    ("value_of", "mpe", "--value-of and --mpe are different questions; leave one of them out"),
    ("value_of", "plan", "--plan is of an answer, not of --value-of; leave one of them out"),
    ("draw", "mpe", "--draw shows the posteriors, not --mpe; leave one of them out"),
    ("draw", "value_of", "--draw shows the posteriors, not --value-of; leave one of them out"),
    ("draw", "plan", "--draw shows the posteriors, not --plan; leave one of them out"),
    ("estimate", "mpe", "--estimate is of posteriors, not of --mpe; leave one of them out"),
    ("estimate", "value_of", "--estimate is of posteriors, not of --value-of; leave one of them out"),
    ("estimate", "plan", "--plan is of an exact answer; leave out --estimate"),
)


def check_options(arguments: Any) -> None:
    """Refuse options that make no sense together, and files that could not be written, before anything is loaded."""
    from zoo.app.files import check_out

    asked = {name for name, value in vars(arguments).items() if value not in (None, False, [])}
    for option, needed, sentence in WITHOUT:
        if option in asked and needed not in asked:
            raise ValueError(sentence)
    for one, other, sentence in TOGETHER:
        if one in asked and other in asked:
            raise ValueError(sentence)
    for path, endings, option in (
        (arguments.out, (".csv", ".parquet"), "--out"),
        (arguments.draw, (".png", ".svg"), "--draw"),
    ):
        if path is not None:
            check_out(path, endings, option)


def _pairs(texts: Sequence[str], option: str) -> dict[Hashable, str]:
    pairs: dict[Hashable, str] = {}
    for text in texts:
        variable, equals, state = text.partition("=")
        if not equals or not variable or not state:
            raise ValueError(f"--{option} {text!r} is not VARIABLE=STATE, such as smoke=yes")
        if pairs.get(variable, state) != state:
            raise ValueError(f"--{option} gives {variable} two states, {pairs[variable]} and {state}")
        pairs[variable] = state
    return pairs
