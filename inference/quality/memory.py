"""Whether a model copies its training rows, beside rows of the same kind that it was not fitted to.

    memory   samples whose nearest row is a training row and not a held-out one
    copies   samples whose nearest training row is at most half as far as their nearest held-out row
    closer   the chance that a sample is closer to the training rows than a held-out row is: 0.5 of a new draw

With b the share of training rows among both, each of the first two is (share of samples - share expected) / (1 - b):
0 of a model that knows the training rows no better than others of their kind, 1 of one that copies. What is expected,
and p, come from dealing out training and held-out rows anew, the samples staying: samples that are too smooth, or of
few kinds, are near held-out rows as well, and not taken for copies. `closer` (p by Mann and Whitney's ranks) says that
they are near, whatever the reason.

References:
    A Non-Parametric Test to Detect Data-Copying in Generative Models (Meehan et al., 2020), https://arxiv.org/abs/2004.05675
    Holdout-Based Empirical Assessment of Mixed-Type Synthetic Data (Platzer and Reutterer, 2021), 2104.00635
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from inference.quality.estimates import Estimate, Tested, bootstrap, rows_of, share

BLOCK = 256
NEIGHBOURS = 16
RATIOS = (1.0, 0.5)
ALARM = 0.01


@dataclass(frozen=True)
class Memorization:
    """What the nearest rows tell.

    Parameters:
        memory, copies, closer: the tests above, in their intervals the draw of samples and of both sets of rows.
        nearest, distances: each sample's nearest training row and how far it is, [M].
    """

    memory: Tested
    copies: Tested
    closer: Tested
    nearest: Tensor
    distances: Tensor

    @property
    def p(self) -> float:
        """How likely as much memory, or as many copies, are of a model that copies nothing: of two tests, doubled."""
        return min(1.0, 2 * min(self.memory.p, self.copies.p))

    @property
    def memorizes(self) -> bool:
        """Whether the samples know the training rows in particular, at p below 0.01."""
        return self.p < ALARM

    def pairs(self, count: int = 8) -> list[tuple[int, int, float]]:
        """The samples closest to a training row: sample, training row, distance; each training row once."""
        found: dict[int, tuple[int, int, float]] = {}
        for sample in self.distances.argsort(stable=True).tolist():
            row = int(self.nearest[sample])
            found.setdefault(row, (sample, row, float(self.distances[sample])))
            if len(found) == count:
                break
        return list(found.values())

    def __str__(self) -> str:
        told = "knows its training rows" if self.memorizes else "is not seen to know its training rows"
        return f"{told} (p = {self.p:.2g}): memory {self.memory.statistic}; copies {self.copies.statistic}"


def memorization(
    samples: Tensor, train: Tensor, held_out: Tensor, *, permutations: int = 499, seed: int = 0
) -> Memorization:
    """Samples [M, D] beside the rows that a model was fitted to, and others of the same kind, in the same features.

    The features must not have been fitted to the training rows, which would then lie unlike others. A model that
    overfits lies between 0 and 1.
    """
    samples, train, held_out = rows_of(samples=samples, train=train, held_out=held_out)
    gaps, near = _neighbours(samples, torch.cat([train, held_out]), NEIGHBOURS)
    known = torch.zeros(len(train) + len(held_out), dtype=torch.bool)
    known[: len(train)] = True
    memory, copies = _dealt_anew(gaps, near, known, permutations, seed)
    to_train, nearest = (found[:, 0] for found in _neighbours(samples, train, 1))
    baseline, _ = _neighbours(held_out, train, 1)
    return Memorization(memory, copies, _closer(to_train, baseline[:, 0], seed), nearest, to_train)


def _neighbours(rows: Tensor, others: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances to the nearest `count` others and which they are, each [N, count]; found by products, then measured."""
    squares, gaps, near = others.square().sum(1), [], []
    for part in rows.split(BLOCK):
        found = (squares - 2 * part @ others.T).topk(min(count, len(others)), dim=1, largest=False).indices
        exact = (part.unsqueeze(1) - others[found]).norm(dim=2)
        order = exact.argsort(dim=1, stable=True)
        gaps.append(exact.gather(1, order))
        near.append(found.gather(1, order))
    return torch.cat(gaps).cpu(), torch.cat(near).cpu()


def _dealt_anew(gaps: Tensor, near: Tensor, known: Tensor, permutations: int, seed: int) -> list[Tested]:
    """How many samples are so near a training row, at each ratio, beside what rows dealt out anew would give."""
    near, gaps = near.T.contiguous(), gaps.T.contiguous()  # [neighbours, M]
    last = gaps[-1]

    def so_near(dealt: Tensor) -> Tensor:
        known_there = dealt[near]
        to_known = torch.where(known_there, gaps, torch.inf).amin(0)
        to_others = torch.where(known_there, last, gaps).amin(0)
        return torch.stack([to_known <= ratio * to_others for ratio in RATIOS], 1)

    generator = torch.Generator().manual_seed(seed)
    found = so_near(known).double()
    anew = [so_near(known[torch.randperm(len(known), generator=generator)]).sum(0) for _ in range(permutations)]
    dealt = torch.stack(anew).double()
    p = (1 + (dealt >= found.sum(0)).sum(0)) / (1 + permutations)
    expected = dealt.mean(0) / len(found)
    return [Tested(_excess(found[:, i], near[0], known, expected[i], seed), float(p[i])) for i in range(len(RATIOS))]


def _excess(found: Tensor, nearest: Tensor, known: Tensor, expected: Tensor, seed: int) -> Estimate:
    """(share - expected) / (1 - b), rows drawn again with the samples that they are nearest to, which go together."""
    by_chance = known.double().mean()
    counted = torch.zeros(len(known), 2, dtype=torch.float64)
    counted.index_add_(0, nearest, torch.stack([found, torch.ones_like(found)], 1))

    def excess(mine: Tensor, others: Tensor) -> Tensor:
        hits, samples = mine.sum(0) + others.sum(0)
        return (hits / samples.clamp(min=1) - expected) / (1 - by_chance)

    value, low, high, _ = bootstrap(excess, counted[known], counted[~known], seed=seed)
    exact = share(found.sum().item(), len(found))  # where all or none are near, drawing them again tells nothing
    least, most = (float((bound - expected) / (1 - by_chance)) for bound in (exact.low, exact.high))
    n = (len(found), int(known.sum()), int((~known).sum()))
    return Estimate(value, min(low, least), max(high, most), n)


def _closer(to_train: Tensor, baseline: Tensor, seed: int) -> Tested:
    """P(sample closer than held-out row) + P(as close) / 2, and the p of ranks that it is above a half."""

    def chance(mine: Tensor, theirs: Tensor) -> Tensor:
        ordered = theirs.sort().values
        upper, lower = torch.searchsorted(ordered, mine, right=True), torch.searchsorted(ordered, mine)
        return 1 - (upper + lower).double().mean() / (2 * len(theirs))

    found: Estimate = bootstrap(chance, to_train, baseline, seed=seed)
    return Tested(found, float(mannwhitneyu(to_train.numpy(), baseline.numpy(), alternative="less").pvalue))
