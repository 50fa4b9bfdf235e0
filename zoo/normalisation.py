"""How the layers of a GAN's networks are kept in scale: by their rows, by reference rows, or by their weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from zoo.declared import declared


class Norm:
    """No normalisation. Others put modules after a layer of so many channels, or do something to all weights."""

    compares = False
    """Whether what becomes of a row depends on the other rows of a call."""
    reference = 0
    """How many reference rows go before those of a call."""

    def after(self, channels: int) -> list[nn.Module]:
        """What stands between a layer, [N, channels, ...], and its activation."""
        return []

    def dress(self, network: nn.Module) -> None:
        """What is done to the weights of a whole network."""


class Spectral(Norm):
    """Each weight, as a matrix, divided by its largest singular value, which one power iteration a call follows.

    Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018), https://arxiv.org/abs/1802.05957
    """

    def dress(self, network: nn.Module) -> None:
        for layer in list(network.modules()):
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d | nn.Embedding):
                spectral_norm(layer)


class Layered(Norm):
    """Each row by itself: all its channels and places to mean 0 and variance 1.

    Layer Normalization (Ba, Kiros and Hinton, 2016), https://arxiv.org/abs/1607.06450
    """

    def after(self, channels: int) -> list[nn.Module]:
        return [nn.GroupNorm(1, channels)]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation of vectors as well as of images."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Any axes may follow the channels."""


class Batch(Norm):
    """Each channel to mean 0 and variance 1 over the rows of a call; over those of late calls once trained.

    Batch Normalization (Ioffe and Szegedy, 2015), https://arxiv.org/abs/1502.03167
    """

    compares = True

    def after(self, channels: int) -> list[nn.Module]:
        return [BatchNorm(channels)]


class Virtual(Norm):
    """Each channel by what a fixed reference batch and the row itself have there: rows do not touch each other.

    Parameters:
        reference: rows of the reference batch. It goes through the network with each call.

    Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498
    """

    def __init__(self, reference: int = 32) -> None:
        if reference < 2:
            raise ValueError(f"a reference batch has at least 2 rows, not {reference}")
        self.reference = reference

    def after(self, channels: int) -> list[nn.Module]:
        return [VirtualBatchNorm(channels, self.reference)]


class VirtualBatchNorm(nn.Module):
    """[R + N, channels, ...] to the same: the first R rows, the reference, by their own mean and variance.

    Each other row goes by those of R + 1 rows, the reference and itself.
    """

    def __init__(self, channels: int, reference: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.reference, self.eps = reference, eps
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, h: Tensor) -> Tensor:
        rows, places = self.reference, h.flatten(2) if h.dim() > 2 else h.unsqueeze(2)
        first, own = places[:rows], places[rows:]
        of_first, of_own = first.mean((0, 2)), own.mean(2)
        spread = (first - of_first.unsqueeze(1)).square().mean((0, 2))
        own_spread = (own - of_own.unsqueeze(2)).square().mean(2)
        mean = (rows * of_first + of_own) / (rows + 1)
        both = rows * (spread + (of_first - mean).square()) + own_spread + (of_own - mean).square()
        centre = torch.cat([of_first.expand(rows, -1), mean])
        variance = torch.cat([spread.expand(rows, -1), both / (rows + 1)])
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - centre * scale
        return (places * scale.unsqueeze(2) + shift.unsqueeze(2)).view_as(h)


class Reference(nn.Module):
    """The reference batch of a network with virtual batch norm, kept with its weights; of no rows elsewhere.

    It is of standard normal draws until `start` takes rows, which it does once.
    """

    rows: Tensor
    context: Tensor
    started: Tensor

    def __init__(self, count: int, shape: torch.Size, context_shape: torch.Size | None) -> None:
        super().__init__()
        self.count = count
        if count:
            self.register_buffer("rows", torch.randn(count, *shape))
            self.register_buffer("context", torch.zeros(count, *(context_shape or ())))
            self.register_buffer("started", torch.tensor(False))

    @torch.no_grad()
    def start(self, rows: Tensor | None, context: Tensor | None = None) -> None:
        """Take these rows (None: stay with the draws) and contexts, from the first again where they are too few."""
        if not self.count or self.started:
            return
        for kept, given in ((self.rows, rows), (self.context, context)):
            if given is not None:
                kept.copy_(given[torch.arange(self.count, device=given.device) % len(given)])
        self.started.fill_(True)

    def before(self, rows: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The rows of a call, and their context, after those of the reference."""
        if not self.count:
            return rows, context
        return torch.cat([self.rows, rows]), None if context is None else torch.cat([self.context, context])

    def cut(self, h: Tensor) -> Tensor:
        """What became of the rows of the call alone."""
        return h[self.count :] if self.count else h


NORMS: Mapping[str, type[Norm]] = {
    "none": Norm,
    "spectral": Spectral,
    "layer": Layered,
    "batch": Batch,
    "virtual": Virtual,
}
NormSlot = Norm | Mapping[str, Any] | str
"""What the place of a normalisation takes: a `Norm`, its name, or a table {"kind": "virtual", "reference": 64}."""


def norm_of(written: NormSlot) -> Norm:
    """The normalisation as it stands, or the one that a name or a table declares."""
    return written if isinstance(written, Norm) else declared("norm", written, NORMS)()
