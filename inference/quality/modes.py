"""Which modes of the data samples reach, which they miss, and how many samples lie in none.

References:
    Unrolled Generative Adversarial Networks (Metz et al., 2016), https://arxiv.org/abs/1611.02163, for the ring
    VEEGAN (Srivastava et al., 2017), https://arxiv.org/abs/1705.07761, for samples of high quality
    Silhouettes (Rousseeuw, 1987), https://doi.org/10.1016/0377-0427(87)90125-7
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference.quality.estimates import Estimate, share

LEAST = 0.1
"""A mode is reached by samples of at least this part of the share that the data has there."""
MOST_MODES = 16
"""Up to so many modes are looked for."""
LOOKED_AT = 500
"""Rows that the modes are looked for in; evenly spaced ones of more."""
WITHIN = 0.99
"""The share of a found mode's own rows that its reach holds."""


def in_percent(share: Estimate) -> str:
    return f"{100 * share.value:.3g} % [{100 * share.low:.3g}, {100 * share.high:.3g}]"


@dataclass(frozen=True)
class Modes:
    """Centres [K, D], how far each reaches [K], the data's share in each [K]; and how they came to be known.

    A row is of the mode whose centre is nearest, and of high quality within that one's reach. Distances are those of
    the features over `unit` [D].
    """

    centres: Tensor
    reach: Tensor
    shares: Tensor
    names: tuple[str, ...]
    unit: Tensor
    source: str

    def assign(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(each row's mode, whether it lies within its reach), [N] each."""
        rows = rows.to(self.centres) / self.unit
        gaps = torch.cdist(rows, self.centres / self.unit, compute_mode="donot_use_mm_for_euclid_dist")
        nearest = gaps.min(1)
        return nearest.indices, nearest.values <= self.reach[nearest.indices]

    def cells(self) -> Modes:
        """The same centres, each reaching as far as it is the nearest one."""
        return replace(self, reach=torch.full_like(self.reach, math.inf))


@dataclass(frozen=True)
class ModeCoverage:
    """What `n` samples reach: `shares` of them in each mode, and `good`, the share that is of high quality at all."""

    modes: Modes
    shares: tuple[Estimate, ...]
    good: Estimate
    n: int
    least: float

    @property
    def reached(self) -> tuple[bool, ...]:
        """A mode is reached by at least `least` times the data's share there."""
        expected = self.modes.shares.tolist()
        return tuple(found.value >= self.least * there for found, there in zip(self.shares, expected, strict=True))

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name, reached in zip(self.modes.names, self.reached, strict=True) if not reached)

    @property
    def missed(self) -> float:
        """The share of the data in the modes that are missing."""
        return float(sum(s for s, reached in zip(self.modes.shares.tolist(), self.reached, strict=True) if not reached))

    def __str__(self) -> str:
        missing = f", all but {', '.join(self.missing)}" if self.missing else ""
        return (
            f"{sum(self.reached)} of {len(self.shares)} modes reached ({self.modes.source}){missing}; "
            f"{in_percent(self.good)} of {self.n} samples are of high quality"
        )


def known_modes(
    centres: Tensor,
    scale: float | Tensor,
    *,
    within: float = 3.0,
    shares: Tensor | None = None,
    names: Sequence[str] | None = None,
) -> Modes:
    """Modes at centres [K, D] of standard deviation `scale`, a number or [K], each reaching `within` times as far.

    The shares of the data are equal unless told. In more than a few dimensions normal rows lie further out than 3
    standard deviations of one number, at about sqrt(D) of them: say within what they count.
    """
    centres = _rows("centres", centres)
    count = len(centres)
    reach = within * torch.as_tensor(scale, dtype=torch.double, device=centres.device).expand(count)
    if not (reach > 0).all():
        raise ValueError(f"the modes' scale and within must be above 0, not {scale} and {within}")
    if count < 2 or len(torch.unique(centres, dim=0)) < count:
        raise ValueError(f"centres must be at least two, all different, not {count} with some alike")
    weights = torch.ones(count) if shares is None else torch.as_tensor(shares)
    if weights.shape != (count,) or not (weights > 0).all():
        raise ValueError(f"shares must be above 0, one for each of {count} modes, not {weights.tolist()}")
    weights = weights.to(centres) / weights.sum()
    return Modes(centres, reach, weights, named(centres, names), torch.ones_like(centres[0]), f"{count} given")


def find_modes(
    data: Tensor,
    count: int | None = None,
    *,
    unit: Tensor | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Modes:
    """Modes found in data [N, D] by k-means: the centres and shares of its clusters, each reaching to 99 % of its rows.

    Where no count is given it is the one of 2 to 16 with the largest mean silhouette, on 500 rows evenly spaced. Data
    without modes is cut all the same, and to miss a part of it is no less a fault.

    Parameters:
        unit: what each feature [D] is divided by before distances are taken, such as its standard deviation.
    """
    data = _rows("data", data)
    unit = torch.ones_like(data[0]) if unit is None else unit.to(data)
    most = len(torch.unique(data, dim=0))
    if not 2 <= (count or 2) <= most:
        raise ValueError(f"{count or 2} modes can't be told apart in {most} different rows")
    scaled = data / unit
    centres = _centres(scaled, count, min(most, MOST_MODES), seed)
    gaps = torch.cdist(scaled, centres, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    reach = torch.stack([gaps.values[gaps.indices == k].quantile(WITHIN) for k in range(len(centres))])
    shares = torch.bincount(gaps.indices, minlength=len(centres)).double() / len(data)
    centres = centres * unit
    source = f"{len(centres)} found by k-means in {len(data)} rows"
    return Modes(centres, reach, shares.to(data), named(centres, names), unit, source)


def unit_of(x: Tensor) -> Tensor:
    """What distances of rows x count in, [D]: columns of a table have a unit each, a picture's values share one."""
    rows = x.flatten(1).double()
    if x.dim() > 2 or len(rows) < 2:
        return torch.ones_like(rows[0])
    spread = rows.std(0)
    return torch.where(spread > 0, spread, torch.ones_like(spread))


def mode_coverage(samples: Tensor, modes: Modes, *, least: float = LEAST) -> ModeCoverage:
    """Which modes samples [N, D] reach, in the same features as the modes (`known_modes`, `find_modes`)."""
    samples = _rows("samples", samples)
    if samples.shape[1] != modes.centres.shape[1]:
        raise ValueError(f"samples have {samples.shape[1]} features, but the modes {modes.centres.shape[1]}")
    if not 0 < least <= 1:
        raise ValueError(f"least must be above 0 and at most 1, not {least}")
    of, good = modes.assign(samples)
    n = len(samples)
    counts = torch.bincount(of[good], minlength=len(modes.centres)).tolist()
    return ModeCoverage(modes, tuple(share(k, n) for k in counts), share(sum(counts), n), n, least)


def _centres(scaled: Tensor, count: int | None, most: int, seed: int) -> Tensor:
    """The centres of k-means, their number by the silhouette where it is not told."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    rows = scaled[:: max(1, -(-len(scaled) // LOOKED_AT))].cpu().numpy()
    if count is None and most > 2:
        cuts = [KMeans(k, n_init=3, random_state=seed).fit(rows) for k in range(2, min(most, len(rows) - 1) + 1)]
        best = max(cuts, key=lambda cut: silhouette_score(rows, cut.labels_))
        return torch.as_tensor(best.cluster_centers_).to(scaled)
    whole = KMeans(count or 2, n_init=3, random_state=seed).fit(scaled.cpu().numpy())
    return torch.as_tensor(whole.cluster_centers_).to(scaled)


def named(centres: Tensor, names: Sequence[str] | None) -> tuple[str, ...]:
    """Names of modes: as given; their places where these are one or two numbers; else numbers from 0."""
    if names is not None:
        if len(names) != len(centres):
            raise ValueError(f"{len(names)} names are given for {len(centres)} modes")
        return tuple(names)
    if centres.shape[1] > 2:
        return tuple(f"mode {k}" for k in range(len(centres)))
    step = 10.0 ** math.floor(math.log10(float(centres.abs().max().clamp(min=1e-300))) - 1)
    places = ((centres / step).round() * step + 0.0).tolist()
    return tuple(f"({', '.join(f'{value:.3g}' for value in place)})" for place in places)


def _rows(what: str, rows: Tensor) -> Tensor:
    rows = torch.as_tensor(rows).detach().double()
    if rows.dim() != 2 or not len(rows):
        raise ValueError(f"{what} must be rows of features [N, D], not {list(rows.shape)}")
    if not rows.isfinite().all():
        raise ValueError(f"{what} must be finite, but row {int((~rows.isfinite()).any(1).nonzero()[0])} is not")
    return rows
