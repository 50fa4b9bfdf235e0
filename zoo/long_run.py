"""Where a chain is in the long run, and how long it takes to get somewhere: in discrete and in continuous time.

`flow` is P - I of a chain in steps, or the generator Q of one in continuous time, [S, S], float64; its rows sum to
zero.

References:
    Markov Chains (Norris, 1997), sections 1.3, 1.7 and 3.3
"""

from __future__ import annotations

import torch
from torch import Tensor


def stationary(flow: Tensor) -> Tensor:
    """p with p flow = 0, [S]; refused where it is not the only one."""
    if (torch.linalg.eigvals(flow).abs() <= 1e-9 * flow.abs().amax()).sum() > 1:
        raise ValueError("the chain falls into parts that never meet: it has more than one stationary distribution")
    system = torch.cat([flow.mT, torch.ones_like(flow[:1])])
    target = torch.cat([torch.zeros_like(flow[0]), torch.ones_like(flow[0, :1])])
    found = torch.linalg.lstsq(system, target.unsqueeze(-1)).solution.squeeze(-1).clamp(min=0)
    return found / found.sum()


def hitting_times(flow: Tensor, goal: Tensor) -> Tensor:
    """The expected time until some of the goal, [S] of bool, is entered: 0 there, inf where it may never be."""
    linked = (flow > 0).to(flow.dtype)
    lost = ~_reaching(linked, goal)
    linked[goal] = 0  # what comes after the goal does not matter
    lost = _reaching(linked, lost) & ~goal
    between = ~goal & ~lost
    times = torch.zeros_like(flow[0])
    times[lost] = torch.inf
    inner = flow[between][:, between]
    times[between] = torch.linalg.solve(inner, -torch.ones_like(inner.diagonal()))
    return times


def _reaching(linked: Tensor, goal: Tensor) -> Tensor:
    """From which states some of the goal can be reached, [S]."""
    found = goal
    while True:
        more = found | ((linked @ found.to(linked.dtype)) > 0)
        if torch.equal(more, found):
            return found
        found = more
