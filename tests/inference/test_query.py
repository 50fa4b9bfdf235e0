"""query against truth: enumeration, the truncated factorisation, a conjugate posterior."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from inference.query import Answer, query
from zoo.bayesian_network import BayesianNetwork
from zoo.hidden_markov import HiddenMarkov

torch.set_num_threads(1)


# ---- a network by hand: variable i has `cards[i]` states, `parents[i]` before it, `tables[i]` [*parents, states]


@dataclass
class Net:
    cards: list[int]
    parents: list[list[int]]
    tables: list[np.ndarray]

    def joint(self, do: dict[int, int] | None = None) -> np.ndarray:
        """The product of the tables over every row, those of what is set replaced by certainty."""
        joint = np.ones(self.cards)
        for index in np.ndindex(*self.cards):
            for v, above in enumerate(self.parents):
                if do and v in do:
                    joint[index] *= float(index[v] == do[v])
                else:
                    joint[index] *= self.tables[v][(*(index[p] for p in above), index[v])]
        return joint

    def graph(self):
        from pgmpy.factors.discrete import TabularCPD
        from pgmpy.models import DiscreteBayesianNetwork

        graph = DiscreteBayesianNetwork()
        graph.add_nodes_from([f"v{i}" for i in range(len(self.cards))])
        graph.add_edges_from([(f"v{p}", f"v{i}") for i, above in enumerate(self.parents) for p in above])
        for i, above in enumerate(self.parents):
            names = {f"v{j}": [f"s{k}" for k in range(self.cards[j])] for j in (i, *above)}
            values = self.tables[i].reshape(-1, self.cards[i]).T
            evidence = {"evidence": [f"v{p}" for p in above], "evidence_card": [self.cards[p] for p in above]}
            graph.add_cpds(TabularCPD(f"v{i}", self.cards[i], values, **(evidence if above else {}), state_names=names))
        return graph


@st.composite
def nets(draw) -> Net:
    n = draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cards = [draw(st.integers(2, 3)) for _ in range(n)]
    parents = [sorted(draw(st.sets(st.integers(0, i - 1), max_size=3))) if i else [] for i in range(n)]
    tables = []
    for i, above in enumerate(parents):
        table = rng.dirichlet(np.ones(cards[i]), size=[cards[p] for p in above])
        if draw(st.booleans()):  # rows that are certain, as in a logical gate
            table[..., -1] *= rng.random(table.shape[:-1]) < 0.5
            table /= table.sum(-1, keepdims=True)
        tables.append(table)
    return Net(cards, parents, tables)


def condition(joint: np.ndarray, evidence: dict[int, int]) -> tuple[np.ndarray, float]:
    mask = np.zeros_like(joint)
    mask[tuple(evidence.get(i, slice(None)) for i in range(joint.ndim))] = 1
    held = joint * mask
    return held / max(held.sum(), 1e-300), held.sum()


def marginal(joint: np.ndarray, *keep: int) -> np.ndarray:
    kept = joint.sum(tuple(i for i in range(joint.ndim) if i not in keep))
    return kept.transpose(np.argsort(np.argsort(keep)))


@settings(max_examples=100, deadline=None)
@given(nets(), st.data())
def test_random_networks_equal_enumeration(net: Net, data) -> None:
    n = len(net.cards)
    roles = data.draw(st.lists(st.sampled_from(["free", "given", "do"]), min_size=n, max_size=n))
    target = data.draw(st.integers(0, n - 1))
    value = [data.draw(st.integers(0, card - 1)) for card in net.cards]
    evidence = {i: value[i] for i in range(n) if roles[i] == "given" and i != target}
    do = {i: value[i] for i in range(n) if roles[i] == "do" and i != target}
    truth, p = condition(net.joint(do), evidence)
    asked = {"given": {f"v{i}": f"s{s}" for i, s in evidence.items()}, "do": {f"v{i}": s for i, s in do.items()}}
    if p == 0:
        with pytest.raises(ValueError, match="probability zero"):
            query(net.graph(), f"v{target}", **asked)
        return
    free = [i for i in range(n) if i not in evidence and i not in do]
    pair = (free[-1], free[0]) if len(free) > 1 else (target,)
    names = tuple(f"v{i}" for i in pair)
    answer = query(net.graph(), [f"v{target}", names], **asked)
    np.testing.assert_allclose(answer[f"v{target}"].values, marginal(truth, target), atol=1e-10)
    assert answer[names].dims == names
    np.testing.assert_allclose(answer[names].values, marginal(truth, *pair), atol=1e-10)
    assert answer.log_evidence == pytest.approx(math.log(p), abs=1e-10)


@pytest.fixture(scope="module")
def asia() -> BayesianNetwork:
    return BayesianNetwork.from_name("asia")


@pytest.fixture(scope="module")
def asia_net(asia) -> Net:
    """asia read from pgmpy's own CPDs into plain arrays."""
    place = {v: i for i, v in enumerate(asia.variables)}
    cpds = [asia.graph.get_cpds(v) for v in asia.variables]
    parents = [[place[p] for p in cpd.variables[1:]] for cpd in cpds]
    return Net([2] * 8, parents, [np.moveaxis(cpd.values, 0, -1) for cpd in cpds])


EVIDENCE = [
    ({}, {}),
    ({"smoke": "yes"}, {}),
    ({"dysp": "yes", "xray": "yes", "asia": "yes"}, {}),
    ({"either": "no", "dysp": "yes"}, {}),
    ({"tub": "no", "lung": "yes", "smoke": "no", "bronc": "yes"}, {}),
    ({}, {"smoke": "yes"}),
    ({"dysp": "yes"}, {"either": "yes"}),
    ({"xray": "yes", "smoke": "no"}, {"bronc": "no", "tub": "yes"}),
]


@pytest.mark.parametrize(("evidence", "do"), EVIDENCE)
def test_asia_equals_enumeration(asia, asia_net, evidence, do) -> None:
    place = {v: i for i, v in enumerate(asia.variables)}

    def coded(states):
        return {place[v]: asia.states[v].index(s) for v, s in states.items()}

    truth, p = condition(asia_net.joint(coded(do)), coded(evidence))
    targets = [v for v in asia.variables if v not in evidence and v not in do]
    answer = query(asia, targets, evidence, do)
    for v in targets:
        assert list(answer[v].coords[v].values) == asia.states[v]
        np.testing.assert_allclose(answer[v].values, marginal(truth, place[v]), atol=1e-10)
    assert answer.log_evidence == pytest.approx(math.log(p), abs=1e-10)
    assert (answer.kind, answer.method) == ("exact", "elimination")


def test_doing_is_not_seeing(asia) -> None:
    seen = query(asia, "smoke", {"lung": "yes"})["smoke"].sel(smoke="yes").item()
    done = query(asia, "smoke", do={"lung": "yes"})["smoke"].sel(smoke="yes").item()
    assert seen > 0.9
    assert done == pytest.approx(0.5, abs=1e-12)


def test_codes_and_names_ask_the_same(asia) -> None:
    named = query(asia, "lung", {"smoke": "no", "xray": "yes"})
    coded = query(asia, "lung", {"smoke": 1, "xray": np.int64(0)})
    np.testing.assert_array_equal(named["lung"].values, coded["lung"].values)


@pytest.mark.parametrize("states", [[1, 0], ["1", "0"]])
def test_whole_number_states_are_names(states) -> None:
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    graph = DiscreteBayesianNetwork([("a", "b")])
    names = {"a": states, "b": ["x", "y"]}
    graph.add_cpds(
        TabularCPD("a", 2, [[0.2], [0.8]], state_names={"a": states}),
        TabularCPD("b", 2, [[0.9, 0.3], [0.1, 0.7]], ["a"], [2], state_names=names),
    )
    assert query(graph, "b", {"a": 1})["b"].sel(b="x").item() == pytest.approx(0.9)
    assert query(graph, "b", {"a": states[1]})["b"].sel(b="x").item() == pytest.approx(0.3)
    for wrong in (True, 2, -1):
        with pytest.raises(ValueError, match=f"'a' has no state {wrong}"):
            query(graph, "b", {"a": wrong})


def test_the_graph_asked_is_left_alone(asia) -> None:
    graph = asia.graph
    before = {v: graph.get_cpds(v).values.copy() for v in graph.nodes()}
    edges = set(graph.edges())
    level = logging.getLogger("pgmpy").level
    query(graph, "lung", {"dysp": "yes"}, {"either": "yes"})
    assert set(graph.edges()) == edges
    assert all((graph.get_cpds(v).values == before[v]).all() for v in graph.nodes())
    assert logging.getLogger("pgmpy").level == level


def test_a_larger_network_with_much_evidence() -> None:
    """Weighing draws from the network by hand as the second way to the same answer."""
    torch.manual_seed(0)
    alarm = BayesianNetwork.from_name("alarm")
    x = alarm.sample(200_000)
    seen = {"HRBP": "HIGH", "CVP": "NORMAL"}
    held = torch.ones(len(x), dtype=torch.bool)
    for v, state in seen.items():
        held &= x[:, alarm.variables.index(v)] == alarm.states[v].index(state)
    answer = query(alarm, "HYPOVOLEMIA", seen)
    share = (x[held, alarm.variables.index("HYPOVOLEMIA")] == 0).double().mean().item()
    p = answer["HYPOVOLEMIA"].values[0]
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / held.sum().item())
    assert abs(held.double().mean().item() - math.exp(answer.log_evidence)) < 4 * math.sqrt(0.25 / len(x))


# ---- refusals of a network


@pytest.mark.parametrize("target", ["lung", "bronc", "asia"])
def test_impossible_evidence_is_refused_even_where_it_is_irrelevant(asia, target) -> None:
    with pytest.raises(ValueError, match="probability zero: tub = yes, either = no"):
        query(asia, target, {"either": "no", "tub": "yes"})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"targets": "lng"}, "no variable 'lng' to ask for; near: lung"),
        ({"targets": ["lung", ("bronc", "xry")]}, "no variable 'xry' to ask for; near: xray"),
        ({"targets": "lung", "given": {"smok": "yes"}}, "given: the network has no variable 'smok'; near: smoke"),
        ({"targets": "lung", "do": {"smok": "yes"}}, "do: the network has no variable 'smok'; near: smoke"),
        ({"targets": "lung", "given": {"smoke": "yess"}}, "'smoke' has no state 'yess'; near: yes"),
        ({"targets": "lung", "given": {"smoke": True}}, "'smoke' has no state True"),
        ({"targets": "lung", "given": {"smoke": 2}}, "'smoke' has no state 2; known: yes, no"),
        ({"targets": "lung", "given": {"smoke": 0.5}}, r"'smoke' has no state 0\.5"),
        ({"targets": "lung", "given": {"lung": "yes"}}, "'lung' is both a target and given"),
        ({"targets": "lung", "do": {"lung": "yes"}}, "'lung' is both a target and set by do"),
        ({"targets": "lung", "given": {"tub": "yes"}, "do": {"tub": "yes"}}, "'tub' is both given and set by do"),
        ({"targets": "bronc", "given": {"either": "no"}, "do": {"tub": "yes"}}, r"under do\(tub = yes\): either = no"),
        ({"targets": [("lung", "lung")]}, "joint target names different variables"),
        ({"targets": []}, "at least one target"),
        ({"targets": "lung", "context": torch.zeros(1)}, "takes no context"),
        ({"targets": "lung", "draws": 0}, "draws must be a positive whole number"),
    ],
)
def test_wrong_questions_are_refused(asia, asked, message) -> None:
    with pytest.raises(ValueError, match=message):
        query(asia, **asked)


def test_a_graph_without_a_table_is_refused() -> None:
    from pgmpy.models import DiscreteBayesianNetwork

    with pytest.raises(ValueError, match="variable 'a' of the graph has no table"):
        query(DiscreteBayesianNetwork([("a", "b")]), "b")


def test_given_must_be_a_mapping(asia) -> None:
    with pytest.raises(TypeError, match="given must map names to values"):
        query(asia, "lung", ["smoke"])


# ---- what an answer looks like


def test_an_answer_reads_well(asia) -> None:
    answer = query(asia, ["lung", ("lung", "bronc")], {"smoke": 0}, {"tub": "no"})
    text = repr(answer)
    assert text.startswith("P(lung; lung, bronc | smoke = yes, do(tub = no)): exact, by elimination")
    assert "log evidence -0.6931 nats" in text
    assert "no  0.9000" in text
    frame = answer.to_frame()
    assert list(frame.columns) == ["target", "state", "probability"]
    assert len(frame) == 6
    joint = frame[frame.target == ("lung", "bronc")].set_index("state").probability
    assert joint[("yes", "no")] == pytest.approx(0.1 * 0.4)


def test_no_pgmpy_before_it_is_needed() -> None:
    code = "import sys, inference.query, zoo.bayesian_network; print('pgmpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- pairs


class Linear(nn.Module):
    """z ~ N(0, I), x | z ~ N(W z, s^2 I); the guide is the true posterior with its scale stretched."""

    def __init__(self, stretch: float = 1.5, latent: int = 2, width: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(width, latent, generator=generator, dtype=torch.float64))
        self.scale, self.stretch = 0.8, stretch

    def posterior_of(self, x):
        precision = torch.eye(self.weight.shape[1]) + self.weight.T @ self.weight / self.scale**2
        covariance = torch.linalg.inv(precision)
        return x @ self.weight @ covariance / self.scale**2, covariance

    def evidence(self, x):
        covariance = self.weight @ self.weight.T + self.scale**2 * torch.eye(len(self.weight))
        return dist.MultivariateNormal(torch.zeros(len(self.weight), dtype=x.dtype), covariance).log_prob(x)

    def _encoder(self, x):
        mean, covariance = self.posterior_of(x)
        return dist.MultivariateNormal(mean, covariance * self.stretch**2)

    def model(self, x=None, *, context=None, n=1):
        with pyro.plate("data", n if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(self.weight.new_zeros(self.weight.shape[1]), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z @ self.weight.T, self.scale).to_event(1), obs=x)

    def guide(self, x, *, context=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", self._encoder(x))


class LinearParts(Linear):
    def prior(self, context=None):
        return dist.Normal(self.weight.new_zeros(self.weight.shape[1]), 1.0).to_event(1)

    def decoder(self, z, context=None):
        return dist.Normal(z @ self.weight.T, self.scale).to_event(1)

    def encoder(self, x, context=None):
        return self._encoder(x)


@pytest.fixture(scope="module")
def rows():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return torch.randn(6, 3, dtype=torch.float64) * 1.5


@pytest.mark.parametrize(("family", "draws"), [(LinearParts, 20_000), (Linear, 500)])
def test_importance_sampling_meets_the_conjugate_posterior(family, draws, rows) -> None:
    model = family()
    answer = query(model, "z", {"x": rows}, draws=draws)
    mean, covariance = (t.detach() for t in model.posterior_of(rows))
    z = answer["z"]
    assert z.dims == ("row", "z_dim_0", "statistic")
    error = z.sel(statistic="error").values
    assert (np.abs(z.sel(statistic="mean").values - mean.numpy()) < 4.5 * error).all()
    # the error is that of self-normalised weights, of the order of sd / sqrt(draws)
    sd = covariance.diagonal().sqrt().numpy()
    assert (error < 2 * sd / math.sqrt(draws)).all() and (error > 0.5 * sd / math.sqrt(draws)).all()
    np.testing.assert_allclose(z.sel(statistic="sd").values, np.broadcast_to(sd, (6, 2)), rtol=6 / math.sqrt(draws))
    truth = model.evidence(rows).detach().numpy()
    np.testing.assert_allclose(answer.log_evidence.values, truth, atol=5 / math.sqrt(draws))
    assert answer.kind == "estimate"
    # weights of N(0, 1) over N(0, c^2) in 2 dimensions: E[w^2] = (c^2 / sqrt(2 c^2 - 1))^2
    c2 = model.stretch**2
    share = (2 * c2 - 1) / c2**2
    assert answer.reliability["ess_median"] / draws == pytest.approx(share, rel=0.12)
    assert answer.reliability["pareto_k_max"] < 0.7 and answer.reliability["pareto_k_bad"] == 0
    assert not answer.warnings


def test_a_narrow_guide_is_called_unreliable(rows) -> None:
    answer = query(LinearParts(stretch=0.35), "z", {"x": rows}, draws=1000)
    assert answer.reliability["pareto_k_bad"] > 0.5
    assert "Pareto k is above 0.7" in answer.warnings[0]
    text = repr(answer)
    assert "warning: Pareto k" in text and "ess_median" in text
    mean, sd = (answer["z"].sel(statistic=name).values[3, 1] for name in ("mean", "sd"))
    assert f"{mean:.3g} ± {sd:.2g}" in text and "... of row 6, z_dim_0 2" in text


def test_the_true_posterior_as_guide_has_all_its_draws(rows) -> None:
    answer = query(LinearParts(stretch=1.0), "z", {"x": rows}, draws=50)
    assert answer.reliability["ess_min"] == pytest.approx(50)
    assert answer.reliability["pareto_k_max"] == 0
    np.testing.assert_allclose(answer.log_evidence.values, LinearParts().evidence(rows).detach().numpy(), atol=1e-9)


def test_too_few_draws_to_judge_are_not_called_reliable(rows) -> None:
    answer = query(LinearParts(), "z", {"x": rows}, draws=5)
    assert answer.reliability["pareto_k_bad"] == 1


def test_rows_in_blocks_are_labelled_in_order(rows, monkeypatch) -> None:
    import inference.importance

    whole = query(LinearParts(stretch=1.0), "z", {"x": rows}, draws=4000)
    monkeypatch.setitem(inference.importance.NUMBERS, "cpu", 2 * 4000 * 3)  # two rows at a time
    blocked = query(LinearParts(stretch=1.0), "z", {"x": rows}, draws=4000)
    assert blocked["z"].shape == whole["z"].shape
    np.testing.assert_allclose(blocked["z"].values, whole["z"].values, atol=0.1)
    np.testing.assert_allclose(blocked.log_evidence.values, whole.log_evidence.values, atol=1e-9)


def test_seeds_are_ones_own(rows) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = query(LinearParts(), "z", {"x": rows}, draws=10, seed=1)
    again = query(LinearParts(), "z", {"x": rows}, draws=10, seed=1)
    other = query(LinearParts(), "z", {"x": rows}, draws=10, seed=2)
    assert torch.equal(torch.rand(3), expected)
    assert first["z"].equals(again["z"]) and not first["z"].equals(other["z"])


def test_estimates_make_tidy_tables(rows) -> None:
    frame = query(LinearParts(), "z", {"x": rows}, draws=30).to_frame()
    assert list(frame.columns) == ["target", "row", "z_dim_0", "statistic", "value"]
    assert len(frame) == 6 * 2 * 3


class TwoNormals:
    """A mixture that only knows its responsibilities."""

    def posterior(self, x):
        return torch.stack([-((x + 1) ** 2), -((x - 1) ** 2)], -1).squeeze(1).softmax(-1)


def test_a_mixture_answers_its_component() -> None:
    x = torch.tensor([[0.0], [1.0], [-2.0]])
    answer = query(TwoNormals(), "component", {"x": x})
    expected = 1 / (1 + np.exp(-4 * x.numpy().ravel()))
    np.testing.assert_allclose(answer["component"].sel(component=1).values, expected, rtol=1e-6)
    assert answer["component"].dims == ("row", "component")
    assert answer.kind == "exact" and answer.log_evidence is None


def test_a_hidden_chain_answers_its_component_at_each_step() -> None:
    torch.manual_seed(0)
    model = HiddenMarkov((4, 2), states=3)
    x = model.sample(5)
    answer = query(model, "component", given={"x": x})
    assert answer["component"].dims == ("row", "x_dim_0", "component")
    np.testing.assert_allclose(answer["component"], model.posterior(x))


def test_before_anything_is_seen_a_pair_draws() -> None:
    answer = query(Linear(), "x", draws=20_000)
    model = Linear()
    assert answer["x"].dims == ("draw", "x_dim_0") and answer["x"].shape == (20_000, 3)
    covariance = (model.weight @ model.weight.T + model.scale**2 * torch.eye(3)).detach().numpy()
    found = np.cov(answer["x"].values.T)
    np.testing.assert_allclose(found, covariance, atol=0.05 * covariance.max())
    assert answer.kind == "estimate" and answer.log_evidence is None
    assert "20000 draws of the model" in repr(answer)


# ---- refusals of pairs


class Density_:
    def log_prob(self, x, *, context=None):
        return -x.square().sum(-1)

    def sample(self, n=1, *, context=None):
        return torch.randn(n, 2)


class Generator_:
    likelihood = None

    def noise(self, n):
        return torch.randn(n, 2)

    def generate(self, noise, context=None):
        return noise * 2

    def sample(self, n=1, *, context=None):
        return self.generate(self.noise(n))


class Energy_:
    def free_energy(self, x):
        return x.sum(-1)

    def gibbs_step(self, x):
        return x

    def start(self, n):
        return torch.zeros(n, 2)


@pytest.mark.parametrize(
    ("model", "asked", "message"),
    [
        (Density_(), {"targets": "z", "given": {"x": torch.zeros(1, 2)}}, "no latent variables.*log_likelihood"),
        (Density_(), {"targets": "x", "given": {"x": torch.zeros(1, 2)}}, r"query\(model, 'x'\) for draws"),
        (Generator_(), {"targets": "z", "given": {"x": torch.zeros(1, 2)}}, "no density to condition with.*evaluate"),
        (Energy_(), {"targets": "x", "given": {"x": torch.zeros(1, 2)}}, "ask gibbs_step"),
        (LinearParts(), {"targets": "zz", "given": {"x": torch.zeros(1, 3)}}, r"answers for its latents \['z'\]"),
        (Linear(), {"targets": "w", "given": {"x": torch.zeros(1, 3)}}, r"answers for its latents \['z'\]"),
        (LinearParts(), {"targets": "z", "do": {"x": 1}}, r"do\(\) needs a pgmpy graph"),
        (TwoNormals(), {"targets": "z", "given": {"x": torch.zeros(1, 1)}}, "which component a row came from"),
        (
            LinearParts(),
            {"targets": "z", "given": {"x": torch.full((2, 3), math.nan)}},
            "not finite at row 0, column 0",
        ),
    ],
)
def test_pairs_refuse_with_the_nearest_question(model, asked, message) -> None:
    with pytest.raises(ValueError, match=message):
        query(model, **asked)


def test_generators_still_draw() -> None:
    assert query(Generator_(), "x", draws=7)["x"].shape == (7, 2)


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(TypeError, match="a Pyro pair or a pgmpy graph, not str"):
        query("asia", "lung")


def test_a_guide_that_misses_is_named(rows) -> None:
    class Missing(LinearParts):
        def decoder(self, z, context=None):
            return dist.Normal(z @ self.weight.T, 1e-170, validate_args=False).to_event(1)

    with pytest.raises(ValueError, match="row 0: none of 5 draws"):
        query(Missing(), "z", {"x": rows}, draws=5)


def test_answer_is_exported() -> None:
    assert isinstance(query(Generator_(), "x", draws=1), Answer)
