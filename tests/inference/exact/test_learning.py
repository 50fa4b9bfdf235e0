"""Learning from rows that lack cells, held to enumeration, finite differences, pgmpy and known parameters."""

from __future__ import annotations

import math
from itertools import pairwise, permutations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pgmpy.factors.discrete import TabularCPD
from pgmpy.models import DiscreteBayesianNetwork
from torch import Tensor

from inference import diagnose, em, evaluate, fit, log_likelihood
from inference.data import check_data
from inference.exact import learning
from inference.exact.learning import Cells, ExpectedCounts
from inference.exact.program import Structure
from inference.objectives import MarginalLikelihood, NegativeLogLikelihood, default_objective
from tests.inference.exact.enumeration import Network, bayesian_networks
from zoo.bayesian_network import BayesianNetwork
from zoo.gaussian_mixture import GaussianMixture

torch.set_num_threads(1)


def pgmpy_graph(network: Network) -> DiscreteBayesianNetwork:
    """The same network in pgmpy: variables v0, v1, ... with states s0, s1, ..."""
    graph = DiscreteBayesianNetwork()
    names = [f"v{v}" for v in range(len(network.cards))]
    graph.add_nodes_from(names)
    for scope, table in zip(network.structure.scopes, network.tables, strict=True):
        *above, v = scope
        graph.add_edges_from([(names[p], names[v]) for p in above])
        graph.add_cpds(
            TabularCPD(
                names[v],
                network.cards[v],
                np.moveaxis(table, -1, 0).reshape(network.cards[v], -1),
                [names[p] for p in above],
                [network.cards[p] for p in above],
                state_names={names[u]: [f"s{i}" for i in range(network.cards[u])] for u in scope},
            )
        )
    return graph


def lacking(model: BayesianNetwork, rows: int, seed: int, share: float = 0.4) -> Tensor:
    """Rows drawn from the model with cells missing at random, and now and then a whole column."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x = model.sample(rows)
        absent = (torch.rand(x.shape) < share) | (torch.rand(x.shape[1]) < share / 2)
        return torch.where(absent, -1, x)


def joint_of(model: BayesianNetwork) -> np.ndarray:
    """P(x) as a table with an axis a variable, from the model's own tables."""
    count = len(model.variables)
    operands: list = []
    for v, table in enumerate(model.probabilities()):
        operands += [table.detach().numpy(), [*model.parents[v], v]]
    return np.einsum(*operands, list(range(count)))


def enumerated(model: BayesianNetwork, x: Tensor) -> tuple[list[np.ndarray], float]:
    """Expected counts of each table's entries, and log P(known cells) summed, by summing the whole joint."""
    joint, count = joint_of(model), len(model.variables)
    counts = [np.zeros(table.shape) for table in model.tables]
    total = 0.0
    for row in x.tolist():
        known = np.zeros_like(joint)
        known[tuple(slice(None) if code == -1 else slice(code, code + 1) for code in row)] = 1
        posterior = joint * known
        p = posterior.sum()
        total += math.log(p)
        for v, above in enumerate(model.parents):
            counts[v] += np.einsum(posterior / p, list(range(count)), [*above, v])
    return counts, total


def as_counted(counts: list[np.ndarray], pseudo: float = 0.0) -> list[np.ndarray]:
    """Tables from expected counts; a column without any is even."""
    tables = []
    for each in counts:
        each = each + pseudo
        whole = each.sum(-1, keepdims=True)
        tables.append(np.where(whole > 0, each / np.where(whole > 0, whole, 1), 1 / each.shape[-1]))
    return tables


def set_tables(model: BayesianNetwork, tables: list[np.ndarray]) -> None:
    with torch.no_grad():
        for table, values in zip(model.tables, tables, strict=True):
            table.copy_(torch.from_numpy(values).log())


def random_tables(model: BayesianNetwork, seed: int) -> None:
    random = np.random.default_rng(seed)
    set_tables(model, as_counted([random.gamma(1.0, size=table.shape) + 0.01 for table in model.tables]))


def chain() -> BayesianNetwork:
    """a -> b -> c with a -> c; 2, 3 and 2 states."""
    random = np.random.default_rng(3)
    scopes = ((0,), (0, 1), (1, 0, 2))
    cards = (2, 3, 2)
    tables = tuple(random.dirichlet(np.ones(cards[s[-1]]), [cards[v] for v in s[:-1]]) for s in scopes)
    graph = pgmpy_graph(Network(Structure(cards, scopes), tables))
    return BayesianNetwork(graph=graph)


seeds = st.integers(0, 2**31 - 1)


# ---- expectation


@settings(max_examples=60, deadline=None)
@given(bayesian_networks(largest=6), seeds, st.sampled_from((0.0, 1.0)))
def test_expected_counts_are_those_of_enumeration(network, seed, calling) -> None:
    model = BayesianNetwork(graph=pgmpy_graph(network))
    x = lacking(model, 12, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "CALLING", calling)  # all patterns apart, or all rows in one program
        steps = ExpectedCounts(model)
        (counts,), total = steps.expect(steps.prepare(x))
    truth, log_known = enumerated(model, x)
    np.testing.assert_allclose(counts.numpy(), np.concatenate([t.ravel() for t in truth]), atol=1e-10)
    assert total.item() == pytest.approx(log_known, abs=1e-10)


def test_rows_of_the_same_cells_are_counted_once_each() -> None:
    model = chain()
    x = lacking(model, 10, 0)
    steps = ExpectedCounts(model)
    prepared = steps.prepare(torch.cat([x, x, x]))
    assert len(prepared) == len(x.unique(dim=0))
    (thrice,), total = steps.expect(prepared)
    (once,), part = steps.expect(steps.prepare(x))
    assert torch.allclose(thrice, 3 * once, atol=1e-12) and total.item() == pytest.approx(3 * part.item())


def test_of_complete_rows_the_expected_counts_are_the_counts() -> None:
    model = chain()
    torch.manual_seed(0)
    x = model.sample(50)
    steps = ExpectedCounts(model)
    (expected,), total = steps.expect(steps.prepare(x))
    (counted,), own = model.expect(model.prepare(x))
    assert torch.allclose(expected, counted, atol=1e-12) and total.item() == pytest.approx(own.item(), abs=1e-10)


def test_statistics_add_over_blocks_of_any_size(monkeypatch) -> None:
    model = chain()
    x = lacking(model, 300, 1)
    steps = ExpectedCounts(model)
    prepared = steps.prepare(x)
    (whole,), total = steps.expect(prepared)
    monkeypatch.setattr(learning, "BLOCK", 1)  # 64 rows at a time
    parts = [steps.expect(part) for part in prepared.split(7)]
    assert torch.allclose(whole, sum(part[0][0] for part in parts), atol=1e-10)
    assert total.item() == pytest.approx(sum(part[1].item() for part in parts), abs=1e-10)


def test_rows_that_underflow_are_done_again_with_scaled_messages(monkeypatch) -> None:
    names = [f"x{i}" for i in range(400)]
    graph = DiscreteBayesianNetwork(list(pairwise(names)))
    graph.add_cpds(TabularCPD(names[0], 2, [[0.5], [0.5]]))
    for above, v in pairwise(names):
        graph.add_cpds(TabularCPD(v, 2, [[0.9, 0.01], [0.1, 0.99]], [above], [2]))
    model = BayesianNetwork(graph=graph)
    x = torch.zeros(3, 400, dtype=torch.long)
    x[0, 1::2], x[1, 1::2], x[2, 5:9] = 1, 1, -1  # P(row) = 0.5 * 0.1^200 * 0.01^199
    x[1, 100:110] = -1
    cells = Cells(model)
    ((_, ask),) = cells.groups(x)
    logs = torch.cat([each for _, each in cells.log_known(ask, model.probabilities(), x)])
    assert cells.scaled and logs[0].item() == pytest.approx(
        math.log(0.5) + 200 * math.log(0.1) + 199 * math.log(0.01), abs=1e-9
    )
    steps = ExpectedCounts(model)
    (counts,), _ = steps.expect(steps.prepare(x))
    assert counts.sum().item() == pytest.approx(3 * 400, abs=1e-7)


def test_a_float32_model_counts_in_float32() -> None:
    model = chain().float()
    x = lacking(model, 20, 0)
    steps = ExpectedCounts(model)
    (counts,), total = steps.expect(steps.prepare(x))
    assert counts.dtype == total.dtype == torch.float32
    truth, log_known = enumerated(model, x)
    np.testing.assert_allclose(counts.numpy(), np.concatenate([t.ravel() for t in truth]), atol=1e-4)
    assert total.item() == pytest.approx(log_known, abs=1e-3)


# ---- EM


@settings(max_examples=25, deadline=None)
@given(bayesian_networks(largest=6), seeds, st.sampled_from((0.0, 0.5)))
def test_each_iteration_is_that_of_em_by_enumeration(network, seed, pseudo) -> None:
    graph = pgmpy_graph(network)
    model, other = (BayesianNetwork(graph=graph, pseudo_count=pseudo) for _ in range(2))
    x = lacking(model, 10, seed)
    x[0] = -1
    for each in (model, other):
        random_tables(each, seed)
    found = em(model, x, start=False, steps=3, tolerance=0, progress=False)
    for step in range(3):
        counts, log_known = enumerated(other, x)
        assert found.history.log_likelihood[step] == pytest.approx(log_known / len(x), abs=1e-10)
        set_tables(other, as_counted(counts, pseudo))
    for one, two in zip(model.probabilities(), other.probabilities(), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), two.detach().numpy(), atol=1e-10)


@settings(max_examples=30, deadline=None)
@given(bayesian_networks(largest=6), seeds, st.sampled_from((0.0, 1.0)))
def test_em_never_goes_down(network, seed, pseudo) -> None:
    model = BayesianNetwork(graph=pgmpy_graph(network), pseudo_count=pseudo)
    x = lacking(model, 20, seed, 0.5)
    found = em(model, x, steps=15, tolerance=0, seed=seed % 1000, progress=False)
    climbed = -found.history.loss.to_numpy()
    assert (np.diff(climbed) >= -1e-12).all() and found.extra["monotone"]
    expected = found.history.get("log_posterior", found.history.log_likelihood)
    np.testing.assert_array_equal(climbed, expected)


def test_with_a_prior_it_is_the_log_posterior_that_is_climbed() -> None:
    model = BayesianNetwork(graph=chain().graph, pseudo_count=2.0)
    x = lacking(model, 30, 4)
    found = em(model, x, steps=40, tolerance=0, progress=False)
    last = found.history.iloc[-1]
    prior = sum(2 * float(p.log().sum()) for p in (t.detach() for t in model.probabilities()))
    assert last.log_posterior == pytest.approx(last.log_likelihood + prior / len(x), abs=1e-12)
    assert last.log_likelihood == pytest.approx(enumerated(model, x)[1] / len(x), abs=1e-12)


def latent_class(seed: int) -> BayesianNetwork:
    """A hidden class of 2 states with five observed variables of 3 states each, all well apart."""
    random = np.random.default_rng(seed)
    cards = (2, 3, 3, 3, 3, 3)
    scopes = ((0,), *((0, v) for v in range(1, 6)))
    columns = [np.stack([random.permutation([0.8, 0.15, 0.05]) for _ in range(2)]) for _ in range(5)]
    for table in columns:
        table[1] = np.roll(table[0], 1)
    network = Network(Structure(cards, scopes), (np.array([0.35, 0.65]), *columns))
    return BayesianNetwork(graph=pgmpy_graph(network))


def test_em_recovers_a_latent_class_up_to_its_names() -> None:
    truth = latent_class(0)
    torch.manual_seed(0)
    frame = truth.decode(truth.sample(20_000)).astype(object)
    frame["v0"] = None
    model = BayesianNetwork(graph=truth.graph)
    found = em(model, frame, steps=500, tolerance=1e-9, restarts=3, progress=False)
    assert found.stopped == "converged" and found.extra["monotone"] and found.seconds < 30
    hidden = truth.variables.index("v0")
    exact = [t.detach() for t in truth.probabilities()]
    apart = []
    for order in permutations(range(2)):
        turned = [p.detach()[list(order)] for p in model.probabilities()]
        assert all(model.parents[v] in ([], [hidden]) for v in range(6))
        apart.append(max(float((a - b).abs().max()) for a, b in zip(turned, exact, strict=True)))
    assert min(apart) < 0.03 < max(apart)


def test_a_start_of_ones_own_is_kept_and_random_starts_differ() -> None:
    truth = latent_class(1)
    torch.manual_seed(0)
    x = truth.sample(500)
    x[:, truth.variables.index("v0")] = -1
    model = BayesianNetwork(graph=truth.graph)
    before = torch.get_rng_state()
    own = em(model, x, start=False, steps=0, progress=False)
    assert own.history.log_likelihood[0] == pytest.approx(enumerated(truth, x)[1] / len(x), abs=1e-10)
    starts = [em(model, x, steps=0, seed=seed, progress=False).history.log_likelihood[0] for seed in (1, 1, 2)]
    assert starts[0] == starts[1] != starts[2]
    assert torch.equal(before, torch.get_rng_state())


def test_em_starts_from_the_rows_that_tell_of_a_table() -> None:
    model = chain()
    x = lacking(model, 60, 3, 0.3)
    hidden = model.variables.index("v1")
    for latent in (False, True):
        if latent:
            x[:, hidden] = -1
        model.em_start(x, torch.Generator().manual_seed(0))
        for v, (above, table) in enumerate(zip(model.parents, model.probabilities(), strict=True)):
            told = x[(x[:, [*above, v]] != -1).all(1)]
            counts = np.ones(table.shape)
            for row in told.tolist():
                counts[tuple(row[u] for u in (*above, v))] += 1
            even = counts / counts.sum(-1, keepdims=True)
            if latent and hidden in (*above, v):
                assert not len(told) and np.abs(table.detach().numpy() - even).max() > 0.01
                assert (table > 0).all() and torch.allclose(table.sum(-1), torch.ones((), dtype=table.dtype))
            else:
                np.testing.assert_allclose(table.detach().numpy(), even, atol=1e-12)


def test_alarm_with_gaps_is_nearer_to_the_truth_than_pgmpys_fit_of_the_complete_rows() -> None:
    from benchmarks.elimination_tasks.learning import complete_rows, data, distance, even, occurrences

    truth, x = data(0)
    x = x[:3000]
    model = BayesianNetwork.from_name("alarm")
    found = em(model, x, tolerance=1e-5, progress=False)
    assert found.extra["monotone"] and found.seconds < 60
    peer = complete_rows(truth, x)
    for weights in (even(truth), occurrences(truth)):
        assert distance(truth, truth, weights) == 0
        assert distance(truth, model, weights) < 0.5 * distance(truth, peer, weights)


def test_a_row_that_cant_be_is_named() -> None:
    model = chain()
    tables = [t.detach().numpy().copy() for t in model.probabilities()]
    a = model.variables.index("v0")
    tables[a] = np.array([1.0, 0.0])
    set_tables(model, tables)
    x = torch.full((2, 3), -1)
    x[1, a] = 1
    with pytest.raises(ValueError, match="a row has probability zero under the tables that em is at: v0 = s1"):
        em(model, x, start=False, progress=False)


# ---- complete rows and priors


def test_bdeu_is_pgmpys() -> None:
    from pgmpy.parameter_estimator import DiscreteBayesianEstimator

    asia = BayesianNetwork.from_name("asia")
    torch.manual_seed(0)
    x = asia.sample(200)
    model = BayesianNetwork(graph=asia.graph, equivalent_sample_size=5.0)
    em(model, asia.decode(x).astype(str), progress=False)
    graph = DiscreteBayesianNetwork(list(asia.graph.edges()))
    peer = DiscreteBayesianEstimator(state_names=asia.states, prior_type="BDeu", equivalent_sample_size=5)
    for cpd in peer.fit(graph, asia.decode(x).astype(str)).parameters_:
        own = model.graph.get_cpds(cpd.variable)
        order = [cpd.variables.index(v) for v in own.variables]
        names = [[cpd.state_names[v].index(s) for s in own.state_names[v]] for v in own.variables]
        np.testing.assert_allclose(own.values, cpd.values.transpose(order)[np.ix_(*names)], atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"equivalent_sample_size": -1.0}, "equivalent_sample_size must be at least 0"),
        ({"equivalent_sample_size": 1.0, "pseudo_count": 1.0}, "not both"),
    ],
)
def test_priors_that_make_no_sense_are_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        BayesianNetwork(network="asia", **options)


def test_em_of_a_complete_frame_is_counting() -> None:
    model = chain()
    torch.manual_seed(0)
    x = model.sample(100)
    fitted = em(BayesianNetwork(graph=model.graph), model.decode(x), progress=False)
    assert fitted.stopped == "converged" and fitted.steps == 2 and "log_posterior" not in fitted.history
    counts, _ = enumerated(model, x)
    for own, each in zip(fitted.model.probabilities(), as_counted(counts), strict=True):
        np.testing.assert_allclose(own.detach().numpy(), each, atol=1e-12)


# ---- the forms that missing cells come in


def forms(model: BayesianNetwork, x: Tensor) -> dict[str, object]:
    names = pd.DataFrame(
        {v: [None if c == -1 else model.states[v][c] for c in x[:, i].tolist()] for i, v in enumerate(model.variables)},
        dtype=object,
    )
    floats = x.double()
    floats[x == -1] = math.nan
    return {
        "None": names,
        "NaN": names.where(names.notna(), np.nan),
        "categories": names.astype({v: pd.CategoricalDtype(model.states[v]) for v in model.variables}),
        "strings": names.astype("string"),
        "shuffled": names[names.columns[::-1]].assign(more=1),
        "codes": x,
        "array": x.numpy(),
        "mapping": {"x": x},
        "floats": floats,
        "float array": floats.numpy(),
    }


@pytest.mark.parametrize("form", forms(chain(), torch.zeros(1, 3, dtype=torch.long)))
def test_every_form_of_a_gap_is_the_same(form) -> None:
    truth = chain()
    x = lacking(truth, 40, 5)
    given_as = forms(truth, x)[form]
    np.testing.assert_allclose(
        log_likelihood(truth, given_as).values.numpy(), log_likelihood(truth, x).values.numpy(), atol=1e-12
    )
    tables = []
    for data in (given_as, x):
        model = BayesianNetwork(graph=truth.graph)
        em(model, data, steps=3, tolerance=0, progress=False)
        fit(model, data, steps=2, batch_size=16, progress=False)
        tables.append(model.probabilities())
    for one, other in zip(*tables, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_others_refuse_gaps_and_say_who_takes_them() -> None:
    model = chain()
    x = lacking(model, 20, 0)
    row, v = (x == -1).nonzero()[0].tolist()
    told = rf"row {row} has -1 for '{model.variables[v]}'.*em, fit and log_likelihood take rows"
    with pytest.raises(ValueError, match=told):
        model.log_prob(x)
    with pytest.raises(ValueError, match=told):
        check_data(model, x)
    with pytest.raises(ValueError, match=told):
        fit(model, x, objective=NegativeLogLikelihood(), steps=1, progress=False)
    with pytest.raises(ValueError, match="has -2 for"):
        em(model, x.where(x != -1, -2), progress=False)
    with pytest.raises(ValueError, match="has no state 'typo'"):
        em(model, forms(model, x)["None"].replace({"v0": {"s0": "typo"}}), progress=False)


def test_draws_are_held_to_the_rows_that_lack_nothing() -> None:
    model = chain()
    x = lacking(model, 300, 1, 0.2)
    complete = x[(x != -1).all(1)]
    assert 20 < len(complete) < 300
    board = evaluate({"gaps": model}, x, samples=len(complete))
    assert board.table.nats["gaps"] == pytest.approx(log_likelihood(model, x).mean, abs=1e-12)
    assert board.table.frechet["gaps"] == pytest.approx(
        evaluate({"none": model}, complete, samples=len(complete)).table.frechet["none"], abs=1e-9
    )
    assert diagnose(model, x).verdict == diagnose(model, complete).verdict
    gaps = x[(x == -1).any(1)]
    for ask in (lambda: evaluate({"gaps": model}, gaps), lambda: diagnose(model, gaps)):
        with pytest.raises(ValueError, match="every row lacks a cell"):
            ask()


def test_models_that_cant_do_without_cells_still_refuse_nan() -> None:
    x = torch.randn(20, 2)
    x[3, 1] = math.nan
    model = GaussianMixture(2, components=2)
    for ask in (em, log_likelihood, fit):
        with pytest.raises(ValueError, match="x is not finite at row 3"):
            ask(model, x)


# ---- gradients


@settings(max_examples=25, deadline=None)
@given(bayesian_networks(largest=5), seeds)
def test_the_gradient_is_that_of_finite_differences_of_enumeration(network, seed) -> None:
    model = BayesianNetwork(graph=pgmpy_graph(network))
    x = lacking(model, 6, seed)
    random_tables(model, seed)
    loss = MarginalLikelihood()(model, x)
    assert loss.value.item() == pytest.approx(-enumerated(model, x)[1] / len(x), abs=1e-12)
    if not loss.value.requires_grad:
        return
    loss.value.backward()
    step = 1e-5
    for table in model.tables:
        for place in np.ndindex(tuple(table.shape)):
            with torch.no_grad():
                table[place] += step
                above = enumerated(model, x)[1]
                table[place] -= 2 * step
                below = enumerated(model, x)[1]
                table[place] += step
            slope = -(above - below) / (2 * step) / len(x)
            assert (0.0 if table.grad is None else table.grad[place].item()) == pytest.approx(slope, abs=1e-7)


def test_with_all_cells_known_the_gradient_is_that_of_log_prob() -> None:
    model = chain()
    torch.manual_seed(0)
    x = model.sample(40)
    NegativeLogLikelihood()(model, x).value.backward()
    own = [table.grad.clone() for table in model.tables]
    cells = Cells(model)
    for lacked in (torch.zeros(3, dtype=torch.bool), torch.ones(3, dtype=torch.bool)):
        for table in model.tables:
            table.grad = None
        parts = cells.log_known(cells._ask(lacked.tolist()), model.probabilities(), x)
        (-sum(logs.sum() for _, logs in parts) / len(x)).backward()
        for table, expected in zip(model.tables, own, strict=True):
            assert torch.allclose(table.grad, expected, atol=1e-12)


def test_fit_reaches_what_em_reaches() -> None:
    truth = chain()
    x = lacking(truth, 400, 2, 0.2)
    x = x[(x != -1).any(1)]
    climbed, descended = (BayesianNetwork(graph=truth.graph) for _ in range(2))
    best = em(climbed, x, steps=3000, tolerance=1e-12, progress=False).history.log_likelihood.iloc[-1]
    for table in descended.tables:
        torch.nn.init.zeros_(table)
    assert isinstance(default_objective(descended), MarginalLikelihood)
    found = fit(descended, x, steps=600, batch_size=None, lr=0.05, validation=None, progress=False)
    assert found.objective == "MarginalLikelihood"
    reached = log_likelihood(descended, x).mean
    assert reached == pytest.approx(best, abs=1e-4) and reached <= best + 1e-6


def test_a_fit_with_gaps_resumes_to_the_bit(tmp_path) -> None:
    truth = chain()
    x = lacking(truth, 100, 2)
    whole, half = (BayesianNetwork(graph=truth.graph) for _ in range(2))
    options = {"batch_size": 32, "lr": 0.05, "validation": 0.2, "progress": False}
    fit(whole, x, steps=20, **options)
    fit(half, x, steps=10, checkpoint=tmp_path / "half.pt", **options)
    again = BayesianNetwork(graph=truth.graph)
    fit(again, x, steps=20, resume=tmp_path / "half.pt", **options)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


# ---- likelihood


@settings(max_examples=25, deadline=None)
@given(bayesian_networks(largest=6), seeds)
def test_the_likelihood_of_known_cells_is_that_of_enumeration(network, seed) -> None:
    graph = pgmpy_graph(network)
    model = BayesianNetwork(graph=graph)
    x = lacking(model, 8, seed)
    expected = [enumerated(model, row[None])[1] for row in x]
    found = log_likelihood(model, x)
    assert found.kind == "exact" and found.measure == "mass" and found.standard_error is None
    np.testing.assert_allclose(found.values.numpy(), expected, atol=1e-10)
    frame = forms(model, x)["None"]
    raw = log_likelihood(graph, frame)
    assert raw.kind == "exact" and raw.measure == "mass" and raw.method.startswith("exact elimination")
    np.testing.assert_allclose(raw.values.numpy(), expected, atol=1e-10)
    order = [model.variables.index(v) for v in graph.nodes()]
    np.testing.assert_allclose(log_likelihood(graph, x[:, order]).values.numpy(), expected, atol=1e-10)


def test_a_graph_as_it_stands_is_compared_with_a_model() -> None:
    model = chain()
    x = lacking(model, 50, 3)
    gap = log_likelihood(model.graph, forms(model, x)["NaN"]) - log_likelihood(model, x)
    assert gap.mean == pytest.approx(0, abs=1e-12) and gap.kinds == ("exact", "exact")


def test_of_an_undirected_graph_log_z_is_taken_off() -> None:
    model = chain()
    markov = model.graph.to_markov_model()
    for factor in markov.get_factors():
        factor.values = factor.values * 7
    x = lacking(model, 10, 3)
    frame = forms(model, x)["None"]
    np.testing.assert_allclose(
        log_likelihood(markov, frame).values.numpy(), log_likelihood(model, x).values.numpy(), atol=1e-12
    )


def test_columns_that_are_absent_are_not_known_and_what_cant_be_has_no_likelihood() -> None:
    asia = BayesianNetwork.from_name("asia")
    frame = pd.DataFrame({"lung": ["yes", "no", "yes"], "either": ["yes", None, "no"]})
    found = log_likelihood(asia.graph, frame).values
    lung = 0.1 * 0.5 + 0.01 * 0.5
    np.testing.assert_allclose(found.exp().numpy(), [lung, 1 - lung, 0], atol=1e-12)


def test_wrong_rows_for_a_graph_are_named() -> None:
    graph = chain().graph
    with pytest.raises(ValueError, match="column 'v9', but the network no such variable; near"):
        log_likelihood(graph, pd.DataFrame({"v9": ["s0"]}))
    with pytest.raises(ValueError, match="no rows"):
        log_likelihood(graph, pd.DataFrame({"v0": []}))
    with pytest.raises(ValueError, match="'v0' has no state 'x'"):
        log_likelihood(graph, pd.DataFrame({"v0": ["x"]}))
    with pytest.raises(ValueError, match="has 3 variables"):
        log_likelihood(graph, torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="row 1 has 5 for 'v0', whose codes are 0 to 1"):
        log_likelihood(graph, torch.tensor([[0, 0, 0], [5, 0, 0]]))
    with pytest.raises(TypeError, match="no closed-form steps"):
        em(graph, pd.DataFrame({"v0": ["s0"]}))
