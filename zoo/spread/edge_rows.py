"""Edges by places, as rows of out-edges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Real

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.spread.edge_lists import Listed


def weighed(edges: Listed) -> Listed:
    """The same edges, whose weights have been looked at."""
    if edges.weights is None:
        return edges
    weights = _numbers(edges)
    if weights.shape != (len(edges.ends),):
        raise ValueError(f"{len(edges.ends)} edges have a weight each, [{len(edges.ends)}], not {list(weights.shape)}")
    if (bad := ~(np.isfinite(weights) & (weights >= 0))).any():
        edge = int(bad.argmax())
        raise ValueError(f"the weight of the edge {edges.name(edge)} is {weights[edge]}, and not a number from 0 on")
    return replace(edges, weights=weights)


def _numbers(edges: Listed) -> NDArray[np.float64]:
    given = edges.weights
    if isinstance(given, str | Mapping) or not hasattr(given, "__len__"):
        told = repr(given) if isinstance(given, str | int | float) else f"a {type(given).__name__}"
        raise TypeError(f"weights are a list with a number for each edge, not {told} (a name is of networkx graphs)")
    try:
        return np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        for edge, weight in enumerate(given[: len(edges.ends)]):
            if not isinstance(weight, Real):
                raise ValueError(
                    f"the weight of the edge {edges.name(edge)} is {weight!r}, and not a number from 0 on"
                ) from None
        raise


def ends_of(counts: Tensor) -> Tensor:
    """Where rows of these lengths begin, and the last ends."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def rows(edges: Listed, n: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """CSR of edges by places, both ways if undirected; each edge once, none to itself."""
    ends, weights = edges.ends, edges.weights
    apart = ends[:, 0] != ends[:, 1]
    if not apart.all():
        ends, weights = ends[apart], None if weights is None else weights[apart]
    key = ends[:, 0] * n + ends[:, 1]
    if not edges.directed:
        key = np.concatenate([key, ends[:, 1] * n + ends[:, 0]])
        weights = None if weights is None else np.concatenate([weights, weights])
    if weights is None:
        key = np.sort(key)
    else:
        order = key.argsort(kind="stable")
        key, weights = key[order], weights[order]
    again = np.concatenate([np.zeros(1, bool), key[1:] == key[:-1]])[: len(key)]
    if weights is not None and (torn := again[1:] & (weights[1:] != weights[:-1])).any():
        a, b = divmod(int(key[1:][torn][0]), n)
        assert edges.nodes is not None
        raise ValueError(f"the edge {edges.nodes[a]!r} - {edges.nodes[b]!r} is told with two different weights")
    key, weights = key[~again], None if weights is None else torch.from_numpy(weights[~again])
    source, target = np.divmod(key, max(n, 1))
    counts = torch.from_numpy(np.bincount(source, minlength=n))
    return ends_of(counts), torch.from_numpy(target), weights
