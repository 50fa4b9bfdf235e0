"""The one place that knows ArviZ, of both ages: InferenceData in 0.23, DataTree from 1.0 on."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Groups = Mapping[str, Mapping[str, np.ndarray]]


def arviz() -> Any:
    """The module, imported when first needed: it takes a second, and 0.23 announces 1.0 with a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*ArviZ is undergoing", category=FutureWarning)
        import arviz as az
    return az


def to_idata(groups: Groups, dims: Mapping[str, Sequence[str]], attrs: Mapping[str, Any] | None = None) -> Any:
    """Arrays by group and name as ArviZ's own container, its dims named, `attrs` on the whole."""
    az = arviz()
    present = {name: dict(arrays) for name, arrays in groups.items() if arrays}
    named = {name: list(axes) for name, axes in dims.items()}
    with warnings.catch_warnings():
        # ArviZ warns where there are more chains than draws, as it does where a group has one draw of each.
        warnings.filterwarnings("ignore", message="More chains", category=UserWarning)
        if int(az.__version__.split(".")[0]) >= 1:
            idata = az.from_dict(present, dims=named)
        else:
            idata = az.from_dict(**present, dims=named)
    idata.attrs.update(attrs or {})
    return idata


def group_names(idata: Any) -> list[str]:
    """The groups there are."""
    names = idata.groups() if callable(idata.groups) else idata.groups
    return [name.strip("/") for name in names if name.strip("/")]


def to_netcdf(idata: Any, path: str | os.PathLike[str]) -> None:
    """One netCDF file, by h5netcdf, written beside and renamed."""
    beside = f"{os.fspath(path)}.part"
    idata.to_netcdf(beside, engine="h5netcdf")
    os.replace(beside, path)
