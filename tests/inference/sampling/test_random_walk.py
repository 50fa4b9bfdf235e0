"""Random-walk Metropolis: detailed balance on a grid, stationarity, and what its warm-up learns."""

from __future__ import annotations

import math

import pytest
import torch

from inference.sampling.kernel import Chains
from inference.sampling.random_walk import RandomWalk, metropolis, root_of, wanted
from tests.inference.sampling.targets import Banana, Gaussian, Target, moment_scores


def ran(kernel: RandomWalk, target: Target, q: torch.Tensor, warmup: int, draws: int) -> torch.Tensor:
    """Draws [chains, draws, dim] after a warm-up."""
    chains = kernel.begin(target, q)
    for step in range(warmup):
        chains, _ = kernel.step(chains, step / warmup)
    kernel.finish_warmup()
    kept = []
    for _ in range(draws):
        chains, _ = kernel.step(chains, None)
        kept.append(chains.q)
    return torch.stack(kept, 1)


def test_accepting_is_in_detailed_balance_with_an_asymmetric_proposal() -> None:
    """Flows of a chain of three states, p_i Q_ij a_ij, are the same both ways."""
    torch.manual_seed(1)
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    way = torch.tensor([[0.0, 0.9, 0.1], [0.3, 0.0, 0.7], [0.6, 0.4, 0.0]], dtype=torch.float64)
    i, j = (x.flatten() for x in torch.meshgrid(torch.arange(3), torch.arange(3), indexing="ij"))
    state = Chains(i[:, None].double(), p[i].log())
    _, accepted = metropolis(state, Chains(j[:, None].double(), p[j].log()), (way[j, i] / way[i, j]).log())
    flow = (p[:, None] * way * accepted.view(3, 3)).fill_diagonal_(0)
    torch.testing.assert_close(flow, flow.T)
    assert (accepted.view(3, 3)[0, 2] < 1) or (accepted.view(3, 3)[2, 0] < 1)


def test_moves_happen_as_often_as_the_probability_says_and_never_to_nan() -> None:
    torch.manual_seed(2)
    n = 40_000
    here = Chains(torch.zeros(n, 1), torch.zeros(n))
    there = Chains(torch.ones(n, 1), torch.full((n,), math.log(0.3)))
    moved, accepted = metropolis(here, there)
    assert accepted.unique().item() == pytest.approx(0.3)
    assert moved.q.mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / n))
    nowhere, accepted = metropolis(here, Chains(torch.ones(n, 1), torch.full((n,), math.nan)))
    assert nowhere.q.sum() == 0 and accepted.sum() == 0


def test_exact_draws_stay_exact_draws() -> None:
    torch.manual_seed(3)
    target = Banana()
    kernel = RandomWalk()
    chains = kernel.begin(target, target.draw(40_000))
    for _ in range(10):
        chains, stats = kernel.step(chains, None)
    assert 0.05 < stats["acceptance_rate"].mean() < 0.6
    torch.testing.assert_close(stats["lp"], target(chains.q))
    assert moment_scores(target.normal(chains.q)).abs().max() < 4


@pytest.mark.parametrize("chains", [2, 100])
def test_the_warmup_finds_shape_and_acceptance(chains: int) -> None:
    """Few chains learn the covariance from their past, many from each other."""
    torch.manual_seed(4)
    target = Gaussian.correlated(5)
    kernel = RandomWalk()
    start = target.distribution.mean + torch.randn(chains, 5, dtype=torch.float64)
    state = kernel.begin(target, start)
    rates = []
    for step in range(3000):
        state, stats = kernel.step(state, step / 3000)
        rates.append(stats["acceptance_rate"].mean())
    white = torch.linalg.solve_triangular(target.distribution.scale_tril, kernel.covariance, upper=False)
    white = torch.linalg.solve_triangular(target.distribution.scale_tril, white.T, upper=False)
    values = torch.linalg.eigvalsh(white)
    low, high = (0.3, 2.5) if chains == 2 else (0.8, 1.25)
    assert low < values.min() and values.max() < high
    assert torch.stack(rates[1500:]).mean().item() == pytest.approx(wanted(5), abs=0.02)
    torch.testing.assert_close(kernel.root @ kernel.root.T, kernel.covariance, rtol=1e-6, atol=1e-8)


def test_draws_have_the_mean_and_covariance_of_the_target() -> None:
    torch.manual_seed(5)
    target = Gaussian.correlated(4)
    draws = ran(RandomWalk(), target, 3 * torch.randn(256, 4, dtype=torch.float64), 500, 400)
    white = torch.linalg.solve_triangular(
        target.distribution.scale_tril, (draws - target.distribution.mean).flatten(0, 1).T, upper=False
    ).T.view_as(draws)
    means = white.mean(1)
    assert (means.mean(0).abs() < 4 * means.std(0) / math.sqrt(256)).all()
    squares = white.square().mean(1)
    assert ((squares.mean(0) - 1).abs() < 4 * squares.std(0) / math.sqrt(256)).all()


def test_a_state_goes_on_bit_for_bit() -> None:
    target = Gaussian.correlated(3)
    torch.manual_seed(6)
    one, other = RandomWalk(), RandomWalk()
    chains = one.begin(target, torch.randn(8, 3, dtype=torch.float64))
    for step in range(20):
        chains, _ = one.step(chains, step / 40)
    other.load_state_dict(one.state_dict(), target)
    ends = []
    for kernel in (one, other):
        torch.manual_seed(7)
        at = chains
        for step in range(20):
            at, _ = kernel.step(at, (20 + step) / 40)
        ends.append(at.q)
    assert torch.equal(*ends)


def test_a_covariance_without_rank_has_a_root() -> None:
    flat = torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(root_of(flat) @ root_of(flat).T, flat, rtol=1e-6, atol=1e-6)
    assert root_of(torch.zeros(2, 2)).isfinite().all()
