"""Annealed importance sampling against log Z that can be summed."""

from __future__ import annotations

import math

import pytest
import torch

from inference.ais import ais, bracket, reverse_ais
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


def test_fifty_machines_lie_between_the_two_ways() -> None:
    """Of every machine the estimate within three errors; of all together, below <= exact <= above."""
    kinds = ["bernoulli", {"kind": "gaussian"}, {"kind": "softmax", "levels": 3}, {"kind": "replicated_softmax"}]
    off: dict[str, list[float]] = {"lower": [], "upper": []}
    for seed in range(50):
        torch.manual_seed(seed)
        rbm = RBM(8, hidden=4, visible=kinds[seed % 4])
        with torch.no_grad():
            for parameter in rbm.parameters():
                parameter.copy_((0.1 if seed % 4 == 3 else 0.5) * torch.randn_like(parameter))
        found = bracket(rbm, chains=150, temperatures=60, seed=seed)
        log_z = rbm.log_partition()
        for way, estimate in (("lower", found.lower), ("upper", found.upper)):
            assert abs(float(estimate.value - log_z)) <= 3 * float(estimate.standard_error) + 1e-4, (seed, way)
            off[way].append(float(estimate.log_weights.mean() - log_z))
    # a chain's own log weight is low on the way up and high on the way down, by Jensen's inequality: here by a lot
    assert sum(off["lower"]) / 50 < -0.01 and sum(off["upper"]) / 50 > 0.01


def test_few_temperatures_leave_a_gap_that_holds_the_truth() -> None:
    rbm = machine(10, 1.0)
    log_z = float(rbm.log_partition())
    few, many = (bracket(rbm, chains=4000, temperatures=t) for t in (4, 100))
    for found, gap in ((few, 1.0), (many, 0.1)):
        low, high = (float(way.log_weights.mean()) for way in (found.lower, found.upper))
        assert low < log_z < high
        assert abs(found.gap) < gap
        assert "reverse" in repr(found) and "reverse" in repr(found.upper)
    spread = [float(f.upper.log_weights.mean() - f.lower.log_weights.mean()) for f in (few, many)]
    assert spread[0] > 5 * spread[1] > 0


def test_reverse_value_is_the_harmonic_mean_of_the_weights() -> None:
    found = reverse_ais(machine(8, 0.5), chains=64, temperatures=10)
    assert math.isclose(float(found.value), math.log(64) - float((-found.log_weights).logsumexp(0)), rel_tol=1e-12)
    assert 1 <= found.effective_chains <= 64


def test_reverse_from_given_rows() -> None:
    rbm = machine(11, 0.6)
    rbm.sweeps = 300
    given = reverse_ais(rbm, rows=rbm.sample(500), temperatures=100)
    assert len(given.log_weights) == 500
    assert abs(float(given.value - rbm.log_partition())) < 3.5 * float(given.standard_error)
    with pytest.raises(TypeError, match="annealing"):
        reverse_ais(NoPath())


def test_a_step_that_is_not_reversible_is_reversed() -> None:
    """A path may bring `reverse_step`; it is what a chain on its way down takes."""
    taken = []

    class Still:
        def free_energy(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(1)

        def gibbs_step(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("forward")

        def reverse_step(self, x: torch.Tensor) -> torch.Tensor:
            taken.append(1)
            return x

    class Way(NoPath):
        def annealing(self, data: torch.Tensor | None = None) -> Way:
            return self

        def log_partition(self) -> torch.Tensor:
            return torch.zeros(())

        def at(self, beta: float) -> Still:
            return Still()

    assert float(reverse_ais(Way(), rows=torch.zeros(3, 2), temperatures=4).value) == 0
    assert len(taken) == 3
