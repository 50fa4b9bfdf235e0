"""`to_idata`: whatever came of a fit, as ArviZ's container with named dims and coords.

| given                                       | `posterior` holds                                                  |
|---------------------------------------------|--------------------------------------------------------------------|
| a `Posterior`: chains, guides, particles    | its draws, resampled where they have weights                       |
| Pyro's `MCMC`; draws by name                | those draws, and all else that the program `model` tells of them   |
| a `Fit` or model with latents of each row   | draws of the guide in each row, their weights in `sample_stats`    |
| a `Fit` or model with closed-form steps     | its parameters, one chain of one draw: a point estimate            |
| any other `Fit` or model                    | nothing: there are the likelihood, predictive rows and the data    |
| `Weighted` draws, by importance             | draws resampled in each row; `proposal` has them as drawn          |
| an `Answer`, a `LogLikelihood`              | nothing: there is `query`, or `log_likelihood`                     |
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import torch
import xarray as xr
from pyro.infer import MCMC
from torch import Tensor, nn

from inference.diagnostics.arviz_io import Labelled, container, datasets_of
from inference.diagnostics.arviz_io import to_idata as labelled
from inference.diagnostics.diagnosis import Diagnosis, diagnose
from inference.diagnostics.predictive import to_numpy
from inference.importance import Weighted
from inference.likelihood import LogLikelihood
from inference.near import near
from inference.posterior import Posterior
from inference.program import Program
from inference.protocols import ClosedForm, Pair, Tabular, name_of, offers
from inference.query.answer import Answer
from inference.resampling import by_seed
from inference.results import Fit

Coords = Mapping[str, Any] | None


@singledispatch
def to_idata(thing: Any, data: Any = None, coords: Coords = None, **options: Any) -> Any:
    """ArviZ's container (`InferenceData`, from ArviZ 1.0 on a `DataTree`) of what a fit came to.

    Parameters:
        thing: a `Posterior`, a `Fit`, a model, Pyro's `MCMC`, draws by name [chains, draws, ...], `Weighted` draws, a
            `Diagnosis`, an `Answer`, a `LogLikelihood`.
        data: rows for a `Fit` or a model; a program's data for draws that come from elsewhere.
        coords: what the places along an axis are called, {"school": ["A", "B", ...]}; 0..n-1 where they are not told.
        options: for a `Posterior`, `predictive`, `prior` and `seed`; for draws from elsewhere those and `model`, the
            program; for a `Fit` or a model what `inference.diagnose` takes (draws, rows, seed, context).

    Raises:
        TypeError: what holds nothing that ArviZ could show.
        ValueError: coords of an axis that is not there, or not so long.
    """
    if not (offers(thing, Pair) or hasattr(thing, "sample")):
        raise TypeError(
            f"to_idata takes a Posterior, a Fit, a model, Pyro's MCMC, draws or an Answer, not a {name_of(thing)}"
        )
    return _of_model(thing, thing, data, coords, options)


@to_idata.register
def _(thing: Fit, data: Any = None, coords: Coords = None, **options: Any) -> Any:
    return _of_model(thing, thing.model, data, coords, options)


@to_idata.register
def _(thing: Posterior, data: Any = None, coords: Coords = None, **options: Any) -> Any:
    if data is not None:
        raise ValueError(f"the posterior of {thing.name} is given the data of its program, and takes no others")
    return thing.to_idata(coords=coords, **options)


@to_idata.register
def _(thing: Mapping, data: Any = None, coords: Coords = None, *, model: Any = None, **options: Any) -> Any:
    draws = {str(name): torch.as_tensor(values) for name, values in thing.items()}
    return of_draws(draws, {}, "draws from elsewhere", model, data).to_idata(coords=coords, **options)


@to_idata.register
def _(thing: MCMC, data: Any = None, coords: Coords = None, *, model: Any = None, **options: Any) -> Any:
    draws = thing.get_samples(group_by_chain=True)
    diverging = torch.zeros(next(iter(draws.values())).shape[:2], dtype=torch.bool)
    for chain, where in enumerate(thing.diagnostics().get("divergences", {}).values()):
        diverging[chain, where] = True
    model = thing.kernel.model if model is None and data is not None else model
    return of_draws(draws, {"diverging": diverging}, name_of(thing.kernel), model, data).to_idata(
        coords=coords, **options
    )


@to_idata.register
def _(thing: Diagnosis, data: Any = None, coords: Coords = None) -> Any:
    return container(datasets_of(thing.idata), thing.idata.attrs, coords)


@to_idata.register
def _(thing: LogLikelihood, data: Any = None, coords: Coords = None) -> Any:
    attrs = {"measure": thing.measure, "likelihood_kind": thing.kind, "likelihood_method": thing.method}
    return labelled(
        {"log_likelihood": {"x": (("chain", "draw", "row"), to_numpy(thing.values)[None, None])}}, attrs, coords
    )


@to_idata.register
def _(thing: Weighted, data: Any = None, coords: Coords = None, *, seed: int = 0) -> Any:
    log_w = thing.log_weights.detach()
    index = torch.stack([by_seed(weights, seed) for weights in log_w.double().softmax(0).T], 1)
    rows = torch.arange(log_w.shape[1], device=log_w.device)
    groups = {
        "posterior": _by_row({name: z[index, rows] for name, z in thing.latents.items()}),
        "sample_stats": _by_row({"log_weight": log_w[index, rows]}),
        "proposal": _by_row(thing.latents),
        "sample_stats_proposal": _by_row({"log_weight": log_w}),
    }
    return labelled(groups, {"method": "importance sampling"}, coords)


@to_idata.register
def _(thing: Answer, data: Any = None, coords: Coords = None) -> Any:
    """Draws of x are predictive; what else was answered, distributions and statistics, is no draw of anything."""
    named = {", ".join(map(str, t)) if isinstance(t, tuple) else str(t): array for t, array in thing.values.items()}
    groups: dict[str, dict[str, xr.DataArray]] = {"posterior_predictive": {}, "query": {}}
    for name, array in named.items():
        if "draw" in array.dims:
            groups["posterior_predictive"][name] = array.expand_dims("chain")
        else:
            groups["query"][f"{name}_{array.name}" if name in array.dims else name] = array
    if isinstance(thing.log_evidence, xr.DataArray):
        groups["query"]["log_evidence"] = thing.log_evidence
    attrs = {"question": thing.question, "kind": thing.kind, "method": thing.method}
    return container({name: xr.Dataset(arrays) for name, arrays in groups.items() if arrays}, attrs, coords)


def of_draws(draws: dict[str, Tensor], stats: dict[str, Tensor], method: str, model: Any, data: Any) -> Posterior:
    """Draws made elsewhere, with the program that they are of, where it is told."""
    if model is None:
        return Posterior("a program that is not told", None, draws, stats, method)
    program = Program.of(model, data)
    lacking = [name for name in program.latents if name not in draws]
    if lacking:
        raise ValueError(
            f"{program.name} has the latent {lacking[0]!r}, of which there are no draws{near(lacking[0], draws)}"
        )
    own = {name: tensor for name, tensor in draws.items() if name not in program.derived}
    exact = {n: t.to(program.precision) if t.is_floating_point() else t for n, t in own.items()}
    return Posterior(program.name, program, exact, stats, method)


def _by_row(values: Mapping[str, Tensor]) -> dict[str, Labelled]:
    """Draws [draws, rows, ...] as of one chain."""
    axes = {
        name: ["chain", "draw", "row", *(f"{name}_dim_{i}" for i in range(v.dim() - 2))] for name, v in values.items()
    }
    return {name: (axes[name], to_numpy(value)[None]) for name, value in values.items()}


def _of_model(asked: Any, model: Any, data: Any, coords: Coords, options: Mapping[str, Any]) -> Any:
    """What `diagnose` finds of a model, or of its fit, and its parameters where closed-form steps set them."""
    attrs: dict[str, Any] = {"model": name_of(model)}
    datasets: dict[str, xr.Dataset] = {}
    if data is not None:
        found = diagnose(asked, data, **options).idata
        datasets, attrs = datasets_of(found), dict(found.attrs)
    if "posterior" not in datasets and offers(model, ClosedForm) and isinstance(model, nn.Module):
        point = labelled({"posterior": _point(model)})
        datasets, attrs = {**datasets_of(point), **datasets}, {**attrs, "kind": "point estimate"}
    if not datasets:
        raise ValueError(f"{name_of(model)} says nothing without rows: give data")
    return container(datasets, attrs, coords)


def _point(model: nn.Module) -> dict[str, Labelled]:
    """The parameters by name, one chain of one draw."""
    if offers(model, Tabular):
        return _tables(model)
    named = {name: to_numpy(value) for name, value in model.named_parameters()}
    axes = {name: [f"{name}_dim_{i}" for i in range(value.ndim)] for name, value in named.items()}
    return {name: (["chain", "draw", *axes[name]], value[None, None]) for name, value in named.items()}


def _tables(model: Any) -> dict[str, Labelled]:
    """The tables of a network, each with axes of its variable's name and of its parents'."""
    names = [str(variable) for variable in model.variables]
    return {
        f"{name}_probability": (["chain", "draw", *(names[u] for u in above), name], to_numpy(table)[None, None])
        for name, above, table in zip(names, model.parents, model.probabilities(), strict=True)
    }
