"""What flows over images are made of: invertible parts on [N, C, H, W].

Every part is a `Transform`: forward goes from the base to the images, inverse from the images to the base, and
scoring is the cheap direction where one is cheaper. A part that takes starting values from data does so in `start`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.transforms import Transform


class Part(Transform):
    """A part of a flow over images. x and y are [N, C, H, W], the context [N, D], log-determinants [N]."""

    @torch.no_grad()
    def start(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Take starting values from a batch of this part's outputs; x of it, for the part before."""
        return self.inverse_and_log_det(y, context)[0]


class Chain(Part):
    """Parts one after another, the first nearest to the base."""

    def __init__(self, parts: list[Part]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for part in self.parts:
            x, log_det = part.forward_and_log_det(x, context)  # type: ignore[operator]
            total = total + log_det
        return x, total

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = y.new_zeros(len(y))
        for part in reversed(self.parts):
            y, log_det = part.inverse_and_log_det(y, context)  # type: ignore[operator]
            total = total + log_det
        return y, total

    @torch.no_grad()
    def start(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        for part in reversed(self.parts):
            y = part.start(y, context)  # type: ignore[operator]
        return y


class ActNorm(Part):
    """y = loc + exp(log_scale) x, a pair for each channel: the identity until `start` makes x of mean 0, variance 1.

    Glow (Kingma and Dhariwal, 2018), https://arxiv.org/abs/1807.03039, section 3.1
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return torch.addcmul(self.loc, x, self.log_scale.exp()), self._log_det(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (y - self.loc) * (-self.log_scale).exp(), -self._log_det(y)

    @torch.no_grad()
    def start(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        scale, loc = torch.std_mean(y, (0, 2, 3), correction=0, keepdim=True)
        self.loc.copy_(loc[0])
        # A channel that never changes says nothing of its scale, which is then one of rounding errors.
        moves = scale > 1e-6 * y.abs().amax((0, 2, 3), keepdim=True)
        self.log_scale.copy_(torch.where(moves, scale, 1.0)[0].log())
        return self.inverse_and_log_det(y)[0]

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * (x.shape[-1] * x.shape[-2])).expand(len(x))


class InvertibleConvolution(Part):
    """The channels of each pixel mixed by one matrix, x = W y with W = P L (U + diag(s)), at first a rotation.

    P, a permutation, and the signs of s are fixed; L has ones on its diagonal and U zeros. Scoring multiplies by
    W, whose log-determinant is sum log |s| a pixel; drawing solves the two triangular systems.

    Glow (Kingma and Dhariwal, 2018), https://arxiv.org/abs/1807.03039, section 3.2
    """

    permutation: Tensor
    signs: Tensor
    below: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        self.register_buffer("permutation", permutation)
        self.register_buffer("signs", upper.diagonal().sign())
        self.register_buffer("below", torch.tril_indices(channels, channels, -1), persistent=False)
        self.lower = nn.Parameter(lower[*self.below])
        self.upper = nn.Parameter(upper.mT[*self.below])
        self.log_scale = nn.Parameter(upper.diagonal().abs().log())

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        columns = x.movedim(1, 0)
        rows = self.permutation.mT @ columns.flatten(1)
        rows = torch.linalg.solve_triangular(lower, rows, upper=False, unitriangular=True)
        rows = torch.linalg.solve_triangular(upper, rows, upper=True)
        return rows.unflatten(1, columns.shape[1:]).movedim(0, 1), -self._log_det(x)

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        lower, upper = self._triangles()
        weight = self.permutation @ lower @ upper
        return F.conv2d(y, weight[:, :, None, None]), self._log_det(y)

    def _triangles(self) -> tuple[Tensor, Tensor]:
        """L with its ones, and U with s on its diagonal."""
        rows, columns = self.below
        lower, upper = torch.diag(self.signs.abs()), torch.diag(self.signs * self.log_scale.exp())
        return lower.index_put((rows, columns), self.lower), upper.index_put((columns, rows), self.upper)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * (x.shape[-1] * x.shape[-2])).expand(len(x))


class ConvNet(nn.Module):
    """A residual convolutional network whose last layer starts at zero; a context shifts each hidden channel.

    `inputs` channels to `hidden` by 3x3; `blocks` times h + conv1x1(relu(conv3x3(relu(h)))); to `outputs` by 3x3.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, blocks: int, context_size: int | None) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, hidden, 3, padding=1)
        self.wide = nn.ModuleList(nn.Conv2d(hidden, hidden, 3, padding=1) for _ in range(blocks))
        self.narrow = nn.ModuleList(nn.Conv2d(hidden, hidden, 1) for _ in range(blocks))
        self.last = nn.Conv2d(hidden, outputs, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)
        if context_size is not None:
            self.shifts = nn.Linear(context_size, hidden * (blocks + 1), bias=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        shifts = [0.0] * (len(self.wide) + 1) if context is None else self._shifts(context)
        h = self.first(x) + shifts[0]
        for wide, narrow, shift in zip(self.wide, self.narrow, shifts[1:], strict=True):
            h = h + narrow((wide(h.relu()) + shift).relu())
        return self.last(h.relu())

    def _shifts(self, context: Tensor) -> list[Tensor]:
        return list(self.shifts(context)[..., None, None].chunk(len(self.wide) + 1, 1))


class Nets:
    """How the networks of a flow are built: width, residual blocks, and the context's size."""

    def __init__(self, hidden: int, blocks: int, clamp: float, context_shape: torch.Size | None) -> None:
        for name, value, least in (("hidden", hidden, 1), ("blocks", blocks, 0)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        if not clamp > 0:
            raise ValueError(f"clamp must be above 0, not {clamp}")
        self.hidden, self.blocks, self.clamp = hidden, blocks, clamp
        self.context_size = None if context_shape is None else context_shape.numel()

    def __call__(self, inputs: int, outputs: int) -> ConvNet:
        return ConvNet(inputs, outputs, self.hidden, self.blocks, self.context_size)


class ChannelCoupling(Part):
    """Half of the channels, b, moved by the other half, a: y_b = t + exp(s) x_b, (t, r) = network(a, context).

    The log-scale s = clamp tanh(r / clamp) is softly clamped. `moved` says which half b is, the first or the second.
    """

    def __init__(self, channels: int, moved: int, nets: Nets) -> None:
        super().__init__()
        self.moved, self.clamp = moved % 2, nets.clamp
        self.network = nets(channels // 2, channels)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        halves = list(x.chunk(2, 1))
        shift, log_scale = self._shift_and_scale(halves[1 - self.moved], context)
        halves[self.moved] = torch.addcmul(shift, halves[self.moved], log_scale.exp())
        return torch.cat(halves, 1), log_scale.sum((1, 2, 3))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        halves = list(y.chunk(2, 1))
        shift, log_scale = self._shift_and_scale(halves[1 - self.moved], context)
        halves[self.moved] = (halves[self.moved] - shift) * (-log_scale).exp()
        return torch.cat(halves, 1), -log_scale.sum((1, 2, 3))

    def _shift_and_scale(self, a: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        shift, bend = self.network(a, context).chunk(2, 1)
        return shift, (bend * (1 / self.clamp)).tanh() * self.clamp


class CheckerboardCoupling(Part):
    """The black squares moved by the white ones (or, `moved` odd, the other way round), as `ChannelCoupling` does."""

    mask: Tensor

    def __init__(self, shape: torch.Size, moved: int, nets: Nets) -> None:
        super().__init__()
        self.clamp = nets.clamp
        channels, height, width = shape
        squares = (torch.arange(height)[:, None] + torch.arange(width) + moved) % 2
        self.register_buffer("mask", squares.to(torch.get_default_dtype()), persistent=False)
        self.network = nets(channels, 2 * channels)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_scale(x, context)
        return torch.addcmul(shift, x, log_scale.exp()), log_scale.sum((1, 2, 3))

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        shift, log_scale = self._shift_and_scale(y, context)
        return (y - shift) * (-log_scale).exp(), -log_scale.sum((1, 2, 3))

    def _shift_and_scale(self, rows: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Shift and log-scale of every pixel, zero where the mask is one: what stays there is what was read."""
        shift, bend = self.network(rows * self.mask, context).chunk(2, 1)
        free = 1 - self.mask
        return shift * free, (bend * (1 / self.clamp)).tanh() * (self.clamp * free)
