"""How well a posterior predicts each observation that it has not seen: leave-one-out, by Pareto-smoothed weights.

elpd = sum_i log p(y_i | y without y_i), in nats. Where Pareto k of an observation is high, the posterior without it is
too unlike the one with it to be had by weights.

References:
    Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC (Vehtari, Gelman and Gabry, 2017),
    https://arxiv.org/abs/1507.04544
    Bayesian Data Analysis (Gelman et al., 2013), chapter 7, for the probability integral transform
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from inference.diagnostics.arviz_io import datasets_of, leave_one_out
from inference.diagnostics.health import listed
from inference.diagnostics.pareto import EVEN
from inference.naming import numbers
from inference.near import near
from inference.protocols import name_of
from inference.variational.smoothing import smoothed


@dataclass(frozen=True, repr=False)
class Loo:
    """The expected log density of N observations, each predicted from all others, in nats.

    `elpd` ± `error` is the sum of `pointwise` [N]; `effective` says as of how many parameters the model is; `k` [N] is
    Pareto k of each observation, to be trusted below `good_k`; `names` [N] says which observation it is.
    """

    name: str
    elpd: float
    error: float
    effective: float
    pointwise: np.ndarray
    k: np.ndarray
    good_k: float
    names: list[str]

    @property
    def unreliable(self) -> list[str]:
        """The observations whose k is too high, the worst first."""
        order = np.argsort(-self.k)
        return [self.names[i] for i in order if not self.k[i] <= self.good_k]

    @property
    def alarm(self) -> str | None:
        """What to do where k is high, in words."""
        bad = self.unreliable
        if not bad:
            return None
        told = listed([f"{name} ({self.k[self.names.index(name)]:.2f})" for name in bad[:4]], 3)
        return (
            f"Leaving out one observation of {self.name} can't be told from these draws for {len(bad)} of "
            f"{len(self.k)} "
            f"(Pareto k above {self.good_k:.2f}: {told}): they sway the posterior too much. Fit anew without each "
            f"of them "
            "for an exact answer, or take a likelihood with heavier tails."
        )

    def __repr__(self) -> str:
        told = (
            f"{self.name}: {self.elpd:.2f} ± {self.error:.2f} nats for {len(self.k)} observations, each predicted "
            f"from the "
            f"others (leave-one-out), as of {self.effective:.1f} effective parameters"
        )
        return told if self.alarm is None else f"{told}\n! {self.alarm}"


def loo(posterior: Any, site: str | None = None) -> Loo:
    """Leave-one-out of a posterior, or of anything with an ArviZ container that holds a log-likelihood for each draw.

    Parameters:
        site: the observed site whose observations are left out; by default those of all sites, one after another.

    Raises:
        ValueError: no log-likelihood of each observation, or a single draw.
    """
    name = str(getattr(posterior, "name", name_of(posterior)))
    groups = datasets_of(getattr(posterior, "idata", posterior))
    scored = log_likelihood_of(groups, name, site)
    if scored.sizes["chain"] * scored.sizes["draw"] < 25:
        raise ValueError(
            f"{name} has {scored.sizes['chain'] * scored.sizes['draw']} draws, and leave-one-out needs 25 or more of a "
            "posterior; a fitted model without one is judged by log_likelihood on rows held out"
        )
    names = [str(each) for each in scored["observation"].values]
    found = leave_one_out(scored, groups.get("posterior"))
    even = np.ptp(scored.values, (0, 1)) < EVEN  # what hangs on no latent sways none, though its weights have no tail
    k = np.where(even, 0.0, found.k)
    return Loo(name, found.elpd, found.error, found.effective, found.pointwise, k, found.good_k, names)


def log_likelihood_of(groups: dict[str, xr.Dataset], name: str, site: str | None = None) -> xr.DataArray:
    """log p(observation | draw) of a container's groups, (chain, draw, observation), the observations named.

    Of observations that are missing there is none.
    """
    if "log_likelihood" not in groups:
        raise ValueError(f"{name} has no log-likelihood of its observations: it needs the program that they come from")
    scored = groups["log_likelihood"]
    sites = [str(each) for each in scored.data_vars] if site is None else [site]
    if site is not None and site not in scored:
        raise ValueError(f"{name} observes no {site!r}{near(site, [str(each) for each in scored.data_vars])}")
    parts, names = [], []
    for each in sites:
        values = scored[each].transpose("chain", "draw", ...).values
        flat = values.reshape(*values.shape[:2], -1)
        there = seen_of(groups, each, flat.shape[2])
        names += [name for name, kept in zip(numbers(each, values.shape[2:]), there, strict=True) if kept]
        parts.append(flat[..., there])
    joined = np.concatenate(parts, 2)
    coords = {axis: scored[axis].values for axis in ("chain", "draw")}
    return xr.DataArray(joined, {**coords, "observation": names}, ("chain", "draw", "observation"))


def seen_of(groups: dict[str, xr.Dataset], site: str, count: int) -> np.ndarray:
    """Which of so many observations of a site are there, not NaN throughout; [count]."""
    if site not in groups.get("observed_data", {}):
        return np.ones(count, dtype=bool)
    y = groups["observed_data"][site].values
    missing = np.isnan(y) if y.dtype.kind == "f" else np.zeros(y.shape, dtype=bool)
    return ~missing.reshape(count, -1).all(1)


def pit(y: np.ndarray, drawn: np.ndarray, log_likelihood: np.ndarray, seed: int = 0) -> np.ndarray:
    """Where each observation lies among its predictions from the others: P(drawn < y), uniform for the right model.

    Shapes: y [*batch, *event], drawn [S, *batch, *event], log_likelihood [S, *batch] in nats; as y. Ties, of counts and
    codes, are split by chance.
    """
    batch = log_likelihood[0].size
    weights = [smoothed(torch.as_tensor(-log_likelihood.reshape(len(drawn), batch)[:, i])) for i in range(batch)]
    w = np.stack([each.log_weights.exp().numpy() for each in weights], 1)[..., None]
    wide, data = drawn.reshape(len(drawn), batch, -1), y.reshape(batch, -1)
    below, at = (w * (wide < data)).sum(0), (w * (wide == data)).sum(0)
    share = np.random.default_rng(seed).random(at.shape)
    return np.clip(below + share * at, 0.0, 1.0).reshape(y.shape)
