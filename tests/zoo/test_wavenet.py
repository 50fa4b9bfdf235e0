"""WaveNet against enumeration, gradients, torch's own convolutions and its own naive sampler."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from inference.fit import fit
from tests.zoo.autoregression import all_rows, naive_rows, unrolled_log_prob
from tests.zoo.shaking import normal, shaken
from zoo.choosing import drawing
from zoo.dilated import DilatedNetwork
from zoo.markov_chain import MarkovChain
from zoo.wavenet import WaveNet

SMALL = {"channels": 4, "skip": 5, "blocks": 2, "layers": 2}


def small(length: int, levels: int, context_size: int | None = None, **kwargs: int) -> WaveNet:
    return shaken(WaveNet(length, levels=levels, context_shape=context_size, **{**SMALL, **kwargs}))


def codes(rows: int, length: int, levels: int, seed: int = 0) -> Tensor:
    return torch.randint(0, levels, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("context_size", [None, 2])
@pytest.mark.parametrize(("levels", "length", "kernel"), [(3, 4, 2), (3, 4, 3), (2, 6, 2), (5, 1, 2)])
def test_the_probabilities_of_all_rows_sum_to_one(levels, length, kernel, context_size):
    model = small(length, levels, context_size, kernel=kernel)
    rows = all_rows(levels, length)
    context = None if context_size is None else normal(1, context_size).expand(len(rows), -1)
    total = model.log_prob(rows.double() if levels == 2 else rows, context=context).logsumexp(0).detach()
    assert abs(float(total)) < 1e-10


@settings(max_examples=20, deadline=None)
@given(
    dilations=st.sampled_from([(1,), (3,), (1, 2, 4), (2, 1, 1), (1, 2, 1, 2)]),
    kernel=st.integers(2, 4),
    context=st.sampled_from([0, 2]),
)
def test_gradients_show_what_a_step_reads(dilations, kernel, context):
    network = shaken(DilatedNetwork(channels=2, skip=2, dilations=dilations, kernel=kernel, context=context))
    given_context = normal(1, context) if context else None
    steps = 14
    x = normal(steps, 1, 2)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x, given_context), x)
    sees = (jacobian.view(steps, 2, steps, 2).abs() > 0).any(3).any(1)
    back = torch.arange(steps)[:, None] - torch.arange(steps)
    offsets = {0}  # sums of what the layers reach back, every one of them
    for dilation in dilations:
        offsets = {one + tap * dilation for one in offsets for tap in range(kernel)}
    assert network.reach == max(offsets) + 1
    assert torch.equal(sees, torch.isin(back, torch.tensor(sorted(offsets))))


@pytest.mark.parametrize("kernel", [2, 3])
def test_a_sample_depends_on_all_before_it_within_the_receptive_field_and_on_none_else(kernel):
    model = small(40, 3, kernel=kernel)
    field = model.receptive_field
    assert field == 1 + (kernel - 1) * 6
    x = codes(16, 40, 3)  # a unit may be off at one row
    before = model.step_log_prob(x).detach()
    for place in (0, 1, 9, 38, 39):
        other = x.clone()
        other[:, place] = (x[:, place] + 1) % 3
        moved = (model.step_log_prob(other).detach() != before).any(0)
        moved[place] = False  # the sample itself is another, its distribution is not
        expected = torch.zeros(40, dtype=torch.bool)
        expected[place + 1 : place + 1 + field] = True
        assert torch.equal(moved, expected)


def test_it_is_the_network_that_torchs_convolutions_make():
    network = shaken(DilatedNetwork(channels=3, skip=4, dilations=(1, 2, 4), kernel=3, context=2))
    x, context = normal(2, 3, 17), normal(2, 2)  # [N, channels, T]
    h, total = x, 0
    shift = network.context_layer(context).view(2, 3, 6)
    for layer, dilation in enumerate(network.dilations):
        weight = torch.stack([*network.past[layer], network.now[layer]], -1).transpose(0, 1)
        gate = F.conv1d(F.pad(h, (2 * dilation, 0)), weight, network.bias[layer], dilation=dilation)
        gate = gate + shift[:, layer, :, None]
        z = gate[:, :3].tanh() * gate[:, 3:].sigmoid()
        total = total + torch.einsum("nct,cs->nst", z, network.skip[layer])
        if layer < 2:
            h = h + torch.einsum("nct,cd->ndt", z, network.residual[layer])
    found = network(x.permute(2, 0, 1), context).permute(1, 2, 0)
    assert torch.allclose(found, total, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    dilations=st.sampled_from([(1,), (3,), (1, 2, 4), (2, 1, 1), (1, 5)]),
    kernel=st.integers(2, 4),
    told=st.sampled_from([0, 1, 2, 5, 19]),
    context=st.sampled_from([0, 2]),
)
def test_step_by_step_is_the_same_function_as_all_at_once(dilations, kernel, told, context):
    network = shaken(DilatedNetwork(channels=3, skip=2, dilations=dilations, kernel=kernel, context=context))
    x = normal(24, 5, 3)
    given_context = normal(5, context) if context else None
    step = network.stepper(x[:told], given_context)
    found = torch.stack([step(h) for h in x[told:]])
    assert torch.allclose(found, network(x, given_context)[told:], atol=1e-12)


@pytest.mark.parametrize("told", [0, 1, 100, 299])
def test_queues_give_the_logits_of_one_pass_in_single_precision(told):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveNet(300, levels=64, channels=16, skip=16, blocks=2, layers=6, context_shape=3)
    x, context = codes(4, 300, 64), normal(4, 3).float()
    expected = model.step_log_prob(x, context=context).detach()[:, told:]
    assert (unrolled_log_prob(model, x, context, told) - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("levels", "context_size"), [(3, 2), (2, None)])
@pytest.mark.parametrize("told", [0, 3, 12])
def test_the_cached_draws_are_the_naive_loops_from_the_same_seed(levels, context_size, told):
    model = small(12, levels, context_size)
    context = None if context_size is None else normal(9, context_size)
    prefix = codes(9, told, levels, seed=1)
    options = {"temperature": 0.8, "top_k": 2, "top_p": 0.9}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        cached = model.sample(9, context=context, prefix=prefix, **options)
        torch.manual_seed(4)
        naive = naive_rows(model, 9, context, prefix, drawing(**options))
    assert torch.equal(cached, naive)
    assert torch.equal(cached[:, :told].long(), prefix)


@pytest.mark.parametrize("told", [0, 2, 7, 30])
def test_going_on_is_what_sampling_after_a_prefix_is(told):
    """Shorter and longer than the receptive field of 7."""
    length, context = 36, normal(5, 2)
    model, x = small(length, 3, 2), codes(5, told, 3)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        whole = model.sample(5, context=context, prefix=x)
        torch.manual_seed(2)
        rest = model.continue_from(x, length - told, context=context)
        torch.manual_seed(2)
        cold = model.continue_from(x, length - told, context=context[:1], temperature=0)
    assert torch.equal(torch.cat([x, rest], 1), whole)
    assert torch.equal(cold, model.continue_from(x, length - told, context=context[:1].expand(5, 2), top_k=1))
    assert model.continue_from(x, 0, context=context).shape == (5, 0)
    assert model.continue_from(x, 100, context=context).shape == (5, 100)


def test_rows_of_any_length_are_scored_and_a_row_begins_where_it_begins():
    model = small(8, 4)
    x = codes(3, 21, 4)
    assert torch.allclose(model.step_log_prob(x)[:, :8], model.step_log_prob(x[:, :8]), atol=1e-12)
    assert torch.allclose(model.step_log_prob(x[:, :8]).sum(-1), model.log_prob(x[:, :8]))
    assert model.step_log_prob(x[:, :0]).shape == (3, 0)
    assert not torch.allclose(model.step_log_prob(x)[:, 3:], model.step_log_prob(x[:, 3:]))
    assert torch.equal(model.step_log_prob(x.to(torch.uint8)), model.step_log_prob(x))


def test_draws_have_the_frequencies_of_the_probabilities():
    model = small(3, 3)
    rows = all_rows(3, 3)
    expected = model.log_prob(rows).exp().detach()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = model.sample(40_000)
    found = (draws[:, None] == rows).all(-1).double().mean(0)
    assert ((found - expected).abs() < 5 * (expected * (1 - expected) / 40_000).sqrt() + 1e-4).all()


def test_each_row_has_its_own_context():
    model = small(9, 3, 2)
    x, context = codes(4, 9, 3), normal(4, 2)
    together = model.step_log_prob(x, context=context)
    for row in range(4):
        alone = model.step_log_prob(x[row : row + 1], context=context[row : row + 1])
        assert torch.allclose(together[row], alone[0], atol=1e-12)
    assert not torch.allclose(together, model.step_log_prob(x, context=context.flip(0)))


def test_it_hears_a_rhythm_that_is_too_long_for_a_chain():
    """A click every seven samples, its place told by the context: nothing to guess, but for who sees two before."""
    phase = torch.arange(28) % 7
    x = (((torch.arange(28) + phase[:, None]) % 7) == 0).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WaveNet(28, context_shape=7, levels=2, channels=8, skip=8, blocks=1, layers=3)
    context = F.one_hot(phase, 7).float()
    fit(model, {"x": x, "context": context}, steps=150, lr=2e-2, progress=False)
    chain = MarkovChain(28, levels=2, order=2)
    chain.count(x.long())
    with torch.no_grad():
        assert model.log_prob(x, context=context).mean() > -1
    assert chain.log_prob(x.long()).mean() < -10
    assert torch.equal(model.sample(28, context=context, temperature=0), x)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        (9, {"levels": 1}, "levels must be at least 2, not 1"),
        (9, {"layers": 0}, "layers must be at least 1, not 0"),
        (9, {"kernel": 1}, "kernel must be at least 2, not 1"),
        (9, {"channels": 0}, "channels must be at least 1, not 0"),
        ((3, 3), {}, r"a row of WaveNet is T samples, \[T\], not \[3, 3\]"),
        (0, {}, "positive whole numbers"),
    ],
)
def test_wrong_parameters_are_refused(shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        WaveNet(shape, **arguments)


def test_no_rows_and_no_samples_are_no_trouble():
    model = small(6, 3)
    assert model.sample(0).shape == (0, 6) and model.log_prob(codes(0, 6, 3)).shape == (0,)
    assert model.continue_from(codes(0, 5, 3), 3).shape == (0, 3)
    assert model.continue_from(codes(2, 0, 3), 0).shape == (2, 0)
    known = codes(2, 6, 3)
    assert torch.equal(model.sample(2, prefix=known), known)


def test_wrong_rows_are_refused_by_name():
    model = small(6, 3, 2)
    x, context = codes(2, 6, 3), normal(2, 2)
    wrong = x.clone()
    wrong[1, 4] = 3  # the code that stands for what comes before a row
    for ask in (model.log_prob, model.step_log_prob, lambda x, context: model.continue_from(x, 2, context=context)):
        with pytest.raises(ValueError, match="the value 3 at row 1, column 4, outside the support"):
            ask(wrong, context=context)
    with pytest.raises(ValueError, match=r"rows of samples, \[N, T\], but x is \[6\]"):
        model.step_log_prob(x[0], context=context)
    with pytest.raises(ValueError, match="steps must be at least 0, not -1"):
        model.continue_from(x, -1, context=context)
    with pytest.raises(ValueError, match="WaveNet is conditional: give context"):
        model.continue_from(x, 2)
    with pytest.raises(ValueError, match="WaveNet is conditional: give context"):
        model.step_log_prob(x)
    with pytest.raises(ValueError, match="2 draws need a context of 1 or 2 rows, not 3"):
        model.continue_from(x, 2, context=normal(3, 2))
    with pytest.raises(ValueError, match="takes no context"):
        small(6, 3).step_log_prob(x, context=context)
