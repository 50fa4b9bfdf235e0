"""NUTS: its trees against naive recursion on the same random numbers, stationarity, and what its warm-up learns."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.sampling import nuts_tree
from inference.sampling.adaptation import Dense, Diagonal, Metric
from inference.sampling.kernel import DIVERGED, Chains
from inference.sampling.nuts import Nuts
from inference.sampling.nuts_tree import Point, grown
from inference.sampling.pyro_nuts import PyroNuts
from tests.inference.sampling.targets import Banana, Gaussian, Target, moment_scores


def leapfrog(target: Target, step: float) -> nuts_tree.Leap:
    """Steps in the target's own coordinates, of one size."""

    def leap(at: Point, sign: Tensor) -> Point:
        r = at.r + 0.5 * step * sign * at.slope
        q = at.q + step * sign * r
        log_density, slope = target.value_and_grad(q)
        return Point(q, r + 0.5 * step * sign * slope, slope, log_density)

    return leap


def begun(target: Target, q: Tensor) -> Point:
    log_density, slope = target.value_and_grad(q)
    return Point(q, torch.randn_like(q), slope, log_density)


class Recursion:
    """One chain's transition by the recursion of the papers with Stan's checks, on numbers given in advance."""

    def __init__(self, target: Target, step: float, start: tuple[Any, Any], uniform: Iterator[float]) -> None:
        self.target, self.step, self.uniform = target, step, uniform
        self.left = self.right = self.draw = start
        self.energy = self._energy(start)
        self.weight, self.leapfrogs, self.diverging, self.accepted, self.depth = 0.0, 0, False, 0.0, 0

    def _energy(self, state: tuple[Any, Any]) -> float:
        value = float(self.target(torch.tensor(state[0])[None]))
        return 0.5 * float(state[1] @ state[1]) - value

    def _leap(self, state: tuple[Any, Any], sign: int) -> tuple[Any, Any]:
        def slope(q: Any) -> Any:
            return self.target.value_and_grad(torch.tensor(q)[None])[1][0].numpy()

        q, r = state
        r = r + 0.5 * sign * self.step * slope(q)
        q = q + sign * self.step * r
        return q, r + 0.5 * sign * self.step * slope(q)

    def _persists(self, a: Any, b: Any, rho: Any) -> bool:
        return bool(a @ rho > 0 and b @ rho > 0)

    def _joined(self, a: Any, b: Any) -> tuple[bool, Any]:
        (a_first, a_last, a_rho), (b_first, b_last, b_rho) = a, b
        goes_on = (
            self._persists(a_first, b_last, a_rho + b_rho)
            and self._persists(a_first, b_first, a_rho + b_first)
            and self._persists(a_last, b_last, b_rho + a_last)
        )
        return goes_on, (a_first, b_last, a_rho + b_rho)

    def _build(self, depth: int, sign: int) -> tuple[bool, Any]:
        if depth == 0:
            self.end = self._leap(self.end, sign)
            gain = self.energy - self._energy(self.end)
            gain = -math.inf if math.isnan(gain) else gain
            self.leapfrogs += 1
            self.accepted += min(1.0, math.exp(min(gain, 0.0)))
            self.branch_weight = np.logaddexp(self.branch_weight, gain)
            if math.log(next(self.uniform)) < gain - self.branch_weight:
                self.branch_draw = self.end
            self.diverging |= gain < -DIVERGED
            return not self.diverging, (self.end[1], self.end[1], self.end[1])
        good, a = self._build(depth - 1, sign)
        if not good:
            return False, a
        good, b = self._build(depth - 1, sign)
        if not good:
            return False, b
        return self._joined(a, b)

    def run(self, max_depth: int, uniforms: list[list[float]]) -> None:
        rho = self.left[1]
        for depth in range(max_depth):
            self.uniform = iter(uniforms[depth])
            sign = 1 if next(self.uniform) < 0.5 else -1
            near, far = (self.right, self.left) if sign > 0 else (self.left, self.right)
            self.end, self.branch_draw, self.branch_weight = near, near, -math.inf
            self.depth += 1
            good, branch = self._build(depth, sign)
            if not good:
                return
            if math.log(next(self.uniform)) < self.branch_weight - self.weight:
                self.draw = self.branch_draw
            self.weight = np.logaddexp(self.weight, self.branch_weight)
            goes_on, (_, _, rho) = self._joined((far[1], near[1], rho), branch)
            if sign > 0:
                self.right = self.end
            else:
                self.left = self.end
            if not goes_on:
                return


@pytest.mark.parametrize("step", [0.15, 0.4, 1.2])
def test_trees_are_those_of_the_recursion(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the chains in a batch, stopped or not, is the one that the recursion makes of its own numbers."""
    torch.manual_seed(1)
    target, chains, max_depth = Banana(), 48, 6
    start = begun(target, 1.5 * torch.randn(chains, 2, dtype=torch.float64))
    numbers: list[Tensor] = []
    rand_like = torch.rand_like

    def recorded(like: Tensor) -> Tensor:
        numbers.append(rand_like(like))
        return numbers[-1]

    monkeypatch.setattr(nuts_tree.torch, "rand_like", recorded)
    tree = grown(leapfrog(target, step), start, max_depth)
    monkeypatch.undo()
    table = torch.stack([*numbers, *[torch.full_like(numbers[0], 0.5)] * 2**max_depth], 1).tolist()
    sizes = [2**depth + 2 for depth in range(max_depth)]
    edges = [sum(sizes[:depth]) for depth in range(max_depth + 1)]
    kinds = set()
    for chain in range(chains):
        one = Recursion(target, step, (start.q[chain].numpy(), start.r[chain].numpy()), iter(()))
        one.run(max_depth, [table[chain][a:b] for a, b in pairwise(edges)])
        np.testing.assert_allclose(tree.draw.q[chain].numpy(), one.draw[0], rtol=1e-9)
        np.testing.assert_allclose(tree.left.q[chain].numpy(), one.left[0], rtol=1e-9)
        np.testing.assert_allclose(tree.right.q[chain].numpy(), one.right[0], rtol=1e-9)
        assert tree.leapfrogs[chain] == one.leapfrogs and tree.depth[chain] == one.depth
        assert bool(tree.diverging[chain]) == one.diverging
        assert tree.accepted[chain].item() == pytest.approx(one.accepted, rel=1e-9)
        kinds.add(one.depth)
    assert len(kinds) > 1  # or every chain would have had the same tree


def test_a_tree_is_reached_from_each_of_its_points() -> None:
    """Of the coins thrown from any of its points, some lead to the same tree, by its ends."""
    torch.manual_seed(2)
    target = Banana()
    leap = leapfrog(target, 0.3)
    start = begun(target, torch.randn(1, 2, dtype=torch.float64))
    found = _all_trees(leap, start)
    left, right = next(ends for ends in found if _length(leap, ends) == 4)
    at = left
    for _ in range(4):
        again = [ends for ends in _all_trees(leap, at) if torch.allclose(ends[0].q, left.q)]
        assert sum(torch.allclose(ends[1].q, right.q) for ends in again) >= 1
        at = leap(at, torch.ones(1, 1, dtype=torch.float64))


def _all_trees(leap: nuts_tree.Leap, start: Point) -> list[tuple[Point, Point]]:
    """The ends of all trees of two doublings that have not turned before."""
    many = Point(*(x.expand(256, *x.shape[1:]).contiguous() for x in start))
    tree = grown(leap, many, 2)
    ends: dict[tuple[float, ...], tuple[Point, Point]] = {}
    for i in range(256):
        one = Point(*(x[i : i + 1] for x in tree.left)), Point(*(x[i : i + 1] for x in tree.right))
        ends.setdefault(tuple(torch.cat([one[0].q, one[1].q], 1)[0].mul(1e6).round().tolist()), one)
    return list(ends.values())


def _length(leap: nuts_tree.Leap, ends: tuple[Point, Point]) -> int:
    """Points from one end to the other."""
    at, count = ends[0], 1
    while not torch.allclose(at.q, ends[1].q) and count < 99:
        at, count = leap(at, torch.ones(1, 1, dtype=torch.float64)), count + 1
    return count


@pytest.mark.parametrize(("step", "max_depth"), [(0.25, 5), (0.5, 3), (0.7, 2)])
def test_exact_draws_stay_exact_draws(step: float, max_depth: int) -> None:
    torch.manual_seed(3)
    target = Banana()
    q = target.draw(40_000)
    leap = leapfrog(target, step)
    for _ in range(4):
        tree = grown(leap, begun(target, q), max_depth)
        q = tree.draw.q
    assert moment_scores(target.normal(q)).abs().max() < 4


def test_long_trees_stop_at_a_half_turn_and_whole_turns_do_not_pass() -> None:
    """In an isotropic Gaussian a path turns after half a period, whatever the step: no tree may go round."""
    torch.manual_seed(4)
    target = Gaussian(torch.zeros(20), torch.eye(20))
    for step in (2 * math.pi / 8, 2 * math.pi / 16, 2 * math.pi / 64):
        tree = grown(leapfrog(target, step), begun(target, target.draw(500)), 10)
        assert (tree.leapfrogs * step).max() < 3 * math.pi


def test_the_warmup_learns_the_scale_and_the_draws_are_those_of_the_target() -> None:
    torch.manual_seed(5)
    target = Gaussian.correlated(5)
    kernel = Nuts()
    chains = kernel.begin(target, 2 * torch.randn(64, 5, dtype=torch.float64))
    for step in range(100):
        chains, _ = kernel.step(chains, step / 100)
    kernel.finish_warmup()
    kept, rates, steps = [], [], []
    for _ in range(100):
        chains, stats = kernel.step(chains, None)
        kept.append(chains.q)
        rates.append(stats["acceptance_rate"])
        steps.append(stats["n_steps"])
    assert torch.stack(rates).mean().item() == pytest.approx(0.8, abs=0.08)
    assert torch.stack(steps).max() <= 7  # in the right scale two or three doublings are a half turn
    off = (torch.stack(kept, 1) - target.distribution.mean).flatten(0, 1).T
    white = torch.linalg.solve_triangular(target.distribution.scale_tril, off, upper=False).T.view(64, 100, 5)
    for values, truth in ((white.mean(1), 0.0), (white.square().mean(1), 1.0)):
        assert ((values.mean(0) - truth).abs() < 4 * values.std(0) / 8).all()


@pytest.mark.parametrize("metric", [Diagonal(), Dense()], ids=["diagonal", "dense"])
def test_a_step_of_the_kernel_leaves_exact_draws_exact(metric: Metric) -> None:
    torch.manual_seed(6)
    target = Banana()
    kernel = Nuts(metric=metric, max_depth=4)
    chains = kernel.begin(target, torch.randn(400, 2, dtype=torch.float64))
    for step in range(10):
        chains, _ = kernel.step(chains, step / 10)
    state = Chains.of(target, target.draw(30_000))
    for _ in range(3):
        state, stats = kernel.step(state, None)
    torch.testing.assert_close(stats["lp"], target(state.q))
    torch.testing.assert_close(state.slope, target.value_and_grad(state.q)[1])
    assert moment_scores(target.normal(state.q)).abs().max() < 4


def test_one_chain_learns_from_its_past() -> None:
    torch.manual_seed(7)
    target = Gaussian(torch.zeros(3), torch.diag(torch.tensor([0.01, 1.0, 100.0])))
    kernel = Nuts(max_depth=8)
    chains = kernel.begin(target, torch.randn(1, 3, dtype=torch.float64))
    for step in range(150):
        chains, _ = kernel.step(chains, step / 150)
    scale = kernel.metric.factor.diagonal() / torch.tensor([0.1, 1.0, 10.0])
    assert scale.min() > 0.5 and scale.max() < 2


class Wall(Target):
    """A Gaussian whose density is NaN beyond 1.5, where steps end in a divergence."""

    dim = 1

    def __call__(self, q: Tensor) -> Tensor:
        x = q[:, 0]
        return torch.where(x > 1.5, torch.nan, -0.5 * x.square())


def test_a_density_that_is_nan_somewhere_is_a_divergence_and_no_place_to_be() -> None:
    torch.manual_seed(8)
    kernel = Nuts()
    chains = kernel.begin(Wall(), torch.rand(64, 1, dtype=torch.float64))
    seen, diverging = [], []
    for step in range(200):
        chains, stats = kernel.step(chains, step / 100 if step < 100 else None)
        if step >= 100:
            seen.append(chains.q)
            diverging.append(stats["diverging"])
    q = torch.stack(seen)
    assert q.isfinite().all() and q.max() <= 1.5
    assert 0 < torch.stack(diverging).double().mean() < 0.9
    assert q.mean().item() == pytest.approx(-0.1388, abs=0.1)  # -pdf(1.5) / cdf(1.5)


def test_a_state_goes_on_bit_for_bit() -> None:
    target = Gaussian.correlated(3)
    torch.manual_seed(9)
    one, other = Nuts(), Nuts()
    chains = one.begin(target, torch.randn(16, 3, dtype=torch.float64))
    for step in range(10):
        chains, _ = one.step(chains, step / 20)
    state = copy.deepcopy(one.state_dict())
    ends = []
    for kernel in (one, other):
        torch.manual_seed(10)
        if kernel is other:
            kernel.load_state_dict(state, target)
        at = chains
        for step in range(12):
            at, _ = kernel.step(at, (10 + step) / 20 if step < 10 else None)
        ends.append(at.q)
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"target": 1.2}, "between 0 and 1, not 1.2"), ({"max_depth": 0}, "must be at least 1, not 0")],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Nuts(**options)


def test_pyros_own_nuts_draws_from_the_same_density() -> None:
    torch.manual_seed(11)
    target = Gaussian(torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 0.5], [0.5, 2.0]]))
    kernel = PyroNuts(warmup=40, max_tree_depth=4)
    chains = kernel.begin(target, torch.randn(2, 2, dtype=torch.float64))
    kept = []
    for step in range(240):
        chains, stats = kernel.step(chains, step / 40 if step < 40 else None)
        if step == 39:
            kernel.finish_warmup()
        kept.append(chains.q)
    torch.testing.assert_close(stats["lp"], target(chains.q))
    assert chains.q.dtype == torch.float64 and (stats["step_size"] > 0.1).all()
    draws = torch.stack(kept[40:]).flatten(0, 1)
    white = torch.linalg.solve_triangular(
        target.distribution.scale_tril, (draws - target.distribution.mean).T, upper=False
    )
    assert moment_scores(white.T[::3]).abs().max() < 4
    with pytest.raises(TypeError, match="cannot be resumed"):
        kernel.load_state_dict(kernel.state_dict(), target)
