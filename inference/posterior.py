"""Draws of a program's latent variables given data, however they were made: chains, guides, particles."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from inference.near import near


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """Draws of p(latents | data), and all that is known of how they came about.

    Parameters:
        name: of the program.
        program: what was asked (`inference.program.Program`), with its data; None where draws come from elsewhere.
        draws: name -> [chains, draws, *shape], in the variable's own space.
        stats: name, as ArviZ has it ("acceptance_rate", "diverging", "energy", "lp", ...) -> [chains, draws].
        method: in words, "ChEES-HMC".
        log_weights: log p(latents, data) - log q(latents) of each draw [chains, draws], nats up to a constant, where
            draws are of a guide q; None where each draw counts as much as any other.
        super_chains: how many groups of chains there are that share a start, for the nested r-hat.
        unconstrained: the draws as the kernel moved them, [chains, draws, dim].
        alarms: what was warned of, by the illness.
        extra: what else was found: "log_evidence", "log_evidence_error" (nats), the warm-up's findings.
    """

    name: str
    program: Any | None
    draws: dict[str, Tensor]
    stats: dict[str, Tensor] = field(default_factory=dict)
    method: str = "draws"
    log_weights: Tensor | None = None
    super_chains: int | None = None
    unconstrained: Tensor | None = None
    seconds: float = 0.0
    alarms: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.draws:
            raise ValueError(f"the posterior of {self.name} has no draws: it needs one array a latent variable")
        first = next(iter(self.draws))
        weights = {} if self.log_weights is None else {"log_weights": self.log_weights}
        for what, tensor in {**self.draws, **self.stats, **weights}.items():
            if tensor.dim() < 2 or tensor.shape[:2] != self.draws[first].shape[:2]:
                raise ValueError(
                    f"{what!r} of the posterior of {self.name} is {list(tensor.shape)}, which is not [chains, draws, "
                    f"...] with the {list(self.draws[first].shape[:2])} of {first!r}"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Chains, and draws of each."""
        chains, draws = next(iter(self.draws.values())).shape[:2]
        return chains, draws

    @property
    def flat(self) -> dict[str, Tensor]:
        """The draws of all chains, one after the other: name -> [chains * draws, *shape]."""
        return {name: tensor.flatten(0, 1) for name, tensor in self.draws.items()}

    def __getitem__(self, name: str) -> Tensor:
        """The draws of a latent variable, [chains, draws, *shape]."""
        if name not in self.draws:
            raise KeyError(f"the posterior of {self.name} has no {name!r}{near(name, self.draws)}")
        return self.draws[name]

    @cached_property
    def idata(self) -> Any:
        """ArviZ's container: posterior, sample stats, log likelihood, observed and constant data."""
        return self.to_idata(predictive=False, prior=False)

    def to_idata(
        self, predictive: bool = True, prior: bool = True, coords: Mapping[str, Any] | None = None, seed: int = 0
    ) -> Any:
        """`idata` with posterior predictive, prior and prior predictive too; coords name the places of a plate.

        Draws that have weights are resampled by them, as ArviZ weighs all draws alike; `proposal` holds them as drawn.
        """
        from inference.posterior_groups import groups_of  # which reads diagnostics, which reads this module

        return groups_of(self, predictive=predictive, prior=prior, coords=coords, seed=seed)

    def summary(self, **options: Any) -> pd.DataFrame:
        """ArviZ's table, a row each number: mean, sd, interval, MCSE, bulk and tail ESS, r-hat; options are ArviZ's."""
        from inference.diagnostics.arviz_io import arviz

        return arviz().summary(self.idata, **options)

    def to_netcdf(self, path: str | os.PathLike[str]) -> None:
        """`idata` as one file, which `arviz.from_netcdf` reads."""
        from inference.diagnostics.arviz_io import to_netcdf

        to_netcdf(self.idata, path)

    def __repr__(self) -> str:
        chains, draws = self.shape
        told = f"{self.name}: {chains} chain{'s' if chains > 1 else ''} of {draws} draws by {self.method}"
        weighed = "" if self.log_weights is None else ", to be weighed"
        lines = [f"{told}{weighed}, {self.seconds:.1f} s"]
        lines += [f"  {name} {list(tensor.shape[2:])}" for name, tensor in self.draws.items()]
        return "\n".join([*lines, *(f"! {sentence}" for sentence in self.alarms.values())])

    def resampled(self, seed: int = 0) -> Posterior:
        """As many draws that count alike: one chain, each draw in it as often as its weight says, in the old order.

        Copies of a draw are neighbours, so that an effective sample size by autocorrelation is the one of the weights.
        """
        if self.log_weights is None:
            return self
        index = _systematic(self.weights.flatten(), seed)
        parts = {name: tensor[index][None] for name, tensor in self.flat.items()}
        stats = {name: tensor.flatten(0, 1)[index][None] for name, tensor in self.stats.items()}
        stats["log_weight"] = self.log_weights.flatten()[index][None]
        free = None if self.unconstrained is None else self.unconstrained.flatten(0, 1)[index][None]
        return replace(self, draws=parts, stats=stats, log_weights=None, unconstrained=free, super_chains=None)

    @cached_property
    def weights(self) -> Tensor:
        """What each draw counts for, [chains, draws], summing to one: the log weights Pareto smoothed, or all alike."""
        if self.log_weights is None:
            chains, draws = self.shape
            return torch.full((chains, draws), 1 / (chains * draws), dtype=torch.float64)
        return self.log_weights.detach().double().flatten().softmax(0).view(self.shape)


def _systematic(weights: Tensor, seed: int) -> Tensor:
    """Indices [N] of N draws: each as often as N times its weight, rounded up or down by one uniform number."""
    n = len(weights)
    generator = torch.Generator().manual_seed(seed)
    places = (torch.arange(n, dtype=torch.float64) + torch.rand((), generator=generator, dtype=torch.float64)) / n
    return torch.searchsorted(weights.cpu().double().cumsum(0), places).clamp(max=n - 1).to(weights.device)
