"""Networks as Pyro programs: what Pyro sums out or draws by enumeration, against the engine's exact answers."""

from __future__ import annotations

from functools import cache

import pyro
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate, infer_discrete

from inference.exact.engine import Engine
from inference.query import query
from zoo.bayesian_network import BayesianNetwork
from zoo.hybrid_network import HybridNetwork

torch.set_num_threads(1)


@cache
def shipped(name: str):
    return BayesianNetwork.from_name(name).graph


def named(name: str) -> BayesianNetwork:
    return BayesianNetwork(graph=shipped(name))


def nothing(*_args, **_kwargs) -> None:
    """A guide of no sites: all that is not observed is summed out."""


def enumerated(program, given) -> float:
    """log p(given) summed over the rows, by Pyro's enumeration."""
    return -TraceEnum_ELBO(max_plate_nesting=1).loss(program, nothing, given)


@pytest.mark.parametrize("name", ["asia", "sachs"])
@pytest.mark.parametrize("seed", range(3))
def test_pyros_log_evidence_is_the_engines(name: str, seed: int) -> None:
    network = named(name)
    torch.manual_seed(seed)
    x = network.sample(5)
    known = torch.randperm(len(network.variables))[:3].tolist()
    given = {network.variables[v]: x[:, v] for v in known}
    expected = Engine(network).log_evidence(given).sum().item()
    assert enumerated(network.program, given) == pytest.approx(expected, abs=1e-9)


def test_pyros_discrete_posterior_has_the_engines_marginals() -> None:
    network = named("asia")
    n = 20_000
    given = {"dysp": torch.zeros(n, dtype=torch.long), "asia": torch.ones(n, dtype=torch.long)}
    torch.manual_seed(0)
    drawn = infer_discrete(network.program, first_available_dim=-2)(given)
    exact = Engine(network).marginals({v: codes[:1] for v, codes in given.items()}).values
    for v in ("smoke", "lung", "bronc", "either", "xray"):
        p = exact[v][0, 0].item()
        assert (drawn[v] == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / n) ** 0.5 + 1e-9)


def test_a_program_scores_complete_rows_as_log_prob_does() -> None:
    network = named("asia")
    torch.manual_seed(0)
    x = network.sample(6)
    given = {v: x[:, i] for i, v in enumerate(network.variables)}
    trace = pyro.poutine.trace(network.program).get_trace(given)
    assert trace.log_prob_sum().item() == pytest.approx(network.log_prob(x).sum().item(), abs=1e-10)
    assert {name for name in trace.nodes if name in network.variables} == set(network.variables)


def test_drawn_rows_have_the_networks_frequencies() -> None:
    network = named("asia")
    torch.manual_seed(0)
    drawn = network.program(n=20_000)
    for v, exact in Engine(network).marginals().values.items():
        p = exact[0, 0].item()
        assert (drawn[v] == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / 20_000) ** 0.5)


def hybrid() -> HybridNetwork:
    torch.manual_seed(2)
    network = HybridNetwork(
        graph=shipped("asia"),
        shapes={"picture": [2], "level": 1},
        parents={"picture": ["xray", "bronc"], "level": ["smoke", "picture"]},
    ).double()
    with torch.no_grad():
        for parameter in network.nodes.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return network


def test_a_hybrid_program_holds_enumeration_to_the_query() -> None:
    network = hybrid()
    values = network.values(network.sample(4))
    given = {name: values[name] for name in ("picture", "level", "asia")}
    answer = query(network, "lung", given=given)
    assert enumerated(network.program, given) == pytest.approx(float(answer.log_evidence.sum()), abs=1e-9)


def test_a_hybrid_program_draws_its_densities_and_scores_complete_rows() -> None:
    network = hybrid()
    x = network.sample(7)
    trace = pyro.poutine.trace(network.program).get_trace(network.values(x))
    assert trace.log_prob_sum().item() == pytest.approx(network.log_prob(x).sum().item(), abs=1e-10)
    torch.manual_seed(0)
    drawn = network.program(n=5)
    assert drawn["picture"].shape == (5, 2) and drawn["lung"].shape == (5,)
    both = pyro.poutine.trace(config_enumerate(network.program)).get_trace({"asia": torch.zeros(3, dtype=torch.long)})
    assert both.nodes["level"]["value"].shape == (3, 1)


def test_a_program_is_fitted_by_pyros_own_elbo() -> None:
    """The gradient of TraceEnum_ELBO by the tables is that of the exact marginal likelihood."""
    network = hybrid()
    x = network.sample(6)
    given = {name: value for name, value in network.values(x).items() if name not in ("lung", "either", "tub")}
    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    (-elbo.differentiable_loss(network.program, nothing, given)).backward()
    by_pyro = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    hidden = x.clone()
    for v in ("lung", "either", "tub"):
        hidden[:, network.names.index(v)] = -1
    network.log_prob(hidden).sum().backward()
    for ours, theirs in zip(network.parameters(), by_pyro, strict=True):
        torch.testing.assert_close(ours.grad, theirs, atol=1e-8, rtol=1e-8)


def test_what_can_not_be_observed_is_refused() -> None:
    network = named("asia")
    with pytest.raises(ValueError, match="no variable 'cough'"):
        network.program({"cough": torch.zeros(2, dtype=torch.long)})
    with pytest.raises(ValueError, match="'lung' is not known in every row"):
        network.program({"lung": torch.tensor([0, -1])})
