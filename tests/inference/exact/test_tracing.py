"""Most probable states and draws, against the whole joint."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.exact import Engine
from inference.exact.factors import Factors
from tests.inference.exact.enumeration import Network, enumerate_rows, evidences, networks


def engine_of(network: Network) -> Engine:
    names = tuple(f"v{i}" for i in range(len(network.cards)))
    states = {v: list(range(card)) for v, card in zip(names, network.cards, strict=True)}
    tables = tuple(torch.tensor(table) for table in network.tables)
    return Engine(Factors(names, states, network.structure, tables), executor="torch")


def named(evidence) -> dict:
    known = {f"v{v}": torch.tensor(codes) for v, codes in evidence.hard.items()}
    return {**known, **{f"v{v}": torch.tensor(each) for v, each in evidence.soft.items()}} or None


def rows_of(evidence) -> int:
    return evidence.rows if evidence.hard or evidence.soft else 1


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_most_probable_states_are_those_of_the_joint(data):
    network = data.draw(networks)
    evidence = data.draw(evidences(network))
    engine = engine_of(network)
    free = [v for v in range(len(network.cards)) if v not in evidence.hard]
    targets = data.draw(st.lists(st.sampled_from(free), min_size=1, unique=True)) if free else []
    if not targets:
        return
    found = engine.most_probable(named(evidence), [f"v{v}" for v in targets])
    for row, truth in enumerate(enumerate_rows(network, evidence)[: rows_of(evidence)]):
        joint = truth.of(*targets)
        states = tuple(found.states[row, 0].tolist())
        np.testing.assert_allclose(joint[states], joint.max(), rtol=1e-10)
        np.testing.assert_allclose(found.log_probability[row, 0], np.log(joint.max()), atol=1e-10)


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_the_best_few_are_the_best_few_of_the_joint(data):
    network = data.draw(networks)
    evidence = data.draw(evidences(network, rows=2))
    free = [v for v in range(len(network.cards)) if v not in evidence.hard]
    if not free:
        return
    found = engine_of(network).most_probable(named(evidence), [f"v{v}" for v in free], best=5)
    for row, truth in enumerate(enumerate_rows(network, evidence)[: rows_of(evidence)]):
        joint = truth.of(*free)
        best = np.sort(joint.ravel())[::-1][:5]
        best = np.log(best[best > 0])
        np.testing.assert_allclose(found.log_probability[row, : len(best)], best, atol=1e-9)
        assert (found.log_probability[row, len(best) :] == -np.inf).all()
        told = [tuple(each) for each in found.states[row, : len(best)].tolist()]
        assert len(set(told)) == len(told)
        np.testing.assert_allclose([np.log(joint[each]) for each in told], best, atol=1e-9)


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_draws_have_the_posterior_for_their_distribution(data):
    network = data.draw(networks)
    evidence = data.draw(evidences(network, rows=2))
    n = 4000
    names = [f"v{v}" for v in range(len(network.cards))]
    free = [v for v in range(len(names)) if v not in evidence.hard]
    if not free:
        return
    drawn = engine_of(network).sample(named(evidence), n, [names[v] for v in free], seed=1)
    for row, truth in enumerate(enumerate_rows(network, evidence)[: rows_of(evidence)]):
        joint = truth.of(*free)
        counts = np.zeros(joint.shape)
        np.add.at(counts, tuple(drawn.states[row].T.numpy()), 1)
        assert (counts[joint == 0] == 0).all()
        chi2 = ((counts - n * joint) ** 2 / np.where(joint > 0, n * joint, 1)).sum()
        freedom = max(1, (joint > 0).sum() - 1)
        assert chi2 < freedom + 8 * np.sqrt(2 * freedom) + 60  # rare states are few: a loose bound, but for one row


def test_the_same_seed_gives_the_same_draws():
    network = Network(*_coin())
    engine = engine_of(network)
    first, again, other = (engine.sample(None, 50, seed=s).states for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_is_given_is_no_target():
    with pytest.raises(ValueError, match="both a target and given"):
        engine_of(Network(*_coin())).most_probable({"v0": torch.tensor([0])}, ["v0"])


def test_a_count_of_explanations_is_checked():
    with pytest.raises(ValueError, match="best must be a positive number"):
        engine_of(Network(*_coin())).most_probable(best=0)


def _coin():
    from inference.exact.program import Structure

    tables = (np.array([0.4, 0.6]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    return Structure((2, 2), ((0,), (0, 1)), ((), (0,))), tables


def test_explanations_and_draws_are_told_by_name():
    from zoo import load_network

    engine = Engine(load_network("asia"))
    best = engine.most_probable({"smoke": ["yes", "no"]}, ["lung", "bronc"], best=2).to_frame()
    assert best.index.names == ["row", "rank"] and list(best.columns) == ["lung", "bronc", "log_probability"]
    assert best.loc[(0, 0), ["lung", "bronc"]].tolist() == ["no", "yes"]
    joint = engine.joint({"smoke": "yes"}, ("lung", "bronc")).values[0]
    assert np.exp(best.loc[(0, 0), "log_probability"]) == pytest.approx(joint.max().item())
    rows = engine.sample({"smoke": "yes"}, 5, ["lung"], seed=0).to_frame()
    assert len(rows) == 5 and set(rows["lung"]) <= {"yes", "no"}
