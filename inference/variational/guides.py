"""Guides over all of a program's latents at once, on unconstrained space: K of them in one batch, one a start.

Each lives in the frame that its start gives it: q = centre + root (its own map of noise), so that a step of the
optimiser counts in standard deviations of the start, whatever the units of the latents.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

LOG_2PI = math.log(2 * math.pi)


class Start(Protocol):
    """K normals that guides begin from; `Normal` of Pathfinder is one."""

    @property
    def mean(self) -> Tensor: ...
    def variance(self) -> Tensor: ...
    def tril(self) -> Tensor: ...


class Guide(nn.Module):
    """K densities q over R^dim. `log_prob` and `rsample` are of each of the K: [n, K, dim] and [n, K] nats."""

    lr = 0.1
    """The rate to begin with, unless told."""

    def rsample(self, n: int) -> Tensor:
        """Draws that carry gradients to the parameters."""
        raise NotImplementedError

    def log_prob(self, q: Tensor) -> Tensor:
        raise NotImplementedError

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Draws and their log density, whose gradient goes through the draws alone (sticking the landing).

        References:
            Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference (Roeder, Wu and
            Duvenaud, 2017), https://arxiv.org/abs/1703.09194
        """
        q = self.rsample(n)
        with held(self):
            return q, self.log_prob(q)


@contextmanager
def held(module: nn.Module) -> Iterator[None]:
    """The module's parameters pass for constants within."""
    moving = [p for p in module.parameters() if p.requires_grad]
    for p in moving:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in moving:
            p.requires_grad_(True)


GuideOf = Callable[[Start], Guide]
"""What makes guides of their starts: a class of this module, or a `functools.partial` of one."""


class MeanField(Guide):
    """Independent normals: q(z) = prod_i N(z_i; m_i, s_i^2)."""

    centre: Tensor
    width: Tensor

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.register_buffer("centre", start.mean.clone())
        self.register_buffer("width", start.variance().sqrt())
        self.shift = nn.Parameter(torch.zeros_like(start.mean))
        self.log_scale = nn.Parameter(torch.zeros_like(start.mean))

    def rsample(self, n: int) -> Tensor:
        noise = _noise(n, self.shift)
        return self.centre + self.width * (self.shift + self.log_scale.exp() * noise)

    def log_prob(self, q: Tensor) -> Tensor:
        scale = self.width * self.log_scale.exp()
        noise = (q - self.centre - self.width * self.shift) / scale
        return -0.5 * (noise**2 + LOG_2PI).sum(-1) - scale.log().sum(-1)


class FullCovariance(Guide):
    """A normal with any covariance: q(z) = N(z; m, L L'), L lower triangular; dim (dim + 3) / 2 parameters."""

    centre: Tensor
    frame: Tensor

    def __init__(self, start: Start) -> None:
        super().__init__()
        self.register_buffer("centre", start.mean.clone())
        self.register_buffer("frame", start.tril())
        self.shift = nn.Parameter(torch.zeros_like(start.mean))
        self.log_scale = nn.Parameter(torch.zeros_like(start.mean))
        self.below = nn.Parameter(torch.zeros_like(self.frame))

    def root(self) -> Tensor:
        """L, [K, dim, dim]."""
        below = self.below.tril(-1) / math.sqrt(self.below.shape[-1])  # so that a row moves no faster than its diagonal
        return self.frame @ (below + torch.diag_embed(self.log_scale.exp()))

    def mean(self) -> Tensor:
        """m, [K, dim]."""
        return self.centre + torch.einsum("kij,kj->ki", self.frame, self.shift)

    def rsample(self, n: int) -> Tensor:
        return self.mean() + torch.einsum("kij,nkj->nki", self.root(), _noise(n, self.shift))

    def log_prob(self, q: Tensor) -> Tensor:
        return _normal_log_prob(q - self.mean(), self.root())


class LowRank(Guide):
    """A normal of covariance diag(s^2) + F F', F [dim, rank]: what a few directions share, at dim (rank + 2) numbers.

    Parameters:
        rank: how many directions.
    """

    centre: Tensor
    width: Tensor

    def __init__(self, start: Start, *, rank: int = 8) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"the rank of a LowRank guide must be at least 1, not {rank}")
        self.register_buffer("centre", start.mean.clone())
        self.register_buffer("width", start.variance().sqrt())
        self.shift = nn.Parameter(torch.zeros_like(start.mean))
        self.log_scale = nn.Parameter(torch.zeros_like(start.mean))
        small = 0.01 * torch.randn(*start.mean.shape, min(rank, start.mean.shape[-1])).to(start.mean)
        self.factor = nn.Parameter(small)  # not zero, where its gradient would be too

    def rsample(self, n: int) -> Tensor:
        shared = torch.einsum("kir,nkr->nki", self.factor, _noise(n, self.factor[:, 0]))
        return self.centre + self.width * (self.shift + shared + self.log_scale.exp() * _noise(n, self.shift))

    def log_prob(self, q: Tensor) -> Tensor:
        inside = (q - self.centre) / self.width - self.shift
        normal = torch.distributions.LowRankMultivariateNormal(
            torch.zeros_like(self.shift), self.factor, (2 * self.log_scale).exp(), validate_args=False
        )
        return normal.log_prob(inside) - self.width.log().sum(-1)


class Flow(Guide):
    """Any density over [dim] in the place of the noise: q(z) = f(root^-1 (z - centre)) / |root|, a copy of f a start.

    Parameters:
        density: an object whose `distribution()` has `rsample` and `log_prob`, such as a flow.
    """

    lr = 0.005
    centre: Tensor
    frame: Tensor

    def __init__(self, start: Start, *, density: Any) -> None:
        super().__init__()
        count, dim = start.mean.shape
        shape = tuple(getattr(density, "event_shape", (dim,)))
        if shape != (dim,):
            raise ValueError(f"the guide {type(density).__name__} is over rows of {list(shape)}, but q has {[dim]}")
        self.register_buffer("centre", start.mean.clone())
        self.register_buffer("frame", start.tril())
        self.flows: Any = nn.ModuleList(copy.deepcopy(density) for _ in range(count)).to(start.mean)

    def rsample(self, n: int) -> Tensor:
        inside = torch.stack([flow.distribution().rsample((n,)) for flow in self.flows], 1)
        return self.centre + torch.einsum("kij,nkj->nki", self.frame, inside)

    def log_prob(self, q: Tensor) -> Tensor:
        inside = torch.linalg.solve_triangular(self.frame, (q - self.centre).movedim(0, -1), upper=False).movedim(-1, 0)
        each = [flow.distribution().log_prob(rows) for flow, rows in zip(self.flows, inside.unbind(1), strict=True)]
        return torch.stack(each, 1) - self.frame.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _noise(n: int, like: Tensor) -> Tensor:
    return torch.randn(n, *like.shape, dtype=like.dtype, device=like.device)


def _normal_log_prob(gap: Tensor, root: Tensor) -> Tensor:
    """log N(gap; 0, root root'), [n, K] of gap [n, K, dim]."""
    noise = torch.linalg.solve_triangular(root, gap.movedim(0, -1), upper=False)
    return -0.5 * (noise**2 + LOG_2PI).sum(1).T - root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
