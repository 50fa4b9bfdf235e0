"""The importance-weighted bound, and the ways to estimate its gradient."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inference.importance import in_blocks, log_weights, repeated
from inference.objectives.base import Loss, Objective, mean_terms
from inference.objectives.divergences import draw, log_prob_of_draws
from inference.objectives.elbo import Elbo
from inference.protocols import FEW, Latent, by_row, name_of
from inference.running import LogMean

Gradient = Callable[[Any, Tensor, Tensor | None, Tensor], Tensor]
"""(q, z, log q(z) where it is known, log p(x, z)) -> log w, [K, N], z drawn from q, [K, N, ...].

The values are log p(x, z) - log q(z). How they hang on z and q is what decides the gradient of log mean w.
"""


def pathwise(q: Any, z: Tensor, log_q: Tensor | None, log_joint: Tensor) -> Tensor:
    """The plain gradient, through the draws and through q's own density; the more draws, the less it tells q."""
    return log_joint - (q.log_prob(z) if log_q is None else log_q)


def doubly_reparameterised(q: Any, z: Tensor, log_q: Tensor | None, log_joint: Tensor) -> Tensor:
    """DReG: q learns through the draws alone, by sum_k w_k^2 (dlog w_k / dz_k) (dz_k / dq), the weights w of sum 1.

    Unbiased as the plain one, and better than it the more draws there are; everyone else's gradient is the plain one.
    Any q drawn by reparameterisation will do (a flow goes back through its map for the density of its draws). With
    one draw it is `sticking_the_landing`.

    References:
        Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives (Tucker et al., 2019),
        https://arxiv.org/abs/1810.04152
    """
    log_w = log_joint - log_prob_of_draws(q, z, log_q)
    if z.requires_grad:  # what comes back to z brings w once already
        weights = log_w.detach().softmax(0)
        z.register_hook(lambda slope: slope * weights.reshape(*weights.shape, *[1] * (slope.dim() - 2)))
    return log_w


class ImportanceWeightedElbo(Objective):
    """-E[log 1/K sum_k p(x, z_k) / q(z_k | x)], z_k from q(z | x): the mean over the rows, in nats.

    One draw makes it the ELBO, and more draws a tighter bound. Terms: "loss"; "reconstruction" and "kl", the two
    parts of minus the ELBO on the same draws; "effective_draws", 1 / sum_k w_k^2 of the weights w of sum 1, from 1
    (one draw has it all) to K. What is held out is judged by the same bound.

    Parameters:
        draws: K.
        gradient: `doubly_reparameterised` or `pathwise`.

    References:
        Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519
    """

    asks = Latent

    looks_at = Elbo.looks_at

    def __init__(self, draws: int = 50, gradient: Gradient = doubly_reparameterised) -> None:
        super().__init__()
        if draws < 1:
            raise ValueError(f"draws must be at least 1, not {draws}")
        self.draws, self.gradient = draws, gradient

    def prepare(self, model: Latent, x: Tensor, context: Tensor | None = None) -> None:
        """Refuse what has no importance weights, such as an encoder that is a point."""
        super().prepare(model, x, context)
        with torch.no_grad(), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            log_weights(model, x[:FEW], None if context is None else context[:FEW])

    def forward(self, model: Latent, x: Tensor, context: Tensor | None = None) -> Loss:
        q, count = model.encoder(x, context), (self.draws * len(x),)
        if not q.has_rsample:
            raise TypeError(
                f"{name_of(model)} proposes z by {type(q).__name__}, which no gradient goes through: this objective "
                "needs an encoder drawn by reparameterisation"
            )
        z, log_q = draw(q, self.draws)
        if self.draws == 1:
            z, log_q = z.unsqueeze(0), None if log_q is None else log_q.unsqueeze(0)
        codes, contexts = z.flatten(0, 1), repeated(context, self.draws)
        log_p = by_row(model.prior(contexts).log_prob(codes), count, model, "the prior's log_prob")
        log_x = model.decoder(codes, contexts).log_prob(repeated(x, self.draws))
        log_x = by_row(log_x, count, model, "the decoder's log_prob")
        log_w = self.gradient(q, z, log_q, (log_p + log_x).view(self.draws, len(x)))
        log_w = by_row(log_w, (self.draws, len(x)), model, "the encoder's log_prob")
        value = math.log(self.draws) - log_w.logsumexp(0).mean()
        return Loss(value, _terms(value, log_w, log_x))

    @torch.no_grad()
    def held_out(self, model: Latent, x: Tensor, context: Tensor | None = None) -> Tensor:
        """As many draws, in blocks that memory holds."""
        total = torch.zeros((), dtype=torch.float64, device=x.device)
        for _, weighted in in_blocks(model, x, context, self.draws):
            sums = LogMean()
            for block in weighted:
                sums.add(block.log_weights)
            total = total + sums.result()[0].sum()
        return -total / len(x)


@torch.no_grad()
def _terms(value: Tensor, log_w: Tensor, log_x: Tensor) -> dict[str, Tensor]:
    missed = -log_x.mean()
    effective = 1 / log_w.softmax(0).square().sum(0)
    return mean_terms(loss=value, reconstruction=missed, kl=-log_w.mean() - missed, effective_draws=effective.mean())
