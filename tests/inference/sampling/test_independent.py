"""Independent Metropolis: stationarity, what its warm-up learns, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from inference.sampling.independent import Independent
from tests.inference.sampling.targets import Banana, Gaussian


def test_exact_draws_stay_exact_draws() -> None:
    """However little of the target the proposal knows: here it is learned from a few draws that stand apart."""
    torch.manual_seed(3)
    target, n = Banana(), 100_000
    kernel = Independent()
    kernel.begin(target, target.draw(50) + 0.5)
    chains = Independent.begin(Independent(), target, target.draw(n))
    for _ in range(4):
        chains, stats = kernel.step(chains, None)
    assert 0.1 < stats["acceptance_rate"].mean() < 0.9
    x, y = chains.q.unbind(-1)
    error = n**-0.5
    for value, mean, sd in (
        (x, 0, 1),
        (y, 1, 1.5),
        (x.square(), 1, 2**0.5),
        (x * y, 0, 15.25**0.5),
        (x**4, 3, 96**0.5),
    ):
        assert abs(float(value.mean()) - mean) < 4.5 * sd * error
    assert chains.log_density.allclose(target(chains.q))


def test_it_learns_the_shape_and_its_draws_are_nearly_independent() -> None:
    torch.manual_seed(4)
    target, kernel = Gaussian.correlated(4), Independent()
    chains = kernel.begin(target, 0.5 * target.draw(512) + 0.2)
    for step in range(kernel.warmup_for(4)):
        chains, stats = kernel.step(chains, step / 20)
    kernel.finish_warmup()
    torch.testing.assert_close(kernel.covariance, target.distribution.covariance_matrix, rtol=0.25, atol=0.1)
    assert stats["acceptance_rate"].mean() > 0.7


def test_few_chains_are_refused() -> None:
    target = Gaussian.correlated(4)
    with pytest.raises(ValueError, match="in 4 dimensions more than 8"):
        Independent().begin(target, target.draw(8))
