"""A spread on a graph that a spec declares, asked by the command line as Python asks it."""

import tomllib

import networkx
import pytest

from inference import query
from zoo import spread
from zoo.app import cli, networks
from zoo.app.graph_spread import graph_spread
from zoo.spec import SpecError

SPEC = """
[spread]
compartments = "sir"
graph = {file = "edges.txt"}
rates = {beta = 0.4, gamma = 0.2}
step = 0.5
"""
EDGES = "a b 2.0\na c 0.5\nb c 1.0\nc d 1.0\nd e 3.0\n"


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "edges.txt").write_text(EDGES)
    (tmp_path / "rumour.toml").write_text(SPEC)
    return str(tmp_path / "rumour.toml")


def declared(tmp_path):
    graph = spread.Graph.read(tmp_path / "edges.txt")
    return spread.GraphSpread(spread.sir(), graph, {"beta": 0.4, "gamma": 0.2}, step=0.5)


def asked(spec, find, given, do=()):
    told = (dict(pair.split("=") for pair in pairs) for pairs in (given, do))
    return networks.answer(networks.case(spec, [find], *told))


def test_the_source_is_the_one_that_python_finds(spec, tmp_path):
    given = {"infected": ["a", "b"], "R": ["c"], "seen": ["a", "b", "c", "d"], "step": 3}
    expected = query(declared(tmp_path), "source", given=given)
    found = asked(spec, "source", ["infected=a,b", "R=c", "seen=a, b, c, d", "step=3"])
    assert found["source"].equals(expected["source"]) and found.log_evidence == expected.log_evidence
    assert float(found["source"].max()) < 0.9


def test_what_is_done_to_it_is_what_python_does(spec, tmp_path):
    do = {"vaccinate": ["d"], "cut": [("a", "b"), ("b", "c")], "contacts": 0.5}
    expected = query(declared(tmp_path), "total", given={"I": ["a"], "steps": 6}, do=do)
    found = asked(spec, "total", ["I=a", "steps=6"], ["vaccinate=d", "cut=a:b,b:c", "contacts=0.5"])
    assert found["total"].equals(expected["total"])


def test_the_answer_is_printed_likeliest_first(spec, capsys):
    assert cli.main(["query", spec, "--find", "source", "--given", "infected=a,b,c", "step=2"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    shares = [float(line[1]) for line in lines if len(line) == 2 and line[0] in "abcde"]
    assert len(shares) == 5 and shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["les_miserables", "karate_club"])
def test_a_graph_by_name_is_networkxs(name):
    table = {"compartments": "si", "graph": name, "rates": {"beta": 0.1}}
    made, graph = graph_spread({"spread": table}).graph, getattr(networkx, f"{name}_graph")()
    assert set(made.nodes) == set(graph.nodes) and len(made.indices) == 2 * graph.number_of_edges()


def test_nodes_that_are_numbers_are_found(tmp_path):
    (tmp_path / "club.toml").write_text(SPEC.replace('{file = "edges.txt"}', '"karate_club"'))
    found = asked(str(tmp_path / "club.toml"), "total", ["I=33", "steps=2"])
    assert found.question == "P(total | I = [33], steps = 2)"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"edges.txt"', '"edge.txt"', "spread.graph.file: there is no file "),
        ('"edges.txt"', "3", "spread.graph.file is 3, but a text was expected"),
        ('"edges.txt"', '"bad.txt"', "spread.graph: .*bad.txt line 2 "),
        ('{file = "edges.txt"}', '"karate"', "spread.graph is 'karate', but a file, .* karate_club"),
        ('{file = "edges.txt"}', "{directed = true}", "spread.graph.directed is not a parameter"),
        ('"edges.txt"', '"edges.txt", direct = true', "spread.graph.direct is not .* did you mean directed"),
        ("gamma = 0.2", "gamma = -0.2", "spread: the rate 'gamma' at time 0 must be finite and not negative"),
        ("gamma = 0.2", 'gamma = "x"', "spread.rates.gamma is 'x', but a number was expected"),
        (", gamma = 0.2", "", "spread: the rate 'gamma' is missing"),
        ("step = 0.5", "step = 0", "spread: a step is a time above 0, not 0"),
        ("step = 0.5", "steps = 1", "spread.steps is not a parameter of a spread; did you mean step"),
        ('"sir"', '"sri"', "spread.compartments is 'sri'"),
        ('"sir"', '{name = "sir", groups = ["a"]}', "spread: on a graph the edges say who meets whom"),
        ("[spread]", "[fit]\nsteps = 1\n[spread]", "fit is not a part of a spread's spec"),
        ("[spread]", "[model]", r"the spec has no \[spread\], "),
    ],
)
def test_a_wrong_value_is_told_by_its_path(tmp_path, old, new, said):
    (tmp_path / "edges.txt").write_text(EDGES)
    (tmp_path / "bad.txt").write_text("a b\nc\n")
    assert old in SPEC
    with pytest.raises(SpecError, match=f"^{said}" if said.startswith("spread") else said):
        graph_spread(tomllib.loads(SPEC.replace(old, new, 1)), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["query", "--find", "source", "--given", "infected=z", "step=2"], "the graph has no node 'z'"),
        (["query", "--find", "source", "--given", "infected=a", "step=soon"], "--given step is 'soon', but a number"),
        (["query", "--find", "total", "--given", "I=a", "--draw", "a.svg"], "--draw is of networks, and "),
        (["query", "--find", "total", "--given", "I=a", "--estimate", "9"], "--estimate is of networks, and "),
        (["query", "--find", "source", "--given", "infected=a", "step=1.5"], "--given step is '1.5', but a whole"),
        (["query", "--find", "total", "--given", "I=a", "--do", "cut=a"], "--do cut names 'a', but edges"),
        (["query", "--find", "total", "--given", "I=a", "--do", "cut=a:e"], "the graph has no edge 'a' - 'e'"),
        (["query", "--find", "total", "--given", "I=a", "--do", "contacts=half"], "--do contacts is 'half', but a"),
        (["query", "--find", "total", "--given", "I=a", "--do", "contact=1"], "is no intervention"),
        (["query", "--find", "sauce", "--given", "I=a"], "a spread has no 'sauce'"),
        (["query"], "name what to ask about with --find"),
        (["query", "--mpe"], "is not a network of tables"),
        (["run"], "[spread], one on a graph, is asked as it is, by zoo query"),
    ],
)
def test_a_wrong_question_is_refused_in_a_sentence(spec, capsys, arguments, said):
    assert cli.main([arguments[0], spec, *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_the_help_of_query_shows_a_spec_that_can_be_read(tmp_path):
    from zoo.app.query_command import EXAMPLES

    lines = EXAMPLES[EXAMPLES.index("  [spread]") :].split("\n--find")[0].splitlines()
    (tmp_path / "edges.txt").write_text(EDGES)
    made = graph_spread(tomllib.loads("\n".join(line.strip().split("   ")[0] for line in lines)), tmp_path)
    assert made.graph.n == 5
