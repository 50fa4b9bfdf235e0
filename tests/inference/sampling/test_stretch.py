"""Ensemble moves: stationarity, what a linear map does to them, the moves by the papers' formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inference.sampling.stretch import DifferentialEvolution, Ensemble, Stretch
from tests.inference.sampling.targets import Banana, Gaussian, Mixture, Target, moment_scores

MOVES = [Stretch(), DifferentialEvolution()]


@pytest.mark.parametrize("kernel", MOVES, ids=lambda kernel: kernel.name)
def test_exact_draws_stay_exact_draws(kernel: Ensemble) -> None:
    torch.manual_seed(1)
    target = Banana()
    chains = kernel.begin(target, target.draw(40_000))
    for _ in range(10):
        chains, stats = kernel.step(chains, None)
    assert 0.1 < stats["acceptance_rate"].mean() < 0.9
    torch.testing.assert_close(stats["lp"], target(chains.q))
    assert moment_scores(target.normal(chains.q)).abs().max() < 4


@pytest.mark.parametrize("kernel", MOVES, ids=lambda kernel: kernel.name)
def test_draws_have_the_moments_of_the_target(kernel: Ensemble) -> None:
    torch.manual_seed(2)
    target = Gaussian.correlated(3)
    chains = kernel.begin(target, torch.randn(400, 3, dtype=torch.float64))
    kept = []
    for step in range(1500):
        chains, _ = kernel.step(chains, None)
        if step >= 300:
            kept.append(chains.q)
    off = torch.stack(kept, 1) - target.distribution.mean
    white = torch.linalg.solve_triangular(target.distribution.scale_tril, off.flatten(0, 1).T, upper=False).T
    white = white.view_as(off)
    for values, truth in ((white.mean(1), 0.0), (white.square().mean(1), 1.0)):
        assert ((values.mean(0) - truth).abs() < 4 * values.std(0) / math.sqrt(400)).all()


@pytest.mark.parametrize("kernel", [Stretch()], ids=["stretch"])
def test_a_linear_map_of_the_space_maps_the_chains(kernel: Ensemble) -> None:
    narrow = Gaussian(torch.zeros(3), torch.eye(3))
    wide = Gaussian.correlated(3)
    start = torch.randn(40, 3, dtype=torch.float64)
    there = start @ wide.distribution.scale_tril.T + wide.distribution.mean
    ends = []
    for target, q in ((narrow, start), (wide, there)):
        torch.manual_seed(3)
        chains = kernel.begin(target, q)
        for _ in range(20):
            chains, _ = kernel.step(chains, None)
        ends.append(chains.q)
    torch.testing.assert_close(ends[0] @ wide.distribution.scale_tril.T + wide.distribution.mean, ends[1])


class Flat(Target):
    dim = 2

    def __call__(self, q: Tensor) -> Tensor:
        return torch.zeros_like(q[:, 0])


class Watched(Ensemble):
    """Everyone goes one to the right; keeps what it was asked."""

    name = "watched"

    def propose(self, moving: Tensor, standing: Tensor) -> tuple[Tensor, Tensor]:
        self.asked = [*getattr(self, "asked", []), (moving, standing)]
        return moving + 1, torch.zeros_like(moving[:, 0])


def test_each_half_moves_by_where_the_other_stands_by_then() -> None:
    torch.manual_seed(6)
    kernel = Watched()
    chains = kernel.begin(Flat(), torch.randn(10, 2, dtype=torch.float64))
    after, _ = kernel.step(chains, None)
    torch.testing.assert_close(after.q, chains.q + 1)
    (first, resting), (second, moved) = kernel.asked
    assert torch.equal(torch.cat([first, resting]).sort(0).values, chains.q.sort(0).values)
    assert torch.equal(second, resting) and torch.equal(moved, first + 1)
    kernel.step(chains, None)
    assert not torch.equal(kernel.asked[2][0], first)  # halves are drawn anew


def test_the_stretch_is_on_the_line_with_the_density_of_the_paper() -> None:
    """z has density proportional to 1 / sqrt(z) on [1/2, 2]."""
    torch.manual_seed(4)
    n = 100_000
    standing = torch.randn(n, 3, dtype=torch.float64) * 1e-9
    moving = torch.ones(n, 3, dtype=torch.float64)
    q, log_ratio = Stretch(width=2.0).propose(moving, standing)
    z = q.mean(1)
    torch.testing.assert_close(log_ratio, 2 * z.log(), atol=1e-6, rtol=0)
    assert z.min() >= 0.5 - 1e-6 and z.max() <= 2 + 1e-6
    share = (math.sqrt(1.2) - math.sqrt(0.5)) / (math.sqrt(2.0) - math.sqrt(0.5))
    assert (z < 1.2).double().mean().item() == pytest.approx(share, abs=4 * math.sqrt(0.25 / n))


def test_differences_take_chains_from_mode_to_mode() -> None:
    torch.manual_seed(5)
    target = Mixture(2, 20.0, 0.8)
    q = torch.randn(200, 2, dtype=torch.float64)
    q[:, 0] += torch.where(torch.arange(200) < 100, -10.0, 10.0)
    kernel = DifferentialEvolution()
    chains = kernel.begin(target, q)
    shares = []
    for step in range(3000):
        chains, _ = kernel.step(chains, None)
        if step >= 500:
            shares.append((chains.q[:, 0] > 0).double().mean())
    assert torch.stack(shares).mean().item() == pytest.approx(0.8, abs=0.04)


@pytest.mark.parametrize("chains", [7, 6])
def test_too_few_chains_are_refused(chains: int) -> None:
    target = Gaussian.correlated(3)
    with pytest.raises(ValueError, match=f"must be even and at least 8, not {chains}"):
        Stretch().begin(target, torch.randn(chains, 3, dtype=torch.float64))


def test_a_stretch_that_shrinks_only_is_refused() -> None:
    with pytest.raises(ValueError, match="width, the longest stretch, must be over 1, not 1"):
        Stretch(width=1.0)
