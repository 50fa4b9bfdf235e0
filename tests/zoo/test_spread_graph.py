"""Graphs from all forms people have them in, and what is said of those that are none."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.spread import ChangingGraph, Graph

PAIRS = [("a", "b"), ("b", "c"), ("a", "d"), ("d", "a"), ("c", "c")]
NUMBERED = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=15)


def edges(graph: Graph) -> dict:
    """(a, b) -> weight, by labels, in the order of the rows."""
    weights = [1.0] * len(graph.indices) if graph.weights is None else graph.weights.tolist()
    ends = zip(graph.sources.tolist(), graph.indices.tolist(), strict=True)
    return {(graph.nodes[a], graph.nodes[b]): w for (a, b), w in zip(ends, weights, strict=True)}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta:UserWarning")
@settings(max_examples=25, deadline=None)
@given(NUMBERED, st.booleans())
def test_every_form_gives_the_same_graph(pairs, directed):
    pairs = [(a, b) for a, b in pairs if a != b] or [(0, 1)]
    peer = nx.DiGraph() if directed else nx.Graph()
    peer.add_nodes_from(range(7))
    peer.add_edges_from(pairs)
    adjacency = nx.to_scipy_sparse_array(peer, dtype=float)
    dense = torch.from_numpy(adjacency.toarray())
    truth = {(a, b): 1.0 for a in range(7) for b in range(7) if peer.has_edge(a, b)}
    options = {"directed": directed, "nodes": range(7)}
    for graph in (
        Graph.of(peer),
        Graph.of(pairs, **options),
        Graph.of(np.array(pairs), **options),
        Graph.of(np.array(pairs, dtype=float), **options),
        Graph.of(torch.tensor(pairs), **options),
        Graph.of(adjacency, directed=directed),
        Graph.of(scipy.sparse.csc_matrix(adjacency), directed=directed),
        Graph.of(dense.to_sparse(), directed=directed),
        Graph.of(dense.to_sparse_csr(), directed=directed),
    ):
        assert edges(graph) == truth and graph.weights is None and graph.n == 7
        assert graph.indptr.dtype == graph.indices.dtype == torch.int64
        assert list(edges(graph)) == sorted(truth), "rows in order"
        assert nx.utils.graphs_equal(graph.to_networkx(), peer)


def test_names_loops_and_edges_told_twice():
    graph = Graph.of(PAIRS)
    assert graph.nodes == ["a", "b", "c", "d"] and repr(graph) == "Graph of 4 nodes and 3 edges"
    assert set(edges(graph)) == {(x, y) for a, b in (("a", "b"), ("b", "c"), ("a", "d")) for x, y in ((a, b), (b, a))}
    assert list(edges(Graph.of(PAIRS, directed=True))) == [("a", "b"), ("a", "d"), ("b", "c"), ("d", "a")]
    assert Graph.of([((0, 1), (0, 2))]).nodes == [(0, 1), (0, 2)], "tuples are labels too"
    assert Graph.of([(7, 40), (40, 12)]).nodes == [7, 12, 40]


def test_all_nodes_keep_the_order_given():
    graph = Graph.of(PAIRS, nodes=["z", "d", "c", "b", "a"])
    assert graph.n == 5 and graph.index(["a", "z"]).tolist() == [4, 0]
    assert Graph.of(nx.path_graph(2), nodes=[1, 5, 0]).indptr.tolist() == [0, 1, 1, 2]
    assert Graph.of([], nodes=["a"]).n == 1 and Graph.of([]).n == 0


def test_weights():
    assert edges(Graph.of(PAIRS[:2], weights=[2, 0.5])) == {
        ("a", "b"): 2.0, ("b", "a"): 2.0, ("b", "c"): 0.5, ("c", "b"): 0.5,
    }  # fmt: skip
    peer = nx.Graph([(0, 1, {"hours": 3.0})])
    assert edges(Graph.of(peer, weights="hours")) == {(0, 1): 3.0, (1, 0): 3.0}
    assert Graph.of(peer).weights is None
    assert edges(Graph.of(np.array([[0, 1]]), weights=[4], directed=True).scaled(0.5)) == {(0, 1): 2.0}
    matrix = scipy.sparse.csr_array(np.array([[0, 2.0], [0, 0]]))
    assert edges(Graph.of(matrix, directed=True)) == {(0, 1): 2.0}
    assert edges(Graph.of(PAIRS[2:4], weights=[3, 3])) == {("a", "d"): 3.0, ("d", "a"): 3.0}


def test_graphs_made_of_a_graph():
    graph = Graph.of([(0, 1), (1, 2), (2, 0), (0, 2)], weights=[1, 2, 3, 4], directed=True)
    assert edges(graph.reversed()) == {(1, 0): 1.0, (2, 1): 2.0, (0, 2): 3.0, (2, 0): 4.0}
    assert edges(graph.reversed().reversed()) == edges(graph)
    assert edges(graph.without_nodes([1])) == {(2, 0): 3.0, (0, 2): 4.0}
    assert edges(graph.without_edges([(2, 0)])) == {(0, 1): 1.0, (1, 2): 2.0, (0, 2): 4.0}
    both = Graph.of([(0, 1), (1, 2)])
    assert set(edges(both.without_edges([(1, 0)]))) == {(1, 2), (2, 1)}
    assert both.without_edges([]).n == 3 and len(both.without_edges([]).indices) == 4
    assert both.reversed() is both
    assert edges(both.scaled(0.0)) == dict.fromkeys(edges(both), 0.0)


def test_a_graph_that_changes():
    first, then = Graph.of([(0, 1)], nodes=range(3)), Graph.of([(1, 2), (0, 1)])
    graph = ChangingGraph([(0, first), (4, then)])
    assert [graph.at(step) is first for step in (0, 3, 4, 9)] == [True, True, False, False]
    assert graph.n == 3 and graph.index([2]).tolist() == [2]
    assert len(graph.without_nodes([0]).at(5).indices) == 2 and len(graph.without_nodes([0]).at(0).indices) == 0
    cut = graph.without_edges([(1, 2)])
    assert len(cut.at(0).indices) == 2 and len(cut.at(4).indices) == 2
    assert graph.scaled(2).at(4).weights.tolist() == [2.0] * 4 and graph.reversed().at(0).n == 3


FILES = {
    "blanks": "# a comment\n% another\n\n0 1\n1\t2\n\n2  3\n",
    "commas": "0,1\n1, 2\n2,3\n",
    "weights": "0 1 1\n1 2 1.0\n2 3 1e0\n",
    "twice": "0 1\n1 0\n1 2\n2 3\n3 3\n",
    "no last newline": "0 1\n1 2\n2 3",
}


@pytest.mark.parametrize("what", FILES)
def test_files(what, tmp_path):
    file = tmp_path / "edges.txt"
    file.write_text(FILES[what])
    assert edges(Graph.read(file)) == dict.fromkeys(edges(Graph.of([(0, 1), (1, 2), (2, 3)])), 1.0)


def test_files_of_names_and_weights(tmp_path):
    file = tmp_path / "edges.csv"
    file.write_text("NA, null, 2.5\nnull, bob, 1\n")
    graph = Graph.read(file, directed=True)
    assert edges(graph) == {("NA", "null"): 2.5, ("null", "bob"): 1.0}
    file.write_text("-3 5\n5 900000000000\n")
    assert Graph.read(str(file), nodes=[5, -3, 900000000000, 1]).indptr.tolist() == [0, 2, 3, 4, 4]


def test_a_long_file_at_once(tmp_path):
    ends = np.random.default_rng(0).integers(0, 50_000, (200_000, 2))
    file = tmp_path / "edges.txt"
    file.write_text("\n".join(f"{a} {b}" for a, b in ends.tolist()))
    read, made = Graph.read(file, nodes=range(50_000)), Graph.of(ends, nodes=range(50_000))
    assert torch.equal(read.indptr, made.indptr) and torch.equal(read.indices, made.indices)


WRONG_FILES = {
    "text among numbers": ("# x\n1 2\n3 4\n\nx y\n", r"line 5 \('x y'\) has text where other lines have whole numbers"),
    "a heading": ("source,target\n1,2\n2,3\n", r"line 1 \('source target'\) has text"),
    "a number among names": ("a b\nb c\n1 d\n", r"line 3 \('1 d'\) has a number where other lines have names"),
    "one field": ("1 2\n3\n", r"line 2 \('3'\) is no edge: the first line has 2 fields"),
    "to nowhere": ("1,2\n3,\n", r"line 2 \('3 '\) is no edge"),
    "a field more": ("1 2\n3 4 5\n", r"line 2 \('3 4 5'\) is no edge"),
    "four fields": ("1 2 3 4\n", "line 1 is '1 2 3 4': an edge is two labels"),
    "a weight that is text": ("a b 1\nb c x\n", r"line 2 \('b c x'\) has a weight that is not a number"),
    "a weight that is nan": ("1 2 3\n2 3 nan\n", r"line 2 \('2 3 nan'\) has a weight that is not a number"),
    "a weight that is missing": ("a,b,1\nb,c,\n", r"line 2 \('b c '\) is no edge"),
    "a negative weight": ("1 2 3\n2 3 -3\n", "the weight of the edge 2 - 3 is -3"),
    "a fraction": ("1 2\n2.5 3\n", r"line 2 \('2.5 3'\)"),
    "a number too large": ("1 2\n2 99999999999999999999\n", "neither names nor whole numbers of 64 bits"),
    "nothing": ("# only\n", "has no edges"),
}


@pytest.mark.parametrize("what", WRONG_FILES)
def test_a_line_that_is_wrong_is_named(what, tmp_path):
    text, message = WRONG_FILES[what]
    file = tmp_path / "edges.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        Graph.read(file)


def test_a_file_with_unknown_nodes(tmp_path):
    file = tmp_path / "edges.txt"
    file.write_text("1 2\n2 7\n")
    with pytest.raises(ValueError, match=r"the edge 2 - 7 \(number 1\) names 7, which is not among the 3 nodes"):
        Graph.read(file, nodes=range(3))


PATH = Graph.of([("ann", "bob"), ("bob", "cy")])
WRONG = {
    "an unknown node": (lambda: Graph.of(PAIRS, nodes="abc"), r"'a' - 'd' \(number 2\) names 'd', .* the 3 nodes"),
    "an unknown number": (lambda: Graph.of([(0, 3)], nodes=range(3)), "names 3, which is not among the 3 nodes"),
    "a near name": (lambda: Graph.of([("ann", "bobb")], nodes=["ann", "bob"]), "did you mean bob"),
    "a node given twice": (lambda: Graph.of([(0, 1)], nodes=[1, 0, 1]), "the node 1 is given twice"),
    "nowhere": (lambda: Graph.of([(0, 1), (0, None)]), "edge 1 goes from 0 to None: an edge needs two nodes"),
    "NaN": (lambda: Graph.of(np.array([[0, np.nan]])), "edge 0 goes from 0.0 to nan"),
    "one end": (lambda: Graph.of([(0, 1), (2,)]), r"edge 1 is \(2,\), and not a pair"),
    "three": (lambda: Graph.of([(0, 1, 2)]), "not a pair of nodes"),
    "a fraction": (lambda: Graph.of(np.array([[0, 1.5]])), "whole numbers or names"),
    "another shape": (lambda: Graph.of(np.zeros((2, 5), int)), r"edges are an array \[E, 2\], not \[2, 5\]"),
    "a negative weight": (lambda: Graph.of(PAIRS[:1], weights=[-1]), "the weight of the edge 'a' - 'b' is -1"),
    "no weight": (lambda: Graph.of(PAIRS[:1], weights=[np.nan]), "is nan, and not a number"),
    "other weights": (lambda: Graph.of(PAIRS, weights=[1]), r"5 edges have a weight each, \[5\], not \[1\]"),
    "two weights": (lambda: Graph.of(PAIRS[2:4], weights=[1, 2]), "told with two different weights"),
    "no such attribute": (lambda: Graph.of(nx.path_graph(2), weights="w"), "the edge 0 - 1 has no 'w'"),
    "one way": (lambda: Graph.of(scipy.sparse.csr_array(np.eye(3, k=1))), "not symmetric at .* directed=True"),
    "not square": (lambda: Graph.of(scipy.sparse.csr_array((2, 3))), r"square matrix, not \[2, 3\]"),
    "weights of an adjacency": (lambda: Graph.of(scipy.sparse.eye_array(2), weights=[1]), "are its weights"),
    "no label": (lambda: PATH.index(["bobb"]), "no node 'bobb'; did you mean bob"),
    "a label alone": (lambda: PATH.index("ann"), "as a list"),
    "no node": (lambda: PATH.without_nodes(["dan"]), "no node 'dan'"),
    "no edge": (lambda: PATH.without_edges([("ann", "cy")]), "no edge 'ann' - 'cy'"),
    "no edge ever": (lambda: ChangingGraph([(0, PATH)]).without_edges([("ann", "cy")]), "no part .* 'ann' - 'cy'"),
    "a factor": (lambda: PATH.scaled(-0.5), "from 0 on, not -0.5"),
    "a beginning": (lambda: ChangingGraph([(1, PATH)]), r"begins at step 0, .* not \[1\]"),
    "steps": (lambda: ChangingGraph([(0, PATH), (5, PATH), (5, PATH)]), "its steps go up"),
    "text among numbers": (lambda: Graph.of([(0, 1), (2, "x")]), r"2 - 'x' \(number 1\) has text, 'x', .* give nodes="),
    "a weight that is text": (lambda: Graph.of(PAIRS[:2], weights=[1, "x"]), "weight of the edge .* is 'x', and not"),
    "a negative attribute": (
        lambda: Graph.of(nx.Graph([("ann", "bob", {"w": -1})]), weights="w"),
        "the weight of the edge 'ann' - 'bob' is -1",
    ),
    "other nodes": (lambda: ChangingGraph([(0, PATH), (5, Graph.of([(0, 1)]))]), "from step 5 on has other nodes"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said(what):
    do, message = WRONG[what]
    with pytest.raises(ValueError, match=message):
        do()


def test_what_is_no_graph():
    for given_ in ("facebook.txt", 5, None, {"ann": ["bob"]}):
        with pytest.raises(TypeError, match="edges are pairs of nodes, a networkx graph or a sparse adjacency"):
            Graph.of(given_)
    with pytest.raises(TypeError, match=r"edge 0 is .*: nodes are numbers, names"):
        Graph.of([([0], [1])])


@pytest.mark.parametrize("weights", ["w", {(0, 1): 1.0}, 2.0])
def test_what_is_no_list_of_weights(weights):
    with pytest.raises(TypeError, match="weights are a list with a number for each edge"):
        Graph.of([(0, 1)], weights=weights)


def test_text_among_numbers_that_is_meant():
    assert Graph.of([(0, "x")], nodes=[0, "x"]).n == 2 and Graph.of(nx.Graph([(0, "x")])).n == 2
