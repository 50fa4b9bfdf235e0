"""Networks as Pyro programs of many sites, one a variable, whose discrete sites Pyro can enumerate.

elbo = TraceEnum_ELBO(max_plate_nesting=1)
-elbo.loss(network.program, lambda *_: None, {"dysp": codes})           the log evidence, summed over the rows
infer_discrete(network.program, first_available_dim=-2)({"dysp": codes})     a joint draw of the others
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.ops.indexing import Vindex
from torch import Tensor

from zoo.distributions import RowDistribution
from zoo.nodes import Node

ENUMERATED: Any = {"enumerate": "parallel"}


def tables_program(network: Any, given: Mapping[Any, Tensor] | None, n: int) -> dict[Hashable, Tensor]:
    """A site for each variable of a network of tables, inside the plate "data"."""
    given = _checked(given, network.variables)
    with pyro.plate("data", _rows(given, n)):
        return _tables(network, given)


def hybrid_program(network: Any, given: Mapping[Any, Tensor] | None, n: int) -> dict[Hashable, Tensor]:
    """The same of a network with densities, whose sites follow those of the tables."""
    given = _checked(given, network.variables)
    with pyro.plate("data", _rows(given, n)):
        values = _tables(network.discrete, given)
        for name, node in network.densities.items():
            parents = {p: values[p] for p in node.parents}
            sizes = {p: len(network.densities[p].event_shape) if p in network.densities else 0 for p in parents}
            values[name] = pyro.sample(name, NodeDistribution(node, parents, sizes), obs=given.get(name))
    return values


def _tables(network: Any, given: Mapping[Any, Tensor]) -> dict[Hashable, Tensor]:
    values: dict[Hashable, Tensor] = {}
    for v, above, table in zip(network.variables, network.parents, network.probabilities(), strict=True):
        index = tuple(values[network.variables[p]] for p in above)
        probabilities = Vindex(table)[(*index, slice(None))] if above else table
        values[v] = pyro.sample(str(v), dist.Categorical(probabilities), obs=given.get(v), infer=ENUMERATED)
    return values


def _checked(given: Mapping[Any, Tensor] | None, variables: Any) -> dict[Any, Tensor]:
    known = dict(given or {})
    for name, value in known.items():
        if name not in variables:
            raise ValueError(f"the network has no variable {name!r}; there are {', '.join(map(str, variables))}")
        if not value.is_floating_point() and bool((value < 0).any()):
            raise ValueError(f"{name!r} is not known in every row: leave it out, or give its rows apart")
    return known


def _rows(given: Mapping[Any, Tensor], n: int) -> int:
    return next((len(value) for value in given.values()), n)


class NodeDistribution(RowDistribution):
    """A node given its parents, whose batch axes broadcast: rows, and before them those that Pyro enumerates."""

    def __init__(self, node: Node, parents: Mapping[str, Tensor], sizes: Mapping[str, int]) -> None:
        self.node, self.parents, self.sizes = node, parents, sizes
        shapes = [value.shape[: value.dim() - sizes[p]] for p, value in parents.items()]
        super().__init__(torch.broadcast_shapes(*shapes), node.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        batch = torch.broadcast_shapes(self.batch_shape, value.shape[: value.dim() - len(self.event_shape)])
        rows = value.expand(*batch, *self.event_shape).reshape(-1, *self.event_shape)
        return self.node.log_prob(rows, self._given(batch)).reshape(batch)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        batch = shape[: len(shape) - len(self.event_shape)]
        return self.node.sample(self._given(batch), batch.numel()).reshape(shape)

    def _given(self, batch: torch.Size) -> dict[str, Tensor]:
        given = {}
        for p, value in self.parents.items():
            event = value.shape[value.dim() - self.sizes[p] :]
            given[p] = value.expand(*batch, *event).reshape(-1, *event)
        return given
