"""Deep belief net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.base import LatentVariable, Shape
from zoo.faces import Rows
from zoo.rbm import RBM
from zoo.verbs import Refusal


class DeepBeliefNet(LatentVariable):
    """Deep belief net: p(x, h1, ..., hL) = p(x | h1) ... p(h_(L-2) | h_(L-1)) p(h_(L-1), hL), the last an RBM's.

    Layers below the top are sigmoid units directed downwards; q(h1 | x) q(h2 | h1) ... goes up by the same weights.
    Shapes: x is [N, *event_shape]; z is h1 ... h_(L-1), side by side, [N, units]; the top's hidden layer hL is summed
    out. The likelihood is bounded from below in nats a row; log Z of the top is exact where it can be summed, and
    `inference.log_likelihood` estimates it by AIS where it can't. Each layer is an RBM in `layers`, fitted to draws of
    the one below: all at once (`LayerByLayer`), or from the bottom up (`inference.stacking.fit_layers`).

    Parameters:
        hidden: the units of each hidden layer, from x upwards; two or more.

    Reproducible: 8x8 digits, black or white, seed 0, `fit_layers` by batches of 20 and `descent` at rates from 0.2 to
    0.001: of 450 held out -18.22 nats a row with hidden = (16, 64) and 100 epochs a layer (a bound, log Z summed; its
    first layer alone -18.34), and -17.48 with (32, 64) and 60 epochs (log Z by AIS; first layer alone -17.54).

    References:
        A Fast Learning Algorithm for Deep Belief Nets (Hinton, Osindero and Teh, 2006),
        https://doi.org/10.1162/neco.2006.18.7.1527
        On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008), the bound with AIS,
        https://doi.org/10.1145/1390156.1390266
    """

    support = constraints.boolean

    def __init__(
        self, event_shape: Shape, *, context_shape: Shape | None = None, hidden: Sequence[int] = (64, 64)
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if context_shape is not None:
            raise ValueError("a DeepBeliefNet takes no context: take a conditional family such as the VAE")
        sizes = tuple(hidden) if isinstance(hidden, Sequence) else (hidden,)
        if len(sizes) < 2 or not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"hidden must be two or more positive numbers of units, not {hidden!r}")
        self.hidden = sizes
        self.layers: Any = nn.ModuleList(RBM(a, hidden=b) for a, b in pairwise((self.features, *sizes)))

    @property
    def top(self) -> RBM:
        """The undirected layer, an energy of h_(L-1)."""
        return self.layers[-1]

    # ---- the three distributions

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        """p(h1 | h2) ... p(h_(L-1)); scoring needs the top's log Z."""
        if "log_partition" not in self.top.capabilities:
            raise Refusal(
                "DeepBeliefNet has no prior with a log Z that can be summed: ask inference.log_likelihood, which "
                "estimates it by AIS, or sample"
            )
        return TopDown(self, self.top.log_partition().to(self.dtype))

    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """p(x | h1)."""
        first = z[..., : self.hidden[0]]
        return _bernoulli(self._down(0, first).unflatten(-1, self.event_shape), len(self.event_shape))

    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """q(h1 | x) q(h2 | h1) ..., each layer independent given the one below."""
        return BottomUp(self, x)

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        """The top by its Gibbs chain, and then down."""
        self.context_rows(n, context)
        return self.decoder(TopDown(self, torch.zeros(())).sample((n,))).sample()

    def unnormalised(self) -> Unnormalised:
        """The net without the log Z of its top, which the bound is too large by."""
        return Unnormalised(self)

    # ---- the layers, one above the other

    @torch.no_grad()
    def upward(self, x: Tensor, layer: int) -> Tensor:
        """Draws of what layer `layer` is to model, from x up; [N, units]."""
        rows = x.reshape(-1, self.features).to(self.dtype)
        for below in self.layers[:layer]:
            rows = below.hidden_probabilities(rows).bernoulli()
        return rows

    @torch.no_grad()
    def begin(self, layer: int) -> bool:
        """Start a layer as the one below turned over, where the sizes allow it: the bound is then what it was."""
        above, below = self.layers[layer], self.layers[layer - 1]
        fits = layer > 0 and above.hidden == below.features
        if fits:
            above.weights.copy_(below.weights.t())
            above.visible_bias.copy_(below.hidden_bias)
            above.hidden_bias.copy_(below.visible_bias)
            above.initialised.fill_(True)
        return fits

    def _up(self, layer: int, rows: Tensor) -> Tensor:
        """The log-odds of the layer's hidden units."""
        machine = self.layers[layer]
        return machine.hidden_bias + rows @ machine.weights

    def _down(self, layer: int, h: Tensor) -> Tensor:
        """The log-odds of the layer's visible units."""
        machine = self.layers[layer]
        return machine.visible_bias + h @ machine.weights.t()

    def _split(self, z: Tensor) -> tuple[Tensor, ...]:
        return z.split(list(self.hidden[:-1]), -1)


def _bernoulli(logits: Tensor, dims: int = 1) -> dist.TorchDistribution:
    return dist.Bernoulli(logits=logits, validate_args=False).to_event(dims)


class _Layered(Rows):
    """A distribution of z, the layers side by side."""

    support = constraints.independent(constraints.boolean, 1)

    @staticmethod
    def _shape_of(model: DeepBeliefNet) -> torch.Size:
        return torch.Size([sum(model.hidden[:-1])])


class TopDown(_Layered):
    """p(h_(L-1)), the RBM's, and each layer below given the one above."""

    def __init__(self, model: DeepBeliefNet, log_z: Tensor, batch_shape: torch.Size = torch.Size()) -> None:  # noqa: B008
        self._log_z = log_z
        super().__init__(model, batch_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TopDown:
        return TopDown(self._model, self._log_z, torch.Size(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        net = self._model
        layers = net._split(value)
        top = layers[-1]
        total = -net.top.free_energy(top.reshape(-1, top.shape[-1])).reshape(top.shape[:-1]) - self._log_z
        for k, (below, above) in enumerate(pairwise(layers), start=1):
            total = total + _bernoulli(net._down(k, above)).log_prob(below)
        return total

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        net, shape = self._model, torch.Size(sample_shape) + self.batch_shape
        layers = [net.top.sample(shape.numel())]
        for k in range(len(net.hidden) - 2, 0, -1):
            layers.insert(0, _bernoulli(net._down(k, layers[0])).sample())
        return torch.cat(layers, -1).reshape(shape + self.event_shape)


class BottomUp(_Layered):
    """q(h1 | x) q(h2 | h1) ..."""

    def __init__(self, model: DeepBeliefNet, x: Tensor) -> None:
        self._x = x.reshape(len(x), -1).to(model.dtype)
        super().__init__(model, torch.Size([len(x)]))

    def expand(self, batch_shape: Any, _instance: Any = None) -> BottomUp:
        if torch.Size(batch_shape) != self.batch_shape:
            raise ValueError(f"q(z | x) is of {len(self._x)} rows and can't be expanded to {list(batch_shape)}")
        return self

    def log_prob(self, value: Tensor) -> Tensor:
        total, below = value.new_zeros(value.shape[:-1]), self._x
        for k, layer in enumerate(self._model._split(value)):
            total = total + _bernoulli(self._model._up(k, below)).log_prob(layer)
            below = layer
        return total

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        layers = [self._x.expand(*sample_shape, *self._x.shape)]
        for k in range(len(self._model.hidden) - 1):
            layers.append(_bernoulli(self._model._up(k, layers[-1])).sample())
        return torch.cat(layers[1:], -1)

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError("the means of a layer above the first have no closed form")


class Unnormalised:
    """A net as a latent-variable model whose prior lacks the log Z of its top."""

    def __init__(self, net: DeepBeliefNet) -> None:
        self.net, self.support, self.measure = net, net.support, net.measure
        self.decoder, self.encoder = net.decoder, net.encoder

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        return TopDown(self.net, torch.zeros((), dtype=self.net.dtype, device=self.net.device))
