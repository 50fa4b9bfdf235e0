"""MADE against enumeration, gradients and its own naive sampler."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.foundation_tasks.data import binarised_digits
from inference.fit import fit
from tests.zoo.autoregression import all_rows, naive_rows, unrolled_log_prob
from tests.zoo.shaking import normal, shaken
from zoo.choosing import drawing
from zoo.made import MADE
from zoo.masked import MaskedNetwork


@pytest.mark.parametrize("context_size", [None, 2])
@pytest.mark.parametrize(("levels", "shape"), [(2, (3, 3)), (3, (2, 3)), (5, (1,)), (2, (1,))])
def test_the_probabilities_of_all_rows_sum_to_one(levels, shape, context_size):
    model = shaken(MADE(shape, levels=levels, hidden=(7, 9), context_shape=context_size))
    rows = all_rows(levels, *shape)
    context = None if context_size is None else normal(1, context_size).expand(len(rows), -1)
    total = model.log_prob(rows.double(), context=context).logsumexp(0).detach()
    assert abs(float(total)) < 1e-10


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 6),
    inputs=st.integers(1, 3),
    outputs=st.integers(1, 3),
    hidden=st.sampled_from([(3,), (20,), (9, 11), (5, 12, 8)]),
    context=st.sampled_from([0, 2]),
)
def test_gradients_show_that_no_number_sees_itself_or_a_later_one(size, inputs, outputs, hidden, context):
    network = shaken(MaskedNetwork(size, inputs=inputs, outputs=outputs, hidden=hidden, context=context))
    given_context = normal(context) if context else None
    sees = torch.zeros(size, size, dtype=torch.bool)
    for seed in range(8):
        x = normal(size * inputs, seed=seed)
        jacobian = torch.autograd.functional.jacobian(lambda x: network(x, given_context), x)
        sees |= (jacobian.view(size, outputs, size, inputs).abs() > 0).any(3).any(1)
    assert torch.equal(sees, torch.ones(size, size, dtype=torch.bool).tril(-1))


@pytest.mark.parametrize("size", [1, 4])
def test_a_context_reaches_every_number(size):
    network = shaken(MaskedNetwork(size, inputs=1, outputs=1, hidden=(16,), context=2))
    sees = torch.zeros(size, 1, 2, dtype=torch.bool)
    for seed in range(8):  # a unit may be off at one context
        x, context = normal(size), normal(2, seed=seed)
        sees |= torch.autograd.functional.jacobian(lambda c, x=x: network(x, c), context).abs() > 0
    assert sees.all()


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize(("inputs", "context", "hidden"), [(1, 0, (5,)), (3, 2, (9, 4, 30)), (2, 2, (2,))])
def test_number_by_number_is_the_same_function_as_one_pass(inputs, context, hidden, gradients):
    network = shaken(MaskedNetwork(5, inputs=inputs, outputs=2, hidden=hidden, context=context))
    x = normal(6, 5, inputs)
    given_context = normal(6, context) if context else None
    met: list[Tensor] = []

    def choose(i: int, values: Tensor) -> Tensor:
        met.append(values.t())
        return x[:, i].t()

    with torch.set_grad_enabled(gradients):
        network.unroll(choose, 6, given_context)
    assert torch.allclose(torch.stack(met, 1), network(x.flatten(1), given_context), atol=1e-12)
    if gradients:
        one = torch.autograd.grad(torch.stack(met, 1).sin().sum(), network.layers[0].weight)[0]
        other = torch.autograd.grad(network(x.flatten(1), given_context).sin().sum(), network.layers[0].weight)[0]
        assert torch.allclose(one, other, atol=1e-10)


@pytest.mark.parametrize(("levels", "shape"), [(2, (2, 2)), (3, (3,))])
def test_draws_have_the_frequencies_of_the_probabilities(levels, shape):
    model = shaken(MADE(shape, levels=levels, hidden=8))
    rows = all_rows(levels, *shape)
    expected = model.log_prob(rows.double()).exp()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = model.sample(40_000)
    assert draws.shape == (40_000, *shape)
    found = (draws.flatten(1).double()[:, None] == rows.flatten(1).double()).all(-1).double().mean(0)
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / 40_000).sqrt() + 1e-4).all()


@pytest.mark.parametrize(("levels", "context_size"), [(3, 2), (2, None)])
@pytest.mark.parametrize("told", [0, 3, 8])
def test_the_cached_draws_are_the_naive_loops_from_the_same_seed(levels, context_size, told):
    model = shaken(MADE((2, 4), levels=levels, hidden=(20, 10), context_shape=context_size))
    context = None if context_size is None else normal(9, context_size)
    prefix = torch.randint(0, levels, (9, told), generator=torch.Generator().manual_seed(1))
    options = {"temperature": 0.8, "top_k": 2, "top_p": 0.9}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        cached = model.sample(9, context=context, prefix=prefix, **options)
        torch.manual_seed(4)
        naive = naive_rows(model, 9, context, prefix, drawing(**options))
    assert torch.equal(cached, naive)
    assert torch.equal(cached.flatten(1)[:, :told].long(), prefix)


def test_the_context_is_honoured_row_by_row_and_under_further_axes():
    model = shaken(MADE((2, 2), levels=3, hidden=10, context_shape=2))
    x = torch.randint(0, 3, (5, 4, 2, 2), generator=torch.Generator().manual_seed(0))
    context = normal(4, 2)
    distribution = model.distribution(context)
    assert distribution.batch_shape == (4,)
    together = distribution.log_prob(x)
    for k, n in itertools.product(range(5), range(4)):
        assert torch.allclose(together[k, n], model.log_prob(x[k, n : n + 1], context=context[n : n + 1])[0])
    assert distribution.sample((7,)).shape == (7, 4, 2, 2)
    assert model.distribution(context[:1]).expand([6]).sample().shape == (6, 2, 2)


def test_dropout_is_for_training_alone_and_never_in_draws():
    model = shaken(MADE(6, hidden=(20, 20), dropout=0.5))
    x = all_rows(2, 6).double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noisy = model.train().step_log_prob(x)
        drawn = unrolled_log_prob(model, x)
    still = model.eval().step_log_prob(x)
    assert not torch.allclose(noisy, still)
    torch.testing.assert_close(drawn, still)


def test_it_learns_the_digits():
    train, test = binarised_digits()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MADE(64)
    fit(model, train, steps=1000, progress=False)
    with torch.no_grad():
        assert -model.log_prob(test).mean().item() < 18.3


def test_one_row_is_scored_under_each_context_and_each_row_under_one():
    model = shaken(MADE((2, 2), levels=3, hidden=10, context_shape=2))
    x, context = torch.randint(0, 3, (4, 2, 2), generator=torch.Generator().manual_seed(0)), normal(4, 2)
    for value, given_context in ((x[0], context), (x[:1], context), (x, context[:1])):
        found = model.distribution(given_context).log_prob(value)
        rows, contexts = value.expand(4, 2, 2), given_context.expand(4, 2)
        assert torch.allclose(found, model.log_prob(rows, context=contexts))


@pytest.mark.parametrize(("levels", "value"), [(3, 1.5), (2, 0.5), (2, float("nan")), (3, 3.0), (2, -1.0)])
def test_fractions_and_codes_too_many_are_refused(levels, value):
    model = MADE(3, levels=levels)
    x = torch.tensor([[0.0, 1.0, 1.0], [0.0, value, 1.0]])
    with pytest.raises(ValueError, match=f"x of MADE has the value {value:g} at row 1, column 1"):
        model.log_prob(x)
    with pytest.raises(ValueError, match="the prefix of MADE has the value"):
        model.sample(2, prefix=x[:, :2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"levels": 1}, "levels must be at least 2, not 1"),
        ({"hidden": 0}, "hidden must be a width"),
        ({"hidden": ()}, "hidden must be a width"),
        ({"hidden": (4, 0)}, "hidden must be a width"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
    ],
)
def test_wrong_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MADE(3, **arguments)
