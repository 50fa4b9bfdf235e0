"""Importance weights of a model's latent variables, with its guide as the proposal.

    log w_k = log p(z_k) + log p(x | z_k) - log q(z_k | x),   z_k ~ q(z | x)

The mean of log w is the ELBO; log mean w is the importance-weighted bound, which tightens with the draws. Both hold too
where a prior can only estimate its density, exp(log_prob(z)) being p(z) in expectation.

References:
    Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Delta
from torch import Tensor

from inference.protocols import Latent, Pair, given_context, name_of, offers, parts_of

NUMBERS = {"cpu": 2**19, "cuda": 2**24}
"""How many numbers a block of draws may hold: on a CPU what stays in its cache, on a GPU what fills it."""


@dataclass(frozen=True)
class Weighted:
    """Draws of the latent variables, name -> [K, N, ...], and their log weights [K, N] in nats.

    It unpacks to (z, log_weights), where z is the only latent variable.
    """

    latents: dict[str, Tensor]
    log_weights: Tensor

    @property
    def z(self) -> Tensor:
        if len(self.latents) != 1:
            names = ", ".join(self.latents) or "none"
            raise ValueError(f"there is not one latent variable but {len(self.latents)} ({names}): read .latents")
        return next(iter(self.latents.values()))

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.z, self.log_weights))


def log_weights(model: Any, x: Tensor, context: Tensor | None = None, draws: int = 1) -> Weighted:
    """K draws for each of N rows and their log weights [K, N], differentiable where the proposal is.

    A model with `prior`, `decoder` and `encoder` is asked directly, all K * N rows at once; any other Pyro
    pair is traced K times. Latent variables that the guide leaves out are drawn from the model.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    if offers(model, Latent):
        return _direct(model, x, context, draws)
    if offers(model, Pair):
        traced = [_traced(model, x, context) for _ in range(draws)]
        latents = {name: torch.stack([values[name] for values, _ in traced]) for name in traced[0][0]}
        return Weighted(latents, torch.stack([weights for _, weights in traced]))
    raise TypeError(
        f"{name_of(model)} has no importance weights: it needs prior, decoder and encoder, "
        "or a Pyro pair, model and guide"
    )


def repeated(rows: Tensor | None, draws: int) -> Tensor | None:
    """Rows [N, ...] for each of the draws, [K * N, ...]."""
    return None if rows is None else rows.expand(draws, *rows.shape).flatten(0, 1)


def blocks(draws: int, rows: int, width: int, device: str = "cpu") -> tuple[int, int]:
    """How many draws and rows to take at once, so that draws * rows * width stays within NUMBERS."""
    at_once = max(1, NUMBERS.get(device, NUMBERS["cuda"]) // max(1, width))
    row_block = max(1, min(rows, at_once))
    return max(1, min(draws, at_once // row_block)), row_block


def in_blocks(model: Any, x: Tensor, context: Tensor | None, draws: int) -> Iterator[tuple[slice, Iterator[Weighted]]]:
    """Blocks of rows, each with its draws block by block, for more draws and rows than memory holds."""
    at_once, size = blocks(draws, len(x), x[0].numel(), x.device.type)
    counts = [min(at_once, draws - done) for done in range(0, draws, at_once)]
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        given = None if context is None else context[rows]
        yield rows, (log_weights(model, x[rows], given, count) for count in counts)


def _direct(model: Latent, x: Tensor, context: Tensor | None, draws: int) -> Weighted:
    proposal = model.encoder(x, context)
    _check_density(model, "z", proposal, model.prior(context))
    z, log_q = drawn(proposal, draws)
    rows, contexts = z.flatten(0, 1), repeated(context, draws)
    log_p = model.prior(contexts).log_prob(rows)
    log_x = model.decoder(rows, contexts).log_prob(repeated(x, draws))
    for name, value, wanted in (
        ("encoder", log_q, (draws, len(x))),
        ("prior", log_p, (draws * len(x),)),
        ("decoder", log_x, (draws * len(x),)),
    ):
        if value.shape != wanted:
            raise ValueError(
                f"{name_of(model)}: the {name}'s log_prob has shape {list(value.shape)}, not {list(wanted)}; "
                "its batch shape must be the rows (see Distribution.to_event)"
            )
    return Weighted(parts_of(model, z), (log_p + log_x).view(draws, len(x)) - log_q)


def drawn(proposal: Any, draws: int) -> tuple[Tensor, Tensor]:
    """K draws for each row and their log-densities, [K, N, ...] and [K, N]."""
    if hasattr(proposal, "rsample_and_log_prob"):
        return proposal.rsample_and_log_prob((draws,))
    z = proposal.rsample((draws,)) if proposal.has_rsample else proposal.sample((draws,))
    return z, proposal.log_prob(z)


def _check_density(model: Any, name: str, proposal: Any, prior: Any) -> None:
    """Refuse a point as the proposal of real numbers: its density is infinite, and its weights bound nothing."""
    while hasattr(proposal, "base_dist") and not hasattr(proposal, "transforms"):
        proposal = proposal.base_dist
    if isinstance(proposal, Delta) and not _is_discrete(prior):
        raise TypeError(
            f"{name_of(model)} proposes {name!r} as a point, whose density is infinite, so that its importance weights "
            "bound no likelihood: give it a guide with a density, or ask the decoder how well the point explains x"
        )


def _is_discrete(distribution: Any) -> bool:
    try:
        return distribution.support.is_discrete
    except NotImplementedError:  # a distribution that does not say
        return False


def _traced(model: Pair, x: Tensor, context: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
    guide = poutine.trace(given_context(model.guide, context)).get_trace(x)
    with poutine.replay(trace=guide):
        trace = poutine.trace(given_context(model.model, context)).get_trace(x)
    for name, site in _sites(guide):
        if name in trace and not site["is_observed"]:
            _check_density(model, name, site["fn"], trace.nodes[name]["fn"])
    guide.compute_log_prob()
    trace.compute_log_prob()
    total = torch.zeros(len(x), dtype=x.dtype if x.is_floating_point() else None, device=x.device)
    latents = {}
    for name, site in _sites(trace):
        if not site["is_observed"]:
            latents[name] = site["value"]
            if name not in guide:  # drawn from the model itself: proposal and prior cancel
                continue
        total = total + row_sums(name, site, len(x))
    for name, site in _sites(guide):
        total = total - row_sums(name, site, len(x))
    return latents, total


def _sites(trace: Any) -> list[tuple[str, Any]]:
    """The random sites of a trace: no parameters, no plates' own indices."""
    return [
        (name, site)
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and type(site["fn"]).__name__ != "_Subsample"
    ]


def row_sums(name: str, site: Any, rows: int) -> Tensor:
    """A site's log-probability summed to the rows of the plate "data", [N]."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.name == "data"]
    if not frames:
        raise ValueError(
            f"the site {name!r} is outside the plate 'data', so its probability belongs to no row: "
            "importance weights are for latent variables of the rows"
        )
    log_prob = site["log_prob"]
    by_row = log_prob.movedim(frames[0].dim, 0)
    if by_row.shape[0] != rows:
        raise ValueError(f"the site {name!r} has {by_row.shape[0]} rows in the plate 'data', but x has {rows}")
    return by_row.reshape(rows, -1).sum(1)
