"""Draws of a program's latent variables given data, however they were made: chains, guides, particles."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from inference.near import near
from inference.predictive_draws import derive, pointwise, predict
from inference.program import Program
from inference.resampling import by_seed


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
        extra: what else was found: "log_evidence", "log_evidence_error" (nats), the warm-up's findings; "coords", what
            ArviZ calls the places of an axis, {"NAME_dim_i": labels}.
    """

    name: str
    program: Program | None
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
        """The draws of a latent variable, or of what the program derives of them, [chains, draws, *shape]."""
        if name in self.draws:
            return self.draws[name]
        if name not in self.derived:
            raise KeyError(f"the posterior of {self.name} has no {name!r}{near(name, {**self.draws, **self.derived})}")
        return self.derived[name]

    @cached_property
    def derived(self) -> dict[str, Tensor]:
        """What the program names by `pyro.deterministic`, for each draw: name -> [chains, draws, *shape]."""
        return {} if self.program is None else self._chained(derive(self.program, self.flat))

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
        from inference.posterior_groups import container_of  # which reads diagnostics, which reads this module

        return container_of(self, predictive, prior, coords, seed)

    def summary(self, **options: Any) -> pd.DataFrame:
        """ArviZ's table, a row each number: mean, sd, interval, MCSE, bulk and tail ESS, r-hat; options are ArviZ's.

        Of draws that have weights, r-hat is NaN, and the effective draws are those of the weights.
        """
        from inference.diagnostics.arviz_io import arviz, untold

        with untold():
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
        index = by_seed(self.weights.flatten(), seed)
        taken = self._each(lambda tensor: tensor.flatten(0, 1)[index.to(tensor.device)][None])
        stats = {**taken.stats, "log_weight": self.log_weights.flatten()[index.to(self.log_weights.device)][None]}
        return replace(taken, stats=stats, log_weights=None, super_chains=None)

    def thinned(self, step: int) -> Posterior:
        """Every so many draws of each chain."""
        return self._each(lambda tensor: tensor[:, ::step])

    def _each(self, part: Callable[[Tensor], Tensor]) -> Posterior:
        """The same of a part of the draws and of all that goes with them."""
        draws, stats = ({name: part(t) for name, t in parts.items()} for parts in (self.draws, self.stats))
        weights = None if self.log_weights is None else part(self.log_weights)
        free = None if self.unconstrained is None else part(self.unconstrained)
        return replace(self, draws=draws, stats=stats, log_weights=weights, unconstrained=free)

    @cached_property
    def weights(self) -> Tensor:
        """What each draw counts for, [chains, draws], adding up to one."""
        first = next(iter(self.draws.values()))
        log_w = torch.zeros(self.shape, device=first.device) if self.log_weights is None else self.log_weights
        return log_w.detach().double().flatten().softmax(0).view(self.shape)

    def predictive(self, seed: int = 0) -> dict[str, Tensor]:
        """The observed sites drawn anew given each draw, name -> [chains, draws, *shape]."""
        return self._chained(predict(self._program("draw data"), self.flat, seed))

    def log_likelihood(self) -> dict[str, Tensor]:
        """log p(observed site | draw) of each of its rows in nats, name -> [chains, draws, *batch shape].

        Discrete latents are summed out.
        """
        return self._chained(pointwise(self._program("score data"), self.flat))

    def _program(self, purpose: str) -> Program:
        if self.program is None:
            raise ValueError(f"the posterior of {self.name} has draws alone, and to {purpose} it needs the program")
        return self.program

    def _chained(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.unflatten(0, self.shape) for name, tensor in values.items()}
