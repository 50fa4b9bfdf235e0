"""When chains know enough: rules on what their draws show, and the words for what is missing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from inference.sampling.statistics import bulk_ess, nested_rhat, normal_scores, rhat, split, tail_ess

AGREED = 1.01
"""The r-hat up to which chains agree (Vehtari et al., 2021)."""


class Convergence:
    """What draws [chains, draws, P] of the parameters `names` show, each figure [P] and found when asked for.

    `super_chains`: how many groups of chains share a start; r-hat is then that between groups. A parameter that has one
    value throughout counts as known.
    """

    def __init__(self, draws: Tensor, names: Sequence[str], super_chains: int | None = None) -> None:
        self.draws, self.names, self.super_chains = draws, names, super_chains

    @cached_property
    def agreement(self) -> Tensor:
        """R-hat; infinite where values are not finite or stand still in every chain."""
        if self.super_chains is not None:
            found = nested_rhat(self.draws, self.super_chains)
        else:
            found = rhat(self.draws, self._scores) if len(self.draws) > 1 else torch.ones_like(self.draws[0, 0])
        return torch.where(self._moving, found.nan_to_num(torch.inf), 1.0)

    @cached_property
    def ess(self) -> Tensor:
        """The fewer of the effective draws for the bulk and for the tails; none where values are not finite."""
        fewer = torch.minimum(bulk_ess(self.draws, self._scores), tail_ess(self.draws))
        return torch.where(self._moving, fewer.nan_to_num(0.0), torch.inf)

    @cached_property
    def _scores(self) -> Tensor:
        return normal_scores(split(self.draws))

    @cached_property
    def _moving(self) -> Tensor:
        return (self.draws != self.draws[:1, :1]).any(0).any(0)

    def worst(self) -> str:
        """In words: the parameters of the largest r-hat and of the fewest draws."""
        apart, scarce = int(self.agreement.argmax()), int(self.ess.argmin())
        return (
            f"{self.names[apart]} has an r-hat of {float(self.agreement[apart]):.3f}, "
            f"{self.names[scarce]} {float(self.ess[scarce]):.0f} effective draws"
        )


class Rule(ABC):
    """When to stop drawing."""

    @property
    def super_chains(self) -> int | None:
        """How many groups of chains share a start; None: every chain has its own."""
        return None

    @abstractmethod
    def missing(self, found: Convergence) -> float:
        """How many times as many draws it takes, by what these show; at most one where they are enough."""

    def met(self, found: Convergence) -> bool:
        """Whether these draws are enough."""
        return self.missing(found) <= 1


@dataclass(frozen=True)
class Ess(Rule):
    """Until all parameters have `count` effective draws, bulk and tail, of chains that agree (r-hat within `rhat`)."""

    count: float = 1000
    rhat: float = AGREED

    def missing(self, found: Convergence) -> float:
        apart = RHat(self.rhat).missing(found)
        return apart if apart > 1 else self.count / max(float(found.ess.min()), 1e-9)


@dataclass(frozen=True)
class RHat(Rule):
    """Until no parameter's r-hat is above `bound`; `nested`: between that many groups of chains with one start each."""

    bound: float = AGREED
    nested: int | None = None

    def __post_init__(self) -> None:
        if not self.bound > 1:
            raise ValueError(f"an r-hat is one or more: its bound must be above one, not {self.bound}")

    @property
    def super_chains(self) -> int | None:
        return self.nested

    def missing(self, found: Convergence) -> float:
        """An r-hat falls to one as fast as the draws grow."""
        return max(float(found.agreement.max()) - 1, 0.0) / (self.bound - 1)


@dataclass(frozen=True)
class All(Rule):
    """Until all of `rules` are met."""

    rules: tuple[Rule, ...]

    @property
    def super_chains(self) -> int | None:
        named = {rule.super_chains for rule in self.rules} - {None}
        if len(named) > 1:
            raise ValueError(
                f"until= asks for chains in groups of {sorted(map(str, named))}: all rules must name one number"
            )
        return named.pop() if named else None

    def missing(self, found: Convergence) -> float:
        return max(rule.missing(found) for rule in self.rules)


def rule_of(until: Rule | Iterable[Rule]) -> Rule:
    """One rule of one or several."""
    if isinstance(until, Rule):
        return until
    rules = tuple(until) if isinstance(until, Iterable) else ()
    if not rules or not all(isinstance(rule, Rule) for rule in rules):
        raise TypeError(f"until= takes Ess(...), RHat(...) or a sequence of them, not {until!r}")
    return All(rules)
