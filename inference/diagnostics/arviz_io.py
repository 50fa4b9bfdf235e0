"""The one place that knows ArviZ, of both ages: InferenceData in 0.23, DataTree from 1.0 on."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from inference.near import near

Labelled = tuple[Sequence[str], np.ndarray]
"""An array and the names of its axes."""


def arviz() -> Any:
    """The module, imported when first needed: it takes a second, and 0.23 announces 1.0 with a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        import arviz as az
    return az


@contextmanager
def untold() -> Iterator[None]:
    """Without ArviZ's lines where there is nothing to tell: of one chain, or of what is constant; NaN says as much."""
    log = getattr(arviz(), "_log", logging.getLogger("arviz"))  # 0.23's is not the one that logging knows
    log.addFilter(_is_error)  # its level would not do: what 0.23's has found of levels before it keeps
    try:
        with np.errstate(invalid="ignore"):
            yield
    finally:
        log.removeFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def to_idata(
    groups: Mapping[str, Mapping[str, Labelled]],
    attrs: Mapping[str, Any] | None = None,
    coords: Mapping[str, Any] | None = None,
) -> Any:
    """Labelled arrays by group and name as ArviZ's own container, with `attrs` on the whole.

    Built from xarray's datasets, since ArviZ's `from_dict` has one list of axes for "x" in every group. `coords` name
    the places along an axis, which are 0..n-1 where they do not.
    """
    return container({name: _dataset(arrays) for name, arrays in groups.items() if arrays}, attrs, coords)


def container(
    datasets: Mapping[str, xr.Dataset],
    attrs: Mapping[str, Any] | None = None,
    coords: Mapping[str, Any] | None = None,
) -> Any:
    """Datasets by group as ArviZ's own container, `attrs` on the whole, `coords` along the axes that they name."""
    named = _placed(datasets, coords or {})
    az = arviz()
    idata = az.InferenceData(**named) if hasattr(az, "InferenceData") else xr.DataTree.from_dict(named)
    idata.attrs.update(attrs or {})
    return idata


def datasets_of(idata: Any) -> dict[str, xr.Dataset]:
    """The groups of a container, each as a dataset of its own."""
    found = {name: idata[name] for name in group_names(idata)}
    return {name: group.to_dataset() if hasattr(group, "to_dataset") else group for name, group in found.items()}


def _dataset(arrays: Mapping[str, Labelled]) -> xr.Dataset:
    """An array that has the name of its axis says what the places along it are called."""
    sizes = {axis: size for axes, array in arrays.values() for axis, size in zip(axes, array.shape, strict=True)}
    coords = {axis: arrays[axis][1] if axis in arrays else np.arange(size) for axis, size in sizes.items()}
    held = {name: (list(axes), array) for name, (axes, array) in arrays.items() if name not in sizes}
    return xr.Dataset(held, coords)


def _placed(datasets: Mapping[str, xr.Dataset], coords: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """Datasets whose axes have the coords that are told, each checked against its axis."""
    sizes = {str(axis): size for dataset in datasets.values() for axis, size in dataset.sizes.items()}
    for axis, places in coords.items():
        if axis not in sizes:
            raise ValueError(f"coords name {axis!r}, which is no axis{near(axis, sizes)}")
        if len(places) != sizes[axis]:
            raise ValueError(f"coords give {len(places)} places for {axis!r}, which has {sizes[axis]}")
    return {
        name: dataset.assign_coords({axis: list(coords[axis]) for axis in coords if axis in dataset.sizes})
        for name, dataset in datasets.items()
    }


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
