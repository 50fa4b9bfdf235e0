"""How far an encoder's q(z | x) is from the prior p(z), and draws of z that gradients go through.

A prior may be a chain of latents itself, with `steps` and `bound_at(z, t)`, [K, N] or [N] as its steps t: numbers whose
mean over t = 1..steps is a lower bound on log p(z) in expectation, the one that its `log_prob` estimates by all steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, kl_divergence

from inference.objectives.diffusion import low_discrepancy
from inference.protocols import name_of

Divergence = Callable[[Any, Any, Tensor, Tensor | None], Tensor]
"""(q, p, z, log q(z) where it is known) -> the divergence of each row, z drawn from q: [K, N] or [N]."""


def sampled(q: Any, p: Any, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """log q(z) - log p(z) at the draws: unbiased for every pair of densities."""
    return (q.log_prob(z) if log_q is None else log_q) - p.log_prob(z)


def closed_form(q: Any, p: Any, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """KL(q || p) where torch knows it, which has no sampling noise; elsewhere `stepwise` of chains, or `sampled`."""
    if hasattr(p, "bound_at"):
        return stepwise(q, p, z, log_q)
    if log_q is not None:
        return sampled(q, p, z, log_q)
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return sampled(q, p, z)


def layered(q: Any, p: Any, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """`closed_form` of each layer given those above it at the draws, summed: of chains with `layers(z)`."""
    if not (hasattr(q, "layers") and hasattr(p, "layers")):
        raise TypeError(
            f"layered is the divergence of latents in layers, which a {name_of(q)} has not; take closed_form"
        )
    return by_layer(q, p, z).sum(-1)


def by_layer(q: Any, p: Any, z: Tensor) -> Tensor:
    """The divergence of each layer at the draws, [..., N, L] nats: of chains with `layers(z)`."""
    sizes, found = q.sizes, []
    for one, other, part in zip(q.layers(z), p.layers(z), z.split(sizes, -1), strict=True):
        found.append(closed_form(one, other, part).expand(z.shape[:-1]))
    return torch.stack(found, -1)


def stepwise(q: Any, p: Any, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """log q(z) minus the bound of a prior that is a chain, at one step a draw: `sampled` in expectation, for less work.

    For objectives that take its mean: log mean exp of it, over draws or over steps, is no bound of anything.

    References:
        Score-based Generative Modeling in Latent Space (Vahdat, Kreis and Kautz, 2021), 2106.05931
    """
    log_q = q.log_prob(z) if log_q is None else log_q
    t = low_discrepancy(log_q.numel(), p.steps, z.device)
    return log_q - p.bound_at(z, t.view(log_q.shape))


def sticking_the_landing(q: Any, p: Any, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """As `sampled`, but its gradient reaches q through z alone: unbiased, and without noise where q is the posterior.

    References:
        Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference
        (Roeder, Wu and Duvenaud, 2017), https://arxiv.org/abs/1703.09194
    """
    return log_prob_of_draws(q, z, log_q) - p.log_prob(z)


def log_prob_of_draws(q: Any, z: Tensor, log_q: Tensor | None = None) -> Tensor:
    """log q(z) whose gradient reaches z and none of q's own parameters, whatever q is made of.

    The slope of log q is taken at a copy of z, by the very object that z was drawn from: an encoder with dropout is
    not asked twice. A flow goes back through its map for it, which an inverse autoregressive one does number by number.
    """
    if not (torch.is_grad_enabled() and z.requires_grad):
        return q.log_prob(z) if log_q is None else log_q
    still = z.detach().requires_grad_()
    value = q.log_prob(still)
    (slope,) = torch.autograd.grad(value.sum(), still)
    moved = (z - still.detach()) * slope  # zero, with the slope as its gradient
    return value.detach() + moved.reshape(*value.shape, -1).sum(-1)


def draw(q: Any, particles: int) -> tuple[Tensor, Tensor | None]:
    """Reparameterised draws, [K, N, ...] ([N, ...] for one particle), with log q(z) where it comes for free."""
    shape = torch.Size() if particles == 1 else torch.Size([particles])
    if not getattr(q, "has_rsample", True):
        raise TypeError(f"z is drawn from a {name_of(q)}, which no gradient goes through: leave the objective out")
    if hasattr(q, "rsample_and_log_prob"):
        return q.rsample_and_log_prob(shape)
    return q.rsample(shape), None


def by_group(kl: Divergence, q: Any, p: Any, z: Tensor, whole: Tensor) -> Tensor:
    """The divergence of each group of z's numbers that q and p both hold for independent of the rest, [..., N, G].

    Where one of them does not say so, z is one group, whose divergence is known.
    """
    q_each, p_each = _each(q), _each(p)
    if q_each is None or p_each is None or q_each.event_shape != p_each.event_shape:
        return whole.unsqueeze(-1)
    return kl(q_each, p_each, z, None).flatten(whole.dim())


def _each(distribution: Any) -> Any | None:
    """The independent numbers (or vectors) of an event as a batch; None where they are not known to be independent."""
    if isinstance(distribution, Independent):
        return distribution.base_dist
    return getattr(distribution, "each", None)
