"""What is missing of a chain, given the rest: against enumeration of every way to fill it in."""

import itertools

import pytest
import torch
from torch import Tensor

from inference.em import em
from zoo.conditionals import Gaussian
from zoo.hidden_markov import HiddenMarkov
from zoo.markov_chain import MarkovChain


def by_enumeration(model, x: Tensor, known: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """All ways to fill in one row, [P, T], their probabilities, [P], and the cells' marginals, [T, levels]."""
    places = (~known).nonzero()[:, 0]
    rows = x.repeat(levels ** len(places), 1)
    rows[:, places] = torch.tensor(list(itertools.product(range(levels), repeat=len(places)))).long()
    weight = model.log_prob(rows).detach().double().softmax(0)
    cells = torch.einsum("p,ptl->tl", weight, torch.nn.functional.one_hot(rows, levels).double())
    return rows, weight, cells


def chain(order: int, smoothing: str = "kneser-ney", seed: int = 0) -> MarkovChain:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(3, (15, 7), generator=generator)
    x[:, 2:] = torch.where(torch.rand(15, 5, generator=generator) < 0.6, (x[:, 1:-1] + x[:, :-2]) % 3, x[:, 2:])
    model = MarkovChain(7, levels=3, order=order, smoothing=smoothing).double()
    em(model, x, progress=False)
    return model


def hidden() -> HiddenMarkov:
    torch.manual_seed(0)
    model = HiddenMarkov(7, states=2, levels=3).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    return model


X = torch.tensor([[0, 1, 2, 0, 1, 1, 2], [2, 2, 0, 1, 0, 0, 1], [1, 0, 0, 2, 2, 1, 0], [0, 0, 1, 1, 2, 2, 0]])
KNOWN = torch.tensor(
    [[1, 0, 0, 1, 0, 1, 1], [0, 0, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 0, 0, 0, 0]]
).bool()
MODELS = [
    *(pytest.param(lambda n=n: chain(n), id=f"order {n}") for n in range(4)),
    pytest.param(lambda: chain(2, "add"), id="added counts"),
    pytest.param(hidden, id="hidden"),
]


@pytest.mark.parametrize("build", MODELS)
def test_what_is_missing_of_a_chain_is_what_enumeration_says(build) -> None:
    model = build()
    cells = model.cells(torch.where(KNOWN, X, -1), KNOWN)
    assert cells.shape == (4, 7, 3)
    torch.manual_seed(0)
    drawn = model.complete(torch.where(KNOWN, X, -1), KNOWN, 4000)
    assert drawn.shape == (4000, 4, 7)
    assert (drawn == X)[:, KNOWN].all()
    for n, (x, known) in enumerate(zip(X, KNOWN, strict=True)):
        rows, weight, expected = by_enumeration(model, x, known, 3)
        torch.testing.assert_close(cells[n], expected)
        place = 3 ** torch.arange(7)
        share = (drawn[:, n] @ place).bincount(minlength=3**7)[rows @ place].double() / 4000
        assert ((share - weight).abs() < 5 * (weight / 4000).sqrt() + 1e-3).all()


def test_what_is_missing_of_numbers_is_a_mixture_over_the_states() -> None:
    torch.manual_seed(1)
    model = HiddenMarkov((3, 2), states=2).double()
    x = model.sample(2)
    known = torch.ones(2, 3, 2, dtype=torch.bool)
    known[0, 1, 0] = known[1, 2] = False
    cells = model.cells(x, known)
    torch.testing.assert_close(cells[known], torch.stack([x[known], torch.zeros_like(x[known])], -1))
    grid = torch.linspace(-12, 12, 4001, dtype=torch.float64)
    rows = x[:1].repeat(4001, 1, 1)
    rows[:, 1, 0] = grid
    density = model.log_prob(rows).detach().softmax(0)
    mean = (density * grid).sum()
    expected = torch.stack([mean, (density * (grid - mean).square()).sum().sqrt()])
    torch.testing.assert_close(cells[0, 1, 0], expected, atol=1e-6, rtol=0)
    drawn = model.complete(x, known, 20_000)
    assert (drawn == x)[:, known].all()
    torch.testing.assert_close(drawn.mean(0), cells[..., 0], atol=0.06, rtol=0)
    torch.testing.assert_close(drawn.std(0), cells[..., 1], atol=0.06, rtol=0)


def test_emissions_without_a_closed_form_are_drawn() -> None:
    torch.manual_seed(1)
    model = HiddenMarkov((3, 2), states=2, emission=Gaussian(2, context_shape=2, hidden=(4,)))
    x = model.sample(2)
    known = torch.ones(2, 3, 2, dtype=torch.bool)
    known[:, 1] = False
    assert model.cells(x, known) is None
    assert (model.complete(x, known, 5) == x)[:, known].all()


def test_a_bridge_over_too_many_histories_or_an_impossible_one_is_refused() -> None:
    model = MarkovChain(4, levels=100, order=4)
    x = torch.zeros(1, 4).long()
    with pytest.raises(ValueError, match="all 104060401 histories"):
        model.cells(x, x == 1)
    sure = MarkovChain(3, levels=2, order=1, smoothing="add", pseudo_count=0.0).double()
    sure.count(torch.tensor([[0, 1, 0], [0, 1, 0]]))
    with pytest.raises(ValueError, match="row 0 can't come about"):
        sure.complete(torch.tensor([[1, 0, 0]]), torch.tensor([[True, False, True]]))
    with pytest.raises(ValueError, match="row 0 has 2"):
        sure.cells(torch.tensor([[2, 0, 0]]), torch.tensor([[True, False, True]]))
