"""Variational autoencoder of discrete codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.base import LatentVariable, Shape
from zoo.conditionals import Bernoulli, Categorical
from zoo.networks import joined
from zoo.slots import Slot, fill

LARGEST_SUM = 4096
"""Values of z up to which they are summed."""
NUMBERS = 2**22
"""How many numbers are scored at a time: rows, times values of z, times numbers of a row."""


class DiscreteVAE(LatentVariable):
    """Variational autoencoder of discrete codes: p(x, z) = p(z) p(x | z), z of `codes` codes of `levels` levels each.

    Where z takes few values (levels^codes up to 4096) they are all summed: log p(x) is exact (`log_prob`), the bound
    that is fitted has no sampling noise (`inference.objectives.Enumerated`), and `inference.query(model, "z", ...)`
    is exact. Of more, codes are relaxed to shares of the levels while fitting (`inference.objectives.Relaxed`), and
    the likelihood is bounded by importance weights. One code is a mixture of `levels` decoders.

    Shapes: x is [N, *event_shape], z [N, codes] of 0..levels-1, context [N, *context_shape]; nats a row.

    Parameters:
        codes, levels: how many codes z has, and how many levels each.
        prior: any explicit model of codes [codes] of so many levels, such as a MADE; independent codes unless told.
        encoder: the same given a context of x's shape; independent codes unless told.
        decoder: any explicit model of x given a context [codes * levels], the codes one-hot; Bernoulli (x of zeros
            and ones) unless told. A conditional model's encoder and decoder read the context joined, as in `VAE`.
        hidden: widths of the default networks.

    Reproducible (`benchmarks/latent_tasks/classes.py`): with the defaults log p(x) of 450 held-out binarised digits is
    -17.77 nats exactly (seed 0), where the best Bernoulli mixture reaches -18.24 and a `VAE` of 8 numbers -16.96.

    References:
        Categorical Reparameterization with Gumbel-Softmax (Jang, Gu and Poole, 2016), https://arxiv.org/abs/1611.01144
        The Concrete Distribution (Maddison, Mnih and Teh, 2016), https://arxiv.org/abs/1611.00712
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        codes: int = 2,
        levels: int = 16,
        hidden: Sequence[int] = (128, 128),
        prior: Slot | None = None,
        encoder: Slot | None = None,
        decoder: Slot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        for name, value, least in (("codes", codes, 1), ("levels", levels, 2)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        self.latent, self.levels = torch.Size([codes]), levels
        extra = 0 if self.context_shape is None else self.context_shape.numel()
        x_shape = self.event_shape if not extra else torch.Size([self.features + extra])
        coded = partial(Categorical, levels=levels, hidden=hidden)
        self.prior_model = fill(prior or coded, "prior", self.latent, self.context_shape)
        self.encoder_model = fill(encoder or coded, "encoder", self.latent, x_shape)
        for slot, part in (("prior", self.prior_model), ("encoder", self.encoder_model)):
            if getattr(part, "levels", None) != levels:
                raise ValueError(f"{slot}: {type(part).__name__} is no model of codes of {levels} levels, as z is")
        self.decoder_model = fill(
            decoder or partial(Bernoulli, hidden=hidden), "decoder", self.event_shape, [codes * levels + extra]
        )
        self.support = self.decoder_model.support
        if levels**codes <= LARGEST_SUM:
            self.likelihood = "exact"  # type: ignore[misc]
            self.capabilities = type(self).capabilities | {"log_prob"}  # type: ignore[misc]

    # ---- the three distributions

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        return self.prior_model.distribution(context)

    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        inputs = x.to(self.dtype) if not x.is_floating_point() else x
        if context is not None:
            inputs = joined(inputs, self.event_shape, context, self.context_shape)
        return self.encoder_model.distribution(inputs)

    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        return self.soft_decoder(F.one_hot(z.long(), self.levels).to(self.dtype), context)

    def soft_decoder(self, shares: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """p(x | z) for shares of the levels, [N, codes, levels], each on the simplex: one-hot ones are a code."""
        shape = torch.Size([*self.latent, self.levels])
        return self.decoder_model.distribution(joined(shares, shape, context, self.context_shape))

    @torch.no_grad()
    def encode(self, x: Tensor, *, context: Tensor | None = None, draws: int = 64) -> Tensor:
        """The likeliest code of each row by q(z | x), the most frequent level of `draws` where codes hang together."""
        self.check(x, context)
        proposal = self.encoder(x, context)
        if hasattr(proposal, "log_probs"):
            return proposal.log_probs.argmax(-1)
        return proposal.sample((draws,)).long().mode(0).values

    # ---- every value of z

    @property
    def codebook(self) -> Tensor:
        """Every value of z, [levels^codes, codes]."""
        self._few()
        (codes,) = self.latent
        levels = torch.arange(self.levels, device=self.device)
        return torch.cartesian_prod(*[levels] * codes).view(-1, codes)

    @property
    def log_joint(self) -> Callable[..., Tensor]:
        """`log_joint(x, context=None)` is log p(x, z) of each row with every value of z, [N, levels^codes]."""
        self._few()
        return self._log_joint

    @property
    def log_prob(self) -> Callable[..., Tensor]:
        """`log_prob(x, context=None)` is the exact log-likelihood of each row, [N], in nats."""
        self._few()
        return self._log_prob

    def _few(self) -> None:
        count = self.levels ** self.latent[0]
        if count > LARGEST_SUM:
            raise AttributeError(f"z takes {count} values, more than {LARGEST_SUM}, and they are not summed")

    def _log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        self.check(x, context)
        return self._log_joint(x, context).logsumexp(-1)

    def _log_joint(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        z = self.codebook
        block = max(1, NUMBERS // (len(z) * self.features))
        if context is None:
            log_prior, decoded = self.prior().log_prob(z), self.decoder(z)
            scored = [decoded.log_prob(_beside(rows, len(z))) for rows in x.split(block)]
            return log_prior + torch.cat(scored)
        parts = zip(x.split(block), context.split(block), strict=True)
        return torch.cat([self._given_rows(z, rows, given) for rows, given in parts])

    def _given_rows(self, z: Tensor, x: Tensor, context: Tensor) -> Tensor:
        """log p(x, z | context), [N, K]: each row's context makes decoders of its own."""
        count = len(z)
        every = z.expand(len(x), *z.shape).flatten(0, 1)
        decoded = self.decoder(every, context.repeat_interleave(count, 0))
        log_x = decoded.log_prob(x.repeat_interleave(count, 0)).view(len(x), count)
        return log_x + self.prior(context).log_prob(z.unsqueeze(1).expand(-1, len(x), -1)).mT


def _beside(x: Tensor, count: int) -> Tensor:
    """Rows [N, ...] beside each of `count` distributions, [N, count, ...]."""
    return x.unsqueeze(1).expand(len(x), count, *x.shape[1:])
