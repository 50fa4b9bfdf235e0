"""Entropies and the value of observations, against the whole joint."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.exact import entropy, mutual_information, value_of_observation
from tests.inference.exact.enumeration import bayesian_networks, enumerate_rows, evidences
from tests.inference.exact.test_tracing import engine_of, named, rows_of


def plogp(p: np.ndarray) -> float:
    return float((p[p > 0] * np.log(p[p > 0])).sum())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_information_is_that_of_the_joint(data):
    network = data.draw(bayesian_networks())
    evidence = data.draw(evidences(network))
    free = [v for v in range(len(network.cards)) if v not in evidence.hard]
    if len(free) < 2:
        return
    a, b = data.draw(st.permutations(free))[:2]
    engine = engine_of(network)
    truths = enumerate_rows(network, evidence)[: rows_of(evidence)]
    gain = value_of_observation(engine, f"v{a}", named(evidence), [f"v{b}"])
    alone = entropy(engine, f"v{a}", named(evidence))
    both = entropy(engine, (f"v{a}", f"v{b}"), named(evidence))
    shared = mutual_information(engine, f"v{a}", f"v{b}", named(evidence))
    for row, truth in enumerate(truths):
        want = plogp(truth.of(a, b)) - plogp(truth.of(a)) - plogp(truth.of(b))
        np.testing.assert_allclose(alone[row], -plogp(truth.of(a)), atol=1e-10)
        np.testing.assert_allclose(both[row], -plogp(truth.of(a, b)), atol=1e-10)
        np.testing.assert_allclose(shared[row], want, atol=1e-10)
        np.testing.assert_allclose(gain[f"v{b}"].iloc[row], want, atol=1e-10)
