"""Chains in continuous time against scipy's matrix exponential, enumeration, two states by hand, and whole paths."""

import itertools
import math

import pytest
import scipy.linalg
import torch
from torch.autograd import gradcheck

import zoo
from inference.em import em
from inference.fit import fit
from inference.likelihood import log_likelihood
from inference.query import query
from zoo.continuous_chain import ContinuousMarkovChain

TIMES = [0.0, 0.3, 1.0, 1.3, 3.0]


def chain(**options) -> ContinuousMarkovChain:
    torch.manual_seed(0)
    model = ContinuousMarkovChain(5, levels=3, **({"times": TIMES} | options)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


EVERY = torch.tensor(list(itertools.product(range(3), repeat=5)))


def test_the_generator_is_one() -> None:
    q = chain().generator
    torch.testing.assert_close(q.sum(-1), torch.zeros(3).double(), atol=1e-12, rtol=0)
    assert (q[~torch.eye(3).bool()] > 0).all()
    model = chain()
    other = torch.tensor([[-3.0, 1.0, 2.0], [0.0, -0.5, 0.5], [4.0, 5.0, -9.0]]).double()
    model.set_generator(other)
    torch.testing.assert_close(model.generator, other)


def test_rows_are_scored_by_scipys_matrix_exponential_and_sum_to_one() -> None:
    model = chain()
    value = model.log_prob(EVERY)
    torch.testing.assert_close(value.exp().sum(), torch.ones(()).double())
    q, start = model.generator.detach().numpy(), model.initial.detach().numpy()
    for x, found in zip(EVERY[::37].tolist(), value[::37].tolist(), strict=True):
        by_hand = math.log(start[x[0]])
        for t in range(1, 5):
            by_hand += math.log(scipy.linalg.expm((TIMES[t] - TIMES[t - 1]) * q)[x[t - 1], x[t]])
        assert found == pytest.approx(by_hand)


def test_gradients_pass_through_the_matrix_exponential() -> None:
    model = chain()

    def value(rates: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, {"log_rates": rates}, (EVERY[::60],))

    model.forward = model.log_prob
    assert gradcheck(value, (model.log_rates.detach().requires_grad_(),))


def test_two_states_are_what_their_formula_says() -> None:
    model = ContinuousMarkovChain(2, levels=2).double()
    a, b, t = 0.7, 0.2, 1.9
    model.set_generator(torch.tensor([[-a, a], [b, -b]]).double())
    fade = math.exp(-(a + b) * t)
    expected = torch.tensor([[b + a * fade, a - a * fade], [b - b * fade, a + b * fade]]).double() / (a + b)
    torch.testing.assert_close(model.transition(t), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(model.stationary(), torch.tensor([b, a]).double() / (a + b))
    torch.testing.assert_close(model.hitting_times([1]), torch.tensor([1 / a, 0]).double())
    torch.testing.assert_close(model.transition(torch.tensor([0.0]))[0], torch.eye(2).double())


def test_the_long_run_is_stationary_and_absorption_takes_its_time() -> None:
    model = chain()
    stationary = model.stationary()
    torch.testing.assert_close(stationary @ model.transition(0.7), stationary)
    torch.testing.assert_close(model.transition(1e3)[0], stationary)
    # up one by one, to an end that is never left, from a place that may be missed
    model = ContinuousMarkovChain(2, levels=4).double()
    q = torch.tensor([[-2.0, 2, 0, 0], [0, -4, 4, 0], [0, 0, 0, 0], [1, 0, 0, -1]]).double()
    model.set_generator(q)
    torch.testing.assert_close(model.hitting_times([2]), torch.tensor([0.75, 0.25, 0, 1.75]).double())
    torch.testing.assert_close(model.hitting_times([3]), torch.tensor([math.inf, math.inf, math.inf, 0]).double())
    with pytest.raises(ValueError, match="more than one stationary"):
        model.set_generator(torch.zeros(4, 4))
        model.stationary()


def test_draws_have_the_probabilities_of_rows() -> None:
    model = chain()
    torch.manual_seed(0)
    place = 3 ** torch.arange(4, -1, -1)
    share = (model.sample(40_000) @ place).bincount(minlength=243).double() / 40_000
    expected = model.log_prob(EVERY).exp().detach()
    assert ((share - expected).abs() < 5 * (expected / 40_000).sqrt() + 1e-4).all()


def test_whole_paths_agree_with_the_matrix_exponential_and_give_their_rates_back() -> None:
    model = chain()
    torch.manual_seed(0)
    paths = model.simulate(20_000, 2.0, first=1)
    place = (paths.times <= 1.1).sum(1) - 1
    seen = paths.states.gather(1, place[:, None])[:, 0].bincount(minlength=3).double() / 20_000
    torch.testing.assert_close(seen, model.transition(1.1)[1].detach(), atol=0.015, rtol=0)
    again = chain()
    again.count_paths(model.simulate(20_000, 2.0))
    torch.testing.assert_close(again.generator, model.generator, rtol=0.05, atol=0.01)
    torch.testing.assert_close(again.initial, model.initial, atol=0.015, rtol=0)


def test_counted_rates_are_jumps_over_time() -> None:
    from zoo.continuous_chain import Paths

    model = ContinuousMarkovChain(2, levels=2).double()
    inf = math.inf
    paths = Paths(torch.tensor([[0, 1, 0], [1, -1, -1]]), torch.tensor([[0.0, 2.0, 3.0], [0.0, inf, inf]]), 4.0)
    model.count_paths(paths)  # in 0 for 2 + 1, one jump; in 1 for 1 + 4, one jump
    torch.testing.assert_close(model.generator, torch.tensor([[-1 / 3, 1 / 3], [0.2, -0.2]]).double())


def test_states_not_seen_are_summed_out_and_bridged() -> None:
    model = chain()
    x = torch.tensor([[0, -1, 2, -1, -1], [-1, 1, -1, -1, 0]])
    answer = query(model, "x", given={"x": x})
    assert answer.kind == "exact"
    drawn = model.complete(x, x >= 0, 20_000)
    for n, row in enumerate(x):
        rows = EVERY[(row == EVERY)[:, row >= 0].all(1)]
        value = model.log_prob(rows).detach()
        torch.testing.assert_close(model.log_prob(row[None])[0], value.logsumexp(0))
        cells = torch.einsum("p,ptk->tk", value.softmax(0), torch.nn.functional.one_hot(rows, 3).double())
        torch.testing.assert_close(torch.tensor(answer["x"].sel(row=n).values), cells)
        share = torch.nn.functional.one_hot(drawn[:, n], 3).double().mean(0)
        torch.testing.assert_close(share, cells, atol=0.02, rtol=0)
        assert float(answer.log_evidence[n]) == pytest.approx(value.logsumexp(0).item())
    assert log_likelihood(model, x).kind == "exact"
    middle = model.bridge(0, 2, 1.0, [0.0, 0.3, 1.0])
    torch.testing.assert_close(middle[1], torch.tensor(answer["x"].sel(row=0, x_dim_0=1).values))
    torch.testing.assert_close(middle[[0, 2]], torch.eye(3).double()[[0, 2]], atol=1e-12, rtol=0)


def test_gradients_find_the_rates() -> None:
    truth = chain()
    torch.manual_seed(1)
    x = truth.sample(3000)
    x[torch.rand(x.shape) < 0.1] = -1
    model = ContinuousMarkovChain(5, levels=3, times=TIMES)
    fit(model, x, steps=200, lr=0.05, batch_size=3000, progress=False)
    assert model.double().log_prob(x).mean() > truth.log_prob(x).mean() - 1e-3
    torch.testing.assert_close(model.generator, truth.generator, atol=0.25, rtol=0.25)


def test_wrong_options_and_rows_are_refused() -> None:
    for options, message in (
        ({"levels": 1}, "levels must be at least 2"),
        ({"levels": 2, "times": [0.0, 1.0]}, "times has 2 entries"),
        ({"levels": 2, "times": [0.0, 1.0, 1.0]}, "times must increase"),
        ({"levels": 2, "interval": 0.0}, "interval must be positive"),
        ({"levels": 2, "context_shape": 2}, "takes no context"),
    ):
        with pytest.raises(ValueError, match=message):
            ContinuousMarkovChain(3, **options)
    model = chain()
    for call, message in (
        (lambda: model.log_prob(torch.full((1, 5), 3)), "states 0 to 2"),
        (lambda: model.transition(-1.0), "at least 0"),
        (lambda: model.hitting_times([3]), "targets are states"),
        (lambda: model.bridge(0, 3, 1.0, [0.5]), "first and last are states"),
        (lambda: model.bridge(0, 1, 1.0, [1.5]), "between 0 and the span"),
        (lambda: model.simulate(1, 0.0), "span must be positive"),
        (lambda: model.simulate(1, math.inf), "span must be positive and finite"),
        (lambda: model.simulate(1, 1.0, first=3), "first is a state, 0 to 2"),
        (lambda: model.set_generator(torch.ones(3, 3)), "sums to zero"),
        (lambda: model.set_generator(-torch.ones(3, 3)), "rates of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(TypeError, match=r"inference\.fit"):
        em(model, EVERY, progress=False)


def test_it_is_written_as_a_table() -> None:
    spec = {"family": "continuous_markov_chain", "levels": 3, "interval": 0.5}
    assert zoo.build(spec, event_shape=4).sample(2).shape == (2, 4)
