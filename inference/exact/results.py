"""What an engine answers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from torch import Tensor


class TooLarge(MemoryError):
    """The tables of an exact answer would not fit in memory."""


@dataclass(frozen=True)
class Marginals:
    """P(v | evidence) for N rows: `values[v]` is [N, states]; `log_evidence` is [N] nats."""

    values: dict[Hashable, Tensor]
    log_evidence: Tensor


@dataclass(frozen=True)
class Joint:
    """P(variables | evidence) for N rows: `values` is [N, *states]; `log_evidence` is [N] nats."""

    variables: tuple[Hashable, ...]
    values: Tensor
    log_evidence: Tensor


@dataclass(frozen=True)
class Explanation:
    """The most probable joint states of some variables, for N rows, the best first.

    `states` are codes [N, K, variables], their log-probability given the evidence `log_probability` [N, K] nats;
    a row with fewer than K possible ones has -1 and -inf there. `names` are the states' names, by variable.
    """

    variables: tuple[Hashable, ...]
    states: Tensor
    log_probability: Tensor
    log_evidence: Tensor
    names: Mapping[Hashable, Sequence]

    def to_frame(self) -> pd.DataFrame:
        """A row for each explanation, by (row, rank): a state's name a variable, and `log_probability` in nats."""
        frame = _by_name(self.variables, self.states, self.names, "rank")
        return frame.assign(log_probability=self.log_probability.flatten().cpu().numpy())


@dataclass(frozen=True)
class Draws:
    """Draws of some variables for N rows of evidence: codes [N, draws, variables]; `names` are the states' names."""

    variables: tuple[Hashable, ...]
    states: Tensor
    log_evidence: Tensor
    names: Mapping[Hashable, Sequence]

    def to_frame(self) -> pd.DataFrame:
        """A row for each draw, by (row, draw): a state's name a variable."""
        return _by_name(self.variables, self.states, self.names, "draw")


def _by_name(
    variables: tuple[Hashable, ...], states: Tensor, names: Mapping[Hashable, Sequence], second: str
) -> pd.DataFrame:
    """Codes [N, K, variables] as names, missing where the code is -1."""
    index = pd.MultiIndex.from_product([range(states.shape[0]), range(states.shape[1])], names=["row", second])
    codes = states.flatten(0, 1).cpu().numpy()
    columns = {
        v: pd.Series(pd.Categorical.from_codes(codes[:, i], list(names[v])), index) for i, v in enumerate(variables)
    }
    return pd.DataFrame(columns, index)
