"""Whether chains have forgotten their starts and drawn enough: r-hat, effective draws, errors, energy.

References:
    Rank-normalization, folding, and localization: an improved R-hat (Vehtari et al., 2021),
    https://arxiv.org/abs/1903.08008
    Nested R-hat (Margossian et al., 2024), https://arxiv.org/abs/2110.13017, for many short chains
    A Conceptual Introduction to Hamiltonian Monte Carlo (Betancourt, 2017), https://arxiv.org/abs/1701.02434: E-BFMI
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import torch

from inference.diagnostics.coordinates import Coordinates
from inference.diagnostics.health import listed
from inference.diagnostics.predictive import to_numpy
from inference.sampling.statistics import bulk_ess, nested_rhat, plain_ess, rhat, split, tail_ess

R_HAT, ESS, BFMI = 1.01, 400, 0.3
"""Chains are trusted below the first, with as many effective draws as the second, an energy that moves as the third."""
BY_CHAINS = ("mcse_mean", "mcse_sd", "ess_bulk", "ess_tail", "r_hat")


def statistics(coordinates: Coordinates, super_chains: int | None = None) -> pd.DataFrame:
    """mean, sd, mcse_mean, mcse_sd, ess_bulk, ess_tail, r_hat of each number that is not constant, as ArviZ has them.

    With `super_chains` groups of chains that each began in one place there is `nested_r_hat` too. NaN where there is
    nothing to tell: r-hat of one chain, or of fewer than four draws.
    """
    x = torch.as_tensor(coordinates.values[:, :, coordinates.moving])
    names = [name for name, moves in zip(coordinates.names, coordinates.moving, strict=True) if moves]
    flat = x.flatten(0, 1)
    square = (x - flat.mean(0)).square()
    columns = {"mean": flat.mean(0), "sd": flat.std(0)}
    if x.shape[1] < 4:
        columns |= {name: torch.full_like(columns["mean"], math.nan) for name in BY_CHAINS}
    else:
        of_square = square.flatten(0, 1)
        columns |= {
            "mcse_mean": columns["sd"] / plain_ess(split(x)).sqrt(),
            "mcse_sd": (of_square.var(0, correction=0) / of_square.mean(0) / plain_ess(split(square))).sqrt() / 2,
            "ess_bulk": bulk_ess(x),
            "ess_tail": tail_ess(x),
            "r_hat": rhat(x) if len(x) > 1 else torch.full_like(columns["mean"], math.nan),
        }
    if super_chains is not None:
        columns["nested_r_hat"] = nested_rhat(x, super_chains)
    return pd.DataFrame({name: to_numpy(each) for name, each in columns.items()}, index=pd.Index(names, name="number"))


def bfmi(energy: np.ndarray) -> np.ndarray:
    """E-BFMI of each chain, from energies [chains, draws]: how far the energy moves in a step, over its spread."""
    return np.square(np.diff(energy, axis=1)).mean(1) / energy.var(1, ddof=1)


def agreement(table: pd.DataFrame, chains: int) -> tuple[str, str | None]:
    """Whether the chains agree, in words; and the illness, where they don't."""
    if chains < 2:
        return (
            "There is one chain alone, and no telling whether another would have come to the same: run four or more.",
            "one chain",
        )
    nested = "nested_r_hat" in table
    r_hat = table["nested_r_hat" if nested else "r_hat"]
    name = "nested r-hat" if nested else "r-hat"
    means = f"{name} compares the spread of all chains together with that within each; 1 is perfect"
    bad = r_hat[~(r_hat <= R_HAT)].sort_values(ascending=False, na_position="first")
    if bad.empty:
        return f"The {chains} chains agree: {name} is at most {r_hat.max():.3f} ({means}).", None
    worst = listed([f"{n} ({value:.3f})" for n, value in bad.items()], 3)
    return (
        f"The {chains} chains do not agree yet about {len(bad)} of {len(r_hat)} numbers: {name} is above {R_HAT} for "
        f"{worst} ({means}). Do not use these draws: warm up longer, draw more, and see what else is found here.",
        "chains disagree",
    )


def sufficiency(table: pd.DataFrame, draws: int) -> tuple[str, str | None]:
    """How many independent draws these are worth, in words; and the illness, where they are too few."""
    if table["ess_bulk"].isna().all():
        return "Chains of fewer than four draws don't tell how many independent ones they are worth.", None
    bulk, tail = table["ess_bulk"].min(), table["ess_tail"].min()
    error = (table["mcse_mean"] / table["sd"]).max()
    worth = (
        f"The {draws:,} draws are worth at least {bulk:,.0f} independent ones for averages "
        f"(least for {table['ess_bulk'].idxmin()}) and {tail:,.0f} for the ends of intervals "
        f"(least for {table['ess_tail'].idxmin()})"
    )
    if min(bulk, tail) >= ESS:
        return f"{worth}: averages are off by about {error:.1%} of a posterior sd or less.", None
    times = ESS / max(min(bulk, tail), 1.0)
    return (
        f"{worth}: fewer than {ESS} are too few to trust intervals; draw about {np.ceil(times):.0f} times as many, "
        "or reparameterise so that they are less alike.",
        "too few draws",
    )


def energy_moves(energy: np.ndarray) -> tuple[str, str | None]:
    """Whether the energy is free to move, in words; and the illness, where it is not."""
    each = bfmi(energy)
    median, low = float(np.median(each)), int((each < BFMI).sum())
    if median >= BFMI and 2 * low < len(each):
        return f"The chains change their energy freely (E-BFMI {median:.2f}; below {BFMI} they would not).", None
    return (
        f"The chains change their energy too slowly (E-BFMI {median:.2f}, below {BFMI} in {low} of {len(each)} "
        f"chains): "
        "they hardly reach the tails, which heavy tails or a funnel cause; reparameterise, or take lighter priors.",
        "low energy",
    )


def tree_depth(depth: np.ndarray, most: int) -> tuple[str, str] | None:
    """Trajectories that were cut off, in words, where there are more than one in a hundred."""
    share = float((depth >= most).mean())
    if share <= 0.01:
        return None
    return (
        f"{share:.0%} of the trajectories were cut off at the greatest tree depth ({most}, or {2**most - 1:,} "
        f"steps): the "
        "posterior is long and thin. Bring the parameters to one scale, warm up longer, or take a dense mass matrix.",
        "trees cut off",
    )
