"""Events that are reported late: shares of them 0, 1, 2, ... units of time after they happened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def shares_of(given: Sequence[float]) -> Tensor:
    """[D], checked."""
    shares = torch.as_tensor(np.asarray(given, dtype=float))
    if shares.dim() != 1 or not bool((shares >= 0).all()) or abs(float(shares.sum()) - 1) > 1e-6:
        raise ValueError(
            f"a delay is the shares reported 0, 1, 2, ... units of time later, of sum 1, not {list(given)}"
        )
    return shares


def units_between(begin: float, times: Tensor, observes: object) -> Tensor:
    """Each whole unit of time after `begin` until the last of the times, which are among them."""
    since = times - begin
    if isinstance(observes, str) or ((since - since.round()).abs() > 1e-9).any():
        raise ValueError(
            "a delay is of events, of a transition (source, target), at whole units of time after `begin`; this "
            f"outbreak observes {observes!r} at {', '.join(f'{t:g}' for t in times[:4].tolist())} ..."
        )
    return begin + torch.arange(1, round(float(since[-1])) + 1, dtype=torch.float64)


def late(new: Tensor, shares: Tensor, axis: int) -> Tensor:
    """What is reported in each unit of time of events `new` in each, time on the axis."""
    found = torch.zeros_like(new)
    for units, share in enumerate(shares.tolist()[: new.shape[axis]]):
        kept = new.narrow(axis, 0, new.shape[axis] - units)
        found = found + share * torch.cat([torch.zeros_like(new.narrow(axis, 0, units)), kept], axis)
    return found


def between(reported: Tensor, places: Tensor, axis: int) -> Tensor:
    """Sums of what is reported in units of time 1, 2, ... until each of the places, from the one before."""
    until = torch.cat([torch.zeros_like(reported.narrow(axis, 0, 1)), reported.cumsum(axis)], axis)
    return until.index_select(axis, torch.cat([places.new_zeros(1), places])).diff(dim=axis)
