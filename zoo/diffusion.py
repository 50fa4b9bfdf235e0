"""Diffusion models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.base import LatentVariable, Shape
from zoo.coding import Network, built
from zoo.discretised import DiscretisedNormal, nearest, scaled, within
from zoo.distributions import DiagonalNormal
from zoo.network_slot import as_network
from zoo.noise_schedules import NoiseSchedule, as_schedule
from zoo.noising import NoiseLevels, NoisingChain, ReverseChain, learned_variance, noise_variance, posterior_variance
from zoo.noising_step import NoisingStep, settled
from zoo.parameterisations import Parameterisation, as_parameterisation
from zoo.probability_flow import FlowPath
from zoo.pseudo_marginal import ChainMarginal
from zoo.registry import near
from zoo.samplers import SamplerSlot, as_sampler

VARIANCES: Mapping[str, Callable[[NoiseLevels, Tensor], Tensor]] = {
    "posterior": posterior_variance,
    "noise": noise_variance,
    "learned": learned_variance,
}
AT_ONCE = 2**20
"""How many numbers of z the network is given at once where a whole chain is scored."""


class Diffusion(LatentVariable):
    """Denoising diffusion: p(z_T) prod_t p(z_(t-1) | z_t) p(x | z_1), with q(z_1, ..., z_T | x) that only adds noise.

    q(z_t | x) = N(alpha_t x, sigma_t^2) by the schedule, at time t / T. The network tells from z_t what x may have
    been, x', and p(z_(t-1) | z_t) is q(z_(t-1) | z_t, x') but for its variance. z is one latent, [N, T, *event_shape],
    z[:, 0] being z_1. Codes 0..levels-1 are scaled to [-1, 1] and decoded by a normal cut into levels, so that their
    likelihood is a mass; x' is then kept within [-1, 1].

    Shapes: x is [N, *event_shape], z [N, T, *event_shape], context [N, *context_shape]. Bounds are in nats a row.

    Parameters:
        steps: T.
        levels: how many values a number of x has, where x holds codes; None for real numbers, best of about unit scale.
        schedule: "cosine", "linear", "learned", a table of one with its parameters, or a `NoiseSchedule`.
        predicts: what the network tells of z_t: "v", "epsilon", "x0", or a `Parameterisation`.
        variance: of p(z_(t-1) | z_t): "posterior", that of q(z_(t-1) | z_t, x), right of rows of which z_t leaves no
            doubt, as codes nearly are; "noise", that of the step, right of rows as spread as noise; or "learned"
            between the two, by a second output of the network. "posterior" of codes and else "noise" unless told.
        untold: the share of rows whose context training does not tell, so that samplers can guide by it.
        network: a module (z, time, context, given) -> [N, outputs, *event_shape], what builds one, or a table
            {"kind": "mlp", ...}, or its kind; kinds are "mlp", "unet" and "transformer".
        sampler: how `sample` draws unless told: "ancestral", which is the model itself, "ddim", "dpm_solver", a table
            {"kind": "ddim", "steps": 50}, or a `Sampler`.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), https://arxiv.org/abs/2006.11239
        Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021), https://arxiv.org/abs/2102.09672
        Variational Diffusion Models (Kingma et al., 2021), https://arxiv.org/abs/2107.00630
        Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), https://arxiv.org/abs/2207.12598
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        steps: int = 1000,
        levels: int | None = None,
        schedule: NoiseSchedule | Mapping[str, str | int | float] | str = "cosine",
        predicts: Parameterisation | str = "v",
        variance: str | None = None,
        untold: float = 0.1,
        network: Network | Mapping[str, Any] | str | None = None,
        sampler: SamplerSlot = "ancestral",
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}")
        if levels is not None and levels < 2:
            raise ValueError(f"levels must be at least 2, not {levels}")
        if not 0 <= untold < 1:
            raise ValueError(f"untold must be from 0 to 1, 1 left out, not {untold}")
        variance = variance or ("noise" if levels is None else "posterior")
        if variance not in VARIANCES:
            raise ValueError(f"variance: there is no {variance!r}{near(variance, VARIANCES)}")
        self.steps, self.levels, self.untold = steps, levels, untold
        self.schedule, self.predicts = as_schedule(schedule), as_parameterisation(predicts)
        self.variance, self.sampler = VARIANCES[variance], as_sampler(sampler)
        shapes: dict[str, Any] = {"context_shape": self.context_shape, "outputs": 2 if variance == "learned" else 1}
        self.sampler.check(self)
        self.network = built(as_network(network), "network", self.event_shape, **shapes)
        self.support = constraints.real if levels is None else constraints.integer_interval(0, levels - 1)
        self._fixed: dict[tuple[Any, ...], NoiseLevels] = {}

    # ---- the levels of noise

    def noise_levels(self, steps: Tensor | None = None) -> NoiseLevels:
        """The levels of the chain, or of a shorter one made of some of its steps 1..T, in the model's dtype."""
        like = self._anchor
        if steps is not None or self.learns_schedule:
            return self._levels(steps).to(like)
        key = (like.device, like.dtype)
        if key not in self._fixed:
            self._fixed = {key: self._levels(None).to(like)}
        return self._fixed[key]

    def _levels(self, steps: Tensor | None) -> NoiseLevels:
        whole = torch.arange(1, self.steps + 1) if steps is None else steps
        time = whole.to(self.device, torch.float64) / self.steps
        return NoiseLevels.of(time, self.schedule(time))

    # ---- what the network tells

    def told(self, z: Tensor, at: NoiseLevels, context: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        """What the network puts out for rows z, each at its own level or all at one: [N, outputs, *event_shape]."""
        return self.network(z, at.time.reshape(-1).expand(len(z)), context, given).to(z.dtype)

    def clean(self, told: Tensor, z: Tensor, at: NoiseLevels) -> Tensor:
        """x', the row that the network takes z for."""
        x = self.predicts.clean(told[:, 0], z, at)
        return x if self.levels is None else within(x)

    def reverse(self, z: Tensor, at: NoiseLevels, context: Tensor | None = None) -> DiagonalNormal:
        """p(z_(t-1) | z_t), batch [N]; at the first step the normal that p(x | z_1) is, or is cut from."""
        told = self.told(z, at, context)
        loc = at.keep * z + at.pull * self.clean(told, z, at)
        return DiagonalNormal(loc, (0.5 * self.variance(at, told)).expand_as(loc), z.dim() - 1)

    def scaled(self, x: Tensor) -> Tensor:
        """Rows as the chain begins with them: codes as numbers from -1 to 1."""
        return x if self.levels is None else scaled(x, self.levels, self.dtype)

    def written(self, normal: DiagonalNormal) -> DiagonalNormal | DiscretisedNormal:
        """A distribution of rows, from that of scaled rows."""
        if self.levels is None:
            return normal
        return DiscretisedNormal(normal.loc, normal.log_scale, self.levels, len(self.event_shape))

    # ---- the pair

    def encoder(self, x: Tensor, context: Tensor | None = None) -> NoisingChain:
        return NoisingChain(self.scaled(x), self.noise_levels())

    def prior(self, context: Tensor | None = None) -> ReverseChain:
        levels, dims = self.noise_levels(), len(self.event_shape)

        def step(z: Tensor, index: Tensor, context: Tensor | None) -> DiagonalNormal:
            return self.reverse(z, levels.at(index, dims), context)

        shape = torch.Size([self.steps, *self.event_shape])
        return ReverseChain(step, shape, context, self._anchor, max(1, AT_ONCE // self.features))

    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        first = z.select(-len(self.event_shape) - 1, 0)
        return self.written(self.reverse(first, self.noise_levels().one(0), context))

    def as_prior(self, context: Tensor | None = None) -> ChainMarginal:
        return ChainMarginal(self, context)

    # ---- the bound, a step at a time

    @property
    def learns_schedule(self) -> bool:
        return next(self.schedule.parameters(), None) is not None

    @property
    def learns_variance(self) -> bool:
        return self.variance is learned_variance

    def step(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor | None = None,
        given: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> NoisingStep:
        """Each row's own step t [N] of 1..T, at one draw of q(z_t | x); `given` says whose context is told."""
        return NoisingStep.of(self, x, t, context, given, noise)

    def settled(self, x: Tensor) -> Tensor:
        """What of -ELBO needs no network, [N] nats; the rest is the sum over t of the steps' divergences."""
        return settled(self, self.scaled(x), self.noise_levels())

    def flow_path(self, steps: int = 100) -> FlowPath:
        """The deterministic path from rows to noise, for an estimate of their density."""
        return FlowPath.of(self, steps)

    @torch.no_grad()
    def anomaly_score(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """An estimate of -ELBO, [N] nats, by a draw of each of at most 32 steps; -log p(x | z_1) alone tells little."""
        self.check(x, context)
        score = self.settled(x)
        for part in (torch.ones(1, dtype=torch.long), *torch.arange(2, self.steps + 1).chunk(31)):
            t = part[torch.randint(len(part), (len(x),))].to(x.device)
            score = score + len(part) * self.step(x, t, context).divergence()
        return score

    # ---- draws

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None, sampler: SamplerSlot | None = None) -> Tensor:
        """n rows, [n, *event_shape], by a sampler of `zoo.samplers`, or its name; the model's own unless told."""
        context = self.context_rows(n, context)
        z = torch.randn(n, *self.event_shape, dtype=self.dtype, device=self.device)
        return (self.sampler if sampler is None else as_sampler(sampler))(self, z, context)

    def nearest(self, scaled: Tensor) -> Tensor:
        """Scaled rows as rows of x."""
        return scaled if self.levels is None else nearest(scaled, self.levels)
