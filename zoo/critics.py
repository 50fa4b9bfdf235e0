"""What all critics share, and the perceptron that is a GAN's critic unless told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.base import Shape, as_shape
from zoo.conditioners import Conditioner, Declared
from zoo.gan_networks import Joined, Leaky, fixed, perceptron, vector_of
from zoo.minibatch import MinibatchSlot, minibatch_of
from zoo.normalisation import Norm, NormSlot, Reference, norm_of


class Critic(nn.Module, ABC):
    """(x, context) -> [N], the logit of "x is real": gain (psi . f(x) + e(context) . phi(x)).

    phi(x), [N, width], is the critic's body; f is phi joined with what `minibatch` makes of it, and e(context) what a
    conditioner tells, V y of a class y: the projection of the paper. Without a conditioner there is no such term.
    `compares_rows` says that a row's logit depends on the others of a call, as batch norm and minibatch features make
    it: real rows and made ones then need a call of their own each.

    References:
        cGANs with Projection Discriminator (Miyato and Koyama, 2018), https://arxiv.org/abs/1802.05637
    """

    together: Any
    conditioner: Conditioner | None

    def __init__(self, event_shape: Shape, context_shape: Shape | None, norm: Norm, gain: float) -> None:
        super().__init__()
        if not gain > 0:
            raise ValueError(f"gain must be above 0, not {gain}")
        self.event_shape, self.context_shape, self.gain = fixed(event_shape), as_shape(context_shape), gain
        self.compares_rows = norm.compares
        self.reference = Reference(norm.reference, self.event_shape, self.context_shape)

    def read_by(self, width: int, minibatch: MinibatchSlot | None, conditioner: Declared | None) -> int:
        """Build what reads phi, of this width; how many numbers the last layer then reads."""
        self.together = minibatch_of(minibatch, width)
        shapes = self.context_shape, self.event_shape
        self.conditioner = None if conditioner is None else vector_of(conditioner, *shapes, width)
        self.compares_rows = self.compares_rows or self.together is not None
        return width + (0 if self.together is None else self.together.outputs)

    @abstractmethod
    def body(self, x: Tensor, context: Tensor | None) -> Tensor:
        """phi, [N, width]."""

    @abstractmethod
    def last(self, f: Tensor) -> Tensor:
        """psi . f, [N, 1]."""

    def refer(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take real rows for virtual batch norm's reference batch."""
        self.reference.start(x, context)

    def features(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """f, what the last layer reads: phi, [N, width], then what is seen of the rows together."""
        return self.read(x, context)

    def read(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The same for the critic itself, whatever `features` shows to others."""
        phi = self.reference.cut(self.body(*self.reference.before(x, context)))
        return phi if self.together is None else torch.cat([phi, self.together(phi)], 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        f = self.read(x, context)
        logit = self.last(f).squeeze(-1)
        if self.conditioner is not None:
            told = self.conditioner(context, None, len(x)).vector
            logit = logit + (told * f[:, : told.shape[1]]).sum(1)
        return logit * self.gain


class CriticNetwork(Critic):
    """A perceptron of x and the context joined; its layers have spectral norm 1 unless told.

    With spectral norm and no context the logit moves by no more than `gain` for a unit of distance in x.

    Parameters:
        hidden: widths.
        gain: what the logit is multiplied by.
        norm: "spectral", "none", "layer", "virtual" or "batch".
        minibatch: "discrimination", "deviation", or a table of one; nothing unless told.
        conditioner: what reads the context for a projection; it is joined to x as it is unless told.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        hidden: Sequence[int] = (256, 256),
        gain: float = 12.0,
        norm: NormSlot = "spectral",
        minibatch: MinibatchSlot | None = None,
        conditioner: Declared | None = None,
    ) -> None:
        normed = norm_of(norm)
        super().__init__(event_shape, context_shape, normed, gain)
        beside = self.context_shape if conditioner is None else None
        self.joined = Joined(self.event_shape, beside, None)
        extra = 0 if beside is None else beside.numel()
        self.network = perceptron(self.event_shape.numel() + extra, 1, hidden, normed, Leaky)
        width = [self.event_shape.numel() + extra, *hidden][-1]
        reads = self.read_by(width, minibatch, conditioner)
        if reads != width:
            self.network[-1] = nn.Linear(reads, 1)
        normed.dress(self)

    def body(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.network[:-1](self.joined(x, context))

    def last(self, f: Tensor) -> Tensor:
        return self.network[-1](f)
