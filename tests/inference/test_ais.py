"""Annealed importance sampling against log Z that can be summed."""

from __future__ import annotations

import math

import pytest
import torch

from inference.ais import ais
from zoo.conditionals import Gaussian
from zoo.rbm import RBM


def machine(seed: int, scale: float, visible: int = 12, hidden: int = 6) -> RBM:
    generator = torch.Generator().manual_seed(seed)
    rbm = RBM(visible, hidden=hidden)
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return rbm


@pytest.mark.parametrize("seed, scale", [(0, 0.3), (1, 0.6), (2, 1.0), (3, 1.0), (4, 0.0)])
def test_estimates_log_z_within_its_error(seed: int, scale: float) -> None:
    rbm = machine(seed, scale)
    estimate = ais(rbm, chains=400, temperatures=300, seed=seed)
    gap = float((estimate.value - rbm.log_partition()).abs())
    assert gap <= 3 * float(estimate.standard_error) + 1e-4
    assert float(estimate.standard_error) < 0.1
    assert estimate.log_weights.shape == (400,)


def test_one_temperature_is_plain_importance_sampling() -> None:
    """From the base straight to the model: the weights' mean is Z without any chain."""
    rbm = machine(5, 0.4, visible=6, hidden=3)
    estimate = ais(rbm, chains=20_000, temperatures=1)
    assert abs(float(estimate.value - rbm.log_partition())) <= 3 * float(estimate.standard_error)


def test_the_base_of_the_data_gives_the_same_log_z_with_less_error() -> None:
    rbm = machine(6, 0.2)
    with torch.no_grad():
        rbm.visible_bias.sub_(3)
    data = rbm.sample(500)
    fitted, fair = (ais(rbm, chains=200, temperatures=50, data=d) for d in (data, None))
    assert float(fitted.standard_error) < float(fair.standard_error)
    for estimate in (fitted, fair):
        assert abs(float(estimate.value - rbm.log_partition())) <= 3.5 * float(estimate.standard_error) + 1e-4


def test_the_standard_error_is_the_spread_over_seeds() -> None:
    rbm = machine(7, 0.7)
    runs = [ais(rbm, chains=50, temperatures=20, seed=seed) for seed in range(40)]
    spread = torch.stack([run.value for run in runs]).std()
    claimed = torch.stack([run.standard_error for run in runs]).mean()
    assert 0.6 < float(spread / claimed) < 1.6


def test_value_and_error_follow_from_the_weights() -> None:
    estimate = ais(machine(8, 0.5), chains=64, temperatures=10)
    assert math.isclose(float(estimate.value), float(estimate.log_weights.logsumexp(0)) - math.log(64), rel_tol=1e-12)
    weights = estimate.log_weights.exp()
    assert math.isclose(float(estimate.standard_error), float(weights.std() / weights.mean() / 8), rel_tol=1e-9)
    assert 1 <= estimate.effective_chains <= 64
    assert "AIS" in repr(estimate)


def test_same_seed_same_estimate_and_the_callers_noise_is_left() -> None:
    rbm = machine(9, 0.5)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first = ais(rbm, chains=8, temperatures=5, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.log_weights, ais(rbm, chains=8, temperatures=5, seed=1).log_weights)
    assert not torch.equal(first.log_weights, ais(rbm, chains=8, temperatures=5, seed=2).log_weights)


class NoPath(torch.nn.Module):
    def free_energy(self, x: torch.Tensor) -> torch.Tensor:
        return x.sum(1)

    def gibbs_step(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def start(self, n: int) -> torch.Tensor:
        return torch.zeros(n, 2)


def test_refuses_what_it_cannot_climb() -> None:
    with pytest.raises(TypeError, match="annealing"):
        ais(NoPath())
    with pytest.raises(TypeError, match="Gaussian has no free energy"):
        ais(Gaussian(2))
    with pytest.raises(ValueError, match="at least 2 chains"):
        ais(machine(0, 0.1), chains=1)
