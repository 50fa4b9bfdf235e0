"""Ladder variational autoencoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from zoo.base import LatentVariable, Shape
from zoo.conditionals import Bernoulli, StandardGaussian
from zoo.distributions import DiagonalNormal, RowDistribution
from zoo.networks import flat, joined, mlp
from zoo.slots import Slot, fill

Below = Callable[[Tensor], DiagonalNormal]
"""The distribution of a layer given the one above it."""


class TopDown(RowDistribution):
    """A chain of layers from the top down, r(z) = r(z_top) prod_l N(z_l | z_(l+1)); z is z_0, z_1, ... end to end.

    `top` is a density of the last layer, `below[l]` what gives the normal of z_l by z_(l+1).
    """

    has_rsample = True

    def __init__(self, top: dist.TorchDistribution, below: Sequence[Below], sizes: Sequence[int]) -> None:
        self.top, self.below, self.sizes = top, list(below), list(sizes)
        super().__init__(top.batch_shape, torch.Size([sum(sizes)]))

    def layers(self, z: Tensor) -> list[Any]:
        """The distribution of each layer given the one above it in z, z_0's first."""
        parts = z.split(self.sizes, -1)
        return [*(below(above) for below, above in zip(self.below, parts[1:], strict=True)), self.top]

    def log_prob(self, value: Tensor) -> Tensor:
        parts = value.split(self.sizes, -1)
        first, *others = [r.log_prob(part) for r, part in zip(self.layers(value), parts, strict=True)]
        return sum(others, first)

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        top = self.top.expand(self.batch_shape)
        parts = [top.rsample(sample_shape) if top.has_rsample else top.sample(sample_shape)]
        for below in reversed(self.below):
            parts.append(below(parts[-1]).rsample())
        return torch.cat(parts[::-1], -1)


class Rung(nn.Module):
    """One layer's networks: what x says of z_l, bottom up, and what the layer above says of it, top down."""

    def __init__(self, inputs: int, width: int, latent: int, above: int | None, hidden: Sequence[int]) -> None:
        super().__init__()
        self.up = nn.Sequential(*list(mlp(inputs, width, hidden[:-1])), nn.ReLU())
        self.seen = nn.Linear(width, 2 * latent)
        self.down = None if above is None else mlp(above, 2 * latent, hidden)


class LadderVAE(LatentVariable):
    """Ladder VAE of layers z_0 (next to x) to z_L: p(x | z_0) p(z_0 | z_1) ... p(z_L), each below the top a normal.

    Its encoder goes up from x without noise and comes down through the model's own chain: where the model says
    N(m, s^2) of a layer by the one above it, and the way up gives m' and s',

        q(z_l | z_(l+1), x) = N(m + s m', (s s')^2)

    so that a layer of which x says nothing (m' = 0, s' = 1) is left as the model has it. The paper merges by adding
    precisions, which scales down what x says where it says little, and collapses: on binarised digits after 500 steps
    (seed 0, layers of 8 and 4, no warm-up) it is at a loss of 25.1 nats, this at 19.6. Fitted by the ELBO, its
    divergence layer by layer in closed form (`inference.objectives.layered`). Upper layers come into use late, if ever,
    and want a warm-up: Elbo(kl=layered, beta=warmup(steps)).

    Shapes: x is [N, *event_shape], z [N, sum(latent)], all layers end to end, context [N, *context_shape]. As a Pyro
    pair it has a site for each layer, "z_0", "z_1", ..., and so it is asked: inference.query(model, "z_1", ...).

    Parameters:
        latent: how many numbers each layer has, z_0's first; two layers or more.
        hidden: widths of the networks between two layers.
        prior: any explicit density of the top layer; the standard normal unless told.
        decoder: any explicit model of x given a context [latent[0]]; Bernoulli (x of zeros and ones) unless told.
            A conditional model joins the context to x and to what each network reads.

    Reproducible (`benchmarks/latent_tasks/classes.py`): 1,347 digits are too few for a second layer. Layers of 8 and 4
    reach -17.69, -17.87 and -17.28 nats on held-out binarised digits (500 draws, seeds 0, 1, 2), a `VAE` of 8 numbers
    -16.96, -17.03 and -16.94; the upper layer says nothing there (0.0 nats), and longer fits overfit.

    References:
        Ladder Variational Autoencoders (Sonderby et al., 2016), https://arxiv.org/abs/1602.02282
        NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat and Kautz, 2020), for the encoder relative to the
            model, https://arxiv.org/abs/2007.03898
    """

    rungs: Any

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: Sequence[int] = (16, 8),
        hidden: Sequence[int] = (128, 128),
        prior: Slot | None = None,
        decoder: Slot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if not isinstance(latent, Sequence) or len(latent) < 2 or min(latent) < 1:
            raise ValueError(f"latent must name the sizes of two layers or more, each at least 1, not {latent}")
        if not hidden:
            raise ValueError("hidden must name at least one width")
        self.sites = {f"z_{i}": size for i, size in enumerate(latent)}
        extra = 0 if self.context_shape is None else self.context_shape.numel()
        inputs = [self.features + extra, *[hidden[-1]] * (len(latent) - 1)]
        above = [*(size + extra for size in latent[1:]), None]
        self.rungs = nn.ModuleList(
            Rung(read, hidden[-1], size, told, hidden) for read, size, told in zip(inputs, latent, above, strict=True)
        )
        self.prior_model = fill(prior or StandardGaussian, "prior", latent[-1], self.context_shape)
        if self.prior_model.measure != "density":
            raise ValueError(f"prior: {type(self.prior_model).__name__} is discrete, but z is a vector of reals")
        self.decoder_model = fill(
            decoder or partial(Bernoulli, hidden=hidden), "decoder", self.event_shape, [latent[0] + extra]
        )
        self.support = self.decoder_model.support

    # ---- the pair, a site a layer

    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        self.check(x, context)
        given = next((rows for rows in (x, context) if rows is not None), None)
        with pyro.plate("data", n if given is None else len(given)):
            z = self._sites(self.prior(context))
            return pyro.sample("x", self.decoder(z, context), obs=x)

    def guide(self, x: Tensor, *, context: Tensor | None = None) -> None:
        self.check(x, context)
        with pyro.plate("data", len(x)):
            self._sites(self.encoder(x, context))

    def _sites(self, chain: TopDown) -> Tensor:
        """z, drawn from the top down."""
        names = list(self.sites)
        parts = [pyro.sample(names[-1], chain.top)]
        for name, below in zip(names[-2::-1], chain.below[::-1], strict=True):
            parts.append(pyro.sample(name, below(parts[-1])))
        return torch.cat(parts[::-1], -1)

    # ---- the three distributions

    def prior(self, context: Tensor | None = None) -> TopDown:
        below = [partial(self._down, rung, context) for rung in list(self.rungs)[:-1]]
        return TopDown(self.prior_model.distribution(context), below, list(self.sites.values()))

    def encoder(self, x: Tensor, context: Tensor | None = None) -> TopDown:
        up = joined(x.to(self.dtype), self.event_shape, context, self.context_shape)
        seen = []
        for rung in self.rungs:
            up = rung.up(up)
            seen.append(_normal(rung.seen(up)))
        told = zip(list(self.rungs)[:-1], seen[:-1], strict=True)
        below = [partial(self._merged, rung, context, one) for rung, one in told]
        return TopDown(seen[-1], below, list(self.sites.values()))

    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        lowest = self.sites["z_0"]
        return self.decoder_model.distribution(
            joined(z[..., :lowest], torch.Size([lowest]), context, self.context_shape)
        )

    def _down(self, rung: Rung, context: Tensor | None, above: Tensor) -> DiagonalNormal:
        """p(z_l | z_(l+1))."""
        if context is not None and self.context_shape is not None:
            given = flat(context, self.context_shape)
            above = torch.cat([above, given.expand(*above.shape[:-1], -1)], -1)
        assert rung.down is not None
        return _normal(rung.down(above))

    def _merged(self, rung: Rung, context: Tensor | None, seen: DiagonalNormal, above: Tensor) -> DiagonalNormal:
        """q(z_l | z_(l+1), x)."""
        told = self._down(rung, context, above)
        return DiagonalNormal(torch.addcmul(told.loc, told.log_scale.exp(), seen.loc), told.log_scale + seen.log_scale)


def _normal(parameters: Tensor) -> DiagonalNormal:
    loc, log_scale = parameters.chunk(2, -1)
    return DiagonalNormal(loc, log_scale)
