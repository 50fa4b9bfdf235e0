"""Scores of a network's structure from counts of rows, in nats."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import gammaln


def _log_likelihood(counts: np.ndarray) -> float:
    """That of the tables of highest likelihood."""
    above = counts.sum(1)
    return float(_xlogx(counts).sum() - _xlogx(above).sum())


def _xlogx(counts: np.ndarray) -> np.ndarray:
    return counts * np.log(np.maximum(counts, 1))


def _bic(counts: np.ndarray, rows: int) -> float:
    return _log_likelihood(counts) - 0.5 * math.log(rows) * counts.shape[0] * (counts.shape[1] - 1)


def _aic(counts: np.ndarray, rows: int) -> float:
    return _log_likelihood(counts) - counts.shape[0] * (counts.shape[1] - 1)


def _dirichlet(counts: np.ndarray, each: float) -> float:
    """The log marginal likelihood under Dirichlet(each, ..., each) columns."""
    whole = each * counts.shape[1]
    inside = (gammaln(counts + each) - gammaln(each)).sum()
    return float(inside + (gammaln(whole) - gammaln(counts.sum(1) + whole)).sum())


def _bdeu(counts: np.ndarray, rows: int) -> float:
    return _dirichlet(counts, 10 / counts.size)


def _k2(counts: np.ndarray, rows: int) -> float:
    return _dirichlet(counts, 1.0)


Score = Callable[[np.ndarray, int], float]
"""The score of one variable from its counts [parents' states, states] and the number of rows, in nats."""
SCORES: dict[str, Score] = {"bic": _bic, "aic": _aic, "bdeu": _bdeu, "k2": _k2}


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """I(a; b) of two columns of codes, in nats."""
    rows, size = len(a), int(b.max()) + 1
    joint = np.bincount(a * size + b, minlength=(int(a.max()) + 1) * size).reshape(-1, size)
    parts = (_xlogx(counts).sum() for counts in (joint, joint.sum(0), joint.sum(1)))
    both, one, other = (float(part) for part in parts)
    return (both - one - other) / rows + math.log(rows)
