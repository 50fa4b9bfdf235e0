"""Families that are no networks, number by number: against what they say all at once, and against plain counting."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from inference.em import em
from tests.zoo.autoregression import all_rows, unrolled_log_prob
from tests.zoo.shaking import shaken
from zoo.choosing import drawing
from zoo.conditionals import Bernoulli, Categorical
from zoo.hidden_markov import HiddenMarkov
from zoo.markov_chain import MarkovChain
from zoo.verbs import Refusal


def codes(levels: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(levels, shape, generator=torch.Generator().manual_seed(seed))


def agree(model, x, context=None) -> None:
    """What is chosen number by number has the probability that the whole row has."""
    steps = model.step_log_prob(x, context=context).detach()
    torch.testing.assert_close(steps.sum(-1), model.log_prob(x, context=context).detach())
    for told in range(model.features):
        found = unrolled_log_prob(model, x, context, told)
        torch.testing.assert_close(found, steps[:, told:], atol=1e-9, rtol=1e-7)


@settings(max_examples=20, deadline=None)
@given(
    levels=st.integers(2, 4),
    order=st.integers(0, 4),
    smoothing=st.sampled_from(["kneser-ney", "absolute", "add"]),
    seed=st.integers(0, 100),
)
def test_a_chain_gives_all_levels_after_each_history(levels, order, smoothing, seed):
    model = MarkovChain(5, levels=levels, order=order, smoothing=smoothing).double()
    model.count(codes(levels, 30, 5, seed=seed))
    agree(model, codes(levels, 40, 5, seed=seed + 1))


def test_an_uncounted_chain_is_uniform():
    found = unrolled_log_prob(MarkovChain(4, levels=3, order=2).double(), codes(3, 6, 4))
    torch.testing.assert_close(found.exp(), torch.full((6, 4), 1 / 3).double())


def test_a_chain_without_smoothing_knows_what_cannot_follow():
    model = MarkovChain(3, levels=3, order=1, smoothing="add", pseudo_count=0.0)
    model.count(torch.tensor([[0, 1, 0]]))
    met = []
    model.unroll(lambda i, logits: met.append(logits) or torch.tensor([[0, 1, 0][i]]), 1)
    assert torch.cat(met).exp().tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("shape", [(4,), (3, 2)])
@pytest.mark.parametrize("levels", [2, 3])
def test_a_hidden_chain_sums_its_states_out(levels, shape):
    model = shaken(HiddenMarkov(shape, states=3, levels=levels))
    assert "unroll" in model.capabilities
    x = all_rows(levels, *shape)
    agree(model, x)
    assert abs(float(unrolled_log_prob(model, x).sum(-1).logsumexp(0))) < 1e-10


def test_a_hidden_chain_by_enumerating_its_states():
    model = shaken(HiddenMarkov((3,), states=2, levels=2))
    shown, met = model.emission.logits.softmax(-1)[:, 0], []
    row = torch.tensor([[0, 1, 1]])
    model.unroll(lambda i, logits: met.append(logits.softmax(-1)[0]) or row[:, i], 1)
    for t in range(3):
        joint = torch.zeros(2).double()
        for path in itertools.product(range(2), repeat=t + 1):
            weight = model.initial[path[0]]
            for a, b in itertools.pairwise(path):
                weight = weight * model.transition[a, b]
            for z, value in zip(path[:-1], row[0, :t].tolist(), strict=True):
                weight = weight * shown[z, value]
            joint += (weight * shown[path[-1]]).detach()
        torch.testing.assert_close(met[t], joint / joint.sum())


def test_a_hidden_chain_survives_what_no_state_can_show():
    model = shaken(HiddenMarkov((30,), states=2, levels=3))
    with torch.no_grad():
        model.emission.logits[..., 2] = -2000.0
    met = []
    model.unroll(lambda i, logits: met.append(logits) or torch.tensor([2]), 1)
    assert not torch.cat(met).isnan().any()
    assert (torch.cat(met).softmax(-1)[:, 2] == 0).all()


def test_hidden_chains_over_numbers_do_not_make_rows_number_by_number():
    model = HiddenMarkov((4,), states=2)
    assert "unroll" not in model.capabilities and not hasattr(model, "levels")
    with pytest.raises(Refusal, match="given levels"):
        model.unroll(drawing(), 2)


def test_a_network_has_no_state_beyond_its_variables_own():
    model = zoo.BayesianNetwork(network="alarm")
    x = model.sample(50)
    agree(model, x)
    met = []
    model.unroll(lambda i, logits: met.append(logits) or x[:, i], 50)
    for v, logits in zip(model.variables, met, strict=True):
        assert logits.shape == (50, model.levels)
        assert (logits[:, len(model.states[v]) :] == -torch.inf).all()
    assert model.levels == max(len(states) for states in model.states.values())


@pytest.mark.parametrize("build", [Bernoulli, lambda shape, **kw: Categorical(shape, levels=3, **kw)])
@pytest.mark.parametrize("size", [None, 2])
def test_independent_numbers_have_the_same_logits_all_at_once(build, size):
    model = shaken(build((2, 2), context_shape=size))
    x = codes(model.levels, 7, 2, 2)
    context = None if size is None else torch.randn(7, size, generator=torch.Generator().manual_seed(0)).double()
    agree(model, x, context)


def test_what_is_drawn_number_by_number_is_distributed_as_the_samples_are():
    """Frequencies of whole rows of a counted chain, 20,000 draws each way: within five standard errors."""
    model = MarkovChain(3, levels=3, order=1)
    em(model, codes(3, 50, 3), progress=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = model.unroll(drawing(), 20_000)
    for row in all_rows(3, 3):
        p = float(model.log_prob(row[None]).exp())
        found = float((drawn == row).all(-1).double().mean())
        assert abs(found - p) < 5 * (p * (1 - p) / 20_000) ** 0.5
