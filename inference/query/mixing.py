"""How well chains have mixed: split R-hat and effective sample size, by ArviZ, of what matters of each row.

References:
    Rank-normalization, folding, and localization: an improved R-hat (Vehtari et al., 2021),
    https://arxiv.org/abs/1903.08008
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from inference.diagnostics.arviz_io import arviz
from inference.query.estimates import by_row

R_HAT, ESS = 1.05, 100
"""Beyond these a row's chains are called badly mixed."""
DIRECTIONS = 2
"""Along how many directions, those in which the chains vary most, the cells of a row are followed."""


def followed(log_p: Tensor, cells: Tensor) -> Tensor:
    """What is followed of each row: log_p [C, T, N] and the main directions of the cells [C, T, N, D]; [C, T, N, S]."""
    flat = cells.flatten(0, 1).movedim(1, 0).float()
    flat = flat - flat.mean(1, keepdim=True)
    kept = min(DIRECTIONS, *flat.shape[1:])
    directions = torch.svd_lowrank(flat, q=min(kept + 4, *flat.shape[1:]))[2][..., :kept]
    along = (flat @ directions).movedim(0, 1).unflatten(0, cells.shape[:2])
    return torch.cat([log_p.float().unsqueeze(-1), along], -1)


def mixing(series: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The worst R-hat and the least effective sample size of each row's series, [C, T, N, S]: [N] and [N]."""
    az = arviz()
    array = series.double().cpu().numpy()
    still = np.ptp(array, (0, 1)) <= 1e-6 * np.abs(array).max((0, 1))
    data = xr.Dataset({"series": (["chain", "draw", "row", "part"], array)})
    with np.errstate(invalid="ignore", divide="ignore"):
        r_hat, ess = (found(data)["series"].values for found in (az.rhat, az.ess))
    draws = array.shape[0] * array.shape[1]
    # chains that each stand still, but not where the others do, have no spread to be told in numbers
    r_hat, ess = np.nan_to_num(r_hat, nan=np.inf), np.nan_to_num(ess, nan=1.0)
    return np.where(still, 1.0, r_hat).max(1), np.where(still, draws, ess).min(1)


def verdict(series: Tensor, taken: Tensor) -> tuple[dict[str, Any], tuple[str, ...]]:
    """How far chains can be trusted, from their series and how often a proposal was taken [N]; in words if badly."""
    r_hat, ess = mixing(series)
    bad = float(((r_hat > R_HAT) | (ess < ESS)).mean())
    found = {
        "acceptance": float(taken.mean()),
        "r_hat_max": float(r_hat.max()),
        "ess_min": float(ess.min()),
        "ess_median": float(np.median(ess)),
        "badly_mixed": bad,
        "r_hat": by_row(r_hat),
        "ess": by_row(ess),
        "acceptance_by_row": by_row(taken),
    }
    cause = (
        f"R-hat is above {R_HAT} or the effective sample size below {ESS} in {bad:.0%} of rows: their chains mix "
        "badly; take more draws, or a longer warm-up"
    )
    return found, (cause,) if bad else ()
