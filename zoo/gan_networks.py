"""A GAN's places for networks, and what the networks that stand there share; the perceptron that is a generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zoo.base import Shape, as_shape
from zoo.coding import Network
from zoo.conditioners import Conditioner, Declared, conditioner_of
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
    "mlp": "zoo.critics:CriticNetwork",
    "dcgan": "zoo.image_critics:DCGANCritic",
    "residual": "zoo.image_critics:ResidualCritic",
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
