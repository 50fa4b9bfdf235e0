"""What is wrong with a program, in a sentence that names the site or the plate."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from inference.supports import map_of


def check_sites(name: str, sites: Mapping[str, Any]) -> None:
    """Refuses plates of which a part is drawn, latents that can't be summed out, and data of another length."""
    for site, node in sites.items():
        for frame in node["cond_indep_stack"]:
            _check_plate(name, site, node, frame)
        if not node["is_observed"]:
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
    """Pyro's complaint of a plate whose size is not its rows', as one of ours."""
    try:
        yield
    except ValueError as error:
        found = re.search(
            r"Shape mismatch inside plate\('(.*)'\) at site (\S+) dim \S+, (\d+) vs (\d+)", str(error), re.DOTALL
        )
        if found is None:
            raise
        plate, site, one, two = found.groups()
        raise ValueError(
            f"{name}: the plate {plate!r} and the distribution of the site {site!r} in it have {one} and {two} rows; "
            "are the data as long as the plate?"
        ) from error
