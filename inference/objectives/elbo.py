"""The evidence lower bound, straight from the distributions; and Pyro's own, for any pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyro.infer
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from inference.data import check_data, check_known
from inference.objectives.base import Loss, Objective
from inference.protocols import Bounded, Latent, Pair, by_row, given_context, sums_out

Divergence = Callable[[Any, Any, Tensor, Tensor | None], Tensor]
"""(q, p, z, log q(z) where it is known) -> the divergence of each row, z drawn from q: [K, N] or [N]."""


def sampled(q: Any, p: Any, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """log q(z) - log p(z) at the draws: unbiased for every pair of densities."""
    return (q.log_prob(z) if log_q is None else log_q) - p.log_prob(z)


def closed_form(q: Any, p: Any, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """KL(q || p) where torch knows it, which has no sampling noise; `sampled` elsewhere."""
    if log_q is not None:
        return sampled(q, p, z, log_q)
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return sampled(q, p, z)


def draw(q: Any, particles: int) -> tuple[Tensor, Tensor | None]:
    """Reparameterised draws, [K, N, ...] ([N, ...] for one particle), with log q(z) where it comes for free."""
    shape = torch.Size() if particles == 1 else torch.Size([particles])
    if hasattr(q, "rsample_and_log_prob"):
        return q.rsample_and_log_prob(shape)
    return q.rsample(shape), None


class Elbo(Objective):
    """-E_q[log p(x | z)] + KL(q(z | x) || p(z)), the mean over the rows, in nats.

    Parameters:
        particles: draws of z for each row.
        kl: `closed_form` or `sampled`; the latter gives the very numbers of Pyro's `Trace_ELBO`.

    References:
        Auto-Encoding Variational Bayes (Kingma and Welling, 2013), https://arxiv.org/abs/1312.6114
    """

    looks_at = 2**20

    def __init__(self, particles: int = 1, kl: Divergence = closed_form) -> None:
        super().__init__()
        if particles < 1:
            raise ValueError(f"particles must be at least 1, not {particles}")
        self.particles, self.kl = particles, kl

    def forward(self, model: Latent, x: Tensor, context: Tensor | None = None) -> Loss:
        q, p = model.encoder(x, context), model.prior(context)
        z, log_q = draw(q, self.particles)
        rows, divergence = x.shape[0], self.kl(q, p, z, log_q)
        by_draw = (self.particles, rows) if divergence.dim() > 1 and self.particles > 1 else (rows,)
        divergence = by_row(divergence, by_draw, model, "the divergence of encoder and prior")
        if self.particles > 1:
            z, x = z.flatten(0, 1), x.repeat(self.particles, *[1] * (x.dim() - 1))
            if context is not None:
                context = context.repeat(self.particles, *[1] * (context.dim() - 1))
        log_prob = model.decoder(z, context).log_prob(x)
        log_prob = by_row(log_prob, (rows * self.particles,), model, "the decoder's log_prob")
        if self.particles > 1:
            log_prob = log_prob.view(self.particles, rows)
        value = (divergence - log_prob).mean()
        loss, kl = value.detach(), divergence.detach().mean()
        return Loss(value, {"loss": loss, "reconstruction": loss - kl, "kl": kl})


class OwnElbo(Objective):
    """Minus the bound that a model computes itself: `elbo(x)`, nats a row.

    Rows may lack cells where the model sums them out itself; then it is that of what is known.
    """

    def check(self, model: Any, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
        (check_known if sums_out(model) else check_data)(model, x, context, columns)

    def forward(self, model: Bounded, x: Tensor, context: Tensor | None = None) -> Loss:
        value = -model.elbo(x)
        return Loss(value, {"loss": value.detach()})


class PyroElbo(Objective):
    """Any of Pyro's bounds on any Pyro pair: effect handlers, enumeration, plates of any nesting.

    Parameters:
        elbo: one of `pyro.infer`'s, such as `TraceEnum_ELBO(max_plate_nesting=1)`; `Trace_ELBO` unless told.
    """

    def __init__(self, elbo: Any = None) -> None:
        super().__init__()
        self.elbo = elbo or pyro.infer.Trace_ELBO()
        if not hasattr(self.elbo, "differentiable_loss"):
            raise TypeError(f"{type(self.elbo).__name__} has no differentiable loss; Trace_ELBO and its kin have")

    def prepare(self, model: Pair, x: Tensor, context: Tensor | None = None) -> None:
        """Call the guide once: an autoguide's parameters come into being at its first call."""
        super().prepare(model, x, context)
        with torch.no_grad(), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            given_context(model.guide, context)(x)

    def forward(self, model: Pair, x: Tensor, context: Tensor | None = None) -> Loss:
        pair = given_context(model.model, context), given_context(model.guide, context)
        value = self.elbo.differentiable_loss(*pair, x) / len(x)
        return Loss(value, {"loss": value.detach()})
