"""Small conditional distributions: what fills a slot when nothing larger is asked for.

Each factorises over the numbers of a row, p(x | c) = prod_i p(x_i | c), its parameters put out by a network
of the context (or, without a context, free). Shapes: x is [N, *event_shape], context [N, *context_shape].
`log_prob` is in nats a row.

Their network is a perceptron of widths `hidden`, or what `network` says instead: a table such as
{"kind": "convolutional", "channels": [32, 64]}, or from Python what builds any module (`zoo.convolutional`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.base import Explicit, Shape
from zoo.convolutional import Arranged, Arrangement, NetworkSlot, by_number, by_parameter, network_of
from zoo.distributions import Bits, DiagonalNormal, Levels, StandardNormal
from zoo.networks import flat, mlp
from zoo.unrolling import Factorised


class StandardGaussian(Explicit):
    """The standard normal, N(0, 1) for each number: a prior without parameters."""

    def __init__(self, event_shape: Shape, *, context_shape: Shape | None = None) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def distribution(self, context: Tensor | None = None) -> dist.TorchDistribution:
        standard = StandardNormal(self.event_shape, self.like)
        return standard if context is None else standard.expand(context.shape[:1])


class Parameters(nn.Module):
    """`count` parameters for each number of a row: [..., features * count], from a network or free.

    They are for the model's event unless another `shape` is told, and arranged as told where a network that is no
    perceptron puts them out.
    """

    def __init__(
        self,
        model: Explicit,
        count: int,
        hidden: Sequence[int],
        network: NetworkSlot | None = None,
        *,
        shape: torch.Size | None = None,
        arranged: Arrangement = by_parameter,
    ) -> None:
        super().__init__()
        self.context_shape = model.context_shape
        shape = shape or model.event_shape
        outputs = shape.numel() * count
        if self.context_shape is None:
            if network is not None:
                raise ValueError(f"network: {type(model).__name__} has no context_shape, and so nothing to read")
            self.free = nn.Parameter(torch.zeros(outputs))
        elif network is None:
            self.network: nn.Module = mlp(self.context_shape.numel(), outputs, hidden)
        else:
            built = network_of(network)(self.context_shape, shape, count)
            self.network = Arranged(built, self.context_shape, shape, count, arranged)

    def forward(self, context: Tensor | None) -> Tensor:
        if context is None or self.context_shape is None:
            return self.free
        return self.network(flat(context, self.context_shape))


class Gaussian(Explicit):
    """Independent normals whose means and scales both depend on the context."""

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        hidden: Sequence[int] = (128, 128),
        network: NetworkSlot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.parameters_of = Parameters(self, 2, hidden, network)

    def distribution(self, context: Tensor | None = None) -> DiagonalNormal:
        loc, log_scale = self.parameters_of(context).chunk(2, -1)
        if len(self.event_shape) > 1:
            loc, log_scale = (t.unflatten(-1, self.event_shape) for t in (loc, log_scale))
        return DiagonalNormal(loc, log_scale, len(self.event_shape))


class HomoscedasticGaussian(Explicit):
    """Normals whose means depend on the context and share one learned scale.

    As a decoder this is the sigma-VAE: Simple and Effective VAE Training with Calibrated Decoders
    (Rybkin et al., 2021), https://arxiv.org/abs/2006.13202
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        hidden: Sequence[int] = (128, 128),
        network: NetworkSlot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.parameters_of = Parameters(self, 1, hidden, network)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def distribution(self, context: Tensor | None = None) -> DiagonalNormal:
        loc = self.parameters_of(context)
        if len(self.event_shape) > 1:
            loc = loc.unflatten(-1, self.event_shape)
        return DiagonalNormal(loc, self.log_scale.expand_as(loc), len(self.event_shape))


class Bernoulli(Factorised):
    """Independent bits; x holds zeros and ones, as floats."""

    support = constraints.boolean
    levels = 2

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        hidden: Sequence[int] = (128, 128),
        network: NetworkSlot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.parameters_of = Parameters(self, 1, hidden, network)

    def distribution(self, context: Tensor | None = None) -> Bits:
        logits = self.parameters_of(context)
        if len(self.event_shape) > 1:
            logits = logits.unflatten(-1, self.event_shape)
        return Bits(logits, len(self.event_shape))

    def level_logits(self, context: Tensor | None) -> Tensor:
        return F.pad(self.parameters_of(context).reshape(-1, self.features, 1), (1, 0))


class Categorical(Factorised):
    """Independent variables of `levels` levels each; x holds codes 0..levels-1."""

    def __init__(
        self,
        event_shape: Shape,
        *,
        levels: int,
        context_shape: Shape | None = None,
        hidden: Sequence[int] = (128, 128),
        network: NetworkSlot | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if levels < 2:
            raise ValueError(f"levels must be at least 2, not {levels}")
        self.levels = levels
        self.support = constraints.integer_interval(0, levels - 1)
        self.parameters_of = Parameters(self, levels, hidden, network, arranged=by_number)

    def distribution(self, context: Tensor | None = None) -> Levels:
        logits = self.parameters_of(context).unflatten(-1, (*self.event_shape, self.levels))
        return Levels(logits, len(self.event_shape))

    def level_logits(self, context: Tensor | None) -> Tensor:
        return self.parameters_of(context).reshape(-1, self.features, self.levels)
