"""Annealed importance sampling of a latent variable: log p(x) of each row, and of simulated rows from both sides.

The path leads from the proposal q(z | x) (or the prior) to the posterior,

    p_beta(z | x) proportional to q(z | x)^(1 - beta) (p(z) p(x | z))^beta,

a normalised base, so that log Z at the other end is log p(x). z moves by Hamiltonian Monte Carlo. It is the path of
`inference.ais`; a chain's weight is unbiased for p(x), and the log of their mean a lower bound in expectation. Of rows
that the model itself has drawn, the z that made each is an exact draw of its posterior: from there chains go down the
path, and give an upper bound (bidirectional Monte Carlo).

References:
    On the Quantitative Analysis of Decoder-Based Generative Models (Wu, Burda, Salakhutdinov and Grosse, 2017),
    https://arxiv.org/abs/1611.04273
    Measuring the Reliability of MCMC Inference with Bidirectional Monte Carlo (Grosse, Ancha and Roy, 2016),
    https://arxiv.org/abs/1606.02275
    MCMC using Hamiltonian Dynamics (Neal, 2011), https://arxiv.org/abs/1206.1901
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from inference.ais import Bracket, LogPartition, climb, descend, log_mean
from inference.importance import repeated
from inference.protocols import Latent, name_of, offers
from inference.seeding import seeded

Base = Callable[[Any, Tensor, Tensor | None], Any]
LEAPFROGS = 5
WANTED = 0.65
"""The share of proposals that is accepted where the size of a step serves best."""
PILOTS = 4
"""Chains a row that find the sizes of the steps, before those that count."""


def from_proposal(model: Any, x: Tensor, context: Tensor | None) -> Any:
    """q(z | x), the base that is nearest to the posterior."""
    return model.encoder(x, context)


def from_prior(model: Any, x: Tensor, context: Tensor | None) -> Any:
    """p(z), whatever was learned of the proposal."""
    return model.prior(context)


def annealed(
    model: Any,
    x: Tensor,
    context: Tensor | None = None,
    *,
    chains: int = 16,
    temperatures: int = 500,
    base: Base = from_proposal,
    seed: int = 0,
) -> LogPartition:
    """log p(x) of each row [N], a lower bound in expectation; `log_weights` are [chains, N].

    Parameters:
        base: where the path begins, `from_proposal` or `from_prior`.
    """
    _check(model, chains, temperatures)
    with seeded(seed, x.device), torch.no_grad():
        path = _tuned(model, x, context, base, temperatures)
        way = path.repeated(chains)
        log_weights = climb(way, way.start(chains * len(x)), temperatures).view(chains, len(x))
    return LogPartition(*log_mean(log_weights), log_weights)


def bidirectional(
    model: Any,
    n: int = 64,
    context: Tensor | None = None,
    *,
    chains: int = 16,
    temperatures: int = 500,
    base: Base = from_proposal,
    seed: int = 0,
) -> tuple[Tensor, Bracket]:
    """n rows that the model draws, and log p(x) of each from both sides: how far `annealed` may be off for real rows.

    From above there is one chain a row, as one exact draw of its posterior is known: the z that made it.
    """
    _check(model, chains, temperatures)
    with seeded(seed, model.device), torch.no_grad():
        prior = model.prior(context)
        z = prior.sample() if prior.batch_shape else prior.sample((n,))
        x = model.decoder(z, context).sample()
        path = _tuned(model, x, context, base, temperatures)
        way = path.repeated(chains)
        up = climb(way, way.start(chains * len(x)), temperatures).view(chains, len(x))
        down = descend(path, z, temperatures)[None]
    upper = LogPartition(down[0], torch.full_like(down[0], torch.nan), down, "upper")
    return x, Bracket(LogPartition(*log_mean(up), up), upper)


@dataclass(frozen=True)
class PosteriorPath:
    """The path of rows x, a chain each; `sizes` [temperatures, N] are those of the leapfrog steps."""

    model: Any
    x: Tensor
    context: Tensor | None
    base: _Base
    scale: Tensor
    sizes: Tensor
    accepted: list[Tensor] = field(default_factory=list)

    def start(self, n: int) -> Tensor:
        return self.base.sample()

    def log_partition(self) -> Tensor:
        return self.x.new_zeros(())

    def at(self, beta: float) -> Tilted:
        return Tilted(self, beta, self.sizes[min(round(beta * len(self.sizes)), len(self.sizes) - 1)])

    def repeated(self, chains: int) -> PosteriorPath:
        """The path of so many chains a row."""
        x, context, scale = (repeated(rows, chains) for rows in (self.x, self.context, self.scale))
        assert x is not None and scale is not None
        base = _Base(self.base.of, chains, len(self.x))
        return PosteriorPath(self.model, x, context, base, scale, self.sizes.repeat(1, chains))


@dataclass(frozen=True)
class _Base:
    """A distribution of one batch of rows, or of none, as that of so many chains for each of the rows, end to end."""

    of: Any
    chains: int
    rows: int

    def sample(self) -> Tensor:
        if not self.of.batch_shape:
            return self.of.sample((self.chains * self.rows,))
        return self.of.sample((self.chains,)).flatten(0, 1)

    def log_prob(self, z: Tensor) -> Tensor:
        if not self.of.batch_shape:
            return self.of.log_prob(z)
        return self.of.log_prob(z.unflatten(0, (self.chains, self.rows))).flatten()

    def spread(self) -> Tensor:
        """The deviation of each number of z, [rows, *z]: of draws where it has no closed form."""
        try:
            scale = self.of.stddev
        except NotImplementedError:
            scale = self.of.sample((256,)).std(0)
        return scale.expand(self.rows, *self.of.event_shape)


@dataclass(frozen=True)
class Tilted:
    """p_beta(z | x) of each row, up to a constant."""

    path: PosteriorPath
    beta: float
    size: Tensor

    def free_energy(self, z: Tensor) -> Tensor:
        path = self.path
        joint = path.model.prior(path.context).log_prob(z) + path.model.decoder(z, path.context).log_prob(path.x)
        return -((1 - self.beta) * path.base.log_prob(z) + self.beta * joint)

    def gibbs_step(self, z: Tensor) -> Tensor:
        """A step of Hamiltonian Monte Carlo, which is reversible; not Gibbs's, but it leaves p_beta as it is."""
        size = self.size.view(-1, *[1] * (z.dim() - 1)) * self.path.scale
        moment = torch.randn_like(z)
        energy, slope = self._slope(z)
        before = energy + 0.5 * moment.square().flatten(1).sum(1)
        there = z
        for _ in range(LEAPFROGS):
            moment = moment - 0.5 * size * slope
            there = there + size * moment
            energy, slope = self._slope(there)
            moment = moment - 0.5 * size * slope
        chance = (before - energy - 0.5 * moment.square().flatten(1).sum(1)).nan_to_num(-torch.inf).exp().clamp(max=1)
        self.path.accepted.append(chance)
        taken = torch.rand_like(chance) < chance
        return torch.where(taken.view(size.shape[:1] + (1,) * (z.dim() - 1)), there, z)

    def _slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            energy = self.free_energy(z)
            (slope,) = torch.autograd.grad(energy.sum(), z)
        return energy.detach(), slope


def _tuned(model: Any, x: Tensor, context: Tensor | None, base: Base, temperatures: int) -> PosteriorPath:
    """The path with sizes of steps that pilot chains found, so that the chains that count stay unbiased."""
    start = _Base(base(model, x, context), 1, len(x))
    scale = start.spread()
    path = PosteriorPath(model, x, context, start, scale, scale.new_full((temperatures, len(x)), 0.5))
    pilot = path.repeated(PILOTS)
    z, size = pilot.start(len(pilot.x)), path.sizes[0].clone()
    for step in range(1, temperatures):
        pilot.sizes[step] = size.repeat(PILOTS)
        z = pilot.at(step / temperatures).gibbs_step(z)
        size = size * ((pilot.accepted.pop().view(PILOTS, -1).mean(0) - WANTED) * 0.3).exp()
        path.sizes[step] = size
    return path


def _check(model: Any, chains: int, temperatures: int) -> None:
    if not offers(model, Latent):
        raise TypeError(
            f"{name_of(model)} has no free energy and no latent variable: AIS is for models known up to log Z, "
            "and for the likelihood of those with prior, decoder and encoder"
        )
    if chains < 2 or temperatures < 1:
        raise ValueError(f"AIS needs at least 2 chains and 1 temperature, not {chains} and {temperatures}")
