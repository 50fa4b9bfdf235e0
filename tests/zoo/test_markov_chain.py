"""Markov chains against counts in Python dictionaries, eigenvectors, and chains whose answers are known."""

import copy
import itertools
import math
from collections import Counter, defaultdict

import pytest
import torch
from torch import Tensor

import zoo
from inference.em import em
from zoo.markov_chain import MarkovChain
from zoo.ngrams import counted

SMOOTHINGS = ("kneser-ney", "absolute", "add")


def rows(n: int = 60, steps: int = 9, levels: int = 3, seed: int = 0) -> Tensor:
    """Rows with a memory: a symbol is mostly the sum of the two before it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(levels, (n, steps), generator=generator)
    for t in range(2, steps):
        follow = torch.rand(n, generator=generator) < 0.7
        x[:, t] = torch.where(follow, (x[:, t - 1] + x[:, t - 2]) % levels, x[:, t])
    return x


def fitted(x: Tensor, levels: int = 3, **options) -> MarkovChain:
    model = MarkovChain(x.shape[1], levels=levels, **options).double()
    em(model, x, progress=False)
    return model


def by_dictionaries(x: Tensor, levels: int, order: int, kinds: bool, discount: float):
    """Interpolated discounting as its papers write it: (symbol, history) -> probability."""
    grams = [Counter() for _ in range(order + 1)]
    for row in x.tolist():
        padded = ["start"] * order + row
        for t in range(order, len(padded)):
            grams[order][tuple(padded[t - order : t + 1])] += 1
    for k in range(order - 1, -1, -1):
        for gram, count in grams[k + 1].items():
            grams[k][gram[1:]] += 1 if kinds else count
    after = [defaultdict(dict) for _ in grams]
    for k, counts in enumerate(grams):
        for gram, count in counts.items():
            after[k][gram[:-1]][gram[-1]] = count

    def probability(symbol: int, history: tuple, k: int) -> float:
        below = 1 / levels if k == 0 else probability(symbol, history[1:], k - 1)
        seen = after[k].get(history)
        if seen is None:
            return below
        total = sum(seen.values())
        share = max(seen[symbol] - discount, 0) / total if symbol in seen else 0.0
        return share + discount * len(seen) / total * below

    return lambda symbol, history: probability(symbol, history, order)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("smoothing", ["kneser-ney", "absolute"])
def test_smoothing_is_that_of_the_papers(order: int, smoothing: str) -> None:
    x, held_out = rows(), rows(8, 12, seed=1)
    model = fitted(x, order=order, smoothing=smoothing, discount=0.6)
    truth = by_dictionaries(x, 3, order, smoothing == "kneser-ney", 0.6)
    expected = [
        [math.log(truth(row[t], tuple((["start"] * order + row)[t : t + order]))) for t in range(12)]
        for row in held_out.tolist()
    ]
    torch.testing.assert_close(model.step_log_prob(held_out), torch.tensor(expected, dtype=torch.float64))


def test_added_counts_are_those_of_laplace() -> None:
    x = torch.tensor([[0, 1, 1, 2], [0, 1, 0, 0]])
    model = fitted(x, order=1, smoothing="add", pseudo_count=2.0)
    expected = torch.tensor([[1 + 2, 2 + 2, 0 + 2], [1 + 2, 1 + 2, 1 + 2], [2.0, 2.0, 2.0]]).double()
    torch.testing.assert_close(model.transition(), expected / expected.sum(-1, keepdim=True))
    torch.testing.assert_close(model.step_log_prob(torch.tensor([[0]])).exp(), torch.tensor([[4 / 8]]).double())


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_all_rows_together_have_probability_one(smoothing: str) -> None:
    x = torch.tensor(list(itertools.product(range(3), repeat=5)))
    model = fitted(rows(10, 5), order=2, smoothing=smoothing)
    torch.testing.assert_close(model.log_prob(x).exp().sum(), torch.ones(()).double())
    torch.testing.assert_close(
        MarkovChain(5, levels=3).double().log_prob(x[:1]), torch.tensor([-5 * math.log(3)]).double()
    )


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_draws_have_the_probabilities_of_the_chain(smoothing: str) -> None:
    model = fitted(rows(12, 4), order=2, smoothing=smoothing)
    x = torch.tensor(list(itertools.product(range(3), repeat=4)))
    torch.manual_seed(0)
    drawn = model.sample(60_000)
    share = (drawn @ torch.tensor([27, 9, 3, 1])).bincount(minlength=81).double() / 60_000
    expected = model.log_prob(x).exp()
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / 60_000).sqrt() + 1e-12).all()
    prefix = torch.tensor([[0, 2, 1]]).expand(60_000, -1)
    after = model.continue_from(prefix, 2)
    share = (after @ torch.tensor([3, 1])).bincount(minlength=9).double() / 60_000
    whole = torch.cat([prefix[:9], torch.tensor(list(itertools.product(range(3), repeat=2)))], 1)
    expected = model.step_log_prob(whole)[:, 3:].sum(-1).exp()
    assert ((share - expected).abs() < 5 * (expected * (1 - expected) / 60_000).sqrt() + 1e-12).all()


def test_one_pass_in_blocks_or_by_parts_is_one_count() -> None:
    x = rows()
    whole = fitted(x, order=2)
    blocks, parts = MarkovChain(9, levels=3, order=2), MarkovChain(9, levels=3, order=2)
    found = em(blocks, x, block=7, progress=False)
    for part in x.split(11):
        parts.count(part)
    for other in (blocks, parts):
        assert torch.equal(other.keys, whole.keys)
        assert torch.equal(other.counts, whole.counts)
    assert found.stopped == "converged"
    torch.testing.assert_close(found.history["log_likelihood"].iloc[-1], float(whole.log_prob(x).mean()))


def test_a_fitted_chain_is_saved_copied_and_moved(tmp_path) -> None:
    model = zoo.build({"family": "markov_chain", "levels": 3, "order": 2}, event_shape=9)
    x = rows()
    em(model, x, progress=False)
    zoo.save(model, tmp_path / "chain")
    for other in (zoo.load(tmp_path / "chain"), copy.deepcopy(model)):
        assert torch.equal(other.log_prob(x), model.log_prob(x))
    assert model.double().log_prob(x).dtype == torch.float64


@pytest.mark.parametrize("order", [1, 2])
def test_the_stationary_distribution_is_the_eigenvector_and_what_long_rows_show(order: int) -> None:
    model = fitted(rows(), order=order)
    values, vectors = torch.linalg.eig(model.matrix().mT)
    vector = vectors[:, (values - 1).abs().argmin()].real
    stationary = model.stationary()
    torch.testing.assert_close(stationary.flatten(), vector / vector.sum())
    torch.manual_seed(0)
    long = model.continue_from(torch.zeros(400, order).long(), 300)[:, 100:]
    share = long.flatten().bincount(minlength=3).double() / long.numel()
    torch.testing.assert_close(share, stationary.reshape(-1, 3).sum(0), atol=0.01, rtol=0)
    second = values.abs().sort(descending=True).values[1]
    assert model.spectral_gap() == pytest.approx(float(1 - second))


def test_mixing_time_is_the_first_step_that_is_close() -> None:
    model = fitted(rows(), order=2)
    matrix, target = model.matrix(), model.stationary().flatten()
    power, first = matrix, 1
    while (power - target).abs().sum(-1).max() / 2 > 0.01:
        power, first = power @ matrix, first + 1
    assert first > 2
    assert model.mixing_time(0.01) == first


def walk(steps: list[list[int]]) -> MarkovChain:
    """A chain that makes just these moves, equally likely."""
    model = MarkovChain(2, levels=5, order=1, smoothing="add", pseudo_count=0.0).double()
    model.count(torch.tensor(steps))
    return model


def test_a_gambler_is_ruined_or_rich_after_the_known_time() -> None:
    moves = [[0, 0], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2], [3, 4], [4, 4]]
    model = walk(moves)
    expected = [k * (4 - k) for k in range(5)]
    torch.testing.assert_close(model.hitting_times([0, 4]), torch.tensor(expected).double())
    alone = model.hitting_times([0])
    assert alone[0] == 0
    assert torch.isinf(alone[1:]).all()
    with pytest.raises(ValueError, match="more than one stationary distribution"):
        model.stationary()


def test_a_chain_that_turns_in_a_circle_never_mixes() -> None:
    model = walk([[k, (k + 1) % 5] for k in range(5)])
    torch.testing.assert_close(model.stationary(), torch.full((5,), 0.2).double())
    assert model.spectral_gap() == pytest.approx(0.0, abs=1e-9)
    assert model.mixing_time() == math.inf
    torch.testing.assert_close(model.hitting_times([0]), torch.tensor([0.0, 4, 3, 2, 1]).double())


@pytest.mark.parametrize(
    ("levels", "order"), [(2, 0), (3, 4), (3, 12), (97, 4), (255, 3), (255, 4), (300, 3), (70_000, 1), (1000, 4)]
)
def test_ngrams_are_counted_as_a_dictionary_counts_them(levels: int, order: int) -> None:
    """Keys that fit 32 bits, keys that do by the rank of their first symbols, and keys that don't."""
    x = torch.randint(levels, (3, 400), generator=torch.Generator().manual_seed(0))
    x[:, 200:] = x[:, :200]
    expected = Counter()
    for row in x.tolist():
        padded = [levels] * order + row
        expected.update(tuple(padded[t : t + order + 1]) for t in range(len(row)))
    keys, counts = counted(x, order, levels)
    places = (levels + 1) ** torch.arange(order, -1, -1)
    grams = keys[:, None] // places % (levels + 1)
    assert dict(zip(map(tuple, grams.tolist()), counts.tolist(), strict=True)) == expected
    assert (keys.diff() > 0).all()
    assert not len(counted(x[:, :0], order, levels)[0])


def test_five_grams_of_the_python_manual() -> None:
    data = zoo.datasets.load("pydoc_topics")
    train, test = data.train.x[None], data.test.x[None]
    model = MarkovChain(train.shape[1], levels=data.levels, order=4)
    em(model, train, steps=1, progress=False)
    bits = -model.step_log_prob(test) / math.log(2)
    assert bits.mean() < 1.80
    assert bits[:, :20_000].mean() < 2.05  # 2.24 by absolute discounting
    torch.manual_seed(0)
    assert model.continue_from(test[:, :50], 20).shape == (1, 20)


def test_rows_shorter_than_the_order_are_beginnings() -> None:
    x = rows()
    model = fitted(x, order=4)
    whole = model.step_log_prob(x)
    for length in range(4):
        found = model.step_log_prob(x[:, :length])
        assert found.shape == (60, length)
        torch.testing.assert_close(found, whole[:, :length])
        assert model.continue_from(x[:, :length], 3).shape == (60, 3)
    short = MarkovChain(2, levels=3, order=4).double()
    short.count(x[:, :2])
    every = torch.tensor(list(itertools.product(range(3), repeat=2)))
    torch.testing.assert_close(short.log_prob(every).exp().sum(), torch.ones(()).double())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 1}, "levels must be at least 2"),
        ({"order": -1}, "order at least 0"),
        ({"order": 40}, "order 40 is too high"),
        ({"smoothing": "none"}, "smoothing must be"),
        ({"discount": 2.0}, "discount must lie"),
        ({"pseudo_count": -1.0}, "pseudo_count must be"),
        ({"event_shape": (2, 2)}, r"T symbols, \[T\]"),
        ({"context_shape": 2}, "takes no context"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarkovChain(**{"event_shape": 4, "levels": 3} | options)


def test_wrong_questions_are_refused() -> None:
    model = MarkovChain(4, levels=3, order=8)
    with pytest.raises(ValueError, match="row 1 has 3 at place 2"):
        model.log_prob(torch.tensor([[0, 1, 2, 0], [0, 1, 3, 0]]))
    with pytest.raises(ValueError, match="rows of symbols"):
        model.step_log_prob(torch.zeros(4).long())
    with pytest.raises(ValueError, match="too large for matrices"):
        model.stationary()
    with pytest.raises(ValueError, match="targets are symbols"):
        MarkovChain(4, levels=3).hitting_times([3])
    with pytest.raises(ValueError, match="between 0 and 1"):
        MarkovChain(4, levels=3).mixing_time(0.0)
    with pytest.raises(ValueError, match="steps must be at least 0, not -1"):
        model.continue_from(torch.zeros(2, 3).long(), -1)
    with pytest.raises(ValueError, match="row 0 has nan at place 1"):
        model.log_prob(torch.tensor([[0.0, math.nan, 0.0, 0.0]]))
