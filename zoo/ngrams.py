"""Counts of n-grams, and probabilities from them, as sorted keys: nothing is kept of what was never seen.

An n-gram of order n is n symbols of history and one more. With `symbols` symbols its key is a number in base
symbols + 1, the first symbol the highest digit; the digit `symbols` stands for what is before a row's start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


def keys_of(x: Tensor, order: int, symbols: int, before: Tensor | None = None) -> Tensor:
    """The key of the n-gram that ends at each place of the rows x, [N, T]; `before` are the symbols ahead of x."""
    if before is None:
        before = torch.full((len(x), order), symbols, dtype=torch.long, device=x.device)
    padded = torch.cat([before, x.long()], 1)
    keys = torch.zeros_like(x, dtype=torch.long)
    for k in range(order + 1):
        keys = keys.mul_(symbols + 1).add_(padded[:, k : k + x.shape[1]])
    return keys


def counted(x: Tensor, order: int, symbols: int) -> tuple[Tensor, Tensor]:
    """The different keys of the n-grams of the rows x, [N, T], sorted, and how often each is met."""
    if x.device.type != "cpu":
        return torch.unique(keys_of(x, order, symbols), return_counts=True)
    short = _short_keys(x, order, symbols)
    if short is None:
        found, counts = np.unique(keys_of(x, order, symbols).flatten().numpy(), return_counts=True)
        return torch.from_numpy(found), torch.from_numpy(counts)
    keys, names, width = short
    keys.sort()
    ends = np.flatnonzero(np.concatenate([[len(keys) > 0], keys[1:] != keys[:-1], [True]]))
    found = keys[ends[:-1]]
    ranks = found // np.uint32(width)
    found -= ranks * np.uint32(width)
    return torch.from_numpy(names[ranks] * width + found), torch.from_numpy(np.diff(ends))


def _short_keys(x: Tensor, order: int, symbols: int) -> tuple[np.ndarray, np.ndarray, int] | None:
    """The keys in 32 bits, which sort in half the time of 64: (keys, names, width), or None where they don't fit.

    The digits above `width` are the rank among those that are met: a key is names[short // width] * width +
    short % width, and shorter ones are smaller where keys are.
    """
    base, places = symbols + 1, x.shape[1]
    high = 0
    while high < order + 1 and base ** (high + 1) <= 2**16:
        high += 1
    width = base ** (order + 1 - high)
    if not high or width >= 2**32:
        return None
    padded = torch.full((len(x), order + places), symbols, dtype=torch.int32)
    padded[:, order:] = x

    def digits(first: int, last: int) -> Tensor:
        code = padded[:, first : first + places].contiguous()
        for k in range(first + 1, last):
            out = code if k > first + 1 else torch.empty_like(code)
            # beyond 2 ** 31 it wraps, as uint32 would
            code = torch.add(padded[:, k : k + places], code, alpha=base, out=out)
        return code.reshape(-1)

    lead = digits(0, high)
    names = (torch.bincount(lead, minlength=base**high) > 0).nonzero()[:, 0]
    if len(names) * width > 2**32:
        return None
    ranks = torch.zeros(base**high, dtype=torch.int32)
    ranks[names] = (torch.arange(len(names)) * width).int()
    keys = ranks.index_select(0, lead)
    if high <= order:
        keys += digits(high, order + 1)
    return keys.numpy().view(np.uint32), names.numpy(), width


def merged(keys: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Keys, each once, their counts added."""
    found, place = torch.unique(keys, return_inverse=True)
    return found, counts.new_zeros(len(found)).index_add_(0, place, counts)


@dataclass(frozen=True)
class Level:
    """p_k(symbol | k before it) = share(n-gram) + left(history) p_k-1(symbol | k - 1 before it)."""

    width: int
    """What a key is cut to: (symbols + 1) to the power k + 1."""
    keys: Tensor
    bounds: Tensor
    """The shares of all keys summed up to each, a zero first."""
    shares: Tensor
    histories: Tensor
    first: Tensor
    """Where each history's keys begin, and after the last where they end."""
    left: Tensor

    def mix(self, keys: Tensor, base: int, below: Tensor) -> Tensor:
        """p_k of these n-grams, given p_k-1."""
        if not len(self.keys):
            return below
        keys = keys % self.width
        place = torch.searchsorted(self.keys, keys).clamp_(max=len(self.keys) - 1)
        share = torch.where(self.keys[place] == keys, self.shares[place], 0.0)
        _, left = self.of_history(keys // base)
        return share + left * below

    def of_history(self, histories: Tensor) -> tuple[Tensor, Tensor]:
        """Where these histories are, and what each leaves to the level below: all, of one never met."""
        place = torch.searchsorted(self.histories, histories).clamp_(max=len(self.histories) - 1)
        return place, torch.where(self.histories[place] == histories, self.left[place], 1.0)

    def draw(self, place: Tensor, uniform: Tensor, base: int) -> Tensor:
        """A symbol from the shares of each history, by a number that is uniform between 0 and their sum."""
        target = self.bounds[self.first[place]] + uniform
        found = torch.searchsorted(self.bounds[1:], target, right=True)
        found = torch.minimum(torch.maximum(found, self.first[place]), self.first[place + 1] - 1)
        return self.keys[found] % base


def discounted(keys: Tensor, counts: Tensor, order: int, symbols: int, discount: float, *, kinds: bool) -> list[Level]:
    """Levels 0..order by interpolated absolute discounting.

    Below the highest level an n-gram counts as often as it is met or, by `kinds`, as different symbols precede it.
    """
    found = [(keys, counts)]
    for k in range(order - 1, -1, -1):
        keys, counts = found[-1]
        found.append(merged(keys % (symbols + 1) ** (k + 1), torch.ones_like(counts) if kinds else counts))
    levels = []
    for k, (keys, counts) in enumerate(reversed(found)):
        width = (symbols + 1) ** (k + 1)
        levels.append(_level(width, keys, counts.double() - discount, counts, discount, 0.0, symbols))
    return levels


def added(keys: Tensor, counts: Tensor, order: int, symbols: int, pseudo_count: float) -> list[Level]:
    """One level, `pseudo_count` added to the count of each symbol after each history."""
    width = (symbols + 1) ** (order + 1)
    return [_level(width, keys, counts.double(), counts, 0.0, pseudo_count * symbols, symbols)]


def _level(
    width: int, keys: Tensor, kept: Tensor, counts: Tensor, discount: float, extra: float, symbols: int
) -> Level:
    histories, place, kinds = torch.unique_consecutive(keys // (symbols + 1), return_inverse=True, return_counts=True)
    total = kept.new_zeros(len(histories)).index_add_(0, place, counts.double()) + extra
    shares = kept / total[place]
    zero = torch.zeros(1, dtype=torch.long, device=keys.device)
    return Level(
        width=width,
        keys=keys,
        bounds=torch.cat([zero.double(), shares.cumsum(0)]),
        shares=shares,
        histories=histories,
        first=torch.cat([zero, kinds.cumsum(0)]),
        left=(discount * kinds + extra) / total,
    )


def probabilities(levels: list[Level], keys: Tensor, symbols: int) -> Tensor:
    """p(symbol | history) of n-grams by their keys, in float64."""
    found = torch.full(keys.shape, 1.0 / symbols, dtype=torch.float64, device=keys.device)
    for level in levels:
        found = level.mix(keys, symbols + 1, found)
    return found


def after(levels: list[Level], history: Tensor, symbols: int) -> Tensor:
    """p(symbol | history) of every symbol after each history, [M] keys: [M, symbols], in float64."""
    base = symbols + 1
    found = torch.full((len(history), symbols), 1.0 / symbols, dtype=torch.float64, device=history.device)
    for level in levels:
        if not len(level.keys):
            continue
        own = history % (level.width // base)
        place, left = level.of_history(own)
        first = level.first[place]
        kinds = torch.where(level.histories[place] == own, level.first[place + 1] - first, 0)
        row = torch.arange(len(own), device=own.device).repeat_interleave(kinds)
        within = torch.arange(len(row), device=own.device) - (kinds.cumsum(0) - kinds)[row]
        met = first[row] + within
        found = found * left.unsqueeze(-1)
        found[row, level.keys[met] % base] += level.shares[met]
    return found


def draw(levels: list[Level], history: Tensor, symbols: int) -> Tensor:
    """A symbol after each history, [M] keys: from the highest level down, until one keeps its draw."""
    base = symbols + 1
    uniform = torch.rand(history.shape, dtype=torch.float64, device=history.device)
    found = torch.full_like(history, -1)
    for level in reversed(levels):
        if not len(level.keys):
            continue
        place, left = level.of_history(history % (level.width // base))
        keep = 1.0 - left
        mine = (found < 0) & (uniform < keep)
        drawn = level.draw(place, uniform.clamp(max=1.0), base)
        found = torch.where(mine, drawn, found)
        # what is left of a uniform number that fell beyond is uniform again
        uniform = torch.where(found < 0, (uniform - keep) / left.clamp(min=1e-300), uniform)
    return torch.where(found < 0, (uniform * symbols).long().clamp(max=symbols - 1), found)
