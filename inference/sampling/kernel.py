"""What the loop asks of any sampler: many chains, moved together by one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

DIVERGED = 1000.0
"""The energy error, in nats, from which on a path has left its level set: the step does not follow it (Stan's)."""


class Density(Protocol):
    """A log density on unconstrained space, of a Pyro program (`LogDensity`) or of anything else: q is [C, dim]."""

    @property
    def dim(self) -> int: ...

    def __call__(self, q: Tensor) -> Tensor:
        """Nats [C], up to a constant."""
        ...

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Nats [C] and their slope [C, dim]."""
        ...


@dataclass(frozen=True)
class Chains:
    """Where all chains stand: `q` [C, dim], `log_density` [C] in nats, `slope` [C, dim] (None without gradients)."""

    q: Tensor
    log_density: Tensor
    slope: Tensor | None = None

    @classmethod
    def of(cls, density: Density, q: Tensor) -> Chains:
        """The chains at `q`, with slopes."""
        value, slope = density.value_and_grad(q)
        return cls(q, value.detach(), slope.detach())

    @classmethod
    def without_slope(cls, density: Density, q: Tensor) -> Chains:
        """The chains at `q`, for kernels that take no gradient."""
        return cls(q, density(q))

    def where(self, accepted: Tensor, proposed: Chains) -> Chains:
        """The proposed chains where `accepted` [C], these elsewhere."""
        wide = accepted.unsqueeze(-1)
        slope = None if self.slope is None or proposed.slope is None else torch.where(wide, proposed.slope, self.slope)
        return Chains(
            torch.where(wide, proposed.q, self.q),
            torch.where(accepted, proposed.log_density, self.log_density),
            slope,
        )

    def take(self, index: Tensor) -> Chains:
        """The chains of these numbers [C], one after the other."""
        return Chains(self.q[index], self.log_density[index], None if self.slope is None else self.slope[index])


class Kernel(ABC):
    """A Markov transition that leaves the density invariant for every chain, and what it learns while warming up.

    Random numbers come from torch's global generator: whoever runs the kernel forks and seeds it.
    The names of what `step` reports, each [C], are ArviZ's: "lp", "acceptance_rate", "diverging", "energy", "n_steps",
    "step_size", "tree_depth"; a kernel reports those it has.
    """

    name: str
    """As a person says it: "ChEES-HMC"."""

    def chains_for(self, dim: int) -> int:
        """How many chains pay in `dim` dimensions, where the caller names no number."""
        return 64

    def fewest_for(self, dim: int) -> int:
        """How many chains it takes to learn well in `dim` dimensions, where each costs much."""
        return 16

    def warmup_for(self, dim: int) -> int:
        """How many steps the warm-up takes, where the caller names no number."""
        return 500

    @abstractmethod
    def begin(self, density: Density, q: Tensor) -> Chains:
        """Meet the density and the starts `q` [C, dim]; may move them towards the typical set."""

    @abstractmethod
    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        """One transition of all chains; `warmup` is the share of the warm-up done (adapting), None afterwards."""

    def finish_warmup(self) -> None:  # noqa: B027
        """Fix what was adapted: from here on the transition stays the same."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that adaptation found, in tensors and plain numbers: enough to go on bit for bit."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        """Take up a state that `state_dict` gave, on the same density."""
