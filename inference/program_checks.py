"""What is wrong with a program and its data, in a sentence that names the site or the plate."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.distributions.constraints import Constraint

from inference.supports import map_of


def check_sites(name: str, sites: Mapping[str, Any]) -> None:
    """Refuses plates of which a part is drawn, latents that can't be summed out, and data that are none of a site."""
    for site, node in sites.items():
        for frame in node["cond_indep_stack"]:
            _check_plate(name, site, node, frame)
        if node["is_observed"]:
            _check_data(name, site, node)
        else:
            _check_latent(name, site, node)


def _check_plate(name: str, site: str, node: Any, frame: Any) -> None:
    if frame.full_size is not None and frame.full_size != frame.size:
        raise ValueError(
            f"{name}: the plate {frame.name!r} draws {frame.size} of its {frame.full_size} rows, and a posterior needs "
            "them all: leave out subsample_size (minibatches are for guides)"
        )
    if not frame.vectorized or not node["is_observed"]:
        return
    shape = node["value"].shape[: node["value"].dim() - node["fn"].event_dim]
    length = shape[frame.dim] if len(shape) >= -frame.dim else 1
    if length != frame.size:
        raise ValueError(
            f"{name}: the plate {frame.name!r} has {frame.size} rows, and the data of the site {site!r} {length}"
        )


def _check_data(name: str, site: str, node: Any) -> None:
    """Refuses data of another shape than their distribution's, and such as it has no density for, whatever is drawn."""
    fn, value = node["fn"], node["value"]
    try:
        torch.broadcast_shapes(value.shape, fn.shape())
    except RuntimeError:
        raise ValueError(
            f"{name}: the data of the site {site!r} are {list(value.shape)}, and its distribution {list(fn.shape())}"
        ) from None
    support: Any = getattr(fn, "support", None)
    if value.dim() < fn.event_dim or not _fixed(support):
        return
    outside = ~support.check(value)
    nan = value.isnan()
    while nan.dim() > outside.dim():
        nan = nan.any(-1)
    for mask in (~nan, node["mask"], getattr(fn, "_mask", None)):
        outside = outside if mask is None else outside & mask
    if outside.any():
        some = value[outside].flatten()[:3].tolist() if outside.shape == nan.shape else value.flatten()[:3].tolist()
        raise ValueError(
            f"{name}: data of the site {site!r} lie outside of the support of its {type(fn).__name__}, {support}: "
            f"{', '.join(f'{each:.4g}' for each in some)}"
        )


def _fixed(support: Any) -> bool:
    """Whether it is known what a support's bounds are, whatever the latents."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    bounds = vars(support).values() if isinstance(support, Constraint) else (None,)
    return all(isinstance(bound, (int, float)) for bound in bounds)


def _check_latent(name: str, site: str, node: Any) -> None:
    fn = node["fn"]
    if not getattr(fn.support, "is_discrete", False):
        _check_support(name, site, fn.support)
        return
    how = node["infer"].get("enumerate", "parallel")
    if how != "parallel":
        raise ValueError(f"{name}: the discrete latent {site!r} is summed out in parallel, not as asked: {how}")
    if not fn.has_enumerate_support:
        raise ValueError(
            f"{name}: the discrete latent {site!r} can't be summed out, a {type(fn).__name__} has no end of values: "
            "bound it (a Categorical over as many as matter), or write its marginal instead"
        )


def _check_support(name: str, site: str, support: Any) -> None:
    try:
        map_of(support)
    except NotImplementedError:
        raise ValueError(
            f"{name}: the latent {site!r} has the support {support}, onto which real numbers can't be mapped "
            "one to one: write it as a function of latents that have one (pyro.infer.reparam)"
        ) from None


@contextlib.contextmanager
def in_a_sentence(name: str) -> Iterator[None]:
    """What a program complains of, without the shapes that Pyro adds; a plate of another size than its rows by name."""
    try:
        yield
    except ValueError as error:
        said, added, _ = str(error).partition("\nTrace Shapes:")
        found = re.search(
            r"Shape mismatch inside plate\('(.*)'\) at site (\S+) dim \S+, (\d+) vs (\d+)", str(error), re.DOTALL
        )
        if found is None and added:
            raise ValueError(said.strip()) from error
        if found is None:
            raise
        plate, site, one, two = found.groups()
        raise ValueError(
            f"{name}: the plate {plate!r} and the distribution of the site {site!r} in it have {one} and {two} rows; "
            "are the data as long as the plate?"
        ) from error


@contextlib.contextmanager
def in_parallel(name: str, discrete: tuple[str, ...]) -> Iterator[None]:
    """Complaints of a program whose discrete latents take all their values at once, as one of ours."""
    codes = ", ".join(map(repr, discrete))
    try:
        yield
    except (ValueError, RuntimeError, IndexError) as error:
        found = re.search(r"packing tensors at site (\S+?):.*Actual shape: (\(.*?\))", str(error), re.DOTALL)
        if found is None:
            first = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{name} can't be run on all values of {codes} at once, to sum them out: {first}"
            ) from error
        site, shape = found.groups()
        raise ValueError(
            f"{name}: the site {site} gets the shape {shape} where all values of {codes} are summed out: these stand "
            "in an axis of their own on the left of all plates, so that a value of them has to broadcast from there"
        ) from error
