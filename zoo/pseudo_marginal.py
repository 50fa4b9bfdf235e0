"""A latent-variable model where a distribution is wanted: its rows' density, estimated."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.distributions import RowDistribution

if TYPE_CHECKING:
    from zoo.base import LatentVariable
    from zoo.diffusion import Diffusion


NUMBERS = 2**22
"""How many numbers of latents are drawn at once."""


class PseudoMarginal(RowDistribution):
    """p(z) = integral of p(w) p(z | w), of a model whose latents w are drawn anew at each question.

    `log_prob` is log p(w) + log p(z | w) - log q(w | z) at one draw of q(w | z); in expectation its exponential is
    p(z): importance weights made with it bound and estimate what those made with p(z) would. Itself it is below
    log p(z) in expectation, by KL(q(w | z) || p(w | z)): an ELBO made with it is that of the model of z and w together.

    Shapes: z is [..., *event_shape], the batch [N] where the model is given a context [N, ...], else [].

    References:
        The Pseudo-Marginal Approach for Efficient Monte Carlo Computations (Andrieu and Roberts, 2009)
    """

    def __init__(self, model: LatentVariable, context: Tensor | None = None) -> None:
        self.of, self.context = model, context
        super().__init__(torch.Size() if context is None else context.shape[:1], model.event_shape)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """As the model itself draws rows."""
        shape = self._extended_shape(sample_shape)
        batch = shape[: len(shape) - len(self.event_shape)]
        return self.of.sample(batch.numel(), context=self._contexts(batch)).view(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        z, context, batch = self._rows(value)
        size = max(1, NUMBERS // self.of.prior(context).event_shape.numel())
        contexts = repeat(None) if context is None else context.split(size)
        return torch.cat([self._estimate(*rows) for rows in zip(z.split(size), contexts, strict=False)]).view(batch)

    def _estimate(self, z: Tensor, context: Tensor | None) -> Tensor:
        q = self.of.encoder(z, context)
        if not q.has_rsample:
            raise TypeError(
                f"{type(self.of).__name__} proposes its latents by {type(q).__name__}, which no gradient goes through: "
                "what stands in for a density needs an encoder drawn by reparameterisation"
            )
        w, log_q = q.rsample_and_log_prob() if hasattr(q, "rsample_and_log_prob") else (q.rsample(), None)
        log_joint = self.of.prior(context).log_prob(w) + self.of.decoder(w, context).log_prob(z)
        return log_joint - (q.log_prob(w) if log_q is None else log_q)

    def _rows(self, value: Tensor) -> tuple[Tensor, Tensor | None, torch.Size]:
        """Draws as rows, each with its context, and the shape that they come in."""
        batch = torch.broadcast_shapes(value.shape[: value.dim() - len(self.event_shape)], self.batch_shape)
        rows = value.expand(*batch, *self.event_shape).reshape(-1, *self.event_shape)
        return rows, self._contexts(batch), batch

    def _contexts(self, batch: torch.Size) -> Tensor | None:
        context = self.context
        return None if context is None else context.expand(*batch, *context.shape[1:]).flatten(0, len(batch) - 1)


class ChainMarginal(PseudoMarginal):
    """The same of a diffusion, whose ELBO is a sum over steps and is known from any one of them.

    `log_prob` goes through the whole chain, `bound_at` through a step of it, for a `steps`-th of the work. They are the
    same in expectation; but the exponential of `bound_at` is p(z) in no sense.

    References:
        Score-based Generative Modeling in Latent Space (Vahdat, Kreis and Kautz, 2021), 2106.05931
    """

    of: Diffusion

    @property
    def steps(self) -> int:
        return self.of.steps

    def bound_at(self, value: Tensor, t: Tensor) -> Tensor:
        """A number for each draw, whose mean over t = 1..steps is at most log p(z) in expectation; t as the batch."""
        z, context, batch = self._rows(value)
        step = self.of.step(z, t.reshape(-1), context)
        return -(self.steps * step.divergence() + self.of.settled(z)).view(batch)
