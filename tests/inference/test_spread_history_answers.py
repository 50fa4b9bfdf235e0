"""What is told of histories by chains: warnings, what was taken of nodes that were not named, labels in ArviZ."""

import arviz
import networkx as nx
import numpy as np
import pyro
import pytest
import torch

from inference import diagnose, mcmc
from inference.query import query
from inference.sampling.statistics import bulk_ess
from inference.spread.history import ESS, history
from zoo.spread import Compartments, Transition
from zoo.spread.graph import Graph
from zoo.spread.on_graph import GraphSpread

SI = Compartments("SI", [Transition("S", "I", "beta", by="I")])
SIR = Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")])
CYCLE = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]


def cycle(compartments: Compartments = SI, **rates: float) -> GraphSpread:
    return GraphSpread(compartments, Graph.of(CYCLE, nodes=list("abcd")), rates)


def test_chains_that_are_too_short_warn_and_name_what_of_and_long_ones_do_not() -> None:
    given, priors = {"infected": {"c": 3}, "step": 5}, {"beta": pyro.distributions.Gamma(2.0, 4.0)}
    short = history(cycle(beta=0.5), given, priors=priors, draws=10, warmup=2, chains=2, thin=1)
    assert {"reached", "beta"} <= set(short.alarms)
    for name in ("reached", "beta"):
        assert short.alarms[name].startswith(f"{name}: r-hat")
        assert "draw more" in short.alarms[name]
    assert "! reached: r-hat" in repr(short)
    long = history(cycle(beta=0.5), given, priors=priors, draws=400, warmup=100, chains=2)
    assert long.alarms == {}


def test_an_answer_carries_the_warning_and_one_with_enough_draws_has_none() -> None:
    given = {"infected": {"c": 3}, "step": 5}
    short = query(cycle(beta=0.5), "infected", given=given, draws=40)
    assert any(text.startswith("reached: r-hat") and "draw more" in text for text in short.warnings)
    assert "warning: reached: r-hat" in repr(short)
    assert short.reliability["ess"] < ESS
    enough = query(cycle(beta=0.5), "infected", given=given)
    assert enough.warnings == ()
    assert enough.reliability["ess"] > 400


def test_an_answer_draws_until_it_has_enough_and_no_longer() -> None:
    given = {"infected": {"c": 3}, "step": 5}
    stopped = history(cycle(beta=0.5), given, draws=1000, warmup=50, enough=300)
    assert stopped.shape[1] in (100, 200)
    assert float(bulk_ess(stopped["reached"].double()).min()) > 300
    assert history(cycle(beta=0.5), given, draws=120, warmup=50, thin=1, enough=1e9).shape[1] == 120
    whole = history(cycle(beta=0.5), given, draws=stopped.shape[1], warmup=50)
    assert torch.equal(stopped["reached"], whole["reached"])


def test_the_same_snapshot_says_the_same_of_who_began_it_to_both_who_ask() -> None:
    given = {"infected": ["b", "c"], "seen": ["a", "b", "c"], "step": 2}
    answer = query(cycle(beta=0.5), "source", given=given)
    assert "'seen' and not named were seen unreached" in answer.method
    posterior = history(cycle(beta=0.5), given, seeds=0.1, draws=1500, chains=2, warmup=100, thin=2)
    began = (posterior["reached"] == 0).flatten(0, 1)
    alone = began[began.sum(1) == 1].double()
    assert len(alone) > 1000
    assert np.abs(alone.mean(0).numpy() - answer["source"].values).max() < 0.05
    assert answer["source"].sel(source="a").item() == 0
    assert answer["source"].sel(source="d").item() > 0


def test_of_nodes_that_are_not_named_source_takes_that_they_were_not_reached_and_infected_nothing() -> None:
    given = {"infected": ["b", "c"], "step": 2}
    source, infected = (query(cycle(beta=0.5), target, given=given) for target in ("source", "infected"))
    assert "nodes not named were seen unreached" in source.method
    assert source["source"].sel(source="d").item() == 0
    assert "of nodes not named nothing was seen" in infected.method
    assert 0.2 < infected["infected"].sel(node="d", step=2).item() < 0.9
    looked_at = query(cycle(beta=0.5), "infected", given={**given, "seen": list("abcd")})
    assert looked_at["infected"].sel(node="d").values.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=r"'infected' is a list, not \{node: step\}: of what was seen at several"):
        query(cycle(beta=0.5), "source", given={"infected": {"b": 1, "c": 2}, "step": 2})


def test_rates_of_partly_seen_infections_are_found_and_told_by_the_labels_of_nodes(tmp_path) -> None:
    graph = nx.relabel_nodes(nx.connected_watts_strogatz_graph(40, 4, 0.2, seed=1), lambda v: f"n{v}")
    model = GraphSpread(SIR, Graph.of(graph), {"beta": 0.3, "gamma": 0.1})
    reached = dict(zip(model.graph.nodes, model.simulate({"I": ["n0"]}, 10, seed=3).reached[0].tolist(), strict=True))
    shown = {v: step if step >= 0 else None for v, step in list(reached.items())[::2]}
    given = {"start": {"I": ["n0"]}, "reached": shown, "step": 10}
    priors = {"beta": pyro.distributions.Gamma(2.0, 2.0)}
    posterior = history(model, given, priors=priors, draws=300, warmup=100, thin=4)
    low, high = torch.quantile(posterior["beta"].flatten(), torch.tensor([0.01, 0.99]).double()).tolist()
    assert low < 0.3 < high
    assert high - low < 0.5
    table = posterior.summary()
    assert table.loc["reached[n0]", "mean"] == 0
    assert 0.1 < table.loc["beta", "mean"] < 0.7
    assert "can be trusted" in str(diagnose(posterior))
    posterior.to_netcdf(tmp_path / "histories.nc")
    back = arviz.from_netcdf(str(tmp_path / "histories.nc")).posterior["reached"]
    assert (
        back.sel(reached_dim_0="n7").values.tolist()
        == posterior["reached"][..., model.graph.nodes.index("n7")].tolist()
    )
    with pytest.raises(TypeError, match="`history` draws what can't be seen of a spread on a graph"):
        mcmc(model, given)
