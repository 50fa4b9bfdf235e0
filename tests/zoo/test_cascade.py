"""A cascade's exact probability, held to the tossing of every coin; its edges' rates, found from many cascades."""

import itertools
import math
from collections import defaultdict

import pytest
import torch

from inference.fit import fit
from zoo.spread.cascade import Cascade

TRIANGLE = [[0, 1], [1, 2], [2, 0]]
PATH = [[0, 1], [2, 1]]


def by_coins(model: Cascade, edges, rates, seeds) -> dict[tuple[int, ...], float]:
    """p(x) of every x, by tossing a coin for each try of each arc, and for each node whether it is a seed."""
    arcs = [(u, v, r) for (u, v), r in zip(edges, rates, strict=True)]
    arcs += [] if model.directed else [(v, u, r) for u, v, r in arcs]
    tries = min(model.tries, model.steps)
    mass: dict[tuple[int, ...], float] = defaultdict(float)
    for coins in itertools.product((0, 1), repeat=len(arcs) * tries):
        tossed = [coins[i * tries : (i + 1) * tries] for i in range(len(arcs))]
        chance = math.prod(
            (1 - math.exp(-r)) if coin else math.exp(-r)
            for (*_, r), row in zip(arcs, tossed, strict=True)
            for coin in row
        )
        for begun in itertools.product((0, 1), repeat=len(seeds)):
            x = [0 if b else model.steps + 1 for b in begun]
            for step in range(1, model.steps + 1):
                now = list(x)
                for (u, v, _), row in zip(arcs, tossed, strict=True):
                    number = step - now[u] - 1  # of the try that u makes in this step
                    if now[v] > step and 0 <= number < tries and row[number]:
                        x[v] = step
            mass[tuple(x)] += chance * math.prod(s if b else 1 - s for s, b in zip(seeds, begun, strict=True))
    return mass


CASES = {
    "every step": {"edges": PATH, "steps": 2, "rate": [0.7, 0.3]},
    "once": {"edges": TRIANGLE, "steps": 3, "tries": 1, "rate": [0.4, 0.9, 1.3]},
    "directed": {"edges": [[0, 1], [1, 2], [0, 2], [2, 1]], "directed": True, "steps": 2, "rate": [0.4, 0.9, 0.2, 0.6]},
    "for two steps": {"edges": PATH, "steps": 3, "tries": 2, "rate": [0.4, 0.9]},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_its_mass_is_that_of_all_coins_tossed_and_adds_up_to_one(case) -> None:
    seeds = [0.3, 0.1, 0.6]
    model = Cascade(3, per="edge", seeds=seeds, **case)
    x = torch.tensor(list(itertools.product(range(model.steps + 2), repeat=3)))
    found = model.distribution().log_prob(x).exp()
    truth = by_coins(model, case["edges"], case["rate"], seeds)
    expected = torch.tensor([truth.get(tuple(row), 0.0) for row in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(found.sum(), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_its_draws_are_as_frequent_as_they_are_probable(case) -> None:
    model = Cascade(3, per="edge", seeds=[0.3, 0.1, 0.6], **case)
    torch.manual_seed(0)
    n = 40_000
    x, counts = model.sample(n).unique(dim=0, return_counts=True)
    p = model.log_prob(x).exp()
    assert p.sum() > 0.995
    z = (counts - n * p) / (n * p * (1 - p)).sqrt()
    assert z[n * p > 20].abs().max() < 4


def test_one_rate_of_all_edges_is_as_many_equal_rates() -> None:
    one = Cascade(3, edges=TRIANGLE, steps=3, rate=0.4)
    each = Cascade(3, edges=TRIANGLE, steps=3, rate=0.4, per="edge")
    x = one.sample(50)
    torch.testing.assert_close(one.log_prob(x), each.log_prob(x))
    assert one.log_rates.shape == (1,)
    torch.testing.assert_close(one.chances, torch.full((3,), 1 - math.exp(-0.4), dtype=torch.float64))


def test_the_likelihood_is_concave_in_the_rates() -> None:
    model = Cascade(4, edges=[*TRIANGLE, [1, 3], [2, 3]], steps=3, rate=0.6, per="edge", seeds=0.3)
    torch.manual_seed(0)
    x = model.sample(200)

    def of(rates: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, {"log_rates": rates.log()}, (x,), tie_weights=False)

    model.forward = lambda x: model.log_prob(x).sum()  # what functional_call calls
    for _ in range(5):
        hessian = torch.autograd.functional.hessian(of, torch.rand(5, dtype=torch.float64) + 0.1)
        assert torch.linalg.eigvalsh(hessian).max() < 1e-9


def test_fit_finds_the_rates_of_the_edges_within_their_errors() -> None:
    edges = [[0, 1], [0, 2], [1, 2], [2, 3], [3, 1], [3, 4], [4, 5], [2, 5], [5, 0]]
    torch.manual_seed(1)
    true = torch.rand(9, dtype=torch.float64) * 0.8 + 0.1
    x = Cascade(6, edges=edges, directed=True, steps=6, tries=1, rate=true.tolist(), per="edge", seeds=0.2).sample(2000)
    model = Cascade(6, edges=edges, directed=True, steps=6, tries=1, per="edge")
    fit(model, x, steps=150, batch_size=None, lr=0.1, progress=False)

    def nats(log_rates: torch.Tensor) -> torch.Tensor:
        seeds = model.seed_logits.detach()
        return type(model.distribution())(model.ends, log_rates.exp(), seeds, 6, 1).log_prob(x).sum()

    found = model.log_rates.detach()
    errors = torch.autograd.functional.hessian(nats, found).neg().inverse().diag().sqrt()
    z = (found - true.log()) / errors
    assert errors.max() < 0.15
    assert z.abs().max() < 3.5
    assert 0.3 < z.square().mean() < 2.5
    torch.testing.assert_close(model.seed_logits.sigmoid(), (x == 0).double().mean(0), atol=0.01, rtol=0)


def test_an_edge_tried_in_vain_gets_a_rate_of_nearly_zero() -> None:
    x = torch.tensor([[0, 1, 4]] * 20 + [[0, 2, 4]] * 20)
    model = Cascade(3, edges=[[0, 1], [0, 2]], steps=3, per="edge", seeds=0.3)
    fit(model, x, steps=400, batch_size=None, lr=0.05, progress=False)
    assert model.chances[1] < 0.01
    assert abs(model.chances[0].item() - 40 / 60) < 1e-3  # passed of those tried


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"edges": [[0, 3]]}, r"an edge is a pair of nodes 0 to 2, not \[0, 3\]"),
        ({"edges": [[0, 1], [1, 0]]}, r"the edge \[1, 0\] is given twice"),
        ({"edges": [[1, 1]]}, r"the edge \[1, 1\] leads to itself"),
        ({"edges": []}, "needs edges"),
        ({"steps": 0}, "whole numbers from 1 on, not 0 and None"),
        ({"per": "node"}, "per must be 'graph' or 'edge', not 'node'"),
        ({"rate": -0.1}, "rate must be positive, not -0.1"),
        ({"rate": [0.1, 0.2]}, "rate is one number or 1, not 2"),
        ({"seeds": 1.5}, "seeds must be between 0 and 1, not 1.5"),
        ({"context_shape": (2,)}, "takes no context"),
    ],
)
def test_what_is_no_cascade_is_refused(changed, message) -> None:
    with pytest.raises(ValueError, match=message):
        Cascade(3, **{"edges": PATH, "steps": 3, **changed})


def test_a_node_that_none_could_have_reached_is_named() -> None:
    model = Cascade(3, edges=PATH, steps=3, tries=1)
    for row in ([0, 2, 4], [4, 4, 1]):  # the only neighbour has tried before; nobody began
        with pytest.raises(ValueError, match=r"row 1 has node [12] reached at step \d, when no neighbour could"):
            fit(model, torch.tensor([[0, 1, 2], row]), steps=1, progress=False)
    with pytest.raises(ValueError, match="outside the support"):
        fit(model, torch.tensor([[0, 1, 5]]), steps=1, progress=False)
