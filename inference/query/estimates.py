"""What estimates from weighted draws share: their moments, their labels, and how far they can be trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from inference.diagnostics.pareto import RELIABLE, pareto_k


def moments(z: Tensor, weights: Tensor) -> Tensor:
    """[N, ..., 3]: mean, sd and the mean's Monte Carlo error; z is [K, N, ...], weights [K, N]."""
    w = weights.reshape(*weights.shape, *[1] * (z.dim() - 2))
    mean = (w * z).sum(0)
    sd = (w * (z - mean).square()).sum(0).sqrt()
    error = (w * (z - mean)).square().sum(0).sqrt()
    return torch.stack([mean, sd, error], -1)


def labelled(
    values: Tensor, target: str, last: str = "statistic", names: Any = ("mean", "sd", "error")
) -> xr.DataArray:
    """Numbers of each row with their dimensions named, the last one `last`."""
    dims = ["row", *(f"{target}_dim_{i}" for i in range(values.dim() - 2)), last]
    coords: dict[str, Any] = {dim: np.arange(size) for dim, size in zip(dims, values.shape, strict=True)}
    coords[last] = list(names)
    return xr.DataArray(as_numpy(values), dims=dims, coords=coords, name="value")


def reliability(log_w: Tensor, cause: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Effective sample sizes and Pareto k of log weights [K, N], and a warning where k is high, with its cause."""
    ess = as_numpy(1 / log_w.softmax(0).square().sum(0))
    k = np.nan_to_num(pareto_k(as_numpy(log_w)), nan=np.inf)  # too few draws to tell
    bad = float((k > RELIABLE).mean())
    found = {
        "ess_min": float(ess.min()),
        "ess_median": float(np.median(ess)),
        "pareto_k_max": float(k.max()),
        "pareto_k_bad": bad,
        "ess": by_row(ess),
        "pareto_k": by_row(k),
    }
    return found, (f"Pareto k is above {RELIABLE} in {bad:.0%} of rows: {cause}",) if bad else ()


def by_row(values: Any) -> xr.DataArray:
    array = as_numpy(values)
    return xr.DataArray(array, dims=("row",), coords={"row": np.arange(len(array))})


def as_numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
