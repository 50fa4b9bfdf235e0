"""Hybrid network: a Bayesian network some of whose nodes are tables and the others densities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from zoo.base import Explicit, Shape, as_shape
from zoo.conditionals import Gaussian
from zoo.distributions import RowDistribution
from zoo.marginal import log_marginal
from zoo.network_programs import hybrid_program
from zoo.nodes import Node
from zoo.slots import Slot
from zoo.wiring import discrete_of, near, nodes_of, order_of

MISSING = -1
"""The code of a discrete value that is not known."""


class HybridNetwork(Explicit):
    """Hybrid network: p(x) = prod_v p(x_v | parents), a table for each discrete node, a model for each other one.

    Shapes: x is [N, F], a row laid out as `columns` says: a code for each discrete variable (-1 where it is not
    known), then the numbers of each density. `rows` makes x of named values, `values` takes it apart. `log_prob`
    is in nats a row, exact, with what is not known summed out, and has gradients: by `fit` all parameters move,
    missing labels or not; `em` sets the tables alone, with the densities as they are, by expected counts (from
    complete rows, by counting, in one step). Rows are sampled parents first.

    A density may be any explicit model, or one with latent variables, such as a VAE. Of a network with one of
    those `likelihood` is "lower bound", and so is `log_prob`, by importance weights (the ELBO while it trains).

    A density reads its parents as one vector: discrete ones one-hot, the others flattened. It can't be the
    parent of a table: such a variable is a density too, a `Categorical` given its parents.

    Parameters:
        states: the discrete variables: the names of each one's states, or how many there are.
        network, graph: instead of `states`, a network that pgmpy ships by name (or a file), or a pgmpy graph.
        parents: the parents of each variable that has some (with a network: of densities only).
        tables: P(v | parents), nested lists [*parents' states, states], where they are known; else uniform.
        shapes: the shape of one value of each density that does not bring its own.
        densities: a model for each other variable; `Gaussian` where there is a shape only.
        separate: densities with a model of their own for each joint state of their discrete parents.
        pseudo_count: added to each count when tables are counted.

    References:
        Probabilistic Reasoning in Intelligent Systems (Pearl, 1988)
        Graphical models for associations between variables, some of which are qualitative and some quantitative
        (Lauritzen and Wermuth, 1989)
    """

    def __init__(
        self,
        event_shape: Shape | None = None,
        *,
        context_shape: Shape | None = None,
        states: Mapping[str, int | Sequence[Any]] | None = None,
        network: str | None = None,
        graph: Any = None,
        parents: Mapping[str, Sequence[str]] | None = None,
        tables: Mapping[str, Sequence[Any]] | None = None,
        shapes: Mapping[str, int | Sequence[int]] | None = None,
        densities: Mapping[str, Slot] | None = None,
        separate: Sequence[str] = (),
        pseudo_count: float = 0.0,
    ) -> None:
        if context_shape is not None:
            raise ValueError("HybridNetwork takes no context: make what it depends on a node of the network")
        parents = dict(parents or {})
        densities = {**dict.fromkeys(shapes or {}, Gaussian), **(densities or {})}
        discrete = discrete_of(states, network, graph, parents, tables or {}, densities, pseudo_count)
        order = order_of(discrete, parents, densities, separate)
        nodes = nodes_of(order, discrete, parents, densities, shapes or {}, separate)
        size = len(discrete.variables) + sum(node.features for node in nodes)
        if event_shape is not None and as_shape(event_shape) != torch.Size([size]):
            raise ValueError(f"a row of the network has {size} numbers, but event_shape is {event_shape}")
        super().__init__(size)
        self.discrete = discrete
        self.names = [str(v) for v in discrete.variables]
        self.nodes = nn.ModuleList(nodes)
        exact = all(node.likelihood == "exact" for node in nodes)
        self.likelihood = "exact" if exact else "lower bound"  # type: ignore[misc]
        self.columns: dict[str, slice] = {v: slice(i, i + 1) for i, v in enumerate(self.names)}
        for node in nodes:
            start = max(part.stop for part in self.columns.values())
            self.columns[node.name] = slice(start, start + node.features)

    @property
    def densities(self) -> dict[str, Node]:
        """The nodes that are no tables, by name, parents first."""
        return {node.name: node for node in self.nodes}  # type: ignore[misc]

    @property
    def variables(self) -> list[str]:
        """All variables, in the order of a row."""
        return list(self.columns)

    @property
    def measure(self) -> str:
        return "mass" if all(node.measure == "mass" for node in self.densities.values()) else "density"

    def extra_repr(self) -> str:
        return ", ".join(self.names)

    def distribution(self, context: Tensor | None = None) -> Rows:
        self.check(context=context)
        return Rows(self)

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        super().check(x, context)
        if x is None:
            return
        for i, (name, names) in enumerate(self.discrete.states.items()):
            column = x[:, i]
            bad = (column != column.round()) | (column < MISSING) | (column >= len(names))
            if bad.any():
                row = int(bad.nonzero()[0])
                raise ValueError(
                    f"row {row} has {column[row].item():g} for {name!r}, whose codes are 0 to {len(names) - 1}, "
                    f"or {MISSING} where it is not known"
                )
        for name, node in self.densities.items():
            try:
                node.model.check(self.part(x, name), self._any_context(node, x))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            inside = node.model.support.check(self.part(x, name))
            if not inside.all():
                row = int((~inside).nonzero()[0][0])
                raise ValueError(f"row {row} has a value of {name!r} outside its support: {node.model.support}")

    # ---- rows and named values

    def rows(self, values: Mapping[str, Any]) -> Tensor:
        """x [N, F] of named values: states by name or code (left out or -1: not known), numbers [N, *shape]."""
        for name in values:
            if name not in self.columns:
                raise ValueError(f"the network has no variable {name!r}{near(name, self.columns)}")
        n = max((len(value) for value in values.values()), default=0)
        x = torch.full((n, self.features), float(MISSING), dtype=self.dtype, device=self.device)
        for name, part in self.columns.items():
            if name in self.densities:
                if name not in values:
                    raise ValueError(f"rows need values of {name!r}: only a discrete variable may be left out")
                shape = (n, *self.densities[name].event_shape)
                given = torch.as_tensor(values[name])
                if given.shape != shape:
                    raise ValueError(f"{name!r} has values of shape {list(given.shape)}, but {list(shape)} is expected")
                x[:, part] = given.reshape(n, -1).to(x)
            elif name in values:
                x[:, part.start] = self._codes(name, values[name]).to(x)
        return x

    def values(self, x: Tensor) -> dict[str, Tensor]:
        """The parts of x by name: codes [N] of a discrete variable, values [N, *shape] of another."""
        codes = {v: x[:, i].long() for i, v in enumerate(self.names)}
        return codes | {name: self.part(x, name) for name in self.densities}

    def part(self, x: Tensor, name: str) -> Tensor:
        """The values of one density, [N, *shape]."""
        return x[:, self.columns[name]].unflatten(-1, self.densities[name].event_shape)

    def encode_frame(self, frame: pd.DataFrame) -> Tensor:
        """x of a frame: a column of states a discrete variable (NaN: not known), one or more a density.

        A density of several numbers has the columns name_0, name_1, ...; other columns are left out.
        """
        values: dict[str, Any] = {v: frame[v] for v in self.names if v in frame}
        for name, node in self.densities.items():
            columns = _columns(name, node.features)
            for column in columns:
                if column not in frame:
                    raise ValueError(f"the data has no column {column!r}{near(column, frame.columns)}")
            array = torch.tensor(frame[columns].to_numpy(dtype=np.float64))
            values[name] = array.reshape(-1, *node.event_shape)
        return self.rows(values)

    def decode(self, x: Tensor) -> pd.DataFrame:
        """Rows of x as a frame, as `encode_frame` reads them."""
        self.check(x)
        parts: dict[str, Any] = {}
        for name, value in self.values(x).items():
            if name in self.densities:
                flat = value.flatten(1).cpu().numpy()
                parts |= {column: flat[:, i] for i, column in enumerate(_columns(name, flat.shape[1]))}
            else:
                parts[name] = pd.Categorical.from_codes(value.cpu().numpy(), self.discrete.states[name])
        return pd.DataFrame(parts)

    def _codes(self, name: str, column: Any) -> Tensor:
        if isinstance(column, Tensor):
            return column.reshape(-1)
        states = self.discrete.states[name]
        values = pd.Series(column).astype(object)
        codes = pd.Index(states, dtype=object).get_indexer(pd.Index(values))
        missing = values.isna().to_numpy() | (values == MISSING).to_numpy()
        wrong = (codes < 0) & ~missing
        if wrong.any():
            row = int(wrong.argmax())
            value = values.iloc[row]
            raise ValueError(f"row {row}: {name!r} has no state {value!r}{near(value, states)}")
        return torch.from_numpy(np.where(missing, MISSING, codes))

    def _any_context(self, node: Node, x: Tensor) -> Tensor | None:
        shape = node.model.context_shape
        return None if shape is None else x.new_zeros(len(x), *shape)

    # ---- the likelihood

    def score(self, x: Tensor, log_tables: Sequence[Tensor]) -> Tensor:
        """log p of each row, [N] nats, by these log-probabilities, the unknown states summed out."""
        missing = x[:, : len(log_tables)] < 0
        if not missing.any():
            return self._score(x, log_tables, ())
        patterns, group = missing.unique(dim=0, return_inverse=True)
        parts, order = [], []
        for i, pattern in enumerate(patterns):
            order.append((group == i).nonzero()[:, 0])
            parts.append(self._score(x[order[-1]], log_tables, tuple(pattern.nonzero()[:, 0].tolist())))
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _score(self, x: Tensor, log_tables: Sequence[Tensor], missing: tuple[int, ...]) -> Tensor:
        """`score` of rows that all miss the same variables."""
        values, names = self.values(x), self.names
        given = {name: value for name, value in values.items() if name not in {names[v] for v in missing}}
        total = torch.zeros(len(x), dtype=log_tables[0].dtype, device=x.device)
        seen: list[tuple[tuple[int, ...], Tensor]] = []
        for name, node in self.densities.items():
            found = node.log_prob(values[name], given).to(total.dtype)
            scope = tuple(names.index(p) for p in node.states if p not in given)
            if scope:
                seen.append((scope, found))
            else:
                total = total + found
        codes = x[:, : len(names)].long()
        return total + log_marginal(log_tables, self.discrete.parents, codes, missing, seen)

    def program(self, given: Mapping[str, Tensor] | None = None, *, n: int = 1) -> dict[Hashable, Tensor]:
        """The network as a Pyro program with a site for each variable, discrete ones enumerable.

        `given` holds the rows of what is observed, codes [N] or values [N, *shape]; without it n rows are drawn.
        """
        return hybrid_program(self, given, n)

    # ---- counting: of the tables alone, hence not among the capabilities, by which a whole fit is chosen

    @torch.no_grad()
    def em_start(self, x: Tensor, generator: torch.Generator) -> None:
        """Uniform tables; where labels are missing a little off, for a uniform one is a place to be stuck."""
        self.check(x)
        spread = 0.1 * bool((x[:, : len(self.discrete.tables)] < 0).any())
        for table in self.discrete.tables:
            table.copy_(spread * torch.randn(table.shape, generator=generator))

    def prepare(self, x: Tensor) -> Tensor:
        """The rows as they are: the densities are asked at each step, for `fit` may have moved them."""
        self.check(x)
        return x

    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Expected counts of each table's entries: the gradient of the log-likelihood by their logarithms.

        A differential approach to inference in Bayesian networks (Darwiche, 2003), section 4.
        """
        with torch.enable_grad():
            tables = [table.detach().log_softmax(-1).requires_grad_() for table in self.discrete.tables]
            total = self.score(prepared, tables).sum()
            counts = torch.autograd.grad(total, tables, allow_unused=True)
        flat = [torch.zeros_like(t) if c is None else c for t, c in zip(tables, counts, strict=True)]
        return (torch.cat([each.flatten() for each in flat]),), total.detach()

    @torch.no_grad()
    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        self.discrete.maximise(statistics)


class Rows(RowDistribution):
    """The distribution of a hybrid network's rows."""

    def __init__(self, network: HybridNetwork) -> None:
        self.network = network
        super().__init__(torch.Size(), network.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        rows = value.reshape(-1, value.shape[-1])
        tables = [table.log_softmax(-1) for table in self.network.discrete.tables]
        return self.network.score(rows, tables).reshape(value.shape[:-1])

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        network, n = self.network, shape[:-1].numel()
        codes = network.discrete.distribution().sample((n,))
        known: dict[str, Tensor] = {v: codes[:, i] for i, v in enumerate(network.names)}
        parts = [codes.to(network.dtype)]
        for name, node in network.densities.items():
            known[name] = node.sample(known, n)
            parts.append(known[name].flatten(1).to(network.dtype))
        return torch.cat(parts, 1).reshape(shape)


def _columns(name: str, features: int) -> list[str]:
    return [name] if features == 1 else [f"{name}_{i}" for i in range(features)]
