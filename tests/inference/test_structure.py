"""Learned structures against the networks that rows came from, a tree by hand, and pgmpy's own scores."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import mutual_info_score

from inference import PC, TAN, ChowLiu, HillClimb, learn_structure, query
from inference.columns import read_columns
from inference.scores import SCORES, mutual_information
from zoo import BayesianNetwork


def rows(name: str, n: int, seed: int = 0) -> tuple[BayesianNetwork, pd.DataFrame]:
    network = BayesianNetwork.from_name(name)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return network, network.decode(network.sample(n))


def skeleton(graph) -> set[frozenset]:
    return {frozenset(edge) for edge in graph.edges()}


ASIA, FRAME = rows("asia", 20_000)


def test_cancer_is_recovered_with_the_arrows_into_its_collider() -> None:
    network, frame = rows("cancer", 50_000)
    graph = learn_structure(frame, PC())
    assert skeleton(graph) == skeleton(network.graph)
    assert {("Pollution", "Cancer"), ("Smoker", "Cancer")} <= set(graph.edges())
    assert skeleton(learn_structure(frame)) == skeleton(network.graph)


def test_asia_is_recovered_by_pc() -> None:
    assert skeleton(learn_structure(FRAME, PC())) == skeleton(ASIA.graph)


@pytest.mark.parametrize("score", list(SCORES))
def test_hill_climbing_finds_asia_but_for_what_its_certain_node_hides(score) -> None:
    found, true = skeleton(learn_structure(FRAME, HillClimb(score, max_parents=3))), skeleton(ASIA.graph)
    # "either" is determined by its parents, so "dysp" may as well hang on those
    assert true - found <= {frozenset(("either", "dysp"))}
    assert len(found - true) <= 6


def test_alarm_by_bic() -> None:
    network, frame = rows("alarm", 10_000)
    found, true = skeleton(learn_structure(frame)), skeleton(network.graph)
    assert len(found & true) >= 43 and len(found - true) <= 10  # of 46


def bic(graph, frame: pd.DataFrame) -> float:
    columns = read_columns(frame)
    place = {v: i for i, v in enumerate(columns.names)}
    counts = (columns.counts(place[v], [place[u] for u in graph.predecessors(v)]) for v in graph.nodes())
    return sum(SCORES["bic"](each, len(frame)) for each in counts)


def test_restarts_only_gain_and_keep_to_the_parents_allowed() -> None:
    scores = [bic(learn_structure(FRAME, HillClimb(restarts=n, seed=1)), FRAME) for n in (0, 2, 20)]
    assert scores[0] <= scores[1] <= scores[2] and scores[0] < scores[2]
    narrow = learn_structure(FRAME, HillClimb("aic", max_parents=2, restarts=20))
    assert max(dict(narrow.in_degree()).values()) == 2
    assert scores[2] > bic(ASIA.graph, FRAME) - 30


def test_no_single_edge_added_or_removed_gains_by_pgmpys_score() -> None:
    from pgmpy.structure_score import BIC

    score = BIC(FRAME.astype(str))
    graph = learn_structure(FRAME)
    for a, b in itertools.permutations(FRAME.columns, 2):
        parents = tuple(graph.predecessors(b))
        here = score.local_score(b, parents)
        if a in parents:
            assert score.local_score(b, tuple(p for p in parents if p != a)) <= here + 1e-3
        elif b not in nx.ancestors(graph, a):
            assert score.local_score(b, (*parents, a)) <= here + 1e-3


@pytest.mark.parametrize("score", list(SCORES))
def test_scores_are_pgmpys(score) -> None:
    from pgmpy.structure_score import AIC, BIC, K2, BDeu

    columns = read_columns(FRAME.iloc[:300])
    theirs = {"bic": BIC, "aic": AIC, "bdeu": BDeu, "k2": K2}[score]
    names = {v: list(states) for v, states in zip(columns.names, columns.states, strict=True)}
    told = theirs(FRAME.iloc[:300].astype(str), state_names=names)
    for v, parents in (("dysp", ()), ("dysp", ("bronc",)), ("xray", ("either", "smoke", "tub"))):
        counts = columns.counts(columns.names.index(v), [columns.names.index(p) for p in parents])
        assert SCORES[score](counts, 300) == pytest.approx(told.local_score(v, parents), rel=1e-10)


def test_chow_liu_is_the_maximum_spanning_tree_of_mutual_information() -> None:
    # rows in which every pair has its own information, so that the tree is one
    weights = {}
    for a, b in itertools.combinations(FRAME.columns, 2):
        joint = pd.crosstab(FRAME[a], FRAME[b]).to_numpy() / len(FRAME)
        apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        weights[a, b] = float(np.sum(joint[joint > 0] * np.log(joint[joint > 0] / apart[joint > 0])))
        codes = (FRAME[a].cat.codes.to_numpy().astype(int), FRAME[b].cat.codes.to_numpy().astype(int))
        assert mutual_information(*codes) == pytest.approx(weights[a, b], abs=1e-12)
        assert mutual_information(*codes) == pytest.approx(mutual_info_score(*codes), abs=1e-12)
    # Kruskal's rule by hand: the next heaviest edge that closes no circle
    tree, part = set(), {v: {v} for v in FRAME.columns}
    for (a, b), _ in sorted(weights.items(), key=lambda item: -item[1]):
        if part[a] is not part[b]:
            tree.add(frozenset((a, b)))
            union = part[a] | part[b]
            part.update(dict.fromkeys(union, union))
    graph = learn_structure(FRAME, ChowLiu(root="smoke"))
    assert skeleton(graph) == tree
    assert dict(graph.in_degree()) == {v: int(v != "smoke") for v in FRAME.columns}
    assert skeleton(learn_structure(FRAME, ChowLiu())) == tree


def test_a_tree_keeps_variables_that_tell_nothing() -> None:
    frame = pd.DataFrame({"a": ["x", "y"] * 50, "b": ["x", "x", "y", "y"] * 25, "same": ["s"] * 100})
    for method in (ChowLiu(), ChowLiu("same"), TAN("a"), HillClimb(), HillClimb("k2")):
        assert set(learn_structure(frame, method).nodes()) == {"a", "b", "same"}
    assert not learn_structure(frame, HillClimb()).edges()


@pytest.mark.parametrize("label", ["lung", "asia", "either"])
def test_tans_label_is_a_parent_of_all_and_the_rest_is_a_tree(label) -> None:
    graph = learn_structure(FRAME, TAN(label))
    others = [v for v in FRAME.columns if v != label]
    assert set(graph.successors(label)) == set(others) and not list(graph.predecessors(label))
    rest = nx.Graph(graph.subgraph(others).edges())
    assert nx.is_tree(rest) and set(rest) == set(others)
    # the heaviest of all trees by I(u; v | label), which is a sum over the label's states
    weighed = nx.Graph()
    for a, b in itertools.combinations(others, 2):
        parts = [(len(part) / len(FRAME), part) for _, part in FRAME.groupby(label, observed=True)]
        weighed.add_edge(a, b, weight=sum(w * mutual_info_score(part[a], part[b]) for w, part in parts))
    heaviest = nx.maximum_spanning_tree(weighed).size("weight")
    assert sum(weighed[a][b]["weight"] for a, b in rest.edges()) == pytest.approx(heaviest, rel=1e-9)


def test_tables_are_counts() -> None:
    frame = pd.DataFrame({"a": list("xxxxyyyyyy"), "b": [3, 3, 3, 12, 12, 12, 12, 12, 12, 3]})
    graph = learn_structure(frame, ChowLiu("a"), pseudo_count=0.5)
    table = graph.get_cpds("b")
    assert table.state_names == {"b": [3, 12], "a": ["x", "y"]}
    np.testing.assert_allclose(table.values, [[3.5 / 5, 1.5 / 7], [1.5 / 5, 5.5 / 7]])
    bare = learn_structure(frame, ChowLiu("a"), pseudo_count=0)
    np.testing.assert_allclose(bare.get_cpds("a").values, [0.4, 0.6])


def test_states_that_no_row_has_are_kept_and_a_configuration_never_seen_is_uniform() -> None:
    frame = pd.DataFrame({"a": pd.Categorical(list("xxyy"), list("xyz")), "b": list("uvuv")})
    graph = learn_structure(frame, ChowLiu("a"), pseudo_count=0)
    np.testing.assert_allclose(graph.get_cpds("a").values, [0.5, 0.5, 0])
    np.testing.assert_allclose(graph.get_cpds("b").values[:, 2], [0.5, 0.5])


def test_codes_give_what_names_give() -> None:
    codes = ASIA.encode_frame(FRAME)
    named = learn_structure(codes, names={v: ASIA.states[v] for v in ASIA.variables})
    assert set(named.edges()) == set(learn_structure(FRAME[ASIA.variables]).edges())
    assert named.get_cpds("lung") == learn_structure(FRAME[ASIA.variables]).get_cpds("lung")
    plain = learn_structure(codes, ChowLiu(), names=ASIA.variables)
    assert plain.get_cpds("smoke").state_names["smoke"] == [0, 1]


def test_what_is_learned_can_be_asked_and_built_upon() -> None:
    graph = learn_structure(FRAME, TAN("lung"))
    answer = query(graph, "lung", given={"smoke": "yes"})["lung"]
    counted = (FRAME[FRAME.smoke == "yes"].lung == "yes").mean()
    assert float(answer.sel(lung="yes")) == pytest.approx(counted, abs=5e-3)
    assert BayesianNetwork(graph=graph).log_prob(BayesianNetwork(graph=graph).encode_frame(FRAME[:5])).isfinite().all()


def test_the_same_rows_give_the_same_network_in_any_process() -> None:
    code = (
        "import numpy as np, pandas as pd; from inference import PC, HillClimb, learn_structure;"
        "r = np.random.default_rng(0); a = r.integers(0, 2, (2000, 6)); a[:, 1:] ^= a[:, :-1] & a[:, :1];"
        "f = pd.DataFrame(a, columns=[*'fedcba']);"
        "print([sorted(learn_structure(f, m).edges()) for m in (HillClimb(), HillClimb('k2', restarts=1), PC())])"
    )
    root = Path(__file__).parents[2]
    told = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1 and "(" in told.pop()


def test_it_is_silent_where_the_output_is_no_terminal(capfd) -> None:
    for method in (HillClimb(), PC(), ChowLiu(), TAN("lung")):
        learn_structure(FRAME[:500], method)
    out, err = capfd.readouterr()
    assert not out and not err


HOLED = FRAME[:10].astype(object)
HOLED.iloc[3, 2] = None


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (HOLED, {}, rf"row 3 lacks '{FRAME.columns[2]}' \(1 of 80 cells are missing\).*dropna"),
        (FRAME[:0], {}, "no rows"),
        (FRAME[[]], {}, "no columns|no rows"),
        (FRAME[:1], {}, "2 rows or more"),
        (FRAME.assign(lung=np.linspace(0, 1, len(FRAME))), {}, "column 'lung' has 20000 different values.*pandas.cut"),
        (FRAME[["lung", "lung"]], {}, "more than one column 'lung'"),
        (FRAME, {"names": ["a"]}, "names= are for codes"),
        (FRAME, {"method": TAN("lugn")}, "no column 'lugn' for the label; near: lung"),
        (FRAME, {"method": ChowLiu("smok")}, "no column 'smok' for the root; near: smoke"),
        (FRAME[["lung"]], {"method": TAN("lung")}, "no column but the label"),
        (FRAME, {"pseudo_count": -1}, "pseudo_count must be at least 0"),
        (FRAME, {"pseudo_count": float("nan")}, "pseudo_count must be at least 0"),
        (torch.zeros(3, 2, dtype=torch.long), {}, "need names="),
        (torch.zeros(3, 2, dtype=torch.long), {"names": ["a"]}, "need names=, 2 different ones"),
        (torch.zeros(3), {"names": ["a"]}, r"must be \[rows, variables\]"),
        (torch.tensor([[0, -1], [0, 0]]), {"names": ["a", "b"]}, "row 0 has no code for 'b'"),
        (torch.tensor([[0, 0.5], [0, 0]]), {"names": ["a", "b"]}, "whole numbers"),
        (
            torch.tensor([[0, 2], [0, 0]]),
            {"names": {"a": "xy", "b": "xy"}},
            "row 0 has the code 2 for 'b', which has 2",
        ),
    ],
)
def test_what_cannot_be_learned_from(data, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        learn_structure(data, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HillClimb("bics"), "score must be one of bic, aic, bdeu, k2, not 'bics'; near: bic"),
        (lambda: HillClimb(max_parents=0), "max_parents must be a whole number of at least 1"),
        (lambda: HillClimb(max_parents=1.5), "max_parents must be a whole number"),
        (lambda: HillClimb(restarts=-1), "restarts must be a whole number of at least 0"),
        (lambda: PC(significance=1), "significance must lie between 0 and 1"),
        (lambda: PC(max_given=-1), "max_given must be"),
        (lambda: TAN("lung", root="lung"), "'lung' is the label"),
    ],
)
def test_methods_check_their_parameters(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_no_method_or_no_data() -> None:
    for method in ("pc", PC):
        with pytest.raises(TypeError, match=r"must be one of HillClimb\(\), PC\(\), ChowLiu\(\) and TAN"):
            learn_structure(FRAME, method)
    with pytest.raises(TypeError, match="a DataFrame of states or a tensor of codes, not a list"):
        learn_structure([[0, 1]])


def test_a_table_too_large_to_count_is_refused() -> None:
    from inference.columns import counted

    codes = np.tile(np.arange(200)[:, None], (1, 5))
    columns = read_columns(codes, names=list("abcde"))
    with pytest.raises(ValueError, match="'e' got 4 parents, so a table of 320,000,000,000 entries"):
        counted(columns, [(u, 4) for u in range(4)], 1.0)


def test_tests_that_contradict_each_other_are_told() -> None:
    rng = np.random.default_rng(678)
    codes = rng.integers(0, 2, (60, 7))
    for v in range(1, 7):
        copied = rng.random(60) < 0.6
        codes[copied, v] = codes[copied, rng.integers(0, v)]
    with pytest.raises(ValueError, match=r"the tests at significance 0\.45 contradict each other.*cycle"):
        learn_structure(codes, PC(0.45), names=list("abcdefg"))
