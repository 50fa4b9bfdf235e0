"""Elliptical slice sampling: for latents whose prior is Gaussian, nothing to tune and no gradients.

References:
    Elliptical slice sampling (Murray, Adams and MacKay, 2010), https://arxiv.org/abs/1001.0175
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from inference.sampling.kernel import Chains, Density, Kernel

PARAMETERS: dict[Any, tuple[str, ...]] = {dist.Normal: ("loc", "scale"), dist.MultivariateNormal: ("loc", "scale_tril")}
LOOKS = 3
"""Places in the latents' space where the priors are looked at: parameters that differ depend on a latent."""
NEEDS = "elliptical slice sampling needs a Gaussian prior of fixed parameters for every latent"


@dataclass(frozen=True)
class GaussianPrior:
    """The prior of a program's latents, laid out as q [C, dim]: independent Gaussian sites, by name."""

    sites: Mapping[str, Any]

    @classmethod
    def of(cls, density: Any) -> GaussianPrior:
        """The prior of the program of a log density.

        Raises:
            TypeError: a density without a program.
            ValueError: a latent whose prior is no Normal or MultivariateNormal, or depends on another latent.
        """
        program = getattr(density, "program", None)
        if program is None:
            raise TypeError(f"{NEEDS}, which it reads from a Pyro program; a {type(density).__name__} has none")
        generator = torch.Generator().manual_seed(0)  # the caller's noise is for the chains
        q = torch.randn(LOOKS, density.dim, dtype=program.precision, generator=generator).to(program.device)
        values = density.constrain(q)
        looks = [program.trace({name: rows[i] for name, rows in values.items()}).nodes for i in range(LOOKS)]
        return cls({name: _gaussian(program.name, name, [nodes[name] for nodes in looks]) for name in program.latents})

    @property
    def mean(self) -> Tensor:
        """[dim]."""
        return torch.cat([site.mean.reshape(-1) for site in self.sites.values()])

    def draw(self, n: int) -> Tensor:
        """[n, dim]."""
        return torch.cat([site.sample((n,)).reshape(n, -1) for site in self.sites.values()], 1)

    def log_prob(self, q: Tensor) -> Tensor:
        """Nats [C]."""
        pieces = q.split([site.shape().numel() for site in self.sites.values()], 1)
        total = torch.zeros_like(q[:, 0])
        for site, piece in zip(self.sites.values(), pieces, strict=True):
            total = total + site.log_prob(piece.reshape(-1, *site.shape())).reshape(len(q), -1).sum(1)
        return total


def _gaussian(program: str, name: str, looks: list[Any]) -> Any:
    """The distribution of a site, seen at several places, which must be one and the same Gaussian."""
    bases = [_base(node["fn"]) for node in looks]
    first = looks[0]
    names = PARAMETERS.get(type(bases[0]))
    plain = first["mask"] is None and bool((torch.as_tensor(first["scale"]) == 1).all())
    if names is None or not plain:
        kind = type(bases[0]).__name__ if plain else "scaled or masked one"
        raise ValueError(f"{program}: {NEEDS}, and that of {name!r} is a {kind}")
    for base in bases[1:]:
        if any(not torch.equal(getattr(base, each), getattr(bases[0], each)) for each in names):
            raise ValueError(f"{program}: {NEEDS}, and that of {name!r} depends on another latent")
    return first["fn"]


def _base(fn: Any) -> Any:
    while isinstance(fn, (dist.Independent, dist.ExpandedDistribution)):
        fn = fn.base_dist
    return fn


class EllipticalSlice(Kernel):
    """q' on an ellipse through q and a draw of the prior, at an angle whose likelihood is above a random level of q's.

    The angle is drawn from the whole turn, and the range shrunk towards q until there is one. Good where the prior is
    strong beside the data, as in Gaussian processes.
    """

    name = "elliptical slice sampling"

    def begin(self, density: Density, q: Tensor) -> Chains:
        self.load_state_dict({}, density)
        return Chains.without_slope(density, q)

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        mean = self.prior.mean
        here, there = chains.q - mean, self.prior.draw(len(chains.q)) - mean
        level = self._likelihood(chains) + torch.rand_like(chains.log_density).log()
        angle = 2 * math.pi * torch.rand_like(level)
        low, high = angle - 2 * math.pi, angle
        searching, tried = torch.ones_like(level, dtype=torch.bool), torch.zeros_like(level)
        while searching.any():
            q = mean + here * angle.cos()[:, None] + there * angle.sin()[:, None]
            found = Chains.without_slope(self.density, q)
            tried = tried + searching
            hit = searching & ((self._likelihood(found) > level) | (angle == 0))
            chains = chains.where(hit, found)
            searching = searching & ~hit
            low, high = torch.where(angle < 0, angle, low), torch.where(angle >= 0, angle, high)
            angle = torch.where(searching, low + (high - low) * torch.rand_like(level), angle)
        return chains, {"lp": chains.log_density, "n_steps": tried}

    def _likelihood(self, chains: Chains) -> Tensor:
        return chains.log_density - self.prior.log_prob(chains.q)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        self.density, self.prior = density, GaussianPrior.of(density)
