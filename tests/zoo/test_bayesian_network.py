"""BayesianNetwork against pgmpy's own tables, enumeration, and pgmpy's own estimator."""

from __future__ import annotations

import copy
import gzip
import math
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyro
import pytest
import torch
from pgmpy.factors.discrete import TabularCPD
from pgmpy.models import DiscreteBayesianNetwork

from zoo.base import Refusal
from zoo.bayesian_network import BayesianNetwork

torch.set_num_threads(1)


def small_graph() -> DiscreteBayesianNetwork:
    """a -> c <- b, c -> d; cards 2, 3, 2, 3. Parents are listed against the topological order on purpose."""
    graph = DiscreteBayesianNetwork([("a", "c"), ("b", "c"), ("c", "d")])
    names = {"a": ["no", "yes"], "b": ["low", "mid", "high"], "c": ["off", "on"], "d": ["x", "y", "z"]}

    def own(*variables):
        return {v: names[v] for v in variables}

    rising = np.array([[0.9, 0.8, 0.6, 0.5, 0.3, 0.0]])
    graph.add_cpds(
        TabularCPD("a", 2, [[0.3], [0.7]], state_names=own("a")),
        TabularCPD("b", 3, [[0.5], [0.3], [0.2]], state_names=own("b")),
        TabularCPD("c", 2, np.vstack([rising, 1 - rising]), ["b", "a"], [3, 2], state_names=own("c", "b", "a")),
        TabularCPD("d", 3, [[0.1, 0.6], [0.2, 0.3], [0.7, 0.1]], ["c"], [2], state_names=own("d", "c")),
    )
    return graph


@pytest.fixture
def small() -> BayesianNetwork:
    return BayesianNetwork(graph=small_graph())


@pytest.fixture(scope="module")
def asia() -> BayesianNetwork:
    return BayesianNetwork.from_name("asia")


def every_row(network: BayesianNetwork) -> torch.Tensor:
    return torch.tensor(list(product(*(range(len(network.states[v])) for v in network.variables))))


def by_pgmpy(network: BayesianNetwork, graph, rows: torch.Tensor) -> np.ndarray:
    """log p(x) of each row, asking pgmpy's own tables by state names, a value at a time."""
    values = []
    for row in rows.tolist():
        named = {v: network.states[v][code] for v, code in zip(network.variables, row, strict=True)}
        p = [
            graph.get_cpds(v).get_value(**{u: named[u] for u in graph.get_cpds(v).variables}) for v in network.variables
        ]
        values.append(math.log(math.prod(p)) if math.prod(p) > 0 else -math.inf)
    return np.array(values)


@pytest.mark.parametrize(
    "make", [lambda: BayesianNetwork(graph=small_graph()), lambda: BayesianNetwork(network="asia")]
)
def test_log_prob_is_that_of_pgmpys_tables(make) -> None:
    network = make()
    rows = every_row(network)
    found = network.log_prob(rows).detach().numpy()
    np.testing.assert_allclose(found, by_pgmpy(network, network.graph, rows), atol=1e-12)
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-12)


def test_what_it_says_of_itself(small) -> None:
    assert small.event_shape == (4,) and small.measure == "mass" and small.dtype == torch.float64
    place = {v: i for i, v in enumerate(small.variables)}
    assert all(place[u] < place[v] for u, v in small.graph.edges())
    assert BayesianNetwork(4, graph=small_graph()).event_shape == (4,)
    with pytest.raises(Refusal, match="no latent variables"):
        small.encoder(torch.zeros(1, 4))


def test_samples_have_the_frequencies_of_the_joint(small) -> None:
    torch.manual_seed(0)
    n = 100_000
    x = small.sample(n)
    assert x.shape == (n, 4) and x.dtype == torch.long
    rows = every_row(small)
    p = small.log_prob(rows).exp().detach()
    counts = (x[:, None] == rows).all(-1).double().mean(0)
    assert ((counts - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()
    assert (counts[p == 0] == 0).all()


def test_the_pyro_pair_scores_as_log_prob_does(small) -> None:
    torch.manual_seed(0)
    x = small.sample(5)
    trace = pyro.poutine.trace(small.model).get_trace(x)
    trace.compute_log_prob()
    assert torch.allclose(trace.nodes["x"]["log_prob"], small.log_prob(x))
    assert small.model(n=3).shape == (3, 4)
    assert small.distribution().expand((2, 3)).sample().shape == (2, 3, 4)


def test_gradients_reach_every_table_and_are_those_of_the_softmax(small) -> None:
    torch.manual_seed(0)
    x = small.sample(500)
    small.log_prob(x).sum().backward()
    for v, table in enumerate(small.tables):
        parents = small._layout.parents[v]
        counts = torch.zeros_like(table)
        for row in x.tolist():
            counts[(*(row[p] for p in parents), row[v])] += 1
        expected = counts - counts.sum(-1, keepdim=True) * table.softmax(-1)
        assert table.grad is not None and torch.allclose(table.grad, expected, atol=1e-9)


def test_gradient_steps_reach_the_counts() -> None:
    torch.manual_seed(0)
    x = BayesianNetwork(graph=small_graph()).sample(2_000)
    network, counted = (BayesianNetwork(graph=small_graph()) for _ in range(2))
    network.em_start(x, torch.Generator())
    counted.em_start(x, torch.Generator())
    statistics, _ = counted.expect(counted.prepare(x))
    counted.maximise(statistics)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        loss = -network.log_prob(x).mean()
        loss.backward()
        optimiser.step()
    assert loss.item() == pytest.approx(-counted.log_prob(x).mean().item(), abs=1e-3)


def test_counting_is_pgmpys_maximum_likelihood(asia) -> None:
    from pgmpy.parameter_estimator import DiscreteMLE

    torch.manual_seed(1)
    x = asia.sample(300)  # few enough that some parents' states are never seen
    network = copy.deepcopy(asia)
    network.em_start(x, torch.Generator())
    start = network.log_prob(x).sum()
    statistics, before = network.expect(network.prepare(x))
    network.maximise(statistics)
    after = network.expect(network.prepare(x))[1]
    assert before.item() == pytest.approx(start.item()) and after > before

    graph = DiscreteBayesianNetwork(list(asia.graph.edges()))
    peer = DiscreteMLE(state_names=asia.states).fit(graph, asia.decode(x).astype(str))
    for cpd in peer.parameters_:
        own = network.graph.get_cpds(cpd.variable)
        for states in product(*(asia.states[v] for v in cpd.variables)):
            named = dict(zip(cpd.variables, states, strict=True))
            assert own.get_value(**named) == pytest.approx(cpd.get_value(**named), abs=1e-12)


def test_statistics_add_over_blocks(small) -> None:
    torch.manual_seed(2)
    prepared = small.prepare(small.sample(100))
    (whole,), total = small.expect(prepared)
    parts = [small.expect(block) for block in prepared.split(33)]
    assert torch.equal(whole, sum(part[0][0] for part in parts))
    assert total.item() == pytest.approx(sum(part[1].item() for part in parts))


def test_a_pseudo_count_is_added_to_each_entry() -> None:
    network = BayesianNetwork(graph=small_graph(), pseudo_count=1.0)
    x = torch.zeros(3, 4, dtype=torch.long)
    network.maximise(network.expect(network.prepare(x))[0])
    v = network.variables.index("b")
    assert torch.allclose(network.tables[v].exp(), torch.tensor([4, 1, 1], dtype=torch.float64) / 6)


def test_the_graph_stays_in_step_and_the_users_is_left_alone() -> None:
    graph = small_graph()
    network = BayesianNetwork(graph=graph)
    before = graph.get_cpds("c").values.copy()
    with torch.no_grad():
        for table in network.tables:
            table.normal_()
    assert network.graph.check_model()
    rows = every_row(network)
    np.testing.assert_allclose(
        by_pgmpy(network, network.graph, rows), network.log_prob(rows).detach().numpy(), atol=1e-12
    )
    assert (graph.get_cpds("c").values == before).all()


def test_weights_come_back(small) -> None:
    other = BayesianNetwork(graph=small_graph())
    with torch.no_grad():
        for table in small.tables:
            table.normal_()
    other.load_state_dict(small.state_dict())
    rows = every_row(small)
    assert torch.equal(other.log_prob(rows), small.log_prob(rows))
    assert np.allclose(other.graph.get_cpds("c").values, small.graph.get_cpds("c").values)
    assert torch.equal(copy.deepcopy(small).log_prob(rows), small.log_prob(rows))


# ---- names


def test_frames_of_state_names_go_both_ways(small) -> None:
    torch.manual_seed(0)
    x = small.sample(50)
    frame = small.decode(x)
    assert list(frame.columns) == small.variables
    assert frame.loc[0, "b"] == small.states["b"][x[0, small.variables.index("b")]]
    assert torch.equal(small.encode_frame(frame), x)
    shuffled = frame.astype(str)[["d", "b", "c", "a"]].assign(extra=1)
    assert torch.equal(small.encode_frame(shuffled), x)


def test_unknown_states_and_columns_are_named(small) -> None:
    frame = small.decode(small.sample(3)).astype(object)
    wrong = frame.copy()
    wrong.loc[1, "b"] = "hgh"
    with pytest.raises(ValueError, match="row 1: 'b' has no state 'hgh'; near: high"):
        small.encode_frame(wrong)
    wrong.loc[1, "b"] = None  # a missing cell has a code, and whoever can't do without it says so
    codes = small.encode_frame(wrong)
    assert codes[1, small.variables.index("b")] == -1 == small.missing_code
    with pytest.raises(ValueError, match=r"row 1 has -1 for 'b'.*a missing cell.*drop the row"):
        small.log_prob(codes)
    with pytest.raises(ValueError, match="no column 'd'; near: dd"):
        small.encode_frame(frame.rename(columns={"d": "dd"}))
    with pytest.raises(ValueError, match="no column"):
        small.encode_frame(pd.DataFrame())


def test_codes_that_are_no_states_are_named(small) -> None:
    x = torch.zeros(3, 4, dtype=torch.long)
    b = small.variables.index("b")
    for bad in (3, -1):
        x[2, b] = bad
        with pytest.raises(ValueError, match=f"row 2 has {bad} for 'b', whose codes are 0 to 2"):
            small.log_prob(x)
    floats = torch.zeros(2, 4)
    assert torch.equal(small.log_prob(floats), small.log_prob(floats.long()))
    floats[1, 0] = 0.5
    with pytest.raises(ValueError, match=r"row 1 has 0\.5"):
        small.log_prob(floats)
    with pytest.raises(ValueError, match="of shape"):
        small.log_prob(torch.zeros(2, 5, dtype=torch.long))
    # as a distribution inside another model, what can't happen has probability zero
    assert small.distribution().log_prob(x)[2] == -math.inf


# ---- where networks come from


def test_every_way_to_the_same_network(tmp_path: Path, asia) -> None:
    import pgmpy

    shipped = Path(pgmpy.__file__).parent / "utils" / "example_models" / "asia.bif.gz"
    plain = tmp_path / "mine.bif"
    plain.write_bytes(gzip.decompress(shipped.read_bytes()))
    x = asia.sample(20)
    for network in (
        BayesianNetwork(8, network="asia"),
        BayesianNetwork.from_bif(plain),
        BayesianNetwork.from_bif(shipped),
        BayesianNetwork(network=str(plain)),
    ):
        assert network.variables == asia.variables and network.states == asia.states
        assert torch.equal(network.log_prob(x), asia.log_prob(x))


def without_a_table() -> DiscreteBayesianNetwork:
    graph = small_graph()
    graph.remove_cpds(graph.get_cpds("d"))
    return graph


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "needs one of network"),
        ({"network": "asia", "graph": small_graph()}, ValueError, "needs one of network"),
        ({"network": "asiaa"}, ValueError, "pgmpy ships no network 'asiaa'; near: asia"),
        ({"network": "nowhere.bif"}, ValueError, r"no file 'nowhere\.bif'"),
        ({"graph": "asia"}, TypeError, "pgmpy DiscreteBayesianNetwork, not str"),
        ({"graph": without_a_table()}, ValueError, "variable 'd' of the graph has no table"),
        ({"graph": DiscreteBayesianNetwork()}, ValueError, "no variables"),
        ({"event_shape": 5, "graph": small_graph()}, ValueError, "has 4 variables, but event_shape is 5"),
        ({"context_shape": 2, "graph": small_graph()}, ValueError, "takes no context"),
        ({"pseudo_count": -1.0, "graph": small_graph()}, ValueError, "pseudo_count must be at least 0"),
    ],
)
def test_what_is_no_network_is_refused(options, error, message) -> None:
    with pytest.raises(error, match=message):
        BayesianNetwork(**options)


def test_a_larger_network_is_exact_too() -> None:
    torch.manual_seed(0)
    alarm = BayesianNetwork.from_name("alarm")
    x = alarm.sample(20)
    np.testing.assert_allclose(alarm.log_prob(x).detach().numpy(), by_pgmpy(alarm, alarm.graph, x), atol=1e-10)
