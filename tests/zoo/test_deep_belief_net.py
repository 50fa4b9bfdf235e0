"""The deep belief net against all states of x and the hidden layers."""

from __future__ import annotations

import itertools

import pytest
import torch

from inference import log_likelihood
from inference.fit import fit
from inference.objectives import ContrastiveDivergence, LayerByLayer
from inference.stacking import StackBound, fit_layers
from tests.zoo.bit_machines import states
from zoo.base import Refusal
from zoo.deep_belief_net import DeepBeliefNet


@torch.no_grad()
def shaken(features: int = 3, hidden: tuple[int, ...] = (2, 3), seed: int = 0) -> DeepBeliefNet:
    torch.manual_seed(seed)
    net = DeepBeliefNet(features, hidden=hidden).double()
    for parameter in net.parameters():
        parameter.normal_()
    return net


def directed(net: DeepBeliefNet, k: int, below: torch.Tensor, above: torch.Tensor) -> torch.Tensor:
    """log p(below | above) of a sigmoid layer, number by number."""
    machine = net.layers[k]
    total = torch.zeros(())
    for i in range(len(below)):
        odds = machine.visible_bias[i] + sum(machine.weights[i, j] * above[j] for j in range(len(above)))
        total = total + (odds.sigmoid() if below[i] == 1 else 1 - odds.sigmoid()).log()
    return total


@torch.no_grad()
def joint(net: DeepBeliefNet) -> torch.Tensor:
    """log p(x, z) of every x and z, [2^features, 2^latents], by its definition."""
    top = net.top
    energies = {
        tuple(v.tolist()): torch.stack(
            [(v @ top.weights @ h) + v @ top.visible_bias + h @ top.hidden_bias for h in states(top.hidden)]
        ).logsumexp(0)
        for v in states(top.features)
    }
    log_z = torch.stack(list(energies.values())).logsumexp(0)
    table = []
    for x, z in itertools.product(states(net.features), states(sum(net.hidden[:-1]))):
        layers = [x, *z.split(list(net.hidden[:-1]))]
        total = energies[tuple(layers[-1].tolist())] - log_z
        for k, (below, above) in enumerate(itertools.pairwise(layers)):
            total = total + directed(net, k, below, above)
        table.append(total)
    return torch.stack(table).view(2**net.features, -1)


def densities(net: DeepBeliefNet) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(x, z) and log q(z | x) of every x and z, by the model's own distributions."""
    x, z = states(net.features), states(sum(net.hidden[:-1]))
    pairs = [(row, code) for row in x for code in z]
    rows, codes = torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs])
    told = net.prior().log_prob(codes) + net.decoder(codes).log_prob(rows)
    return told.view(len(x), -1), net.encoder(rows).log_prob(codes).view(len(x), -1)


@pytest.mark.parametrize("hidden", [(2, 3), (2, 3, 2)])
def test_the_joint_is_that_of_its_definition(hidden: tuple[int, ...]) -> None:
    net = shaken(hidden=hidden)
    told, proposed = densities(net)
    torch.testing.assert_close(told.detach(), joint(net))
    torch.testing.assert_close(told.flatten().logsumexp(0).exp(), torch.ones(()).double())
    torch.testing.assert_close(proposed.exp().sum(1), torch.ones(2**net.features).double())


def bound(net: DeepBeliefNet) -> torch.Tensor:
    """The exact ELBO of every x."""
    told, proposed = densities(net)
    return (proposed.exp() * (told - proposed)).sum(1).detach()


@pytest.mark.parametrize("hidden", [(2, 3), (2, 3, 2)])
def test_the_bound_lies_below_the_likelihood(hidden: tuple[int, ...]) -> None:
    net = shaken(hidden=hidden)
    exact = joint(net).logsumexp(1)
    assert (bound(net) <= exact + 1e-9).all() and (exact - bound(net)).max() > 1e-3
    one = log_likelihood(net, states(3), method=StackBound(draws=1), seed=1)
    many = log_likelihood(net, states(3), method=StackBound(draws=4000), seed=1)
    assert many.kind == "lower bound" and "summed" in many.method
    assert ((many.values - exact).abs() < 5 * many.standard_error + 1e-3).all()
    assert one.values.mean() < many.values.mean()


def test_a_second_layer_that_is_the_first_turned_over_keeps_the_first_ones_likelihood() -> None:
    """Hinton 2006: with tied weights the net is the first RBM, and the bound is tight."""
    net = shaken(features=3, hidden=(4, 3))
    first = net.layers[0]
    assert net.begin(1)
    exact = (-first.free_energy(states(3)) - first.log_partition()).detach()
    torch.testing.assert_close(joint(net).logsumexp(1), exact)
    torch.testing.assert_close(bound(net), exact)
    with torch.no_grad():
        net.top.weights.mul_(1.1)
    assert (bound(net) - exact).abs().max() > 1e-3
    assert not shaken(hidden=(4, 2)).begin(1)


def test_the_second_layer_raises_the_bound_from_there() -> None:
    net = shaken(features=4, hidden=(2, 4), seed=2)
    torch.manual_seed(1)
    x = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]).double().repeat(100, 1)
    place = (x @ torch.tensor([8.0, 4.0, 2.0, 1.0]).double()).long()
    fit(net.layers[0], x, ContrastiveDivergence(), steps=60, lr=0.05, seed=0, progress=False)
    net.begin(1)
    before = bound(net)[place].mean()
    fit(net.top, net.upward(x, 1), ContrastiveDivergence(chains=300), steps=500, lr=0.02, seed=0, progress=False)
    assert bound(net)[place].mean() > before + 0.02


def test_fit_layers_learns_from_the_bottom_up() -> None:
    torch.manual_seed(0)
    y = torch.randint(0, 2, (800, 1))
    x = (torch.rand(800, 6) < torch.where(y == 1, 0.9, 0.1)).float()
    net = DeepBeliefNet(6, hidden=(4, 6))
    fits = fit_layers(net, x, steps=400, batch_size=100, lr=0.03, seed=0, progress=False)
    assert len(fits) == 2
    alone = DeepBeliefNet(6, hidden=(4, 6))
    fit(alone, x, steps=400, batch_size=100, lr=0.03, seed=0, progress=False)
    independent = x.mean(0)
    naive = (x * independent.log() + (1 - x) * (1 - independent).log()).sum(1).mean()
    for model in (net, alone):
        assert log_likelihood(model, x[:200], seed=0).mean > float(naive) + 0.5
    assert set(LayerByLayer().objectives) == set()


def test_a_layer_whose_chains_leave_the_data_is_named() -> None:
    net = shaken(features=4, hidden=(3, 2)).float()
    x = (torch.rand(50, 4) < 0.1).float()
    objective = LayerByLayer(chains=20)
    objective.prepare(net, x)
    objective.objectives[0].chains.state = torch.ones(20, 4)
    found = [objective.watch(net, {}) for _ in range(25)]
    assert any("layer 0: the chains" in sentence for ill in found for sentence in ill.values())


def test_draws_follow_the_model() -> None:
    net = shaken(features=2, hidden=(2, 2))
    net.layers[-1].sweeps = 30
    torch.manual_seed(0)
    draws = 20_000
    code = (net.sample(draws) @ torch.tensor([2.0, 1.0]).double()).long()
    share = torch.bincount(code, minlength=4).double() / draws
    p = joint(net).logsumexp(1).exp()
    assert ((share - p).abs() < 5 * (p * (1 - p) / draws).sqrt()).all()


def test_a_top_too_large_to_sum_is_estimated_and_labelled() -> None:
    net = DeepBeliefNet(3, hidden=(22, 21))
    found = log_likelihood(net, torch.zeros(3, 3), method=StackBound(draws=5, chains=20, temperatures=10))
    assert found.kind == "estimate" and "lower bound" in found.method and "AIS" in found.method
    assert found.shared_error > 0
    with pytest.raises(Refusal, match="by AIS"):
        net.prior()


def test_ais_of_the_top_gives_what_summing_gives() -> None:
    net = shaken()
    exact = log_likelihood(net, states(3), method=StackBound(draws=50))

    class Alone:
        """The net with a top that hides its log Z."""

        support, measure, event_shape = net.support, net.measure, net.event_shape
        layers, upward, begin, unnormalised = net.layers, net.upward, net.begin, net.unnormalised
        prior, decoder, encoder = net.prior, net.decoder, net.encoder

        class top:
            free_energy, gibbs_step, start = net.top.free_energy, net.top.gibbs_step, net.top.start
            annealing = net.top.annealing

    guessed = log_likelihood(Alone(), states(3), method=StackBound(draws=50, chains=200, temperatures=200))
    off = (guessed.values - exact.values).detach()
    assert guessed.kind == "estimate" and off.abs().max() < 4 * guessed.shared_error + 0.01
    torch.testing.assert_close(off, off[:1].expand_as(off))


def test_what_is_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="two or more positive numbers"):
        DeepBeliefNet(3, hidden=(2,))
    with pytest.raises(TypeError, match="no stack of layers"):
        fit_layers(torch.nn.Linear(2, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="takes no context"):
        DeepBeliefNet(3, context_shape=2)
