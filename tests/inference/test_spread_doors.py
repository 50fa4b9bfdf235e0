"""The doors by which a new user asks a spread: cases given at once, as few draws as asked for, names and refusals."""

import importlib
import math

import networkx as nx
import pytest
import torch

from inference import RHat, evaluate, fit, laplace, mcmc, query
from inference.spread import history as history_file
from zoo.spread import Graph, GraphSpread, Outbreak, PositiveNormal, SpreadCurve, in_bed, influenza, si, sir


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


@pytest.mark.filterwarnings("ignore::inference.Alarm")
def test_what_the_chains_warned_of_is_kept_where_one_steps_in(begun, monkeypatch) -> None:
    cases = {"cases": torch.tensor([3.0, 30.0, 200.0], dtype=torch.float64)}

    def short(program, **given):
        return mcmc(program, chains=4, warmup=2, draws=8, until=RHat(1.0001), **given)

    monkeypatch.setattr(importlib.import_module("inference.mcmc"), "mcmc", short)
    alarms = tuple(mcmc(begun, cases, chains=4, warmup=2, draws=8, until=RHat(1.0001), progress=False).alarms.values())
    assert alarms
    asked = query(begun, ["saved", "peak"], given=cases, do={"contacts": 0.5})
    assert asked.warnings == alarms
    assert query(begun, "beta", given=cases).warnings[: len(alarms)] == alarms


@pytest.mark.parametrize(
    ("target", "do", "message"),
    [
        ("peek", {}, "Outbreak can't answer P.*it has no 'peek'; near: peak"),
        ("peek", {"contacts": 0.5}, "a spread has no 'peek'; near: peak"),
        (["total", "peek"], {"contacts": 0.5}, "a spread has no 'peek'; near: peak"),
        (("beta", "peak"), {}, "answers for each name by itself"),
        (("I", "peak"), {"contacts": 0.5}, "answers for each target by itself, not for I, peak together"),
        ("source", {"contacts": 0.5}, "has no graph, so that no one node is its 'source'"),
        ("total", {"contact": 0.5}, "is no intervention; near: contacts"),
        ("total", {"contacts": -1}, "contacts are multiplied by a number from 0 on, not -1"),
        ("total", {"cut": [(1, 2)]}, "no edges to cut"),
        ("total", {"vaccinate": [1, 2]}, r"a number of heads is vaccinated, 0 or more, not \[1, 2\]"),
    ],
)
def test_what_cannot_be_asked_of_cases_is_refused_before_any_chain_runs(begun, monkeypatch, target, do, message):
    monkeypatch.setattr(importlib.import_module("inference.mcmc"), "mcmc", lambda *_, **__: pytest.fail("chains ran"))
    with pytest.raises(ValueError, match=message):
        query(begun, target, given={"cases": [3, 30, 200]}, do=do)


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


def test_a_single_curve_is_scored_by_its_likelihood() -> None:
    with pytest.raises(ValueError, match="4 rows or more, not to 1; of few rows ask log_likelihood"):
        evaluate({"curve": SpreadCurve(14, population=763.0)}, in_bed()[None].float())
