"""A density as a node of a network: a model given the states and the values of its parents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.base import Explicit, LatentVariable

Values = Mapping[str, Tensor]
"""What is known, by name: codes [N] of a discrete variable, values [N, *shape] of another."""


Density = Explicit | LatentVariable
DRAWS = 100
"""Draws of a latent variable that a bound takes the mean weight of."""


class Node(nn.Module):
    """p(x | parents) by one model, or by one for each joint state of the discrete parents.

    One model reads its parents as one vector, in their order: a discrete parent one-hot, another one flattened.
    Of several models, the parents' joint state (the last parent's changing fastest) chooses one, which reads the
    other parents.

    A model with latent variables has a bound in place of its log-likelihood, importance weighted with DRAWS of
    the latent (one while it trains, which is its ELBO): `likelihood` says so.

    Parameters:
        name: the node's.
        states: each discrete parent and how many states it has.
        parents: all parents.
        models: one, or as many as there are joint states.
    """

    def __init__(
        self, name: str, parents: Sequence[str], states: Mapping[str, int], models: Sequence[Density], separate: bool
    ) -> None:
        super().__init__()
        self.name, self.parents, self.states, self.separate = name, tuple(parents), dict(states), separate
        self.models = nn.ModuleList(models)
        self.event_shape = models[0].event_shape
        self.likelihood = models[0].likelihood or "lower bound"
        support = getattr(models[0].support, "base_constraint", models[0].support)
        self._codes = support.is_discrete and support is not constraints.boolean

    @property
    def features(self) -> int:
        return self.event_shape.numel()

    @property
    def model(self) -> Density:
        """The model, or the first of several."""
        return cast(Density, self.models[0])

    @property
    def measure(self) -> str:
        return self.model.measure

    def extra_repr(self) -> str:
        return f"{self.name} | {', '.join(self.parents)}" if self.parents else self.name

    def log_prob(self, x: Tensor, given: Values) -> Tensor:
        """log p(x | parents) in nats, [N, *states of each discrete parent that is not given]."""
        free = [p for p in self.states if p not in given]
        if not free:
            return self._each(given, len(x), x)
        counts = [self.states[p] for p in free]
        joint = torch.cartesian_prod(*(torch.arange(count, device=x.device) for count in counts))
        joint = joint.reshape(-1, len(free))
        repeated = {p: _repeat(given[p], len(joint)) for p in self.parents if p in given}
        repeated |= {p: joint[:, i].repeat_interleave(len(x)) for i, p in enumerate(free)}
        rows = _repeat(x, len(joint))
        return self._each(repeated, len(rows), rows).view(len(joint), len(x)).T.reshape(-1, *counts)

    @torch.no_grad()
    def sample(self, given: Values, n: int) -> Tensor:
        """n rows, [n, *event_shape], one for each row of the parents."""
        return self._each(given, n)

    # ---- one model or several

    def _each(self, given: Values, n: int, x: Tensor | None = None) -> Tensor:
        """log_prob of each row of x; without x, n draws."""
        context = self._context(given, n)
        x = x if x is None else x.long() if self._codes else x.to(self.model.dtype)
        if not self.separate:
            return _asked(self.model, x, context, n)
        state = torch.zeros(n, dtype=torch.long, device=self.model.device)
        for p, count in self.states.items():
            state = state * count + given[p]
        order, parts = [], []
        for k in state.unique().tolist():
            rows = (state == k).nonzero()[:, 0]
            chosen = cast(Density, self.models[k])
            parts.append(_asked(chosen, _some(x, rows), _some(context, rows), len(rows)))
            order.append(rows)
        return torch.cat(parts)[torch.cat(order).argsort()]

    def _context(self, given: Values, n: int) -> Tensor | None:
        """The parents as the models read them, [n, ...], or None where they read none."""
        like = self.model
        parts = []
        for p in self.parents:
            if p not in self.states:
                parts.append(given[p].flatten(1).to(like.dtype))
            elif not self.separate:
                parts.append(nn.functional.one_hot(given[p], self.states[p]).to(like.dtype))
        return torch.cat(parts, 1).expand(n, -1) if parts else None


def _asked(model: Density, x: Tensor | None, context: Tensor | None, n: int) -> Tensor:
    if x is None:
        return model.sample(n, context=context)
    if "log_prob" in model.capabilities:
        return model.log_prob(x, context=context)
    return _bound(cast(LatentVariable, model), x, context, 1 if model.training else DRAWS)


def _bound(model: LatentVariable, x: Tensor, context: Tensor | None, draws: int) -> Tensor:
    """log mean_k p(x, z_k) / q(z_k | x), z_k ~ q(z | x): a lower bound of log p(x) in expectation, [N].

    Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519
    """
    proposal = model.encoder(x, context)
    z = proposal.rsample((draws,)) if proposal.has_rsample else proposal.sample((draws,))
    rows, contexts = z.flatten(0, 1), None if context is None else _repeat(context, draws)
    log_joint = model.prior(contexts).log_prob(rows) + model.decoder(rows, contexts).log_prob(_repeat(x, draws))
    return (log_joint.view(draws, len(x)) - proposal.log_prob(z)).logsumexp(0) - math.log(draws)


def _some(rows: Tensor | None, which: Tensor) -> Tensor | None:
    return None if rows is None else rows[which]


def _repeat(rows: Tensor, times: int) -> Tensor:
    return rows.expand(times, *rows.shape).flatten(0, 1)


def context_size(parents: Sequence[str], states: Mapping[str, int], sizes: Mapping[str, int], separate: bool) -> Any:
    """How many numbers a node's model reads of its parents, or None."""
    total = sum(sizes[p] if p in sizes else 0 if separate else states[p] for p in parents)
    return total or None
