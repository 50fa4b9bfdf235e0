"""Which numbers of a latent code say anything about x.

References:
    Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519
"""

from __future__ import annotations

import numpy as np

ACTIVE = 0.01


def unit_variance(z: np.ndarray) -> np.ndarray:
    """The variance over rows of E_q[z | x], for each unit, from draws [draws, rows, units].

    The mean of K draws has a variance of its own, var_q / K, which is taken off: else every unit of a
    collapsed code would seem active at a hundred draws.
    """
    draws = len(z)
    between = z.mean(0).var(0, ddof=1)
    within = z.var(0, ddof=1).mean(0) if draws > 1 else np.zeros(z.shape[2])
    return np.maximum(between - within / draws, 0.0)


def active_units(z: np.ndarray) -> np.ndarray:
    """Whether each unit is active: its mean varies over rows by more than 0.01 (Burda et al., 2016)."""
    return unit_variance(z) > ACTIVE
