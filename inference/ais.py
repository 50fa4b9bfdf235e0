"""Annealed importance sampling: log Z of a model known up to a constant, from below and, reversed, from above.

What it asks of a model, besides the protocol `Energy`, is one method:

    annealing(data=None) -> path     from a base that is known exactly, fitted to data where there are some,
                                     to the model itself

    path.start(n)                    n exact draws of the base, [n, *event_shape]
    path.log_partition()             the base's log Z
    path.at(beta)                    an `Energy` for each 0 <= beta <= 1: at(0) has the base's distribution and
                                     at(1) the model's; its free_energy and gibbs_step agree with each other.
                                     A step that is not reversible comes with its reversal, `reverse_step`

A latent variable has such a path too, from its proposal to its posterior: `inference.annealed_posterior`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from inference.protocols import Energy, name_of, offers
from inference.seeding import seeded


@runtime_checkable
class Path(Protocol):
    """Energies from a base (beta = 0) to a model (beta = 1)."""

    def start(self, n: int) -> Tensor: ...
    def log_partition(self) -> Tensor: ...
    def at(self, beta: float) -> Any: ...


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z, in nats.

    `log_weights` [chains] are the log importance weights of chains that climbed from the base (`bound` "lower"):
    `value` is the log of their mean weight, and so is low on average where they vary much. Of chains that came down
    from the model (`bound` "upper") it is minus the log of the mean of 1 / weight, and so is high on average.
    `standard_error` is of the log, by the delta method over chains.
    """

    value: Tensor
    standard_error: Tensor
    log_weights: Tensor
    bound: str = "lower"

    @property
    def effective_chains(self) -> float:
        """1 / sum of squared normalised weights: the chains that the estimate rests on."""
        sign = 1 if self.bound == "lower" else -1
        return float(1 / (sign * self.log_weights).softmax(0).square().sum())

    def __repr__(self) -> str:
        way = "AIS" if self.bound == "lower" else "reverse AIS"
        return (
            f"LogPartition({float(self.value):.4f} +- {float(self.standard_error):.4f} nats by {way}; "
            f"{self.effective_chains:.0f} effective of {len(self.log_weights)} chains)"
        )


@dataclass(frozen=True)
class Bracket:
    """log Z in nats, from below and from above, each in expectation; the truth lies between them, up to their errors.

    The upper one is so only as far as the rows that the chains came down from are draws of the model.
    """

    lower: LogPartition
    upper: LogPartition

    @property
    def gap(self) -> float:
        return float(self.upper.value - self.lower.value)

    def __repr__(self) -> str:
        low, high = self.lower, self.upper
        return (
            f"Bracket({float(low.value):.4f} +- {float(low.standard_error):.4f} to "
            f"{float(high.value):.4f} +- {float(high.standard_error):.4f} nats by AIS and reverse AIS)"
        )


def ais(
    model: Any, *, chains: int = 512, temperatures: int = 2000, data: Tensor | None = None, seed: int = 0
) -> LogPartition:
    """Estimate log Z by annealed importance sampling, in nats.

    Each chain starts at a draw of the base and passes `temperatures` equal steps of beta from 0 to 1; at each
    its log weight gains free_energy before - free_energy after at the row where it stands, and the row moves
    by one Gibbs step.

    Parameters:
        model: any `Energy` with `annealing`, as the module says.
        data: rows that the base is fitted to; without them the model chooses its base.

    References:
        Annealed Importance Sampling (Neal, 2001), https://arxiv.org/abs/physics/9803008
        On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008),
        https://doi.org/10.1145/1390156.1390266
    """
    _check(model, chains, temperatures)
    path: Path = model.annealing(data)
    with seeded(seed, path.log_partition().device), torch.no_grad():
        log_weights = path.log_partition().double() + climb(path, path.start(chains), temperatures)
    return LogPartition(*log_mean(log_weights), log_weights)


def reverse_ais(
    model: Any,
    *,
    rows: Tensor | None = None,
    chains: int = 512,
    temperatures: int = 2000,
    data: Tensor | None = None,
    seed: int = 0,
) -> LogPartition:
    """Estimate log Z from above: chains that begin at draws of the model and go down `ais`'s path to the base.

    Their weights are those that the same chains would have had on the way up, and the mean of 1 / weight is 1 / Z. That
    holds for exact draws: the model's own (`exact_rows`) where log Z can be summed; `rows` from long chains otherwise,
    which must have mixed.

    Parameters:
        rows: draws of the model [chains, *event_shape], of its `joint` where it has one; without them
            `exact_rows(chains)`, or the model's `sample`.

    References:
        Accurate and Conservative Estimates of MRF Log-Likelihood using Reverse Annealing (Burda, Grosse and
        Salakhutdinov, 2015), https://arxiv.org/abs/1412.8566
        Sandwiching the Marginal Likelihood using Bidirectional Monte Carlo (Grosse, Ghahramani and Adams, 2015),
        https://arxiv.org/abs/1511.02543
    """
    _check(model, chains if rows is None else len(rows), temperatures)
    path: Path = model.annealing(data)
    with seeded(seed, path.log_partition().device), torch.no_grad():
        whole = getattr(model, "joint", model)  # whose rows the path has, where units are hidden
        draws = getattr(whole, "exact_rows", None) or getattr(whole, "sample", None)
        if rows is None and draws is None:
            raise TypeError(f"{name_of(model)} offers neither exact_rows(n) nor sample(n): give rows, draws of it")
        x = draws(chains) if rows is None else rows  # type: ignore[misc]
        log_weights = path.log_partition().double() + descend(path, x, temperatures)
    value, error = log_mean(-log_weights)
    return LogPartition(-value, error, log_weights, "upper")


def bracket(
    model: Any,
    *,
    rows: Tensor | None = None,
    chains: int = 512,
    temperatures: int = 2000,
    data: Tensor | None = None,
    seed: int = 0,
) -> Bracket:
    """`ais` and `reverse_ais` of one path."""
    lower = ais(model, chains=chains, temperatures=temperatures, data=data, seed=seed)
    upper = reverse_ais(model, rows=rows, chains=chains, temperatures=temperatures, data=data, seed=seed)
    return Bracket(lower, upper)


@torch.no_grad()
def climb(path: Path, x: Tensor, temperatures: int) -> Tensor:
    """What each chain's log weight gains on the way from draws of the base, [chains]."""
    before = path.at(0.0)
    gained = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for step in range(1, temperatures + 1):
        after = path.at(step / temperatures)
        gained += before.free_energy(x) - after.free_energy(x)
        if step < temperatures:
            x = after.gibbs_step(x)
        before = after
    return gained


@torch.no_grad()
def descend(path: Path, x: Tensor, temperatures: int) -> Tensor:
    """The same of chains that go the other way, from draws of the model."""
    after = path.at(1.0)
    gained = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for step in range(temperatures - 1, -1, -1):
        before = path.at(step / temperatures)
        gained += before.free_energy(x) - after.free_energy(x)
        if step:
            x = getattr(before, "reverse_step", before.gibbs_step)(x)
        after = before
    return gained


def log_mean(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """The log of the mean weight over the first axis, and its standard error."""
    top = log_weights.max(0).values
    weights = (log_weights - top).exp()
    mean = weights.mean(0)
    return mean.log() + top, weights.std(0) / mean / math.sqrt(len(log_weights))


def _check(model: Any, chains: int, temperatures: int) -> None:
    if not offers(model, Energy):
        raise TypeError(f"{name_of(model)} has no free energy: AIS is for models known up to log Z")
    if not hasattr(model, "annealing"):
        raise TypeError(
            f"{name_of(model)} offers no annealing(data), the path of energies from a known base that AIS climbs"
        )
    if chains < 2 or temperatures < 1:
        raise ValueError(f"AIS needs at least 2 chains and 1 temperature, not {chains} and {temperatures}")
