"""Through whom everything passes: dominators of many directed graphs at once.

A node dominates another if every way from the root to that one leads through it; were it not there, what it dominates
would not be reached. Begun from the tree of shortest ways, each node is moved up to where all its in-edges agree.

References:
    A Simple, Fast Dominance Algorithm (Cooper, Harvey and Kennedy, 2001)
    Minimizing the Influence of Misinformation via Vertex Blocking (Xie et al., 2023), for counting what would not be
        reached on sampled graphs by their dominators
"""

from __future__ import annotations

import torch
from torch import Tensor


def levels(source: Tensor, target: Tensor, begun: Tensor, n: int) -> Tensor:
    """Edges on the shortest way from those that begin, which are at 1, [n]; 0 for nodes that are not reached."""
    level = torch.zeros(n, dtype=torch.long, device=source.device)
    level[begun] = 1
    while True:
        open_ = level[target] == 0
        source, target = source[open_], target[open_]
        fresh = target[level[source] > 0]
        if not len(fresh):
            return level
        level[fresh] = level.max() + 1


def dominators(source: Tensor, target: Tensor, level: Tensor) -> Tensor:
    """The next node [n] that every way to a node leads through; n, the root before all that begin, where none does."""
    n = len(level)
    there = (level[source] > 0) & (level[target] > 1)
    source, target = source[there], target[there]
    level = torch.cat([level, level.new_zeros(1)])
    above = torch.full((n + 1,), n, dtype=torch.long, device=level.device)
    short = level[source] + 1 == level[target]
    above[target[short]] = source[short]
    while True:
        below = above[target] < n
        source, target = source[below], target[below]
        common = _common(source, above[target], above, level)
        moved = common != above[target]
        if not moved.any():
            return above[:n]
        key = level[common[moved]] * (n + 1) + common[moved]
        highest = torch.full_like(above, torch.iinfo(torch.long).max).scatter_reduce_(0, target[moved], key, "amin")
        at = target[moved].unique()
        above[at] = highest[at] % (n + 1)


def _common(a: Tensor, b: Tensor, above: Tensor, level: Tensor) -> Tensor:
    """The nearest node above both, or one of them, of each pair."""
    found, left = a.clone(), (a != b).nonzero()[:, 0]
    a, b = a[left], b[left]
    while len(left):
        up_a, up_b = level[a] >= level[b], level[b] >= level[a]
        a, b = torch.where(up_a, above[a], a), torch.where(up_b, above[b], b)
        met = a == b
        found[left[met]] = a[met]
        left, a, b = left[~met], a[~met], b[~met]
    return found


def dominated(above: Tensor, level: Tensor) -> Tensor:
    """How many nodes each one dominates, itself among them, [n]; 0 for those that are not reached."""
    n = len(above)
    size = torch.cat([(level > 0).long(), level.new_zeros(1)])
    order = level.argsort(stable=True)
    for nodes in reversed(order.split(torch.bincount(level).tolist())[1:]):
        size.index_add_(0, above[nodes], size[nodes])
    return size[:n]
