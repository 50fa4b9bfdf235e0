"""When chains know enough: rules on what their draws show, and the words for what is missing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.sampling.statistics import bulk_ess, nested_rhat, rhat, tail_ess

AGREED = 1.01
"""The r-hat up to which chains agree (Vehtari et al., 2021)."""

SHORTEST = 10
"""Draws a chain from which on its halves have lags enough for an effective sample size."""


@dataclass(frozen=True)
class Convergence:
    """What draws [chains, draws, P] of the parameters `names` show, each [P]; `nested` where chains share starts."""

    names: Sequence[str]
    rhat: Tensor
    bulk: Tensor
    tail: Tensor
    nested: Tensor | None = None

    @property
    def ess(self) -> Tensor:
        """The fewer of bulk and tail draws; those of a parameter that is not finite are none."""
        return torch.minimum(self.bulk, self.tail).nan_to_num(0.0)

    @property
    def agreement(self) -> Tensor:
        """R-hat, by groups where chains share starts; infinite where the chains' values are not finite."""
        return (self.rhat if self.nested is None else self.nested).nan_to_num(torch.inf)

    def worst(self) -> str:
        """In words: the parameters of the largest r-hat and of the fewest draws."""
        apart, scarce = int(self.agreement.argmax()), int(self.ess.argmin())
        return (
            f"{self.names[apart]} has an r-hat of {float(self.agreement[apart]):.3f}, "
            f"{self.names[scarce]} {float(self.ess[scarce]):.0f} effective draws"
        )


def convergence(draws: Tensor, names: Sequence[str], super_chains: int | None = None) -> Convergence:
    """Every statistic of draws [chains, draws, P]; a parameter that never moves anywhere counts as agreed."""
    moving = (draws != draws[:1, :1]).any(0).any(0)
    apart = torch.where(moving, rhat(draws), 1.0) if len(draws) > 1 else torch.ones_like(draws[0, 0])
    nested = None if super_chains is None else torch.where(moving, nested_rhat(draws, super_chains), 1.0)
    bulk, tail = (torch.where(moving, count, torch.inf) for count in (bulk_ess(draws), tail_ess(draws)))
    return Convergence(names, apart, bulk, tail, nested)


class Rule(ABC):
    """When to stop drawing."""

    @property
    def super_chains(self) -> int | None:
        """How many groups of chains share a start; None: every chain has its own."""
        return None

    @abstractmethod
    def met(self, found: Convergence) -> bool:
        """Whether these draws are enough."""


@dataclass(frozen=True)
class Ess(Rule):
    """Until every parameter has `count` effective draws, bulk and tail, of chains that agree (an r-hat within `rhat`)."""

    count: float = 1000
    rhat: float = AGREED

    def met(self, found: Convergence) -> bool:
        return bool((found.ess >= self.count).all() and (found.agreement <= self.rhat).all())


@dataclass(frozen=True)
class RHat(Rule):
    """Until no parameter's r-hat is above `bound`; `nested`: between that many groups of chains with one start each."""

    bound: float = AGREED
    nested: int | None = None

    @property
    def super_chains(self) -> int | None:
        return self.nested

    def met(self, found: Convergence) -> bool:
        return bool((found.agreement <= self.bound).all())


@dataclass(frozen=True)
class All(Rule):
    """Until all of `rules` are met."""

    rules: tuple[Rule, ...]

    @property
    def super_chains(self) -> int | None:
        named = {rule.super_chains for rule in self.rules} - {None}
        if len(named) > 1:
            raise ValueError(f"until= asks for chains in groups of {sorted(map(str, named))}: all rules must name one number")
        return named.pop() if named else None

    def met(self, found: Convergence) -> bool:
        return all(rule.met(found) for rule in self.rules)


def rule_of(until: Rule | Iterable[Rule]) -> Rule:
    """One rule of one or several."""
    if isinstance(until, Rule):
        return until
    rules = tuple(until)
    if not rules or not all(isinstance(rule, Rule) for rule in rules):
        raise TypeError(f"until= takes Ess(...), RHat(...) or a sequence of them, not {until!r}")
    return All(rules)
