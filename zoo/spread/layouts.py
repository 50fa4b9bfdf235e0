"""Where the nodes of a graph are drawn: springs along edges, and every node pushing others away.

References:
    Graph drawing by force-directed placement (Fruchterman and Reingold, 1991)
    Visualizing large-scale and high-dimensional data (Tang et al., 2016), https://arxiv.org/abs/1602.00370, for
        pushing against a few nodes drawn at random rather than all
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

STEPS, OTHERS = 150, 96
"""Moves of every node, and of how many others it is pushed away at each: of all where there are as few."""
PULL, REACH = 0.12, 0.25
"""A pull to the middle, which keeps parts that nothing ties together on the page; the first step of a move."""


def ends(graph: Any) -> Tensor:
    """The nodes [2, E] that each edge joins, an edge that is there both ways once."""
    rows = torch.repeat_interleave(torch.arange(graph.n), graph.indptr.diff().cpu())
    both = torch.stack([rows, graph.indices.cpu()])
    pairs = both.sort(0).values
    return pairs[:, pairs[0] < pairs[1]].unique(dim=1)


def layout(graph: Any, *, seed: int = 0) -> Tensor:
    """Places [n, 2] of a graph's nodes, from -1 to 1; those that edges join are near one another.

    4,039 nodes with 88,234 edges take some seconds. The same seed gives the same places.
    """
    generator = torch.Generator().manual_seed(seed)
    n, (head, tail) = graph.n, ends(graph)
    place = torch.randn(n, 2, generator=generator)
    apart = n**-0.5
    degree = torch.bincount(torch.cat([head, tail]), minlength=n).clamp(min=1)[:, None].float()
    for step in range(STEPS):
        along = place[tail] - place[head]
        pull = along * (along.norm(dim=1, keepdim=True) / apart)
        force = torch.zeros_like(place).index_add_(0, head, pull).index_add_(0, tail, -pull) / degree.sqrt()
        others = _others(n, generator)
        away = place[:, None] - place[others]
        push = (apart**2 / away.square().sum(-1, keepdim=True).clamp(min=1e-6) * away).sum(1) * (n / others.shape[1])
        force += push - PULL * place
        far = force.norm(dim=1, keepdim=True).clamp(min=1e-9)
        place += force / far * far.clamp(max=REACH * (1 - step / STEPS))
    place -= place.median(0).values
    return place / place.norm(dim=1).quantile(0.99).clamp(min=1e-9)


def _others(n: int, generator: torch.Generator) -> Tensor:
    """Who pushes each node away, [n, some]: all nodes, or some at random."""
    if n <= OTHERS:
        return torch.arange(n).expand(n, n)
    return torch.randint(n, (n, OTHERS), generator=generator)
