"""The bound of a chain of latents by one step a row, and its reweightings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inference.objectives.base import Loss, Objective
from inference.protocols import Stepwise, by_row, name_of

Weighting = Callable[[Any], Tensor]
"""A batch's step, as `Stepwise` gives it -> the loss of each row, [N]."""
Times = Callable[[int, int, torch.device], Tensor]
"""(rows, steps, device) -> a step of 1..steps for each row."""


def bound(step: Any) -> Tensor:
    """-ELBO of each row in nats, in expectation over its step, which was drawn uniformly."""
    return step.steps * step.divergence() + step.settled()


def simple(step: Any) -> Tensor:
    """The mean square error of the noise, each step as important as the others (Ho, Jain and Abbeel, 2020, eq. 14).

    Learned variances, which it says nothing of, are taught by a thousandth of the bound a number of x (Nichol and
    Dhariwal, 2021, eq. 16).
    """
    if not step.model.learns_variance:
        return step.error()
    return step.error() + 0.001 * step.steps / step.x[0].numel() * step.variance_divergence()


def independent(rows: int, steps: int, device: torch.device) -> Tensor:
    """Uniform steps, each by itself."""
    return torch.randint(1, steps + 1, (rows,), device=device)


def low_discrepancy(rows: int, steps: int, device: torch.device) -> Tensor:
    """Uniform steps, evenly spread over the batch by one draw for all: the mean over the rows varies less.

    Each row's step is uniform by itself only over rows in a random order, as `fit` takes them.

    References:
        Variational Diffusion Models (Kingma et al., 2021), https://arxiv.org/abs/2107.00630, appendix I.1
    """
    offsets = torch.arange(rows, device=device, dtype=torch.float64) / rows
    places = (offsets + torch.rand(1, device=device, dtype=torch.float64)) % 1
    return (places * steps).long().clamp(max=steps - 1) + 1


class OneTimestep(Objective):
    """The loss of each row at one step of its chain, the mean over the rows.

    With `bound` it is -ELBO in nats a row, unbiased; `simple` weights the same steps otherwise, which makes better
    samples and is no bound. A share `model.untold` of the rows is not told its context.

    Parameters:
        weighting: `bound`, `simple`, or any function of a step; `simple` unless told, but `bound` where the
            noise schedule is learned, which nothing else teaches.
        times: `low_discrepancy` or `independent`.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), https://arxiv.org/abs/2006.11239
        Variational Diffusion Models (Kingma et al., 2021), https://arxiv.org/abs/2107.00630
        Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), https://arxiv.org/abs/2207.12598
    """

    asks = Stepwise

    def __init__(self, weighting: Weighting | None = None, times: Times = low_discrepancy) -> None:
        super().__init__()
        self.weighting, self.times = weighting, times

    def prepare(self, model: Stepwise, x: Tensor, context: Tensor | None = None) -> None:
        super().prepare(model, x, context)
        if model.learns_schedule and self.weighting is simple:
            raise ValueError(
                f"the noise schedule of this {name_of(model)} is learned, and simple would only teach it to add more "
                "noise: take the weighting bound"
            )

    def unit(self, model: Stepwise) -> str:
        """Nats of the bound; of other weightings, which are no likelihood, a square error."""
        return super().unit(model) if self._weighting(model) is bound else "weighted square error a number"

    def _weighting(self, model: Stepwise) -> Weighting:
        return self.weighting or (bound if model.learns_schedule else simple)

    def forward(self, model: Stepwise, x: Tensor, context: Tensor | None = None) -> Loss:
        rows = x.shape[0]
        t = self.times(rows, model.steps, x.device)
        given = None
        if context is not None and model.untold:
            given = torch.rand(rows, device=x.device) >= model.untold
        losses = self._weighting(model)(model.step(x, t, context, given))
        value = by_row(losses, (rows,), model, "the loss at one step").mean()
        return Loss(value, {"loss": value.detach()})
