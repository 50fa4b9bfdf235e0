"""What holds of every kernel: once warm it learns no more, as draws of a kernel that still learns are biased."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.sampling import Chees, DifferentialEvolution, Hmc, Independent, Nuts, RandomWalk, Stretch
from inference.sampling.kernel import Kernel
from tests.inference.sampling.gaussians import skewed

COUNTERS = {"counts"}
"""What goes on counting, as the place in a sequence of path lengths that is fixed beforehand."""


def learnt(state: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """All numbers of a state by name."""
    if isinstance(state, dict):
        for name, part in state.items():
            if name not in COUNTERS:
                yield from learnt(part, f"{path}/{name}")
    elif isinstance(state, (int, float, Tensor)):
        yield path, torch.as_tensor(state).clone()


@pytest.mark.parametrize("made", [Chees, DifferentialEvolution, Hmc, Independent, Nuts, RandomWalk, Stretch])
def test_once_warm_a_kernel_learns_no_more(made: type[Kernel]) -> None:
    torch.manual_seed(0)
    kernel, density = made(), skewed(3, 10.0)
    chains = kernel.begin(density, torch.randn(32, 3, dtype=torch.float64))
    cold = dict(learnt(kernel.state_dict()))
    for i in range(6):
        chains, _ = kernel.step(chains, i / 6)
    kernel.finish_warmup()
    warm = dict(learnt(kernel.state_dict()))
    assert not warm or any(not torch.equal(cold[name], warm[name]) for name in warm)
    for _ in range(4):
        chains, _ = kernel.step(chains, None)
    after = dict(learnt(kernel.state_dict()))
    assert after.keys() == warm.keys()
    for name in warm:
        assert torch.equal(after[name], warm[name]), name
