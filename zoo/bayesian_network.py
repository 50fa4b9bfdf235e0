"""Discrete Bayesian network: a pgmpy graph whose tables are torch parameters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.base import Explicit, Shape, as_shape
from zoo.choosing import Choose
from zoo.graph_files import load_network, read_network
from zoo.graph_files.text import near
from zoo.network_programs import tables_program
from zoo.tables import Layout, Tables
from zoo.unrolling import in_turn


class BayesianNetwork(Explicit):
    """Bayesian network of discrete variables: p(x) = prod_v p(x_v | x_parents(v)), each factor a table.

    Shapes: x is [N, V], integer codes of states, its variables in the topological order of `variables`.
    `log_prob` is in nats a row. The tables are parameters (float64 log-probabilities up to a constant each),
    so they fit by gradient, or by counting in one closed-form step; `graph` is always the pgmpy network of
    the tables as they are now. An entry of probability zero stays zero under gradients.

    Parameters:
        network: a network that pgmpy ships, by name ("asia"), or the path of a file (.bif, .xmlbif, .net, .uai).
        graph: a pgmpy `DiscreteBayesianNetwork` with all its tables, copied; instead of `network`.
        pseudo_count: added to each count in closed-form fitting: 0 is maximum likelihood, 1 Laplace's rule.
        equivalent_sample_size: rows that the prior is worth, spread evenly over each table (BDeu); instead of
            `pseudo_count`.

    References:
        Probabilistic Reasoning in Intelligent Systems (Pearl, 1988)
    """

    support = constraints.nonnegative_integer
    missing_code = -1
    capabilities = Explicit.capabilities | {"em_start", "expect", "maximise", "unroll"}

    def __init__(
        self,
        event_shape: Shape | None = None,
        *,
        context_shape: Shape | None = None,
        network: str | None = None,
        graph: Any = None,
        pseudo_count: float = 0.0,
        equivalent_sample_size: float = 0.0,
    ) -> None:
        if context_shape is not None:
            raise ValueError("BayesianNetwork takes no context: make what it depends on a variable of the network")
        if (network is None) == (graph is None):
            raise ValueError('BayesianNetwork needs one of network="asia" (or a file) and graph=<pgmpy network>')
        if not pseudo_count >= 0:
            raise ValueError(f"pseudo_count must be at least 0, not {pseudo_count}")
        if not equivalent_sample_size >= 0:
            raise ValueError(f"equivalent_sample_size must be at least 0, not {equivalent_sample_size}")
        if pseudo_count and equivalent_sample_size:
            raise ValueError("give pseudo_count or equivalent_sample_size, not both: each is a whole prior")
        graph = _checked(load_network(network) if network is not None else graph)
        variables = _topological(graph)
        if event_shape is not None and as_shape(event_shape) != torch.Size([len(variables)]):
            raise ValueError(f"the network has {len(variables)} variables, but event_shape is {event_shape}")
        super().__init__(len(variables))
        self.pseudo_count, self.equivalent_sample_size = pseudo_count, equivalent_sample_size
        self.variables: list[Hashable] = variables
        self._cpds = {v: graph.get_cpds(v) for v in variables}
        self._graph = graph
        self.states: dict[Hashable, list] = {v: list(self._cpds[v].state_names[v]) for v in variables}
        place = {v: i for i, v in enumerate(variables)}
        parents = [[place[p] for p in self._cpds[v].variables[1:]] for v in variables]
        self._layout = Layout([len(self.states[v]) for v in variables], parents)
        self.tables = nn.ParameterList(_log_table(self._cpds[v]) for v in variables)

    @classmethod
    def from_name(cls, name: str, **options: Any) -> Self:
        """A network that pgmpy ships, "asia" or "alarm" say; read from its package, never downloaded."""
        return cls(graph=load_network(name), **options)

    @classmethod
    def from_file(cls, path: str | Path, **options: Any) -> Self:
        """The network of a file: .bif, .xmlbif, .net or .uai, any of them with .gz behind it."""
        return cls(graph=read_network(path), **options)

    @classmethod
    def from_bif(cls, path: str | Path, **options: Any) -> Self:
        """The network of a BIF file (.bif or .bif.gz)."""
        return cls.from_file(path, **options)

    def __repr__(self) -> str:
        names = ", ".join(map(str, self.variables[:6])) + (", ..." if len(self.variables) > 6 else "")
        return f"BayesianNetwork({len(self.variables)} variables: {names})"

    def distribution(self, context: Tensor | None = None) -> Tables:
        return Tables([table.log_softmax(-1) for table in self.tables], self._layout)

    # ---- number by number

    @property
    def levels(self) -> int:
        """How many states the variable with the most has (at least 2)."""
        return max(2, *map(len, self.states.values()))

    def step_log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """log p(x_v | its parents) of each variable, [N, V], in nats."""
        return self.distribution().flat[self._layout.entries(x.long())]

    @torch.no_grad()
    def unroll(
        self, choose: Choose, rows: int, *, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """So many rows variable by variable, each what `choose` makes of its logits: codes, [rows, V].

        The logits are of `levels` states, -inf those that a variable does not have.
        """
        tables, levels = self.distribution().log_tables, self.levels

        def logits(v: int, codes: Tensor) -> Tensor:
            own = tables[v].reshape(-1, tables[v].shape[-1])[self._layout.parent_rows(codes, v)]
            return F.pad(own, (0, levels - own.shape[-1]), value=-torch.inf)

        return in_turn(choose, logits, torch.zeros(rows, self.features, dtype=torch.long, device=self.device), known)

    @property
    def parents(self) -> list[list[int]]:
        """The positions in `variables` of each variable's parents."""
        return [list(above) for above in self._layout.parents]

    def probabilities(self) -> list[Tensor]:
        """P(v | parents) for each variable, [*parents' states, states]."""
        return [table.softmax(-1) for table in self.tables]

    @property
    def graph(self) -> Any:
        """The pgmpy network, its tables those of the parameters at this moment."""
        for v, table in zip(self.variables, self.tables, strict=True):
            self._cpds[v].values = table.detach().softmax(-1).movedim(-1, 0).cpu().numpy()
        return self._graph

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        super().check(x, context)
        if x is None:
            return
        bad = (x != x.long()) | (x < 0) | (x >= self._layout.states.to(x.device))
        if bad.any():
            row, v = bad.nonzero()[0].tolist()
            name, value = self.variables[v], x[row, v].item()
            hint = ""
            if value == self.missing_code:
                hint = (
                    ". That is a missing cell: em, fit and log_likelihood take rows with some, this does not; "
                    "fill the value in, or drop the row"
                )
            states = len(self.states[name])
            raise ValueError(f"row {row} has {value:g} for {name!r}, whose codes are 0 to {states - 1}{hint}")

    def program(self, given: Mapping[Hashable, Tensor] | None = None, *, n: int = 1) -> dict[Hashable, Tensor]:
        """The network as a Pyro program with a site for each variable, which Pyro can enumerate.

        `given` holds the codes [N] of what is observed; without it n rows are drawn.
        """
        return tables_program(self, given, n)

    # ---- names and codes

    def encode_frame(self, frame: pd.DataFrame) -> Tensor:
        """The codes [N, V] of rows given by state names, a column a variable (others are left out).

        NaN or None, a value that is not known, is -1.
        """
        missing = [v for v in self.variables if v not in frame.columns]
        if missing:
            raise ValueError(f"the data has no column {missing[0]!r}{near(missing[0], frame.columns)}")
        columns = [self._codes(v, frame[v]) for v in self.variables]
        return torch.from_numpy(np.stack(columns, 1)).to(self.device)

    def decode(self, codes: Tensor) -> pd.DataFrame:
        """The state names of rows of codes [N, V], a categorical column a variable."""
        self.check(codes)
        columns = codes.long().cpu().numpy()
        return pd.DataFrame(
            {v: pd.Categorical.from_codes(columns[:, i], self.states[v]) for i, v in enumerate(self.variables)}
        )

    def _codes(self, variable: Hashable, column: pd.Series) -> np.ndarray:
        states = self.states[variable]
        codes = pd.Index(states, dtype=object).get_indexer(pd.Index(column, dtype=object))
        unknown = (codes < 0) & column.notna().to_numpy()
        if unknown.any():
            row = int(np.argmax(unknown))
            value = column.iloc[row]
            raise ValueError(f"row {row}: {variable!r} has no state {value!r}{near(value, states)}")
        return codes.astype(np.int64)

    # ---- counting

    @torch.no_grad()
    def em_start(self, x: Tensor, generator: torch.Generator) -> None:
        """Uniform tables: from complete rows, the first step is the last.

        From rows that lack cells, the counts of those where a variable and its parents are known, each with one
        added; a table that no row tells of is random.
        """
        missing = x == self.missing_code
        codes = torch.where(missing, torch.zeros_like(x), x)
        self.check(codes)
        if not missing.any():
            for table in self.tables:
                table.zero_()
            return
        counts, told = self._layout.available(codes.long(), ~missing)
        for v, (table, seen) in enumerate(zip(self.tables, self._layout.split(counts), strict=True)):
            drawn = -torch.rand(seen.shape, generator=generator, dtype=torch.float64).log()
            table.copy_(((seen + 1) if told[v] else drawn).log().log_softmax(-1))

    def prepare(self, x: Tensor) -> Tensor:
        """The table entries that each row reads, [N, V]."""
        self.check(x)
        return self._layout.entries(x.long())

    @torch.no_grad()
    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        counts = prepared.flatten().bincount(minlength=self._layout.total)
        return (counts.to(self.dtype),), self.distribution().flat[prepared].sum()

    @torch.no_grad()
    def log_prior(self) -> Tensor:
        """The Dirichlet prior's log density that `maximise` adds to the likelihood, nats up to a constant."""
        total = torch.zeros((), dtype=self.dtype, device=self.device)
        for table in self.tables:
            if pseudo := self._pseudo(table):
                total = total + pseudo * table.log_softmax(-1).sum()
        return total

    def _pseudo(self, table: Tensor) -> float:
        """What is added to each entry's count."""
        return self.pseudo_count + self.equivalent_sample_size / table.numel()

    @torch.no_grad()
    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        for table, seen in zip(self.tables, self._layout.split(statistics[0]), strict=True):
            counts = seen + self._pseudo(table)
            unseen = counts.sum(-1, keepdim=True) == 0
            table.copy_(torch.where(unseen, 1.0, counts).log().log_softmax(-1))


def _log_table(cpd: Any) -> nn.Parameter:
    # pgmpy puts the variable's own axis first, we last, where softmax and multinomial want it
    values = torch.tensor(np.asarray(cpd.values), dtype=torch.float64).movedim(0, -1)
    return nn.Parameter((values / values.sum(-1, keepdim=True)).log())


def _checked(graph: Any) -> Any:
    """A copy of a pgmpy network that has all its tables."""
    if not all(hasattr(graph, name) for name in ("nodes", "get_cpds", "check_model")):
        raise TypeError(f"graph must be a pgmpy DiscreteBayesianNetwork, not {type(graph).__name__}")
    for v in graph.nodes():
        cpd = graph.get_cpds(v)
        if cpd is None:
            raise ValueError(f"variable {v!r} of the graph has no table: add_cpds one")
        if not hasattr(cpd, "state_names"):
            raise TypeError(f"variable {v!r} of the graph has a {type(cpd).__name__}, but a table is expected")
    if not len(graph.nodes()):
        raise ValueError("the graph has no variables")
    graph.check_model()
    return graph.copy()


def _topological(graph: Any) -> list[Hashable]:
    import networkx

    return list(networkx.topological_sort(graph))
