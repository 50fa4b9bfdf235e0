"""Annealed importance sampling: log Z of a model known up to a constant.

What it asks of a model, besides the protocol `Energy`, is one method:

    annealing(data=None) -> path     from a base that is known exactly, fitted to data where there are some,
                                     to the model itself

    path.start(n)                    n exact draws of the base, [n, *event_shape]
    path.log_partition()             the base's log Z
    path.at(beta)                    an `Energy` for each 0 <= beta <= 1: at(0) has the base's distribution and
                                     at(1) the model's; its free_energy and gibbs_step agree with each other
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from inference.protocols import Energy, name_of, offers


@runtime_checkable
class Path(Protocol):
    """Energies from a base (beta = 0) to a model (beta = 1)."""

    def start(self, n: int) -> Tensor: ...
    def log_partition(self) -> Tensor: ...
    def at(self, beta: float) -> Any: ...


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z, in nats.

    `log_weights` [chains] are the log importance weights: `value` is the log of their mean weight, and so is
    low on average where they vary much; `standard_error` is of the log, by the delta method over chains.
    """

    value: Tensor
    standard_error: Tensor
    log_weights: Tensor

    @property
    def effective_chains(self) -> float:
        """1 / sum of squared normalised weights: the chains that the estimate rests on."""
        return float(1 / self.log_weights.softmax(0).square().sum())

    def __repr__(self) -> str:
        return (
            f"LogPartition({float(self.value):.4f} +- {float(self.standard_error):.4f} nats by AIS; "
            f"{self.effective_chains:.0f} effective of {len(self.log_weights)} chains)"
        )


@torch.no_grad()
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
    device = path.log_partition().device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        log_weights = path.log_partition().double() + _climb(path, chains, temperatures)
    weights = (log_weights - log_weights.max()).exp()
    value = weights.mean().log() + log_weights.max()
    error = weights.std() / weights.mean() / math.sqrt(chains)
    return LogPartition(value, error, log_weights)


def _climb(path: Path, chains: int, temperatures: int) -> Tensor:
    """What each chain's log weight gains on the way, [chains]."""
    x = path.start(chains)
    before = path.at(0.0)
    gained = torch.zeros(chains, dtype=torch.float64, device=x.device)
    for step in range(1, temperatures + 1):
        after = path.at(step / temperatures)
        gained += before.free_energy(x) - after.free_energy(x)
        if step < temperatures:
            x = after.gibbs_step(x)
        before = after
    return gained


def _check(model: Any, chains: int, temperatures: int) -> None:
    if not offers(model, Energy):
        raise TypeError(f"{name_of(model)} has no free energy: AIS is for models known up to log Z")
    if not hasattr(model, "annealing"):
        raise TypeError(
            f"{name_of(model)} offers no annealing(data), the path of energies from a known base that AIS climbs"
        )
    if chains < 2 or temperatures < 1:
        raise ValueError(f"AIS needs at least 2 chains and 1 temperature, not {chains} and {temperatures}")
