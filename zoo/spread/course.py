"""What happened: heads and events at times, of one run or of a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments


@dataclass(frozen=True, repr=False)
class Course:
    """The course of a spread: `course["I"]` are the heads in I at its times.

    Attributes:
        compartments: what was run.
        times: [T].
        heads: [..., T, K] at each time; the batch is that of the rates, replicates before it.
        happened: [..., T, E], events from the first time until each.
    """

    compartments: Compartments
    times: Tensor
    heads: Tensor
    happened: Tensor

    def __repr__(self) -> str:
        runs = " x ".join(map(str, self.heads.shape[:-2]))
        names = ", ".join(self.compartments.names)
        return f"Course of {names} at {len(self.times)} times{f', {runs} of them' if runs else ''}"

    def __getitem__(self, name: str) -> Tensor:
        """The heads of a compartment, [..., T], or [..., T, G] with groups."""
        found = self.heads[..., self.compartments.index(name) :: len(self.compartments.names)]
        return found if self.compartments.groups else found[..., 0]

    def new(self, source: str | None, target: str | None) -> Tensor:
        """Events of a transition between each time and the next, [..., T - 1], or [..., T - 1, G] with groups."""
        model = self.compartments
        wanted = [t.source == source and t.target == target for t in model.transitions]
        if not any(wanted):
            raise ValueError(f"there is no transition from {source} to {target}; there are {', '.join(model.events)}")
        width, groups = len(model.transitions), len(model.groups or "1")
        happened = self.happened[..., : width * groups].unflatten(-1, (groups, width))
        counted = torch.stack([happened[..., n] for n, yes in enumerate(wanted) if yes]).sum(0)
        found = counted.diff(dim=-2)
        return found if model.groups else found[..., 0]

    def joined(self, later: Sequence[Course], times: Tensor) -> Course:
        """One course at some of the times of several, each of which begins where the one before it ends."""
        heads, happened, before = [], [], torch.zeros_like(self.happened[..., -1:, :])
        for first, part in zip([True, *[False] * len(later)], [self, *later], strict=True):
            kept = torch.isin(part.times, times).nonzero().flatten()
            kept = kept if first else kept[kept > 0]
            heads.append(part.heads[..., kept, :])
            happened.append(before + part.happened[..., kept, :])
            before = before + part.happened[..., -1:, :]
        return Course(self.compartments, times, torch.cat(heads, -2), torch.cat(happened, -2))
