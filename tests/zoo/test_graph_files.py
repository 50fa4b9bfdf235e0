"""Network files against pgmpy's own readers, the formats' specifications, and their own round trip."""

from __future__ import annotations

import gzip
import os
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from pgmpy.factors.discrete import DiscreteFactor, TabularCPD
from pgmpy.models import DiscreteBayesianNetwork, DiscreteMarkovNetwork

from zoo.bayesian_network import BayesianNetwork
from zoo.graph_files import load_network, read_evidence, read_network, shipped_networks, write_network

SUFFIXES = (".bif", ".bif.gz", ".xmlbif", ".xml", ".net")
SMALL = ("alarm", "asia", "cancer", "child", "earthquake", "hailfinder", "hepar2", "insurance", "sachs", "survey")


def odd_graph() -> DiscreteBayesianNetwork:
    """Names with blanks, punctuation and letters beyond ASCII; states that are numbers; long decimals."""
    graph = DiscreteBayesianNetwork([("blood pressure (mm)", "Größe|x"), ("7", "Größe|x"), ("Größe|x", "z;{}")])
    names = {
        "blood pressure (mm)": ["very low", "50, or more", "a/b//c"],
        "7": [0, 1],
        "Größe|x": ["<1", "=1", ">1 & more", "%"],
        "z;{}": ["True", "False"],
    }
    rng = np.random.default_rng(0)

    def cpd(child: str, *parents: str) -> TabularCPD:
        cards = [len(names[p]) for p in parents]
        values = rng.dirichlet(np.full(len(names[child]), 0.3), int(np.prod(cards))).T
        scope = {v: names[v] for v in (child, *parents)}
        return TabularCPD(child, len(names[child]), values, parents or None, cards or None, scope)

    graph.add_cpds(cpd("7"), cpd("z;{}", "Größe|x"), cpd("blood pressure (mm)"))
    graph.add_cpds(cpd("Größe|x", "7", "blood pressure (mm)"))
    return graph


def assert_same(found, wanted) -> None:
    """Equal nodes, edges, parents in their order, state names as text, and tables to the last digit."""
    assert list(map(str, found.nodes())) == list(map(str, wanted.nodes()))
    assert set(found.edges()) == set(wanted.edges())
    for v in wanted.nodes():
        mine, theirs = found.get_cpds(v), wanted.get_cpds(v)
        assert list(mine.variables) == list(theirs.variables)
        for u in theirs.variables:
            assert mine.state_names[u] == [str(state) for state in theirs.state_names[u]]
        assert mine.values.shape == theirs.values.shape and (mine.values == theirs.values).all()


# ---- against pgmpy


def by_pgmpy(name: str):
    import pgmpy
    from pgmpy.readwrite import BIFReader

    file = Path(pgmpy.__file__).parent / "utils" / "example_models" / f"{name}.bif.gz"
    return BIFReader(string=gzip.decompress(file.read_bytes()).decode()).get_model()


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in shipped_networks() if name not in SMALL]


@pytest.mark.parametrize("name", [*SMALL, *SLOW])
def test_shipped_networks_are_those_that_pgmpy_reads(name: str) -> None:
    graph = load_network(name)
    assert graph.check_model()
    assert_same(graph, by_pgmpy(name))


def test_all_shipped_networks_are_listed() -> None:
    assert len(shipped_networks()) == 24 and set(SMALL) < set(shipped_networks())


def test_pgmpy_reads_what_is_written(tmp_path: Path) -> None:
    from pgmpy.readwrite import BIFReader, NETReader, XMLBIFReader

    graph = load_network("child")
    for reader, suffix in ((BIFReader, ".bif"), (XMLBIFReader, ".xmlbif"), (NETReader, ".net")):
        text = write_network(graph, tmp_path / f"child{suffix}").read_text()
        if suffix == ".xmlbif":
            text = text.replace('<?xml version="1.0" encoding="UTF-8"?>', "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert_same(reader(string=text).get_model(), graph)


@pytest.mark.parametrize("suffix", [".xmlbif", ".net"])
def test_what_pgmpy_writes_is_read(tmp_path: Path, suffix: str) -> None:
    from pgmpy.readwrite import NETWriter, XMLBIFWriter

    graph = load_network("asia")
    (tmp_path / f"asia{suffix}").write_text(str({".xmlbif": XMLBIFWriter, ".net": NETWriter}[suffix](graph)))
    found = read_network(tmp_path / f"asia{suffix}")
    for v in graph.nodes():
        np.testing.assert_allclose(found.get_cpds(v).values, graph.get_cpds(v).values, atol=1e-12)
        assert found.get_cpds(v).state_names == graph.get_cpds(v).state_names


# ---- round trips


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("make", [odd_graph, lambda: load_network("alarm")])
def test_what_is_written_is_read_back_to_the_last_digit(tmp_path: Path, suffix: str, make) -> None:
    graph = make()
    path = write_network(graph, tmp_path / f"mine{suffix}")
    assert_same(read_network(path), graph)
    assert os.listdir(tmp_path) == [f"mine{suffix}"]  # nothing is left beside


def test_a_child_that_orders_its_parents_states_otherwise_is_written_by_name(tmp_path: Path) -> None:
    graph = DiscreteBayesianNetwork([("a", "b")])
    graph.add_cpds(
        TabularCPD("a", 2, [[0.2], [0.8]], state_names={"a": ["no", "yes"]}),
        TabularCPD("b", 2, [[0.9, 0.4], [0.1, 0.6]], ["a"], [2], {"b": ["x", "y"], "a": ["yes", "no"]}),
    )
    found = read_network(write_network(graph, tmp_path / "a.bif")).get_cpds("b")
    assert found.get_value(b="x", a="yes") == 0.9 and found.get_value(b="x", a="no") == 0.4


def test_a_uai_file_keeps_the_joint_and_numbers_the_names(tmp_path: Path) -> None:
    graph = odd_graph()
    found = read_network(write_network(graph, tmp_path / "mine.uai"))
    assert list(found.nodes()) == [f"var_{i}" for i in range(4)]
    places = {str(v): i for i, v in enumerate(graph.nodes())}
    for v in graph.nodes():
        cpd = found.get_cpds(f"var_{places[v]}")
        assert cpd.variables[1:] == [f"var_{places[p]}" for p in graph.get_cpds(v).variables[1:]]
        assert (cpd.values == graph.get_cpds(v).values).all()


def test_a_markov_network_keeps_its_joint(tmp_path: Path) -> None:
    graph = DiscreteMarkovNetwork([("a", "b"), ("b", "c")])
    rng = np.random.default_rng(1)
    graph.add_factors(
        DiscreteFactor(["b", "a"], [3, 2], rng.random(6)), DiscreteFactor(["b", "c"], [3, 2], rng.random(6))
    )
    found = read_network(write_network(graph, tmp_path / "m.uai"))
    assert isinstance(found, DiscreteMarkovNetwork) and found.check_model()
    ours, theirs = list(found.nodes()), list(graph.nodes())

    def joint(factors, states):
        return np.prod([f.values[tuple(states[v] for v in f.variables)] for f in factors])

    for states in product(range(2), range(3), range(2)):
        wanted = joint(graph.factors, dict(zip(("a", "b", "c"), states, strict=True)))
        named = dict(zip(("a", "b", "c"), states, strict=True))
        renamed = {u: named[v] for u, v in zip(ours, theirs, strict=True)}
        assert joint(found.factors, renamed) == pytest.approx(wanted, rel=1e-15)
    with pytest.raises(ValueError, match=r"only a \.uai file can hold"):
        write_network(graph, tmp_path / "m.bif")


# ---- the formats, by hand


def put(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_uai_by_its_specification(tmp_path: Path) -> None:
    """The example of the competition's page: the child is last in its scope, and the fastest of its table."""
    text = "BAYES\n3\n2 2 3\n3\n1 0\n2 0 1\n2 1 2\n\n2\n .436 .564\n\n4\n .128 .872\n .920 .080\n\n"
    graph = read_network(put(tmp_path, "x.uai", text + "6\n .210 .333 .457\n .811 .000 .189\n"))
    assert graph.check_model()
    np.testing.assert_array_equal(graph.get_cpds("var_1").values, [[0.128, 0.920], [0.872, 0.080]])
    np.testing.assert_array_equal(graph.get_cpds("var_2").values[:, 1], [0.811, 0, 0.189])
    assert graph.get_cpds("var_2").state_names["var_2"] == ["0", "1", "2"]
    for text in ("2 1 0 2 1", "1\n2 1 0 2 1"):
        assert read_evidence(put(tmp_path, "x.uai.evid", text), graph) == {"var_1": "0", "var_2": "1"}
    assert read_evidence(put(tmp_path, "x.uai.evid", "0\n"), graph) == {}
    with pytest.raises(ValueError, match=r"evid, line 1: the state of var_1 is '2', but a whole number of 0 to 1"):
        read_evidence(put(tmp_path, "x.uai.evid", "1 1 2"), graph)


def test_constants_and_bare_variables_of_a_markov_file(tmp_path: Path) -> None:
    graph = read_network(put(tmp_path, "x.uai", "MARKOV 3 2 2 3 2  0  2 0 1  1 7.0  4 1 2 3 4"))
    assert graph.check_model()
    found = {tuple(f.variables): f.values for f in graph.factors}
    np.testing.assert_array_equal(found["var_0", "var_1"], [[7, 14], [21, 28]])
    np.testing.assert_array_equal(found[("var_2",)], np.ones(3))
    assert graph.get_partition_function() == pytest.approx(70 * 3)


def test_bif_with_all_that_it_allows(tmp_path: Path) -> None:
    text = """network "my net" { property author = "A; B {c}"; }  // a remark
/* variable none { } */
variable  a{ type discrete[2] { "very low" high };
  property position = (1, 2); }
variable b { type discrete [ 3 ] { x, y, z }; }
variable c { type discrete [ 2 ] { x, y }; }
probability(a) { table 0.25 0.75; }
probability ( b | a ) { default 0.5, 0.25, 0.25; ("very low") 1.0 0 0; }
probability ( c | a, b ) { table 1 .9 .8 .7 .6 .5  0 .1 .2 .3 .4 .5; }
"""
    graph = read_network(put(tmp_path, "x.bif", text.replace("\n", "\r\n")))
    assert graph.name == "my net" and graph.get_cpds("a").state_names["a"] == ["very low", "high"]
    np.testing.assert_array_equal(graph.get_cpds("b").values, [[1, 0.5], [0, 0.25], [0, 0.25]])
    np.testing.assert_array_equal(graph.get_cpds("c").values[0], [[1, 0.9, 0.8], [0.7, 0.6, 0.5]])


def test_net_with_all_that_it_allows(tmp_path: Path) -> None:
    text = """net { node_size = (80 40); name = "n"; }
% node none { }
node a { label = "A; B"; states = ("yes" "no"); }
discrete node b { states = ("x" "y z"); position = (1 2); }
potential (a) { data = ( 0.5 0.5 ); }
potential (b | a) { data = (( 0.1 0.9 )  % a = yes
 ( 0.2 0.8 )); }
"""
    graph = read_network(put(tmp_path, "x.net", text))
    assert graph.name == "n" and graph.get_cpds("b").state_names["b"] == ["x", "y z"]
    np.testing.assert_array_equal(graph.get_cpds("b").values, [[0.1, 0.2], [0.9, 0.8]])


@pytest.mark.parametrize("name", ["Pedigree_11", "Promedus_30", "CSP_11"])
def test_the_competitions_files(name: str) -> None:
    folder = Path(os.environ.get("ZOO_DATA", ""), "uai2014")
    if not (folder / f"{name}.uai").is_file():
        pytest.skip(f"ZOO_DATA holds no uai2014/{name}.uai")
    graph = read_network(folder / f"{name}.uai")
    assert graph.check_model()
    cards = (folder / f"{name}.uai").read_text().split("\n")[2].split()
    assert [str(graph.get_cardinality(v)) for v in graph.nodes()] == cards
    numbers = (folder / f"{name}.uai.MAR").read_text().split()
    assert numbers[1] == str(len(graph))
    given = read_evidence(folder / f"{name}.uai.evid", graph)
    place = 2
    for v in graph.nodes():  # the published marginal of what is observed is certain of it
        count = int(numbers[place])
        marginal = list(map(float, numbers[place + 1 : place + 1 + count]))
        place += 1 + count
        assert count == graph.get_cardinality(v)
        if v in given:
            assert marginal[int(given[v])] == pytest.approx(1, abs=1e-6)


# ---- what is wrong


ASIA = """network unknown {
}
variable a {
  type discrete [ 2 ] { yes, no };
}
variable b {
  type discrete [ 2 ] { yes, no };
}
probability ( a ) {
  table 0.1, 0.9;
}
probability ( b | a ) {
  (yes) 0.2, 0.8;
  (no) 0.3, 0.7;
}
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.2, 0.8", "0.2, 0.x8", r"line 13: expected a number, not '0\.x8'"),
        ("0.2, 0.8", "0.2, 0.7", r"line 12: P\(b \| a = yes\) sums to 0\.9, not to one"),
        ("0.1, 0.9", "0.1, 0.8", r"line 9: P\(a\) sums to 0\.9"),
        ("0.2, 0.8", "0.2, 0.4, 0.4", "line 13: 'b' has 2 states, but 3 values"),
        ("0.1, 0.9", "0.1, 0.4, 0.5", "line 9: the table of 'a' has 3 values, but 2"),
        ("0.2, 0.8", "-0.2, 1.2", r"line 12: table of 'b' has the value -0\.2"),
        ("0.2, 0.8", "nan, 1.2", "line 12: table of 'b' has the value nan"),
        ("(yes) 0.2, 0.8;\n", "", r"line 12: the table of 'b' has no row for \(yes\)"),
        ("(yes) 0.2", "(no) 0.2", "line 14: the table of 'b' has this row twice"),
        ("(yes) 0.2", "(ye) 0.2", "line 13: 'a' has no state 'ye'; near: yes"),
        ("(yes) 0.2", "(yes, no) 0.2", "line 13: 'b' has 1 parents, but the row names 2"),
        ("(yes) 0.2", "yes 0.2", "line 13: expected a row or a table of 'b', not 'yes"),
        ("( b | a )", "( b | aa )", "line 12: there is no variable 'aa'; near: a"),
        ("( b | a )", "( b | b )", "line 12: table of 'b': a variable is named twice"),
        ("0.7;", "0.7", "line 14: a ';' is missing after"),
        ("0.9;\n}", "0.9;\n", r"line 9: 'probability \( a \)' is not closed"),
        ("[ 2 ] { yes, no };\n}\nvariable b", "[ 3 ] { yes, no };\n}\nvariable b", "line 4: .* 3 states, but 2"),
        ("[ 2 ] { yes, no };\n}\nvariable b", "[ 2 ] { no, no };\n}\nvariable b", "line 4: .* has a state twice"),
        ("discrete [ 2 ]", "continuous [ 2 ]", "line 4: variable 'a' is continuous"),
        ("  type discrete [ 2 ] { yes, no };", "", "line 3: variable 'a' has no type"),
        ("variable b", "variable a", "line 6: variable 'a' is declared twice"),
        ("variable b", "varable b", "line 6: 'varable' is none of network, variable, probability"),
        ("probability ( a ) {\n  table 0.1, 0.9;\n}", "", "x.bif: variable 'a' has no table"),
        ("probability ( b | a ) {", "probability ( a | b ) {", "line 12: variable 'a' has two tables"),
        ("0.7;\n}\n", "0.7;\n}\n}\n", "line 16: expected '{'"),
        ("0.7;\n}\n", "0.7;\n}\nnonsense", "line 16: expected '{' after 'nonsense'"),
    ],
)  # fmt: skip
def test_a_malformed_bif_is_named_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ASIA
    path = put(tmp_path, "x.bif", ASIA.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as error:
        read_network(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_rounded_columns_are_allowed_and_kept(tmp_path: Path) -> None:
    path = put(tmp_path, "x.bif", ASIA.replace("0.2, 0.8", "0.2004, 0.8003"))
    assert read_network(path).get_cpds("b").values[0, 0] == 0.2004
    network = BayesianNetwork.from_file(path)
    assert network.tables[1].detach().softmax(-1)[0, 0].item() == pytest.approx(0.2004 / 1.0007, abs=1e-12)


def test_a_cycle_is_named(tmp_path: Path) -> None:
    text = ASIA.replace("probability ( a ) {\n  table 0.1, 0.9;", "probability ( a | b ) {\n default 0.1, 0.9;")
    with pytest.raises(ValueError, match=r"x.bif, line (9|12): the graph has a cycle: (a -> b -> a|b -> a -> b)"):
        read_network(put(tmp_path, "x.bif", text))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.bif", " \n\n", "x.bif is empty"),
        ("x.bif", "network n { }", "x.bif: it holds no variables"),
        ("x.txt", ASIA, r"x.txt is of no known format by its name; known: .bif, .xmlbif, .xml, .net, .uai"),
        ("x.bfi", ASIA, r"no known format"),
        ("x.bif.gz", ASIA, "not a whole gzip file"),
        ("x.xmlbif", "<BIF>\n<NETWORK>\n</BIF>", "line 3: it is not well-formed XML"),
        ("x.xmlbif", "<A/>", "line 1: expected a BIF element"),
        ("x.xmlbif", "<BIF><NETWORK>\n<VARIABLE/></NETWORK></BIF>", "line 2: a VARIABLE without its NAME"),
        ("x.net", "net { }\nnode a { states = (x y); }\npotential (a) { data = (0.5\n 0.q); }", "line 4: .* not '0.q'"),
        ("x.net", "node a { states = (x y); }\npotential (a) { data = (1 0 0); }", "line 2: .* 3 values, but 2"),
        ("x.net", "utility a { }", "line 1: a utility node"),
        ("x.uai", "BAYES\n1\n2\n1\n1 0\n2 0.5\n0.x", "line 7: table 0: expected a number, not '0.x'"),
        ("x.uai", "BAYES\n1\n2\n1\n1 0\n2 0.5\n0.6", r"line 6: P\(var_0\) sums to 1.1"),
        ("x.uai", "BAYES\n1\n2\n1\n1 0\n3 0.5\n0.6", "line 6: table 0 has 3 values, but 2"),
        ("x.uai", "BAYES\n1\n2\n1\n1 1\n2 0.5\n0.6", "line 5: a variable of table 0 is '1', but .* 0 to 0"),
        ("x.uai", "BAYES\n1\n2\n1\n1 0\n2 0.5", "line 6: it ends where a value of table 0"),
        ("x.uai", "BAYES\n1\n2\n1\n1 0\n2 0.5 0.5 1", "line 6: '1' comes after the last table"),
        ("x.uai", "MARKOV\n1\n2\n1\n1 0\n2 -1 1", r"line 6: table 0 \(var_0\) has the value -1"),
        ("x.uai", "BIF", "line 1: expected BAYES or MARKOV, not 'BIF'"),
    ],
)
def test_other_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_network(put(tmp_path, name, text))


def test_a_wrong_table_of_xmlbif_is_named_with_its_line(tmp_path: Path) -> None:
    text = write_network(load_network("asia"), tmp_path / "x.xmlbif").read_text()
    line = next(i for i, found in enumerate(text.split("\n"), 1) if "<DEFINITION>" in found)
    with pytest.raises(ValueError, match=rf"line {line}: P\(asia\) sums to 1\.98"):
        read_network(put(tmp_path, "x.xmlbif", text.replace("<TABLE>0.01", "<TABLE>0.99", 1)))


def test_missing_files_and_names() -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no file 'nowhere\.bif'"):
        load_network("nowhere.bif")
    with pytest.raises(ValueError, match="pgmpy ships no network 'alarmm'; near: alarm"):
        load_network("alarmm")
    with pytest.raises(ValueError, match="there is no file"):
        read_network("folder/nowhere.net")


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.bif").write_bytes(b"network n {\n}\nvariable \xff { }")
    with pytest.raises(ValueError, match=r"x\.bif, line 3: it is not UTF-8 text"):
        read_network(tmp_path / "x.bif")


def test_what_cannot_be_written_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = put(tmp_path, "x.bif", "old")
    graph = DiscreteBayesianNetwork()
    graph.add_node("a")
    with pytest.raises(ValueError, match=r"x.bif was not written: variable 'a' has no table"):
        write_network(graph, path)
    graph.add_cpds(TabularCPD("a", 2, [[0.5], [0.5]], state_names={"a": ['say "x"', "y"]}))
    with pytest.raises(ValueError, match="quotation mark"):
        write_network(graph, path)
    assert path.read_text() == "old"
    assert_same(read_network(write_network(graph, tmp_path / "x.xmlbif")), graph)
    with pytest.raises(TypeError, match="not str"):
        write_network("asia", path)
