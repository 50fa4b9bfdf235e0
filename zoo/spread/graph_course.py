"""What happened on a graph."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor

from zoo.spread.compartments import Compartments


@dataclass(frozen=True, repr=False)
class GraphCourse:
    """The course of a spread on a graph, R replicates of n nodes: `course["I"]` are the nodes in I after each step.

    Attributes:
        compartments: what was run.
        nodes: the labels of the nodes.
        counts: int64 [R, steps + 1, K], nodes in each compartment after each step.
        states: uint8 [R, n], the compartment of each node after the last step.
        reached: int32 [R, n], the step at which a node left the first compartment: 0 for those who began elsewhere, -1
            for never.
    """

    compartments: Compartments
    nodes: Sequence[Hashable]
    counts: Tensor
    states: Tensor
    reached: Tensor
    again: Callable[[Sequence[int], int], Tensor]

    def __repr__(self) -> str:
        replicates, steps, _ = self.counts.shape
        names = ", ".join(self.compartments.names)
        return f"GraphCourse of {names} in {steps - 1} steps on {len(self.nodes):,} nodes, {replicates:,} of them"

    def __getitem__(self, name: str) -> Tensor:
        """Nodes in a compartment after each step, [R, steps + 1]."""
        return self.counts[..., self.compartments.index(name)]

    def frames(self, steps: Sequence[int], *, replicate: int = 0) -> Tensor:
        """The states of all nodes after these steps, uint8 [len(steps), n], of one replicate: it is run again.

        Raises:
            ValueError: a step or a replicate that was not run.
        """
        last, wanted = self.counts.shape[1] - 1, [int(step) for step in steps]
        if outside := [step for step in wanted if not 0 <= step <= last]:
            raise ValueError(f"steps 0 to {last} were run, not {outside[0]}")
        if not 0 <= replicate < len(self.counts):
            raise ValueError(f"replicates 0 to {len(self.counts) - 1} were run, not {replicate}")
        return self.again(wanted, replicate)
