"""The programs' data as keyword arguments, and the reference draws of their posteriors, in float64."""

from __future__ import annotations

import difflib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import Tensor

from zoo import datasets
from zoo.datasets.files import at_hand
from zoo.spread.influenza import in_bed

Arguments = dict[str, Tensor]
POSTERIORDB = {
    "eight_schools": "eight_schools-eight_schools_noncentered",
    "kidscore_momiq": "kidiq-kidscore_momiq",
    "autoregression": "arK-arK",
    "garch11": "garch-garch11",
    "gaussian_mixture": "low_dim_gauss_mix-low_dim_gauss_mix",
    "hidden_markov": "hmm_example-hmm_example",
    "linear_regression": "sblrc-blr",
    "gaussian_process": "gp_pois_regr-gp_regr",
}
"""Our name of a posterior, and that of its files"""


def data(name: str) -> Arguments:
    """The arguments of the program of that name; those of posteriordb but eight schools are read from ZOO_DATA.

    `garch11_sp500` are the last 1,000 days of the S&P 500 in its training split, for `garch11`, and `diabetes` scikit-
    learn's table for `horseshoe_regression`: 442 patients, 10 features, and the disease's progress a year later;
    `influenza` the boys in bed on fourteen days of 1978.
    """
    if name not in DATA:
        near = difflib.get_close_matches(str(name), DATA, n=3, cutoff=0.5)
        raise ValueError(f"there are no data named {name!r}: there are {', '.join(near or DATA)}")
    return DATA[name]()


def reference(name: str) -> Arguments:
    """Draws of the posterior as posteriordb has them, {site: [10 chains, 1000, *shape]}, read from ZOO_DATA."""
    if name not in POSTERIORDB:
        raise ValueError(f"posteriordb has no draws of {name!r}: it has those of {', '.join(POSTERIORDB)}")
    chains = _read(f"{POSTERIORDB[name]}.draws.json.zip")
    draws: dict[str, list[Tensor]] = {}
    for column in chains[0]:
        values = torch.tensor([chain[column] for chain in chains], dtype=torch.float64)
        draws.setdefault(re.sub(r"\[\d+\]$", "", column), []).append(values)
    return {site: torch.stack(parts, -1) if len(parts) > 1 else parts[0] for site, parts in draws.items()}


def eight_schools() -> Arguments:
    effects = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0], dtype=torch.float64)
    errors = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0], dtype=torch.float64)
    return {"y": effects, "sigma": errors}


def autoregression() -> Arguments:
    raw = _posteriordb("autoregression")
    y, order = _tensor(raw["y"]), int(raw["K"])
    return {"y": y[order:], "before": y[:-1].unfold(0, order, 1).flip(-1)}


def garch11() -> Arguments:
    raw = _posteriordb("garch11")
    return returns(_tensor(raw["y"]), _tensor(raw["sigma1"]))


def garch11_sp500() -> Arguments:
    y = datasets.load("sp500").train.x[-1000:, 0].double()
    return returns(y, y.std())


def returns(y: Tensor, first: Tensor) -> Arguments:
    """The arguments of `garch11` for the returns y: [T] and the first volatility."""
    return {"y": y, "before": y[:-1], "first": first}


def diabetes() -> Arguments:
    table = load_diabetes(scaled=False)
    X, y = _tensor(table.data), _tensor(table.target)
    return {"X": (X - X.mean(0)) / X.std(0), "y": (y - y.mean()) / y.std()}


def influenza() -> Arguments:
    return {"cases": in_bed()}


def columns(name: str, *arguments: str) -> Callable[[], Arguments]:
    """A loader of arguments that posteriordb has as they are."""

    def load() -> Arguments:
        raw = _posteriordb(name)
        return {argument: _tensor(raw[argument]) for argument in arguments}

    return load


DATA: dict[str, Callable[[], Arguments]] = {
    "eight_schools": eight_schools,
    "kidscore_momiq": columns("kidscore_momiq", "mom_iq", "kid_score"),
    "autoregression": autoregression,
    "garch11": garch11,
    "gaussian_mixture": columns("gaussian_mixture", "y"),
    "hidden_markov": columns("hidden_markov", "y"),
    "linear_regression": columns("linear_regression", "X", "y"),
    "gaussian_process": columns("gaussian_process", "x", "y"),
    "garch11_sp500": garch11_sp500,
    "diabetes": diabetes,
    "influenza": influenza,
}


def _tensor(numbers: Any) -> Tensor:
    return torch.from_numpy(np.asarray(numbers, dtype=np.float64))


def _posteriordb(name: str) -> dict[str, Any]:
    return _read(f"{POSTERIORDB[name]}.data.json.zip")


def _read(file: str) -> Any:
    path = at_hand("posteriordb", file, "github.com/stan-dev/posteriordb")
    return _unzipped(path)


def _unzipped(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(archive.namelist()[0]))
    except (OSError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a file of posteriordb, a zip of one JSON file: {error}") from None
