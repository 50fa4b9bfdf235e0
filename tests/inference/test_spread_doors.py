"""The doors by which a new user asks a spread: cases given at once, as few draws as asked for, names and refusals."""

import math

import networkx as nx
import pytest
import torch

from inference import evaluate, fit, laplace, query
from inference.spread import history as history_file
from zoo.spread import Graph, GraphSpread, Outbreak, PositiveNormal, in_bed, influenza, si, sir


@pytest.fixture(scope="module")
def begun() -> Outbreak:
    """One rate that isn't known."""
    return Outbreak(
        sir(), {"S": 762, "I": 1}, {"beta": PositiveNormal(2, 1), "gamma": 0.5}, observes="I", times=[1, 3, 5]
    )


@pytest.mark.filterwarnings("ignore::inference.Alarm")
def test_an_outbreak_is_asked_given_its_cases(begun) -> None:
    cases = torch.tensor([3.0, 30.0, math.nan], dtype=torch.float64)
    answer = query(begun, ["beta", "peak", "cases"], given={"cases": cases})
    near = laplace(begun, {"cases": cases})
    beta = answer["beta"].sel(statistic="mean").item()
    assert beta == pytest.approx(float(query(near, "beta")["beta"].sel(statistic="mean")), abs=0.1)
    assert answer.question == "P(beta; peak; cases | cases = 3 rows)"
    assert answer["cases"].sizes["time"] == 3
    kept = query(begun, "saved", given={"cases": cases}, do={"contacts": 0.5})
    assert float(kept["saved"].sel(statistic="low")) > 0


def test_what_else_is_given_to_an_outbreak_is_refused(begun) -> None:
    with pytest.raises(ValueError, match="'cases' may be given, and not 'case'"):
        query(begun, "peak", given={"case": [1, 2, 3]})


def test_as_many_histories_are_drawn_as_are_asked_for(monkeypatch) -> None:
    spread = GraphSpread(si(), Graph.of(nx.path_graph(4)), {"beta": 0.5})
    given = {"infected": {0: 0, 2: 3}, "step": 4}
    asked, real = {}, history_file.history
    monkeypatch.setattr(history_file, "history", lambda *a, **k: asked.update(k) or real(*a, warmup=20, thin=1, **k))
    query(spread, "infected", given=given, draws=80)
    assert asked["draws"] == 20


def test_names_near_a_wrong_target_are_told() -> None:
    spread = GraphSpread(si(), Graph.of(nx.path_graph(4)), {"beta": 0.5})
    with pytest.raises(ValueError, match="a spread has no 'sorce'; near: source"):
        query(spread, "sorce", given={"infected": [1], "step": 2})
    assert "I = [1, 2]" in query(spread, "total", given={"I": [1, 2]}, draws=4).question


def test_verbs_that_do_not_fit_name_those_that_do() -> None:
    flu, cases = influenza(), {"cases": in_bed()}
    with pytest.raises(TypeError, match=r"asked by mcmc\(...\) or variational\(...\)"):
        fit(flu, cases)
    with pytest.raises(TypeError, match=r"compare\(...\) holds posteriors"):
        evaluate({"flu": laplace(flu, cases)}, cases)


def test_an_impossible_case_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^an observation of 1125 is larger than the population of 763$"):
        laplace(influenza(), {"cases": in_bed() * 5})
