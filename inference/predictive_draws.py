"""What a program says of data: draws of its prior, data drawn anew given latents, and how likely each datum is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pyro.ops.packed import unpack
from torch import Tensor

from inference.program import Program
from inference.program_data import settings
from inference.program_sites import Draw, Substitute, contracted, log_prob, pack, scored

Draws = dict[str, Tensor]


def simulate(program: Program, n: int, seed: int) -> tuple[Draws, Draws]:
    """n draws of the latents' prior and of data given each: {name: [n, *shape]} twice.

    Raises:
        ValueError: a prior that has no draws, as an improper one, by its site's name.
    """
    runs = _runs(program, [{} for _ in range(n)], seed)
    return _stacked(runs, program.latents), _stacked(runs, program.observed)


def prior_draws(program: Program, n: int) -> Draws:
    """n draws of the latents, {name: [n, *shape]}, by torch's generator; improper ones within their support."""
    with torch.no_grad():
        return _stacked([program.run(Draw(improper=True)) for _ in range(n)], program.latents)


def predict(program: Program, draws: Mapping[str, Tensor], seed: int) -> Draws:
    """The observed sites drawn anew, {name: [n, *shape]}, for draws of the latents {name: [n, *shape]}."""
    return _stacked(_runs(program, _rows(program, draws), seed), program.observed)


def derive(program: Program, draws: Mapping[str, Tensor]) -> Draws:
    """What the program names by `pyro.deterministic`, {name: [n, *shape]}, for draws {name: [n, *shape]}."""
    if not program.derived:
        return {}
    traces = [program.run(Substitute(row), Draw()) for row in _rows(program, draws)]
    return _stacked(traces, program.derived)


def pointwise(program: Program, draws: Mapping[str, Tensor]) -> Draws:
    """log p(datum | latents) in nats, {observed site: [n, *its batch]}, discrete latents summed out.

    Data that share a discrete latent are each given those before them in the program, so that their sum is the whole;
    rows of a plate that share one are one datum.
    """

    def one(row: Draws) -> Draws:
        trace = program.trace(row)
        with settings(program.precision, program.device):
            if not program.discrete:
                return {name: log_prob(trace.nodes[name]) for name in program.observed}
            return _summed_out(program, trace)

    given = {name: draws[name].to(program.precision) for name in program.latents}
    with torch.no_grad():
        return torch.vmap(one)(given)


def _summed_out(program: Program, trace: Any) -> Draws:
    """Each datum's share: what the sum over the discrete latents gains by it, given the data before it."""
    pack(trace)
    summed = set(trace.symbol_to_dim) - set(trace.plate_to_symbol.values())
    over = {name: summed & set(trace.nodes[name]["packed"]["log_prob"]._pyro_dims) for name in scored(trace)}
    found, before = {}, [name for name in over if name not in program.observed and over[name]]
    for name in program.observed:
        if not over[name]:
            found[name] = log_prob(trace.nodes[name])
            continue
        plates = _common_plates(program, trace, name, _reached(over, over[name]))
        without, within = (contracted(trace, sites, plates) for sites in (before, [*before, name]))
        found[name] = unpack(within, trace.symbol_to_dim) - unpack(without, trace.symbol_to_dim)
        before.append(name)
    return found


def _reached(over: Mapping[str, set[str]], dims: set[str]) -> set[str]:
    """The sites joined to these summed dims, by any number of steps."""
    while True:
        sites = {name for name, own in over.items() if own & dims}
        more = dims.union(*(over[name] for name in sites))
        if more == dims:
            return sites
        dims = more


def _common_plates(program: Program, trace: Any, name: str, sites: set[str]) -> frozenset[str]:
    """The plates of a datum in which the discrete latents that it depends on are too: data in others share them."""

    def plates(site: str) -> set[str]:
        return {frame.name for frame in trace.nodes[site]["cond_indep_stack"] if frame.vectorized}

    return frozenset(plates(name).intersection(*(plates(site) for site in sites if site in program.discrete)))


def _rows(program: Program, draws: Mapping[str, Tensor]) -> list[Draws]:
    n = len(next(iter(draws.values())))
    return [{name: draws[name][i] for name in program.latents} for i in range(n)]


def _runs(program: Program, rows: list[Draws], seed: int) -> list[Any]:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        return [program.run(Substitute(row), Draw(observed=tuple(program.observed))) for row in rows]


def _stacked(traces: list[Any], names: Any) -> Draws:
    return {name: torch.stack([trace.nodes[name]["value"] for trace in traces]) for name in names}
