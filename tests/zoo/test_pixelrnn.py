"""PixelRNN against enumeration, gradients and its own naive sampler."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.zoo.autoregression import all_rows, in_order, naive_rows, unrolled_log_prob
from tests.zoo.pixels import sees
from tests.zoo.shaking import normal, shaken
from zoo.choosing import drawing
from zoo.pixel_lstms import DiagonalLayer, RowLayer, skewed, straightened
from zoo.pixelrnn import PixelRNN

KINDS = ["row", "diagonal"]


def small(kind, shape, context_size=None, **options):
    return shaken(PixelRNN(shape, kind=kind, hidden=5, kernel=3, context_shape=context_size, **options))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("shape", "options", "context_size"),
    [
        ((1, 3, 3), {}, None),
        ((1, 2, 2), {"levels": 3}, 2),
        ((1, 2, 2), {"levels": 4, "mixture": 3}, None),
        ((2, 2, 2), {}, 2),
    ],
)
def test_the_probabilities_of_all_images_sum_to_one(kind, shape, options, context_size):
    model = small(kind, shape, context_size, **options)
    rows = all_rows(model.levels, *shape)
    context = None if context_size is None else normal(1, context_size).expand(len(rows), -1)
    total = model.log_prob(model.as_rows(rows), context=context).logsumexp(0).detach()
    assert abs(float(total)) < 1e-10


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("shape", [(1, 3, 6), (3, 2, 2), (2, 1, 4), (1, 4, 1)])
def test_gradients_show_that_the_diagonal_kind_sees_every_earlier_number_and_no_other(shape, layers):
    model = small("diagonal", shape, levels=4, mixture=2, layers=layers)
    size = model.features
    assert torch.equal(sees(model), torch.ones(size, size, dtype=torch.bool).tril(-1))


def test_gradients_show_that_the_row_kind_sees_a_triangle_above_and_all_to_the_left():
    model = small("row", (1, 4, 6), layers=5)
    row, column = torch.arange(24) // 6, torch.arange(24) % 6
    up, right = row[:, None] - row, column - column[:, None]
    # The convolution brings one column to the right of a pixel with the row above it; each further row, one more.
    expected = ((up > 0) & (right <= up)) | ((up == 0) & (right < 0))
    assert torch.equal(sees(model), expected)


def test_gradients_show_that_the_row_kind_sees_all_of_a_small_image():
    model = small("row", (2, 3, 3), levels=4, mixture=2, layers=3)
    seen = sees(model)
    assert not seen.triu().any()
    model = shaken(PixelRNN((2, 3, 3), kind="row", hidden=5, layers=2, kernel=7))
    assert torch.equal(sees(model), torch.ones(18, 18, dtype=torch.bool).tril(-1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("told", [0, 4, 17])
@pytest.mark.parametrize(("levels", "mixture", "context_size"), [(3, None, 2), (2, None, None), (5, 2, None)])
def test_the_cached_draws_are_the_naive_loops_from_the_same_seed(kind, levels, mixture, context_size, told):
    model = small(kind, (2, 3, 4), context_size, levels=levels, mixture=mixture)
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


@pytest.mark.parametrize("kind", KINDS)
def test_in_single_precision_it_is_the_same_to_a_hundred_thousandth_and_twice_the_same_to_the_bit(kind):
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = PixelRNN((1, 8, 8), kind=kind).eval()
        x = torch.randint(0, 2, (7, 1, 8, 8)).float()
        found, again = unrolled_log_prob(model, x), unrolled_log_prob(model, x)
        torch.testing.assert_close(found, model.step_log_prob(x), atol=1e-5, rtol=0)
    assert torch.equal(found, again)


@pytest.mark.parametrize("kind", KINDS)
def test_a_context_reaches_every_number(kind):
    model = small(kind, (2, 2, 3), 2, levels=3, layers=1)
    reached = torch.zeros(12, 1, 2, dtype=torch.bool)
    for seed in range(12):  # a unit may be off at one context
        x = torch.randint(0, 3, (1, 2, 2, 3), generator=torch.Generator().manual_seed(seed))
        given = normal(1, 2, seed=seed)
        reached |= torch.autograd.functional.jacobian(lambda c, x=x: model.step_log_prob(x, context=c)[0], given) != 0
    assert reached.all()


@pytest.mark.parametrize(("height", "width"), [(3, 5), (1, 4), (4, 1)])
def test_a_skewed_image_has_its_diagonals_as_columns(height, width):
    x = normal(2, height, width)
    found = skewed(x)
    assert found.shape == (2, height, height + width - 1)
    for row in range(height):
        assert torch.equal(found[:, row, row : row + width], x[:, row])
    assert found.count_nonzero() == x.numel()
    assert torch.equal(straightened(found, width), x)


def test_a_row_of_one_pixel_is_torchs_own_lstm():
    """A column of pixels, one a row: the Row LSTM is then an ordinary LSTM of the same weights."""
    layer = shaken(RowLayer(1, 3))
    features = normal(2, 3, 6, 1)
    own = nn.LSTM(3, 3, batch_first=True).double()
    order = torch.tensor([2, 1, 3, 0])  # torch has its gates as in, forget, new, out
    with torch.no_grad():
        own.weight_ih_l0.copy_(layer.input.weight[:, :, 0, 1].view(4, 3, 3)[order].flatten(0, 1))
        own.weight_hh_l0.copy_(layer.state.weight[:, :, 1].view(4, 3, 3)[order].flatten(0, 1))
        own.bias_ih_l0.copy_(layer.input.bias.view(4, 3)[order].flatten())
        own.bias_hh_l0.zero_()
        expected = own(features[..., 0].transpose(1, 2))[0].transpose(1, 2)[..., None]
        torch.testing.assert_close(layer(features, features[:, :1], None), layer.out(expected))


def test_the_diagonal_layer_is_its_own_definition_pixel_by_pixel():
    layer = shaken(DiagonalLayer(2, 3))
    features, x = normal(1, 3, 4, 5), normal(1, 2, 4, 5, seed=1)
    with torch.no_grad():
        found = layer(features, x, None)
        sums = torch.zeros(3, 4, 5, dtype=torch.float64)
        for way, conv in enumerate((layer.from_left, layer.from_right)):
            weight = layer.state.weight[12 * way : 12 * way + 12]
            states = torch.zeros(3, 5, 7, dtype=torch.float64)  # a frame of zeros above, left and right
            memories = torch.zeros_like(states)
            for row in range(4):
                for column in (range(5), reversed(range(5)))[way]:
                    read = features[0, :, row, column] if way == 0 else torch.cat([features, x], 1)[0, :, row, column]
                    beside = column if way == 0 else column + 2
                    gates = conv.weight[:, :, 0, 0] @ read + conv.bias
                    gates += weight[..., 0] @ states[:, row, column + 1] + weight[..., 1] @ states[:, row + 1, beside]
                    out, forget, into, new = gates.chunk(4)
                    memory = forget.sigmoid() * memories[:, row + 1, beside] + into.sigmoid() * new.tanh()
                    memories[:, row + 1, column + 1] = memory
                    states[:, row + 1, column + 1] = out.sigmoid() * memory.tanh()
            sums += states[:, 1 - way : 5 - way, 1:-1]
        torch.testing.assert_close(found, layer.out(sums[None]))


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((8, 8), {}, r"event_shape \[colours, height, width\], not \[8, 8\]"),
        ((1, 2, 2), {"kind": "diagnal"}, "kind must be one of 'row', 'diagonal', not 'diagnal'; did you mean diagonal"),
        ((1, 2, 2), {"levels": 1}, "levels must be at least 2, not 1"),
        ((1, 2, 2), {"layers": 0}, "layers must be at least 1, not 0"),
        ((1, 2, 2), {"kernel": 4}, "kernel must be an odd number from 3, not 4"),
    ],
)
def test_wrong_parameters_are_refused(shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        PixelRNN(shape, **arguments)


def test_wrong_images_are_refused():
    model = PixelRNN((1, 2, 3), levels=4, hidden=4, kernel=3)
    with pytest.raises(ValueError, match=r"PixelRNN models x of shape \[N, 1, 2, 3\], but was given \[5, 1, 3, 2\]"):
        model.check(torch.zeros(5, 1, 3, 2))
    x = torch.zeros(2, 1, 2, 3, dtype=torch.long)
    x[1, 0, 1, 2] = 4
    with pytest.raises(ValueError, match="has the value 4 at row 1, column 0, 1, 2, outside the support"):
        model.check(x)
