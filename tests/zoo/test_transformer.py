"""The Transformer against enumeration, gradients, attention written by hand, and the loop that keeps nothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.fit import fit
from tests.zoo.autoregression import all_rows, naive_rows, unrolled_log_prob
from tests.zoo.shaking import normal, shaken
from zoo.choosing import Choose, drawing
from zoo.transformer import Transformer

SMALL = {"layers": 2, "heads": 2, "width": 8}


def built(length: int = 5, levels: int = 4, context: int | None = None, **options) -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return shaken(Transformer(length, levels=levels, context_shape=context, **SMALL | options).eval())


def codes(n: int, length: int, levels: int = 4, seed: int = 2) -> Tensor:
    return torch.randint(levels, (n, length), generator=torch.Generator().manual_seed(seed))


def by_hand(model: Transformer, x: Tensor, context: Tensor | None = None) -> Tensor:
    """The same network from its weights alone, place by place and head by head: log p of each level, [N, T, levels]."""
    weights = dict(model.named_parameters())
    heads = model.blocks[0].heads
    size = weights["start"].numel() // heads

    def normed(h: Tensor, name: str) -> Tensor:
        centred = h - h.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights[name + ".weight"]

    found = []
    for row in range(len(x)):
        read = [weights["start"]] + [weights["token.weight"][token] for token in x[row, :-1]]
        h = torch.stack([vector + weights["place"][t] for t, vector in enumerate(read)])
        if context is not None:
            h = h + weights["given.weight"] @ context[row]
        for layer in range(len(model.blocks)):
            name = f"blocks.{layer}"
            three = normed(h, name + ".norm1") @ weights[name + ".asked.weight"].T
            attended = torch.zeros_like(h)
            for head in range(heads):
                q, k, v = (three[:, part * size * heads :][:, head * size : (head + 1) * size] for part in range(3))
                for t in range(len(h)):
                    share = (q[t] @ k[: t + 1].T / math.sqrt(size)).softmax(-1)
                    attended[t, head * size : (head + 1) * size] = share @ v[: t + 1]
            h = h + attended @ weights[name + ".gathered.weight"].T
            inner = normed(h, name + ".norm2") @ weights[name + ".up.weight"].T
            inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
            h = h + inner @ weights[name + ".down.weight"].T
        found.append((normed(h, "norm") @ weights["token.weight"].T).log_softmax(-1))
    return torch.stack(found)


def naive_text(
    model: Transformer, x: Tensor, steps: int, choose: Choose, keep: int, context: Tensor | None = None
) -> Tensor:
    """What `continue_from` must give: the window cut and read anew for each token, by the parallel pass."""
    begin = 0
    for _ in range(steps):
        if x.shape[1] - begin >= model.features:
            begin = x.shape[1] - keep
        window = x[:, begin:]
        rows = torch.cat([window, window.new_zeros(len(x), 1)], 1)
        logits = []
        for level in range(model.levels):
            rows[:, -1] = level
            logits.append(model.step_log_prob(rows, context=context)[:, -1])
        x = torch.cat([x, choose(0, torch.stack(logits, -1))[:, None]], 1)
    return x[:, x.shape[1] - steps :]


@pytest.mark.parametrize("context", [None, 3])
@pytest.mark.parametrize(("levels", "length"), [(2, 5), (3, 4), (6, 1)])
def test_the_probabilities_of_all_rows_sum_to_one(levels: int, length: int, context: int | None) -> None:
    model = built(length, levels, context)
    x = all_rows(levels, length)
    given_context = None if context is None else normal(1, context).expand(len(x), -1)
    found = model.log_prob(x.double() if levels == 2 else x, context=given_context)
    assert abs(float(found.logsumexp(0).detach())) < 1e-10
    assert found.std() > 0.1 or length == 1


@pytest.mark.parametrize("context", [None, 3])
@pytest.mark.parametrize(("layers", "heads", "width"), [(1, 1, 6), (3, 2, 8), (2, 4, 8)])
def test_it_is_the_network_written_by_hand(layers: int, heads: int, width: int, context: int | None) -> None:
    model = built(6, 5, context, layers=layers, heads=heads, width=width)
    x = codes(3, 6, 5)
    given_context = None if context is None else normal(3, context)
    expected = by_hand(model, x, given_context).gather(-1, x[..., None]).squeeze(-1)
    torch.testing.assert_close(model.step_log_prob(x, context=given_context), expected, atol=1e-10, rtol=1e-10)


@settings(max_examples=15, deadline=None)
@given(length=st.integers(1, 7), layers=st.integers(1, 3), heads=st.sampled_from([1, 2, 4]), seed=st.integers(0, 99))
def test_gradients_show_that_no_token_sees_itself_or_a_later_one(length, layers, heads, seed) -> None:
    model = built(length, 4, layers=layers, heads=heads)
    x = codes(1, length, seed=seed)

    def logits(vectors: Tensor) -> Tensor:
        h = torch.cat([model.start.expand(1, 1, -1), vectors[:, :-1]], 1) + model.place
        for block in model.blocks:
            h = block(h)
        return model._logits(h)[0]

    vectors = model.token(x).detach()
    own = logits(vectors).log_softmax(-1).gather(-1, x[0, :, None]).squeeze(-1)
    torch.testing.assert_close(own, model.step_log_prob(x)[0])
    jacobian = torch.autograd.functional.jacobian(logits, vectors)
    sees = (jacobian[:, :, 0].abs() > 0).any(1).any(-1)
    assert torch.equal(sees, torch.ones(length, length, dtype=torch.bool).tril(-1))


def test_shorter_rows_are_the_beginnings_of_longer_ones() -> None:
    model, x, context = built(7, context=2), codes(5, 7), normal(5, 2)
    whole = model.step_log_prob(x, context=context)
    for length in range(8):
        found = model.step_log_prob(x[:, :length], context=context)
        assert found.shape == (5, length)
        torch.testing.assert_close(found, whole[:, :length])


def test_the_context_reaches_every_token_and_each_row_has_its_own() -> None:
    model, x, context = built(5, context=2), codes(4, 5), normal(4, 2)
    found = model.step_log_prob(x, context=context)
    assert ((found - model.step_log_prob(x, context=context + 0.5)).abs() > 1e-6).all()
    for row in range(4):
        alone = model.step_log_prob(x[row : row + 1], context=context[row : row + 1])
        torch.testing.assert_close(alone[0], found[row])
    for ask in (model.log_prob, model.step_log_prob):
        with pytest.raises(ValueError, match="is conditional: give context"):
            ask(x)
        with pytest.raises(ValueError, match="x has 4 rows, but context has 3"):
            ask(x, context=context[:3])
    with pytest.raises(ValueError, match="takes no context"):
        built(5).log_prob(x, context=context)


@pytest.mark.parametrize("told", [0, 1, 6])
def test_single_precision_with_the_cache_is_the_parallel_pass(told: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(40, levels=11, layers=4, heads=4, width=64, context_shape=3).eval()
    x, context = codes(6, 40, 11), normal(6, 3).float()
    expected = model.step_log_prob(x, context=context)[:, told:].detach()
    assert expected.std() > 0.1
    torch.testing.assert_close(unrolled_log_prob(model, x, context, told), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_sum_over_the_width_starts_as_wide_as_that_of_gpt_2() -> None:
    torch.manual_seed(0)
    for width in (96, 384):
        model = Transformer(40, levels=50, layers=2, heads=4, width=width)
        wide = 0.02 * math.sqrt(768 / width)
        assert float(model.token.weight.std()) == pytest.approx(wide, rel=0.05)
        block = model.blocks[0]
        assert float(block.asked.weight.std()) == pytest.approx(wide, rel=0.05)
        assert float(block.down.weight.std()) == pytest.approx(wide / 2, rel=0.05)


OPTIONS = [{}, {"temperature": 0.7}, {"top_k": 2}, {"top_p": 0.8}, {"temperature": 1.3, "top_k": 3, "top_p": 0.9}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("told", [0, 3, 5])
def test_the_cached_draws_are_the_naive_loops_from_the_same_seed(told: int, options: dict) -> None:
    model, prefix, context = built(5, context=2), codes(9, told), normal(9, 2)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        cached = model.sample(9, context=context, prefix=prefix, **options)
        torch.manual_seed(4)
        naive = naive_rows(model, 9, context, prefix, drawing(**options))
    assert torch.equal(cached, naive)
    assert torch.equal(cached[:, :told], prefix)


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7, "top_k": 3, "top_p": 0.9}], ids=str)
@pytest.mark.parametrize("keep", [None, 0, 3])
@pytest.mark.parametrize("known", [0, 2, 6, 11])
def test_a_text_goes_on_beyond_the_window_as_in_the_naive_loop(known: int, keep: int | None, options: dict) -> None:
    model, x, context = built(6, context=2), codes(4, known), normal(4, 2)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(4)
        cached = model.continue_from(x, 15, context=context, keep=keep, **options)
        torch.manual_seed(4)
        naive = naive_text(model, x, 15, drawing(**options), 5 if keep is None else keep, context)
    assert cached.shape == (4, 15)
    assert torch.equal(cached, naive)


def test_within_the_window_a_text_goes_on_as_rows_are_drawn() -> None:
    model, prefix = built(6, 2), codes(3, 2, 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rows = model.sample(3, prefix=prefix)
        torch.manual_seed(0)
        after = model.continue_from(prefix, 4)
    assert torch.equal(rows[:, 2:], after)
    assert after.dtype == rows.dtype == torch.float64
    assert model.continue_from(prefix, 0).shape == (3, 0)


def test_draws_have_the_frequencies_of_the_probabilities() -> None:
    model, x = built(3, 3), all_rows(3, 3)
    expected = model.log_prob(x).exp().detach()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        share = (model.sample(40_000) @ torch.tensor([9, 3, 1])).bincount(minlength=27).double() / 40_000
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / 40_000).sqrt() + 1e-4).all()


def test_what_is_dropped_is_dropped_in_training_alone() -> None:
    model, x = built(5, dropout=0.5), codes(6, 5)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        still = model.step_log_prob(x)
        assert torch.equal(still, model.step_log_prob(x))
        torch.testing.assert_close(still, built(5).step_log_prob(x))
        model.train()
        assert not torch.equal(model.step_log_prob(x), model.step_log_prob(x))
        torch.testing.assert_close(unrolled_log_prob(model, x), still)
        scored = torch.stack([model.step_log_prob(x) for _ in range(20)])
    assert scored.std(0).min() > 1e-3


def test_it_learns_to_copy_which_no_short_memory_can() -> None:
    first = codes(512, 4, 6)
    x = torch.cat([first, first], 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(8, levels=6, layers=2, heads=2, width=32)
    fit(model, x, steps=300, batch_size=64, lr=5e-3, progress=False)
    fresh = codes(100, 4, 6, seed=9)
    nats = -model.step_log_prob(torch.cat([fresh, fresh], 1)).detach().mean(0)
    assert nats[4:].mean() < 0.1
    assert nats[:4].mean() > math.log(6) - 0.1
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert (model.continue_from(fresh, 4, temperature=0.5) == fresh).double().mean() > 0.97


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 1}, "levels must be at least 2, not 1"),
        ({"heads": 3}, "heads divide the width, not layers 2, heads 3, width 8"),
        ({"layers": 0}, "at least 1"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, not 1.0"),
        ({"event_shape": (2, 2)}, r"a row of Transformer is T tokens, \[T\], not \[2, 2\]"),
        ({"event_shape": 0}, "positive whole numbers"),
    ],
)
def test_wrong_parameters_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Transformer(**{"event_shape": 4, "levels": 3} | SMALL | options)


def test_no_rows_and_no_tokens_are_no_trouble() -> None:
    model = built(4, 3)
    assert model.sample(0).shape == (0, 4) and model.log_prob(codes(0, 4, 3)).shape == (0,)
    assert model.continue_from(codes(0, 5, 3), 3).shape == (0, 3)
    assert model.continue_from(codes(2, 0, 3), 0).shape == (2, 0)
    known = codes(2, 4, 3)
    assert torch.equal(model.sample(2, prefix=known), known)


def test_wrong_questions_are_refused() -> None:
    model = built(4, 3)
    with pytest.raises(ValueError, match="n must be at least 0, not -1"):
        model.sample(-1)
    with pytest.raises(ValueError, match=r"\[N, up to 4\], but was given \[2, 5\]"):
        model.step_log_prob(codes(2, 5, 3))
    with pytest.raises(ValueError, match=r"but was given \[4\]"):
        model.step_log_prob(torch.zeros(4).long())
    with pytest.raises(ValueError, match="the value 3 at row 1, column 2"):
        model.step_log_prob(torch.tensor([[0, 1, 2, 0], [0, 1, 3, 0]]))
    with pytest.raises(ValueError, match="the value -1 at row 0, column 0"):
        model.continue_from(torch.tensor([[-1, 2]]), 3)
    with pytest.raises(ValueError, match=r"models x of shape \[N, 4\]"):
        model.log_prob(codes(2, 3, 3))
    with pytest.raises(ValueError, match="keep must be 0 to 3"):
        model.continue_from(codes(2, 5, 3), 3, keep=4)
    with pytest.raises(ValueError, match="steps must be at least 0"):
        model.continue_from(codes(2, 5, 3), -1)
    with pytest.raises(ValueError, match="temperature"):
        model.continue_from(codes(2, 5, 3), 1, temperature=-1)
    with pytest.raises(ValueError, match="prefix holds the first k of 4"):
        model.sample(2, prefix=codes(2, 5, 3))
    with pytest.raises(ValueError, match="no rows"):
        fit(model, codes(0, 4, 3), progress=False)
