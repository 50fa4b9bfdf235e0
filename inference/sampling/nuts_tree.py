"""The trajectories of NUTS, of many chains in lockstep: every chain that still grows is at the same leaf of its tree.

A tree of depth j doubles by a branch of 2^j leaves, to the left or to the right as a coin falls, so that the leaves are
counted by one number for all chains; a chain that has turned or diverged stands still until the last has ended. A
branch is built from leaves by merging subtrees of one size, as recursion would, with a stack of at most j of them.

Momenta are whitened: r has unit covariance, and a metric says how r moves q and how slopes pull on r.

References:
    The No-U-Turn Sampler (Hoffman and Gelman, 2014), https://arxiv.org/abs/1111.4246
    A Conceptual Introduction to Hamiltonian Monte Carlo (Betancourt, 2017), https://arxiv.org/abs/1701.02434, A.4.2
    tfp.mcmc: Modern Markov Chain Monte Carlo Tools Built for Modern Hardware (Lao et al., 2020),
    https://arxiv.org/abs/2002.01184
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from inference.sampling.kernel import DIVERGED


class Point(NamedTuple):
    """Where a chain of a trajectory is: q, r, slope [C, dim], and the log density of q [C]."""

    q: Tensor
    r: Tensor
    slope: Tensor
    log_density: Tensor

    def energy(self) -> Tensor:
        return 0.5 * self.r.square().sum(-1) - self.log_density


Leap = Callable[[Point, Tensor], Point]
"""One leapfrog step from a point, forwards where the sign [C, 1] is 1 and backwards where it is -1."""


def chosen(mask: Tensor, yes: Point, no: Point) -> Point:
    """The one point where mask [C] holds, and the other elsewhere."""
    wide = mask[:, None]
    return Point(
        torch.where(wide, yes.q, no.q),
        torch.where(wide, yes.r, no.r),
        torch.where(wide, yes.slope, no.slope),
        torch.where(mask, yes.log_density, no.log_density),
    )


class Span(NamedTuple):
    """The momenta at both ends of a run of leaves, in the order they were made, and the sum over all, [C, dim]."""

    first: Tensor
    last: Tensor
    total: Tensor
    size: int


def straight(one: Tensor, other: Tensor, total: Tensor) -> Tensor:
    """Whether both ends still move along the way that the run has gone, [C]."""
    return ((one * total).sum(-1) > 0) & ((other * total).sum(-1) > 0)


def merged(a: Span, b: Span) -> tuple[Span, Tensor]:
    """Two neighbouring runs as one, and whether it goes straight: as a whole, and across the seam from either side.

    The checks across the seam find turns of a full period, which the ends of the whole do not show.
    """
    total = a.total + b.total
    goes_on = straight(a.first, b.last, total)
    if a.size > 1:
        goes_on &= straight(a.first, b.first, a.total + b.first) & straight(a.last, b.last, b.total + a.last)
    return Span(a.first, b.last, total, a.size + b.size), goes_on


@dataclass(frozen=True)
class Tree:
    """A trajectory of each chain: its ends, the draw from it, and what there is to say of it.

    `weight` [C] is the log of the sum over its points of exp(energy at the start - energy), `growing` [C] says which
    may double, and `accepted` is the sum over all points tried of min(1, exp(energy at the start - energy)).
    """

    left: Point
    right: Point
    draw: Point
    total: Tensor
    weight: Tensor
    growing: Tensor
    diverging: Tensor
    accepted: Tensor
    leapfrogs: Tensor
    depth: Tensor


def grown(leap: Leap, start: Point, max_depth: int) -> Tree:
    """The trees of all chains from start, doubled until each has turned, diverged or is 2^max_depth - 1 steps long."""
    zero = torch.zeros_like(start.log_density)
    no = torch.zeros_like(zero, dtype=torch.bool)
    tree = Tree(start, start, start, start.r, zero, ~no, no, zero, zero, zero)
    energy = start.energy()
    for depth in range(max_depth):
        tree = _doubled(leap, tree, energy, 2**depth)
        if not tree.growing.any():
            break
    return tree


def _doubled(leap: Leap, tree: Tree, energy: Tensor, size: int) -> Tree:
    """A branch of as many leaves as the tree has at one of its ends; the draw leaves for it with min(1, its share)."""
    forward = torch.rand_like(energy) < 0.5
    near, far = chosen(forward, tree.right, tree.left), chosen(forward, tree.left, tree.right)
    branch, span, end = _branch(leap, tree, near, forward, energy, size)
    kept = branch.growing
    moves = kept & (torch.rand_like(energy).log() < branch.weight - tree.weight)
    whole, goes_on = merged(Span(far.r, near.r, tree.total, size), span)
    return replace(
        branch,
        left=chosen(kept & ~forward, end, tree.left),
        right=chosen(kept & forward, end, tree.right),
        draw=chosen(moves, branch.draw, tree.draw),
        total=whole.total,
        weight=torch.where(kept, torch.logaddexp(tree.weight, branch.weight), tree.weight),
        growing=kept & goes_on,
        depth=tree.depth + tree.growing,
    )


def _branch(
    leap: Leap, tree: Tree, near: Point, forward: Tensor, energy: Tensor, size: int
) -> tuple[Tree, Span, Point]:
    """`size` leaves beyond near: their draw, weight and health as a tree, their span, and the last of them."""
    sign = torch.where(forward, 1.0, -1.0).to(energy)[:, None]
    at, draw, weight = near, near, torch.full_like(energy, -torch.inf)
    alive, diverging, accepted, leapfrogs = tree.growing, tree.diverging, tree.accepted, tree.leapfrogs
    spans: list[Span] = []
    for _ in range(size):
        at = chosen(alive, leap(at, sign), at)
        gain = (energy - at.energy()).nan_to_num(nan=-torch.inf)
        leapfrogs = leapfrogs + alive
        accepted = accepted + alive * gain.exp().clamp(max=1)
        diverging = diverging | (alive & (gain < -DIVERGED))
        weight = torch.logaddexp(weight, gain)
        draw = chosen(torch.rand_like(gain).log() < gain - weight, at, draw)
        span = Span(at.r, at.r, at.r, 1)
        alive = alive & ~diverging
        while spans and spans[-1].size == span.size:
            span, goes_on = merged(spans.pop(), span)
            alive = alive & goes_on
        spans.append(span)
        if not alive.any():
            break
    grown = replace(
        tree,
        draw=draw,
        weight=weight,
        growing=alive,
        diverging=diverging,
        accepted=accepted,
        leapfrogs=leapfrogs,
    )
    return grown, spans[0], at
