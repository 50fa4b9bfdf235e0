"""`from_idata`: draws that ArviZ holds, of any sampler, as a `Posterior` that can be diagnosed and asked."""

from __future__ import annotations

import os
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from inference.diagnostics.arviz_io import arviz, datasets_of
from inference.posterior import Posterior
from inference.to_idata import of_draws


def from_idata(source: Any, model: Any = None, data: Any = None) -> Posterior:
    """The posterior in an ArviZ container, or in a netCDF file that ArviZ reads.

    Parameters:
        source: `InferenceData` or `DataTree`, or the path of a file.
        model, data: the Pyro program that the draws are of, and its data; without them the draws can be diagnosed, but
            no data be drawn anew and none be left out.

    Raises:
        FileNotFoundError, ValueError: no such file; one that is no netCDF, or holds no posterior.
    """
    groups = datasets_of(_read(source) if isinstance(source, (str, os.PathLike)) else source)
    if "posterior" not in groups:
        known = ", ".join(groups) or "none"
        raise ValueError(f"there are no draws to read: the group 'posterior' is not among {known}")
    attrs = groups["posterior"].attrs
    draws, stats = (_tensors(groups[name]) if name in groups else {} for name in ("posterior", "sample_stats"))
    each = {name: tensor for name, tensor in stats.items() if tensor.dim() == 2}
    return of_draws(draws, each, str(attrs.get("inference_library", "draws from a file")), model, data)


def _read(path: str | os.PathLike[str]) -> Any:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file {os.fspath(path)!r}")
    try:
        return arviz().from_netcdf(os.fspath(path), engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)} is not a netCDF file that ArviZ reads: {error}") from None


def _tensors(dataset: xr.Dataset) -> dict[str, Tensor]:
    """name -> [chain, draw, ...] of what is there for each draw."""
    held = {str(name): array for name, array in dataset.data_vars.items() if {"chain", "draw"} <= set(array.dims)}
    return {
        name: torch.from_numpy(array.transpose("chain", "draw", ...).to_numpy().copy()) for name, array in held.items()
    }
