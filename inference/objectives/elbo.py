"""The evidence lower bound, straight from the distributions; and Pyro's own, for any pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.infer
import torch
from torch import Tensor

from inference.data import check_data, check_known
from inference.objectives.base import Counting, Loss, Objective, mean_terms
from inference.objectives.divergences import Divergence, by_group, closed_form, draw, sampled
from inference.protocols import Bounded, Latent, Pair, by_row, given_context, sums_out
from inference.schedules import Schedule, constant

__all__ = ["Divergence", "Elbo", "OwnElbo", "PyroElbo", "closed_form", "draw", "sampled"]


class Elbo(Counting):
    """-E_q[log p(x | z)] + KL(q(z | x) || p(z)), the mean over the rows, in nats, the KL weighted or in part free.

    With a weight beta, and lambda nats free for each number of z,

        loss = -E_q[log p(x | z)] + beta sum over groups g of max(lambda |g|, mean over the rows of KL_g)

    where a group is what q and p both hold for independent of the rest: each number of factorised normals, all of z
    where either does not factorise. Terms: "loss", "reconstruction" and "kl", the last two those of the bound itself;
    where the loss is another, also "beta" and "negative_elbo". Rows held out are judged by the bound itself.

    Parameters:
        particles: draws of z for each row.
        kl: `closed_form`, `sampled` (the very numbers of Pyro's `Trace_ELBO`) or `sticking_the_landing`.
        beta: a number, or a function of the step as for learning rates: `inference.schedules.warmup` lets a code
            become of use before it is taxed in full; above 1 it makes a beta-VAE.
        free_bits: lambda, likewise.

    References:
        Auto-Encoding Variational Bayes (Kingma and Welling, 2013), https://arxiv.org/abs/1312.6114
        Generating Sentences from a Continuous Space (Bowman et al., 2016), for the warm-up
        beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework (Higgins et al., 2017)
        Improved Variational Inference with Inverse Autoregressive Flow (Kingma et al., 2016), for the free bits
    """

    asks = Latent

    looks_at = 2**20

    def __init__(
        self,
        particles: int = 1,
        kl: Divergence = closed_form,
        *,
        beta: float | Schedule = 1.0,
        free_bits: float | Schedule = 0.0,
    ) -> None:
        super().__init__()
        if particles < 1:
            raise ValueError(f"particles must be at least 1, not {particles}")
        self.particles, self.kl = particles, kl
        self.beta, self.free_bits = _schedule("beta", beta), _schedule("free_bits", free_bits)
        self.as_it_is = beta == 1.0 and free_bits == 0.0

    def forward(self, model: Latent, x: Tensor, context: Tensor | None = None) -> Loss:
        drawn = self._drawn(model, x, context)
        if self.as_it_is:
            return _bound(drawn)
        self.step += 1
        return self._taxed(drawn, self.beta(self.step), self.free_bits(self.step))

    def held_out(self, model: Latent, x: Tensor, context: Tensor | None = None) -> Tensor:
        return _bound(self._drawn(model, x, context)).value

    def _drawn(self, model: Latent, x: Tensor, context: Tensor | None) -> _Drawn:
        q, p = model.encoder(x, context), model.prior(context)
        z, log_q = draw(q, self.particles)
        rows, divergence = x.shape[0], self.kl(q, p, z, log_q)
        by_draw = (self.particles, rows) if divergence.dim() > 1 and self.particles > 1 else (rows,)
        divergence = by_row(divergence, by_draw, model, "the divergence of encoder and prior")
        codes = z
        if self.particles > 1:
            codes, x = z.flatten(0, 1), x.repeat(self.particles, *[1] * (x.dim() - 1))
            if context is not None:
                context = context.repeat(self.particles, *[1] * (context.dim() - 1))
        log_prob = model.decoder(codes, context).log_prob(x)
        log_prob = by_row(log_prob, (rows * self.particles,), model, "the decoder's log_prob")
        if self.particles > 1:
            log_prob = log_prob.view(self.particles, rows)
        return q, p, z, divergence, log_prob

    def _taxed(self, drawn: _Drawn, beta: float, free_bits: float) -> Loss:
        q, p, z, divergence, log_prob = drawn
        missed, kl = -log_prob.mean(), divergence.mean()
        paid = kl
        if free_bits:
            groups = by_group(self.kl, q, p, z, divergence)
            size = q.event_shape.numel() / groups.shape[-1]
            paid = groups.flatten(0, -2).mean(0).clamp(min=free_bits * size).sum()
        value = missed + beta * paid
        terms = {"loss": value, "reconstruction": missed, "kl": kl, "negative_elbo": missed + kl}
        return Loss(value, mean_terms(**terms, beta=torch.full_like(kl, beta)))


_Drawn = tuple[Any, Any, Tensor, Tensor, Tensor]
"""q, p, z drawn from q, the divergence of each row and log p(x | z)."""


def _bound(drawn: _Drawn) -> Loss:
    """Minus the bound itself."""
    *_, divergence, log_prob = drawn
    value = (divergence - log_prob).mean()
    loss, kl = value.detach(), divergence.detach().mean()
    return Loss(value, {"loss": loss, "reconstruction": loss - kl, "kl": kl})


def _schedule(name: str, value: float | Schedule) -> Schedule:
    if callable(value):
        return value
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, not {value}")
    return constant(value)


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
