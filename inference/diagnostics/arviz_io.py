"""The one place that knows ArviZ, of both ages: InferenceData in 0.23, DataTree from 1.0 on."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

Labelled = tuple[Sequence[str], np.ndarray]
"""An array and the names of its axes."""


def arviz() -> Any:
    """The module, imported when first needed: it takes a second, and 0.23 announces 1.0 with a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        import arviz as az
    return az


def to_idata(groups: Mapping[str, Mapping[str, Labelled]], attrs: Mapping[str, Any] | None = None) -> Any:
    """Labelled arrays by group and name as ArviZ's own container, with `attrs` on the whole.

    Built from xarray's datasets, since ArviZ's `from_dict` has one list of axes for "x" in every group.
    """
    datasets = {name: _dataset(arrays) for name, arrays in groups.items() if arrays}
    az = arviz()
    idata = az.InferenceData(**datasets) if hasattr(az, "InferenceData") else xr.DataTree.from_dict(datasets)
    idata.attrs.update(attrs or {})
    return idata


def _dataset(arrays: Mapping[str, Labelled]) -> xr.Dataset:
    sizes = {axis: size for axes, array in arrays.values() for axis, size in zip(axes, array.shape, strict=True)}
    coords = {axis: np.arange(size) for axis, size in sizes.items()}
    return xr.Dataset({name: (list(axes), array) for name, (axes, array) in arrays.items()}, coords)


def group_names(idata: Any) -> list[str]:
    """The groups there are."""
    names = idata.groups() if callable(idata.groups) else idata.groups
    return [name.strip("/") for name in names if name.strip("/")]


def to_netcdf(idata: Any, path: str | os.PathLike[str]) -> None:
    """One netCDF file, by h5netcdf, written beside and renamed."""
    beside = f"{os.fspath(path)}.part"
    idata.to_netcdf(beside, engine="h5netcdf")
    os.replace(beside, path)


@dataclass(frozen=True)
class LeftOut:
    """What ArviZ found by leaving out each of N observations: numbers in nats, `pointwise` and `k` [N]."""

    elpd: float
    error: float
    effective: float
    pointwise: np.ndarray
    k: np.ndarray
    good_k: float


def leave_one_out(log_likelihood: xr.DataArray, posterior: xr.Dataset | None) -> LeftOut:
    """ArviZ's PSIS-LOO of a log-likelihood (chain, draw, ...); its efficiency is that of the posterior's draws.

    Its warnings are left to who asks: `k` says where they are due.
    """
    groups = {"log_likelihood": log_likelihood.to_dataset(name="x")}
    efficiency: dict[str, Any] = {"reff": 1.0}
    if posterior is not None:
        groups["posterior"], efficiency = posterior.sel(draw=log_likelihood["draw"]), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = arviz().loo(container(groups), var_name="x", pointwise=True, **efficiency)
    elpd, p, each = ("elpd", "p", "elpd_i") if hasattr(found, "elpd") else ("elpd_loo", "p_loo", "loo_i")
    pointwise, k = (np.asarray(getattr(found, name), dtype=float).ravel() for name in (each, "pareto_k"))
    return LeftOut(
        float(getattr(found, elpd)), float(found.se), float(getattr(found, p)), pointwise, k, float(found.good_k)
    )
