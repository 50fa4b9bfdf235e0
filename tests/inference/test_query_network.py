"""Many rows of evidence at once, graphs that change, and estimates where elimination would not fit."""

import numpy as np
import pandas as pd
import pytest
import torch

from inference import query
from inference.exact.cache import engine_of
from inference.query import LikelihoodWeighting
from zoo import BayesianNetwork, load_network


@pytest.fixture(scope="module")
def asia() -> BayesianNetwork:
    return BayesianNetwork(network="asia")


def test_a_frame_is_a_row_a_case(asia: BayesianNetwork) -> None:
    frame = pd.DataFrame({"smoke": ["yes", "no", None], "xray": ["yes", np.nan, "no"]}, index=["anna", "bert", "carl"])
    many = query(asia, ["lung", ("tub", "bronc")], given=frame)
    assert many["lung"].dims == ("row", "lung") and list(many["lung"].row.values) == ["anna", "bert", "carl"]
    for name, row in frame.iterrows():
        one = query(asia, ["lung", ("tub", "bronc")], given=row.dropna().to_dict())
        np.testing.assert_allclose(many["lung"].sel(row=name), one["lung"], atol=1e-12)
        np.testing.assert_allclose(many[("tub", "bronc")].sel(row=name), one[("tub", "bronc")], atol=1e-12)
        assert float(many.log_evidence.sel(row=name)) == pytest.approx(one.log_evidence, abs=1e-12)
    assert "3 rows" in repr(many)


def test_a_likelihood_is_evidence_in_part(asia: BayesianNetwork) -> None:
    answer = query(asia, "lung", given={"smoke": np.array([[0.9, 0.1]])})
    yes, no = (query(asia, "lung", given={"smoke": state}) for state in ("yes", "no"))
    weights = np.exp([yes.log_evidence, no.log_evidence]) * [0.9, 0.1]
    want = (weights[0] * yes["lung"] + weights[1] * no["lung"]) / weights.sum()
    np.testing.assert_allclose(answer["lung"][0], want, atol=1e-12)


def test_each_row_may_be_set_differently(asia: BayesianNetwork) -> None:
    many = query(asia, "dysp", given={"xray": "yes"}, do={"bronc": ["yes", "no"]})
    for row, state in enumerate(("yes", "no")):
        one = query(asia, "dysp", given={"xray": "yes"}, do={"bronc": state})
        np.testing.assert_allclose(many["dysp"][row], one["dysp"], atol=1e-12)


def test_an_impossible_row_is_named_with_what_contradicts(asia: BayesianNetwork) -> None:
    frame = {"either": ["yes", "no"], "lung": ["yes", "yes"], "smoke": ["yes", "yes"]}
    with pytest.raises(ValueError, match=r"row 1: what is given has probability zero: .*lung = yes") as caught:
        query(asia, "dysp", given=frame)
    assert "smoke" not in str(caught.value)


def test_a_graph_that_changes_is_compiled_anew() -> None:
    graph = load_network("cancer")
    before = query(graph, "Cancer")
    assert engine_of(graph) is engine_of(graph)
    cpd = graph.get_cpds("Smoker")
    cpd.values = cpd.values[::-1].copy()
    after = query(graph, "Cancer")
    assert not np.allclose(before["Cancer"], after["Cancer"])
    np.testing.assert_allclose(after["Cancer"], query(graph.copy(), "Cancer")["Cancer"])


def test_weighted_draws_estimate_what_elimination_finds(asia: BayesianNetwork) -> None:
    given, do = {"xray": ["yes", "no"], "dysp": "yes"}, {"smoke": "yes"}
    exact = query(asia, ["lung", ("tub", "bronc")], given, do)
    found = query(asia, ["lung", ("tub", "bronc")], given, do, method=LikelihoodWeighting(40_000), seed=3)
    assert (found.kind, found.method) == ("estimate", "likelihood weighting")
    error = found.reliability["standard_error_max"]
    assert error < 0.02
    for target in exact.values:
        np.testing.assert_allclose(found[target], exact[target], atol=5 * error)
    np.testing.assert_allclose(found.log_evidence, exact.log_evidence, atol=0.05)


def test_weighted_draws_leave_the_random_state_alone(asia: BayesianNetwork) -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    query(asia, "lung", {"smoke": "yes"}, method=LikelihoodWeighting(10))
    assert torch.equal(torch.rand(3), want)


def test_impossible_evidence_is_not_estimated(asia: BayesianNetwork) -> None:
    with pytest.raises(ValueError, match="came about in none of the draws"):
        query(asia, "dysp", {"either": "no", "lung": "yes"}, method=LikelihoodWeighting(100))
    with pytest.raises(ValueError, match="draws must be a whole number of at least 2"):
        LikelihoodWeighting(1)
