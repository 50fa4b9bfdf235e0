"""Discrepancies of generated rows from real ones, each with its gradient: what moment matching minimises."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from inference.kernels import (
    Distances,
    Kernel,
    Octaves,
    directions,
    discrepancy,
    discrepancy_gradient,
    quantile_gaps,
)
from inference.objectives.base import LateLoss
from inference.quality.distances import median_distance

LOOK = 10
"""Steps between two looks at a discrepancy whose gradient came without it."""


class Moment(nn.Module):
    """(made [N, D], real [N, D]) -> a discrepancy, 0 in expectation (or in the limit) of one distribution."""

    term: str
    look: int = 1

    def settle(self, real: Tensor) -> None:
        """Take from real rows what was left open."""

    def late(self, made: Tensor, real: Tensor) -> Discrepancy:
        """The same as a loss with its gradient."""
        value = self(made, real)
        return Discrepancy(self.term, value.detach, value.backward)


class Discrepancy(LateLoss):
    """A discrepancy that is worked out where it is asked for, and `pull`, which sends its gradient to the generator."""

    def __init__(self, name: str, work: Callable[[], Tensor], pull: Callable[[], object]) -> None:
        super().__init__(name, work)
        self.pull = pull


class KernelMoment(Moment):
    """A discrepancy that is a mean over pairs of a kernel, with its gradient in closed form."""

    look = LOOK

    def kernel(self, real: Tensor) -> Kernel:
        raise NotImplementedError

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        return discrepancy(self.kernel(real), made, real)

    def late(self, made: Tensor, real: Tensor) -> Discrepancy:
        kernel, found = self.kernel(real), made.detach()
        return Discrepancy(
            self.term,
            lambda: discrepancy(kernel, found, real),
            lambda: made.backward(discrepancy_gradient(kernel, found, real)),
        )


class Mmd(KernelMoment):
    """The squared maximum mean discrepancy of a mean of Gaussian kernels, by the unbiased estimate (may be below 0).

    The bandwidths h are `widest` and those below it whose squares halve, `count` in all, so that one exponential gives
    all the kernels. They are in units of x.

    Parameters:
        widest: the largest bandwidth; the median distance between real rows unless told, taken from the first rows.
        count: how many bandwidths.

    References:
        A Kernel Two-Sample Test (Gretton et al., 2012), https://jmlr.org/papers/v13/gretton12a.html
    """

    term = "mmd"

    def __init__(self, widest: float | None = None, count: int = 6) -> None:
        super().__init__()
        if widest is not None and not widest > 0:
            raise ValueError(f"widest must be a bandwidth above 0, not {widest}")
        if count < 1:
            raise ValueError(f"count must be at least 1 bandwidth, not {count}")
        self.asked, self.widest, self.count = widest, widest, count

    def settle(self, real: Tensor) -> None:
        self.widest = self.asked or median_distance(real)

    def kernel(self, real: Tensor) -> Octaves:
        return Octaves(self.widest or median_distance(real), self.count)

    def get_extra_state(self) -> float | None:
        return self.widest

    def set_extra_state(self, state: float | None) -> None:
        self.widest = state


class EnergyDistance(KernelMoment):
    """2 E|x - y| - E|x - x'| - E|y - y'|, by the unbiased estimate (may be below 0), in units of x.

    It is the discrepancy of the kernel -|x - y|, and has no bandwidth.

    References:
        Energy statistics: A class of statistics based on distances (Székely and Rizzo, 2013),
        https://doi.org/10.1016/j.jspi.2013.03.018
    """

    term = "energy"

    def kernel(self, real: Tensor) -> Distances:
        return Distances()


class SlicedWasserstein(Moment):
    """The squared Wasserstein distance of rows seen along one direction, mean over directions drawn anew each time.

    In squared units of x. Of two samples of one distribution it is above 0, and falls as their rows grow in number.

    Parameters:
        slices: how many directions.

    References:
        Sliced and Radon Wasserstein Barycenters of Measures (Bonneel et al., 2015),
        https://doi.org/10.1007/s10851-014-0506-3
        Generative Modeling using the Sliced Wasserstein Distance (Deshpande et al., 2018),
        https://arxiv.org/abs/1803.11188
    """

    term = "sliced_wasserstein"

    def __init__(self, slices: int = 128) -> None:
        super().__init__()
        if slices < 1:
            raise ValueError(f"slices must be at least 1 direction, not {slices}")
        self.slices = slices

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        along = directions(self.slices, real.shape[1], real)
        gaps, shares = quantile_gaps(made @ along, real @ along)
        return (gaps.square().mean(1) * shares).sum()
