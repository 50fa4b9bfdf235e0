"""Whitening: rows brought to mean zero and about unit covariance, as the first thing that a flow does to data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zoo.networks import flat, unflat
from zoo.transforms import Transform

RIDGE = 0.01


class Whitening(Transform):
    """y = loc + U^-1 x backward to x = U (y - loc), U lower triangular: the identity until `initialise(y)`.

    U is the inverse Cholesky factor of the rows' shrunk covariance, S (R + ridge I) S / (1 + ridge), with their
    scales S and their correlations R. As it is the correlations that are shrunk, the units of the columns make no
    difference, and columns that are constant or copies of each other do no harm.

    Loc and U are buffers, empty as long as the map is the identity, so that it costs nothing then and is
    remembered with the model's state.
    """

    loc: Tensor
    matrix: Tensor

    def __init__(self, event_shape: torch.Size) -> None:
        super().__init__()
        self.event_shape = event_shape
        self.register_buffer("loc", torch.empty(0))
        self.register_buffer("matrix", torch.empty(0, 0))

    @torch.no_grad()
    def initialise(self, y: Tensor, ridge: float = RIDGE) -> None:
        """Whiten these rows, [N, *event_shape], from now on."""
        rows = flat(y, self.event_shape).double()
        loc, scale = rows.mean(0), rows.std(0, correction=0)
        # a column of one value has a scale of rounding errors
        scale = torch.where(scale > 1e-12 * rows.abs().amax(0), scale, 1.0)
        standard = (rows - loc) / scale
        correlation = (standard.mT @ standard / len(rows)).fill_diagonal_(1 + ridge) / (1 + ridge)
        factor = torch.linalg.cholesky(correlation) * scale[:, None]
        inverse = torch.linalg.solve_triangular(factor, torch.eye(len(loc)).to(factor), upper=False)
        self.loc, self.matrix = loc.to(self.loc), inverse.contiguous().to(self.matrix)  # laid out as when loaded

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not len(self.loc):
            return x, x.new_zeros(())
        moved = self._unwhitened(flat(x, self.event_shape)) + self.loc
        return unflat(moved, self.event_shape), -self.matrix.diagonal().log().sum()

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not len(self.loc):
            return y, y.new_zeros(())
        moved = (flat(y, self.event_shape) - self.loc) @ self.matrix.mT
        return unflat(moved, self.event_shape), self.matrix.diagonal().log().sum()

    def blurred(self, y: Tensor, noise: float) -> Tensor:
        """y with normal noise of this standard deviation in the whitened space; as it is before `initialise`."""
        if not len(self.loc):
            return y
        return y + unflat(self._unwhitened(torch.randn_like(flat(y, self.event_shape))), self.event_shape) * noise

    def _unwhitened(self, x: Tensor) -> Tensor:
        """U^-1 x for each row, by the very U that whitens: the directions invert each other in any precision."""
        return torch.linalg.solve_triangular(self.matrix.mT, x, upper=True, left=False)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        for name in ("loc", "matrix"):  # of the shape that is to be loaded: empty, or whole
            if prefix + name in state_dict:
                own: Tensor = getattr(self, name)
                setattr(self, name, own.new_empty(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)


class Whitened(Transform):
    """A map whose data side is whitened: forward through the map and then out of the whitened space."""

    def __init__(self, map: Transform, event_shape: torch.Size) -> None:
        super().__init__()
        self.map, self.whitening = map, Whitening(event_shape)

    def forward_and_log_det(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        y, log_det = self.map.forward_and_log_det(x, context)
        if not len(self.whitening.loc):
            return y, log_det
        y, more = self.whitening.forward_and_log_det(y)
        return y, log_det + more

    def inverse_and_log_det(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if not len(self.whitening.loc):
            return self.map.inverse_and_log_det(y, context)
        x, more = self.whitening.inverse_and_log_det(y)
        x, log_det = self.map.inverse_and_log_det(x, context)
        return x, log_det + more
