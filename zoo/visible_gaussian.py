"""Visible units that are real numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.visible_units import Couplings, VisibleUnits


@dataclass(frozen=True)
class Normals(Couplings):
    """-E(x, h) = x W h + b x - precision x^2 / 2 + c h, for real x; precision is [features]."""

    precision: Tensor

    def shown(self, x: Tensor) -> Tensor:
        return x.to(self.weights.dtype)

    def draw(self, field: Tensor, like: Tensor) -> Tensor:
        return torch.addcdiv(field / self.precision, torch.randn_like(field), self.precision.sqrt())

    def expected(self, field: Tensor, like: Tensor) -> Tensor:
        return field / self.precision

    def log_normaliser(self, field: Tensor, like: Tensor) -> Tensor:
        return 0.5 * (field.square() / self.precision - (self.precision / (2 * math.pi)).log()).sum(1)

    def log_measure(self, x: Tensor) -> Tensor:
        return -0.5 * (self.shown(x).square() @ self.precision)

    def gradients(self, x: Tensor, hidden: Tensor, signs: Tensor) -> dict[str, Tensor]:
        return super().gradients(x, hidden, signs) | {"precision": -0.5 * (signs @ self.shown(x).square())}

    # ---- cell by cell, for rows some of which are held

    def without(self, x: Tensor, cells: Tensor) -> Tensor:
        """Rows whose statistics are 0 in these cells."""
        return x.masked_fill(cells, 0)

    def cell_log_normaliser(self, field: Tensor) -> Tensor:
        """`log_normaliser` of each cell, [N, features], up to a constant."""
        return 0.5 * field.square() / self.precision

    def cells(self, shares: Tensor, field: Tensor, x: Tensor, known: Tensor) -> Tensor:
        """Mean and deviation of each cell where h has these shares [N, states]; of what is known, itself and 0."""
        mean = field / self.precision
        middle = shares @ mean
        spread = (shares @ mean.square() - middle.square()).clamp(min=0) + 1 / self.precision
        return torch.stack([torch.where(known, x, middle), torch.where(known, 0.0, spread.sqrt())], -1)


class GaussianUnits(VisibleUnits):
    """Real numbers: p(x_i | h) = N(b_i + W_i h, s_i^2), so that E = sum (x - b)^2 / 2 s^2 - (x / s^2) W h - c h.

    Parameters:
        variance: "unit" (scale the data to deviations of about one), or "learned", a deviation for each number.

    References:
        Improved Learning of Gaussian-Bernoulli Restricted Boltzmann Machines (Cho, Ilin and Raiko, 2011)
    """

    support = constraints.real
    told_by_cell = True

    def __init__(self, features: int, variance: Literal["unit", "learned"] = "unit") -> None:
        super().__init__(features)
        scale = torch.zeros(features)
        self.log_scale: Tensor
        if variance == "learned":
            self.log_scale = nn.Parameter(scale)
        elif variance == "unit":
            self.register_buffer("log_scale", scale, persistent=False)
        else:
            raise ValueError(f"variance must be 'unit' or 'learned', not {variance!r}")

    def couplings(self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> Normals:
        precision = (-2 * self.log_scale).exp()
        return Normals(weights * precision[:, None], visible_bias * precision, hidden_bias, precision)

    def resting(self) -> Tensor:
        return torch.zeros(self.features)

    def means(self, x: Tensor) -> Tensor:
        return x.mean(0)

    def bias(self, mean: Tensor) -> Tensor:
        return mean

    def initialise(self, x: Tensor) -> None:
        """Learned deviations start at those of the rows."""
        if isinstance(self.log_scale, nn.Parameter) and len(x) > 1:
            self.log_scale.copy_(x.std(0).clamp(min=1e-3).log())

    def pull_back(self, natural: dict[str, Tensor], machine: Couplings) -> list[Tensor]:
        precision = (-2 * self.log_scale.detach()).exp()
        plain = [natural["weights"] * precision[:, None], natural["visible_bias"] * precision, natural["hidden_bias"]]
        if not isinstance(self.log_scale, nn.Parameter):
            return plain
        moved = (natural["weights"] * machine.weights).sum(1)
        moved += natural["visible_bias"] * machine.visible_bias + natural["precision"] * precision
        return [*plain, -2 * moved]
