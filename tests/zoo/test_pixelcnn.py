"""PixelCNN against enumeration, gradients and its own naive sampler."""

from __future__ import annotations

import pytest
import torch

from tests.zoo.autoregression import all_rows, in_order, naive_rows, unrolled_log_prob
from tests.zoo.pixels import sees
from tests.zoo.shaking import normal, shaken
from zoo.choosing import drawing
from zoo.pixelcnn import PixelCNN

SMALL = [
    pytest.param((1, 3, 3), {}, None, id="bits"),
    pytest.param((1, 3, 3), {}, 2, id="bits given a context"),
    pytest.param((1, 2, 2), {"levels": 3}, None, id="levels"),
    pytest.param((1, 2, 2), {"levels": 4, "mixture": 3}, 2, id="logistics given a context"),
    pytest.param((2, 2, 2), {}, None, id="colours"),
    pytest.param((3, 1, 2), {"levels": 3, "mixture": 2}, None, id="colours of logistics"),
]


def small(shape, options, context_size=None):
    return shaken(PixelCNN(shape, hidden=5, layers=2, kernel=3, context_shape=context_size, **options))


@pytest.mark.parametrize(("shape", "options", "context_size"), SMALL)
def test_the_probabilities_of_all_images_sum_to_one(shape, options, context_size):
    model = small(shape, options, context_size)
    rows = all_rows(model.levels, *shape)
    context = None if context_size is None else normal(1, context_size).expand(len(rows), -1)
    total = model.log_prob(model.as_rows(rows), context=context).logsumexp(0).detach()
    assert abs(float(total)) < 1e-10


@pytest.mark.parametrize(
    ("shape", "layers", "kernel"),
    [((1, 5, 6), 5, 3), ((1, 4, 7), 3, 5), ((3, 3, 3), 3, 3), ((2, 1, 4), 3, 3), ((1, 4, 1), 3, 3)],
)
def test_gradients_show_that_every_earlier_number_is_seen_and_no_other(shape, layers, kernel):
    model = shaken(PixelCNN(shape, hidden=6, layers=layers, kernel=kernel, levels=4, mixture=2))
    size = model.features
    assert torch.equal(sees(model), torch.ones(size, size, dtype=torch.bool).tril(-1))


def test_one_layer_sees_what_its_kernels_reach():
    model = shaken(PixelCNN((1, 4, 5), hidden=6, layers=1, kernel=3, levels=4, mixture=2))
    expected = torch.zeros(20, 20, dtype=torch.bool)
    for row in range(4):
        for column in range(5):
            for r in range(4):
                for c in range(5):
                    above = 1 <= row - r <= 2 and abs(column - c) <= 1
                    left = row == r and 1 <= column - c <= 2
                    expected[5 * row + column, 5 * r + c] = above or left
    assert torch.equal(sees(model), expected)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_context_reaches_every_number(layers):
    model = shaken(PixelCNN((2, 2, 3), levels=3, hidden=6, layers=layers, kernel=3, context_shape=2))
    x = torch.randint(0, 3, (1, 2, 2, 3), generator=torch.Generator().manual_seed(0))
    jacobian = torch.autograd.functional.jacobian(lambda c: model.step_log_prob(x, context=c)[0], normal(1, 2))
    assert (jacobian.abs() > 0).all()


@pytest.mark.parametrize("told", [0, 4, 17])
@pytest.mark.parametrize(("levels", "mixture", "context_size"), [(3, None, 2), (2, None, None), (5, 2, None)])
def test_the_cached_draws_are_the_naive_loops_from_the_same_seed(levels, mixture, context_size, told):
    model = small((2, 3, 4), {"levels": levels, "mixture": mixture}, context_size)
    context = None if context_size is None else normal(6, context_size)
    prefix = torch.randint(0, levels, (6, told), generator=torch.Generator().manual_seed(1))
    options = {"temperature": 0.8, "top_k": 2, "top_p": 0.9}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        cached = model.sample(6, context=context, prefix=prefix, **options)
        torch.manual_seed(4)
        naive = naive_rows(model, 6, context, prefix, drawing(**options))
    assert torch.equal(cached, naive)
    assert torch.equal(in_order(model, cached)[:, :told], prefix)


def test_in_single_precision_it_is_the_same_to_a_hundred_thousandth_and_to_the_bit_whoever_chooses():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PixelCNN((1, 8, 8)).eval()
        x = torch.randint(0, 2, (7, 1, 8, 8)).float()
        drawn = model.sample(7)
    with torch.no_grad():
        found, again = unrolled_log_prob(model, x), unrolled_log_prob(model, x)
        torch.testing.assert_close(found, model.step_log_prob(x), atol=1e-5, rtol=0)
        seen = []

        def spy(i, logits):
            seen.append(logits.clone())
            return drawn.flatten(1)[:, i].long()

        model.unroll(spy, 7)
        told = list(seen)
        seen.clear()
        model.unroll(spy, 7, known=drawn.flatten(1)[:, :40].long())
    assert torch.equal(found, again)
    assert all(torch.equal(a, b) for a, b in zip(told[40:], seen, strict=True))


def test_draws_have_the_frequencies_of_the_probabilities():
    model = small((1, 2, 2), {"levels": 3, "mixture": 2})
    rows = all_rows(3, 1, 2, 2)
    expected = model.log_prob(rows).exp()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = model.sample(20_000)
    found = (draws.flatten(1)[:, None] == rows.flatten(1)).all(-1).double().mean(0)
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / 20_000).sqrt() + 1e-4).all()


def test_dropout_is_for_training_alone_and_never_in_draws():
    model = small((1, 3, 3), {"dropout": 0.5})
    x = torch.ones(4, 1, 3, 3, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noisy = model.train().step_log_prob(x)
        drawn = unrolled_log_prob(model, x)
    still = model.eval().step_log_prob(x)
    assert not torch.allclose(noisy, still)
    torch.testing.assert_close(drawn, still)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((8, 8), {}, r"event_shape \[colours, height, width\], not \[8, 8\]"),
        ((1, 2, 2), {"levels": 1}, "levels must be at least 2, not 1"),
        ((1, 2, 2), {"mixture": 0}, "mixture must be at least 1, not 0"),
        ((1, 2, 2), {"hidden": 0}, "hidden must be at least 1, not 0"),
        ((1, 2, 2), {"layers": 0}, "layers must be at least 1, not 0"),
        ((1, 2, 2), {"kernel": 4}, "kernel must be an odd number from 3, not 4"),
        ((1, 2, 2), {"dropout": 1.0}, "dropout must be at least 0 and below 1"),
    ],
)
def test_wrong_parameters_are_refused(shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelCNN(shape, **arguments)


def test_wrong_images_are_refused():
    model = PixelCNN((1, 2, 3), levels=4, hidden=4, layers=1, kernel=3)
    with pytest.raises(ValueError, match=r"PixelCNN models x of shape \[N, 1, 2, 3\], but was given \[5, 1, 3, 2\]"):
        model.check(torch.zeros(5, 1, 3, 2))
    x = torch.zeros(2, 1, 2, 3, dtype=torch.long)
    x[1, 0, 1, 2] = 4
    with pytest.raises(ValueError, match="has the value 4 at row 1, column 0, 1, 2, outside the support"):
        model.check(x)
    with pytest.raises(ValueError, match="prefix holds the first k of 6 numbers"):
        model.sample(2, prefix=torch.zeros(2, 7, dtype=torch.long))
