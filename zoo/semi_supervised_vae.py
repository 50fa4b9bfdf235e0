"""Semi-supervised variational autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.base import Explicit, LatentVariable, Shape, as_shape
from zoo.conditionals import Bernoulli, Categorical, Gaussian, StandardGaussian
from zoo.distributions import RowDistribution
from zoo.networks import flat
from zoo.slots import Slot, fill

UNKNOWN = -1
"""The class of a row that has no label, as in scikit-learn."""


class ClassesSummed(RowDistribution):
    """sum_y w_y p_y: by log-weights [N, K], and components whose batch is the N rows under class 0, then 1, ..."""

    def __init__(self, log_weights: Tensor, components: Any) -> None:
        self.log_weights, self.components = log_weights, components
        super().__init__(log_weights.shape[:1], components.event_shape)

    @property
    def support(self) -> constraints.Constraint:
        return self.components.support

    @property
    def mean(self) -> Tensor:
        means = self.components.mean.unflatten(0, (self.log_weights.shape[1], -1))
        return torch.einsum("kn...,nk->n...", means, self.log_weights.exp())

    def log_prob(self, value: Tensor) -> Tensor:
        rows, classes = self.log_weights.shape
        batch = value.shape[: value.dim() - len(self.event_shape)]
        value = value.expand(*batch[:-1], rows, *self.event_shape)
        every = torch.cat([value] * classes, len(batch) - 1)
        scored = self.components.log_prob(every).unflatten(-1, (classes, rows))
        return (scored + self.log_weights.mT).logsumexp(-2)

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = torch.Size(sample_shape)
        rows = self.log_weights.shape[0]
        y = dist.Categorical(logits=self.log_weights, validate_args=False).sample(shape)
        drawn = self.components.sample(shape)
        place = (y * rows + torch.arange(rows, device=y.device)).reshape(*y.shape, *[1] * len(self.event_shape))
        return drawn.gather(len(shape), place.expand(*y.shape, *self.event_shape))


class SemiSupervisedVAE(LatentVariable):
    """Semi-supervised VAE (M2): p(x, y, z) = p(y) p(z) p(x | y, z), with q(y, z | x) = q(y | x) q(z | x, y).

    The class y is the context: what is known of it is conditioned on, what is not is summed out, so that likelihoods
    are bounds of log p(x | y) in rows with a class and of log p(x) in rows without, and `sample(n, context=classes)`
    draws of classes. Fitted by `inference.objectives.SemiSupervised`; `classifier(x)` is q(y | x), and
    `inference.query(model, "y", given={"x": rows})` the model's own p(y | x).

    Shapes: x is [N, *event_shape], z [N, latent], context [N], a class 0..classes-1 or -1 where none is known, as in
    scikit-learn: fit(model, {"x": x, "context": y}).

    Parameters:
        classes: how many.
        latent: how many numbers z has: what of x the class does not tell, such as the hand that wrote a digit.
        hidden: widths of the default networks.
        prior: any explicit density of [latent]; the standard normal unless told.
        encoder: any explicit density of [latent] given x and the class, joined as one vector, the class one-hot; a
            diagonal normal unless told.
        decoder: any explicit model of x given a context [latent + classes]; Bernoulli (x of zeros and ones) unless
            told.
        classifier: any explicit model of one code of `classes` levels given x; a perceptron unless told.

    Reproducible (`benchmarks/latent_tasks/classes.py`): of 1,347 binarised digits ten a class have labels; after 1,000
    steps with alpha = 10, q(y | x) names 0.878, 0.882 and 0.809 of 450 others rightly (seeds 0, 1, 2), the same network
    fitted to the 100 labels alone 0.844, 0.840 and 0.802.

    References:
        Semi-Supervised Learning with Deep Generative Models (Kingma et al., 2014), https://arxiv.org/abs/1406.5298
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        classes: int = 10,
        latent: int = 16,
        hidden: Sequence[int] = (128, 128),
        prior: Slot | None = None,
        encoder: Slot | None = None,
        decoder: Slot | None = None,
        classifier: Slot | None = None,
    ) -> None:
        if as_shape(context_shape):
            raise ValueError(f"a SemiSupervisedVAE's context is a class a row, [N], of shape [], not {context_shape}")
        super().__init__(event_shape, context_shape=())
        for name, value, least in (("classes", classes, 2), ("latent", latent, 1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        self.classes, self.latent = classes, torch.Size([latent])
        self.prior_model = fill(prior or StandardGaussian, "prior", self.latent)
        self.encoder_model = fill(
            encoder or partial(Gaussian, hidden=hidden), "encoder", self.latent, [self.features + classes]
        )
        self.decoder_model = fill(
            decoder or partial(Bernoulli, hidden=hidden), "decoder", self.event_shape, [latent + classes]
        )
        read = partial(Categorical, levels=classes, hidden=hidden)
        self.classifier_model = fill(classifier or read, "classifier", [1], self.event_shape)
        if getattr(self.classifier_model, "levels", None) != classes:
            raise ValueError(f"classifier: {type(self.classifier_model).__name__} is no model of {classes} classes")
        self.class_logits = nn.Parameter(torch.zeros(classes))
        self.support = self.decoder_model.support

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        if context is None:
            raise ValueError(
                f"{type(self).__name__} is conditional on the class of each row: give context, [N] of 0 to "
                f"{self.classes - 1}, and {UNKNOWN} where none is known"
            )
        super().check(x, context)
        if context is not None:
            inside = (context >= UNKNOWN) & (context < self.classes) & (context == context.round())
            if not inside.all():
                row = int((~inside).nonzero()[0])
                raise ValueError(
                    f"context has {context[row].item():g} at row {row}, but classes are 0 to {self.classes - 1}, "
                    f"and {UNKNOWN} where none is known"
                )

    # ---- the class

    def class_prior(self) -> dist.Categorical:
        """p(y)."""
        return dist.Categorical(logits=self.class_logits, validate_args=False)

    def classifier(self, x: Tensor) -> dist.Categorical:
        """q(y | x), its batch the rows: `.probs` is [N, classes]."""
        every = torch.arange(self.classes, device=x.device).view(-1, 1, 1).expand(-1, len(x), 1)
        proposal = self.classifier_model.distribution(x.to(self.dtype))
        return dist.Categorical(logits=proposal.log_prob(every).mT, validate_args=False)

    # ---- the three distributions, the class summed out of each where it is not known

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        prior = self.prior_model.distribution()
        return prior if context is None else prior.expand(context.shape)

    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        y, rows = self._classes(len(x), context), flat(x, self.event_shape).to(self.dtype)
        if (y >= 0).all():
            return self._under(self.encoder_model, rows, y)
        return self._summed(self.encoder_model, rows, y, self.classifier(x).logits)

    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        y = self._classes(len(z), context)
        if (y >= 0).all():
            return self._under(self.decoder_model, z, y)
        return self._summed(self.decoder_model, z, y, self.class_prior().logits.expand(len(z), -1))

    def _classes(self, rows: int, context: Tensor | None) -> Tensor:
        return torch.full((rows,), UNKNOWN, device=self.device) if context is None else context.long()

    def _under(self, part: Explicit, rows: Tensor, y: Tensor) -> dist.TorchDistribution:
        return part.distribution(torch.cat([rows, F.one_hot(y, self.classes).to(rows)], -1))

    def _summed(self, part: Explicit, rows: Tensor, y: Tensor, log_weights: Tensor) -> ClassesSummed:
        every = torch.arange(self.classes, device=rows.device)
        components = self._under(part, rows.repeat(self.classes, 1), every.repeat_interleave(len(rows)))
        known = torch.where(every == y[:, None], 0.0, -torch.inf).to(log_weights)
        return ClassesSummed(torch.where(y[:, None] >= 0, known, log_weights), components)
