"""The one loop of all kernels: warm up, draw until a rule is met, stop and resume in between as if never stopped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from inference.sampling.kernel import Chains, Density, Kernel
from inference.sampling.stopping import Convergence, Rule
from inference.sampling.windows import Window, window_of

FIRST_LOOK = 16
"""Draws of each chain before the rule is asked."""
FEWEST = 4
"""Draws of each chain that its halves can be compared of."""

SOONER, LATER = 1.2, 1.5
"""By how much the draws grow from look to look."""


class Walk:
    """Chains on their way: `warmup` steps that adapt, then draws until `rule` is met or there are `limit` a chain.

    `values` gives what the rule judges: parameters [..., P] of positions [..., dim], named by `names`. Random numbers
    are torch's global ones.
    """

    def __init__(
        self,
        kernel: Kernel,
        density: Density,
        rule: Rule,
        *,
        values: Callable[[Tensor], Tensor],
        names: Sequence[str],
        warmup: int,
        limit: int,
    ) -> None:
        self.kernel, self.density, self.rule = kernel, density, rule
        self.values, self.names = values, names
        self.warmup, self.limit = warmup, limit
        self.warmed = 0
        self.chains: Chains
        self.q: list[Tensor] = []
        self.stats: list[dict[str, Tensor]] = []
        self.seen: list[Tensor] = []
        self.met = False
        self.next_look = FIRST_LOOK
        self.window = Window()
        self.found: Convergence | None = None

    @property
    def steps(self) -> int:
        """Steps taken, the warm-up's included."""
        return self.warmed + len(self.q)

    def begin(self, q: Tensor) -> None:
        """Set the chains down at q [C, dim]."""
        self.chains = self.kernel.begin(self.density, q)

    def run(self) -> Iterator[int]:
        """Step by step to the end, giving the number of steps taken; the chains may be left between any two."""
        while self.warmed < self.warmup:
            self.chains, _ = self.kernel.step(self.chains, self.warmed / self.warmup)
            self.warmed += 1
            if self.warmed == self.warmup:
                self.kernel.finish_warmup()
            yield self.steps
        while not self.met and len(self.q) < self.limit:
            self.chains, stats = self.kernel.step(self.chains, None)
            self.q.append(self.chains.q)
            self.stats.append(stats)
            if len(self.q) in (self.next_look, self.limit):
                missing = self.rule.missing(self.look())
                self.next_look = math.ceil(len(self.q) * min(max(missing, SOONER), LATER))
            yield self.steps

    def look(self) -> Convergence:
        """Ask the rule, of all draws or of a window of them."""
        judged = sum(part.shape[1] for part in self.seen)
        if len(self.q) > judged:
            self.seen = [torch.cat([*self.seen, self.values(torch.stack(self.q[judged:], 1))], 1)]
        groups = self.rule.super_chains
        self.window, self.found = window_of(self.seen[0], self.names, self.rule, groups)
        self.met = self.rule.met(self.found)
        return self.found

    def state_dict(self) -> dict[str, Any]:
        """All that it takes to go on bit for bit, in tensors and plain numbers."""
        device = self.chains.q.device
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return {
            "kernel": self.kernel.state_dict(),
            "chains": [self.chains.q, self.chains.log_density, self.chains.slope],
            "random": [torch.get_rng_state(), cuda],
            "warmed": self.warmed,
            "met": self.met,
            "next_look": self.next_look,
            "q": torch.stack(self.q) if self.q else None,
            "stats": {name: torch.stack([stats[name] for stats in self.stats]) for name in self.stats[0]}
            if self.q
            else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` gave, random numbers included."""
        self.chains = Chains(*state["chains"])
        self.kernel.load_state_dict(state["kernel"], self.density)
        cpu, cuda = state["random"]
        torch.set_rng_state(cpu.cpu())
        if cuda is not None:
            torch.cuda.set_rng_state(cuda.cpu(), self.chains.q.device)
        self.warmed, self.next_look = state["warmed"], state["next_look"]
        if state["q"] is not None:
            self.q = list(state["q"])
            self.stats = [{name: rows[i] for name, rows in state["stats"].items()} for i in range(len(self.q))]
            if len(self.q) >= FEWEST:
                self.look()
                self.met = self.met and state["met"]
