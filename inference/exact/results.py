"""What an engine answers."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

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

    `states` are codes [N, K, variables], their log-probability given the evidence `log_probability` [N, K] nats.
    """

    variables: tuple[Hashable, ...]
    states: Tensor
    log_probability: Tensor
    log_evidence: Tensor


@dataclass(frozen=True)
class Draws:
    """Draws of some variables for N rows of evidence: codes [N, draws, variables]."""

    variables: tuple[Hashable, ...]
    states: Tensor
    log_evidence: Tensor
