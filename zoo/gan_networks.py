"""A GAN's places for networks, what all critics share, and the perceptrons that stand there unless told."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zoo.base import Shape, as_shape
from zoo.coding import Network
from zoo.conditioners import Conditioner, Declared, conditioner_of
from zoo.minibatch import MinibatchSlot, minibatch_of
from zoo.network_slot import as_network
from zoo.networks import flat
from zoo.normalisation import Norm, NormSlot, Reference, norm_of

Part = Network | Mapping[str, Any] | str
"""What a part of a GAN takes: a built module, what builds one, or a table {"kind": "dcgan", ...}, or its kind."""
GENERATORS: Mapping[str, str] = {
    "mlp": "zoo.gan_networks:GeneratorNetwork",
    "dcgan": "zoo.image_generators:DCGANGenerator",
    "residual": "zoo.image_generators:ResidualGenerator",
}
CRITICS: Mapping[str, str] = {
    "mlp": "zoo.gan_networks:CriticNetwork",
    "dcgan": "zoo.critics:DCGANCritic",
    "residual": "zoo.critics:ResidualCritic",
}


def as_generator(written: Part) -> Network:
    """The generator, or what builds the one that a name or a table declares."""
    return as_network(written, "generator", GENERATORS, ("event_shape", "context_shape", "latent"))


def as_critic(written: Part) -> Network:
    """The critic, or what builds the one that a name or a table declares."""
    return as_network(written, "critic", CRITICS, ("event_shape", "context_shape"))


Relu = partial(nn.ReLU, inplace=True)


class Leaky(nn.LeakyReLU):
    def __init__(self) -> None:
        super().__init__(0.2)


class Joined(nn.Module):
    """Rows and their context as one vector a row; of the context what a conditioner tells, where there is one."""

    def __init__(self, shape: torch.Size, context_shape: torch.Size | None, conditioner: Conditioner | None) -> None:
        super().__init__()
        self.shape, self.context_shape, self.conditioner = shape, context_shape, conditioner

    def forward(self, rows: Tensor, context: Tensor | None) -> Tensor:
        if context is None or self.context_shape is None:
            return flat(rows, self.shape)
        if self.conditioner is None:
            told = context.reshape(len(rows), self.context_shape.numel()).to(rows.dtype)
        else:
            told = self.conditioner(context, None, len(rows)).vector
        return torch.cat([flat(rows, self.shape), told], -1)


class GeneratorNetwork(nn.Module):
    """(noise [N, latent], context) -> [N, *event_shape], unbounded: a perceptron of the two joined.

    Parameters:
        hidden: widths.
        norm: of the hidden layers, "none", "layer", "batch" or "virtual", or of their weights, "spectral".
        conditioner: what reads the context, such as {"kind": "classes", "levels": 10}; joined as it is unless told.
        width: of what the conditioner tells.
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        latent: int,
        hidden: Sequence[int] = (256, 256),
        norm: NormSlot = "none",
        conditioner: Declared | None = None,
        width: int = 32,
    ) -> None:
        super().__init__()
        normed, self.event_shape, context = norm_of(norm), fixed(event_shape), as_shape(context_shape)
        told = None if conditioner is None else vector_of(conditioner, context, self.event_shape, width)
        self.joined = Joined(torch.Size([latent]), context, told)
        extra = width if told is not None else 0 if context is None else context.numel()
        self.network = perceptron(latent + extra, self.event_shape.numel(), hidden, normed, Relu)
        self.reference = Reference(normed.reference, torch.Size([latent]), context)
        normed.dress(self)

    def refer(self, x: Tensor, context: Tensor | None = None) -> None:
        """Take the contexts of virtual batch norm's reference batch, whose noise is there already."""
        self.reference.start(None, context)

    def forward(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.network(self.joined(*self.reference.before(noise, context)))
        return self.reference.cut(x).unflatten(-1, self.event_shape)


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


def perceptron(
    inputs: int, outputs: int, hidden: Sequence[int], norm: Norm, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    """`zoo.networks.mlp` with a normalisation after each hidden layer."""
    widths = [inputs, *hidden]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), *norm.after(after), activation()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], outputs))


def vector_of(
    conditioner: Declared, context_shape: torch.Size | None, event_shape: torch.Size, width: int
) -> Conditioner:
    """A conditioner that tells a vector of this width and nothing else."""
    found = conditioner_of(conditioner, context_shape, event_shape=event_shape, width=width)
    if found is None or found.planes or found.attended:
        raise ValueError(
            f"a GAN's networks take a context as one vector, which {type(found).__name__} does not tell; "
            'take a conditioner of kind "linear", "vector", "classes" or "tokens"'
        )
    return found


def fixed(event_shape: Shape) -> torch.Size:
    shape = as_shape(event_shape)
    assert shape is not None
    return shape
