"""Whether two sets of rows [N, D] can be told apart: tests whose p-value is uniform where they are of one distribution.

References:
    A Kernel Two-Sample Test (Gretton et al., 2012), https://jmlr.org/papers/v13/gretton12a.html
    Revisiting Classifier Two-Sample Tests (Lopez-Paz and Oquab, 2017), https://arxiv.org/abs/1610.06545
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from scipy.stats import binomtest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from inference.quality.distances import kernel_mmd, median_distance
from inference.quality.estimates import Tested, around, rows_of, share

BLOCK = 1024


class Classifier(Protocol):
    """What scikit-learn's classifiers offer: rows [N, D] and labels [N] in, labels out."""

    def fit(self, x: Any, y: Any) -> Any: ...
    def predict(self, x: Any) -> Any: ...


def support_vectors() -> Classifier:
    """A support vector machine with a Gaussian kernel on standardised features: it bends, and takes little time."""
    return make_pipeline(StandardScaler(), SVC())


def mmd_test(a: Tensor, b: Tensor, *, permutations: int = 499, bandwidth: float | None = None, seed: int = 0) -> Tested:
    """The unbiased squared MMD of `kernel_mmd`, and how often rows dealt out anew to a and b reach it.

    The kernel between all rows is found once, block by block, for all the permutations together; p is at least
    1 / (permutations + 1). The bandwidth is the median distance between rows of both sets unless given.
    """
    a, b = rows_of(a=a, b=b)
    both = torch.cat([a, b])
    scale = median_distance(both) if bandwidth is None else bandwidth
    dealt = _dealt(len(a), len(b), permutations, seed).to(both)
    inside, reach = both.new_zeros(dealt.shape[1]), both.new_zeros(dealt.shape[1])
    total = both.new_zeros(())
    scaled = (both - both.mean(0)) / scale
    squares = scaled.square().sum(1)
    for start in range(0, len(both), BLOCK):
        part = slice(start, start + BLOCK)
        gaps = squares[part, None] + squares - 2 * scaled[part] @ scaled.T
        kernel = (-0.5 * gaps.clamp(min=0)).exp()
        to_a, mine = kernel @ dealt, dealt[part]
        inside += (mine * to_a).sum(0)
        reach += to_a.sum(0)
        total += kernel.sum()
    n, m = len(a), len(b)
    across = reach - inside
    rest = total - inside - 2 * across
    values = (inside - n) / (n * (n - 1)) + (rest - m) / (m * (m - 1)) - 2 * across / (n * m)
    found = kernel_mmd(a, b, bandwidth=scale)
    reached = int((values[1:] >= values[0] - 1e-12 * values[0].abs()).sum())
    return Tested(around(found.value, found.error, n, m), (1 + reached) / (1 + permutations))


def _dealt(n: int, m: int, permutations: int, seed: int) -> Tensor:
    """Which rows are a's, 0 or 1, [n + m, 1 + permutations]; as they are in the first column."""
    generator = torch.Generator().manual_seed(seed)
    dealt = torch.zeros(n + m, 1 + permutations)
    dealt[:n, 0] = 1
    for column in range(1, 1 + permutations):
        dealt[torch.randperm(n + m, generator=generator)[:n], column] = 1
    return dealt


def classifier_test(
    a: Tensor, b: Tensor, *, classifier: Callable[[], Classifier] = support_vectors, seed: int = 0
) -> Tested:
    """How often a classifier tells which set a row is from, rows it was not taught, and the binomial p of over half.

    As many rows of each set are taken, so that 0.5 is what guessing gives and 1 that the sets are apart; half of them
    teach it, and the other half ask. The folds of a cross-validation teach each other: summed over them, the binomial
    p of two sets of one distribution was below 0.05 in one case of ten.
    """
    a, b = rows_of(a=a, b=b)
    few = min(len(a), len(b))
    generator = torch.Generator().manual_seed(seed)
    chosen = [rows[torch.randperm(len(rows), generator=generator)[:few].to(rows.device)].cpu() for rows in (a, b)]
    taught, asked = (torch.cat([rows[part] for rows in chosen]) for part in (slice(few // 2), slice(few // 2, None)))
    told = classifier()
    told.fit(taught.numpy(), np.repeat([0, 1], few // 2))
    right = int((told.predict(asked.numpy()) == np.repeat([0, 1], few - few // 2)).sum())
    found = share(right, len(asked))
    return Tested(found, float(binomtest(right, len(asked), alternative="greater").pvalue))
