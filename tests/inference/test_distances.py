"""Energy and sliced Wasserstein distances, mixtures of kernels, and the memory that pairs of rows take."""

import math

import pytest
import scipy.stats
import torch

from inference.kernels import Gaussians
from inference.quality import distances as module
from inference.quality import energy_distance, kernel_mmd, sliced_wasserstein


def rows(n: int, d: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return shift + torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_energy_distance_is_the_sum_over_pairs():
    a, b = rows(9, 3, 0), rows(7, 3, 1, 0.4)

    def direct(a, b):
        n, m = len(a), len(b)
        within = torch.cdist(a, a).sum() / (n * (n - 1)) + torch.cdist(b, b).sum() / (m * (m - 1))
        return (2 * torch.cdist(a, b).mean() - within).item()

    found = energy_distance(a, b)
    assert found.value == pytest.approx(direct(a, b), abs=1e-9)
    out_a = torch.tensor([direct(torch.cat([a[:i], a[i + 1 :]]), b) for i in range(9)])
    out_b = torch.tensor([direct(a, torch.cat([b[:i], b[i + 1 :]])) for i in range(7)])
    jackknife = 8 / 9 * (out_a - out_a.mean()).square().sum() + 6 / 7 * (out_b - out_b.mean()).square().sum()
    assert found.error == pytest.approx(jackknife.sqrt().item(), rel=1e-4)


def test_the_energy_distance_is_scipys_with_a_row_beside_itself_left_out():
    a, b = rows(60, 1, 0), rows(45, 1, 1, 0.7)
    biased = scipy.stats.energy_distance(a[:, 0], b[:, 0]) ** 2
    own = torch.cdist(a, a).mean() / 59 + torch.cdist(b, b).mean() / 44
    assert energy_distance(a, b).value == pytest.approx(biased - own.item(), abs=1e-9)


def mean_absolute(mean: float, sd: float) -> float:
    """E|N(mean, sd^2)|."""
    normal = scipy.stats.norm
    return sd * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * sd**2)) + mean * (1 - 2 * normal.cdf(-mean / sd))


def test_the_energy_distance_of_two_normals():
    a, b = rows(2500, 1, 0), 0.5 + 1.5 * rows(2000, 1, 1)
    exact = (
        2 * mean_absolute(0.5, math.sqrt(1 + 2.25))
        - mean_absolute(0, math.sqrt(2))
        - mean_absolute(0, 1.5 * math.sqrt(2))
    )
    found = energy_distance(a, b)
    assert found.value == pytest.approx(exact, abs=4 * found.error)
    assert found.error < 0.2 * exact


def test_the_sliced_distance_of_one_column_is_scipys():
    for m in (60, 45, 7):
        a, b = rows(60, 1, 0), rows(m, 1, 1, 0.7)
        exact = scipy.stats.wasserstein_distance(a[:, 0], b[:, 0])
        assert sliced_wasserstein(a, b, slices=3).value == pytest.approx(exact, rel=1e-9)
        assert sliced_wasserstein(b, a, slices=3).value == pytest.approx(exact, rel=1e-9)


def test_the_sliced_distance_of_rows_that_are_shifted():
    """E|<shift, direction>| over the sphere of d dimensions is |shift| Gamma(d/2) / (sqrt(pi) Gamma((d+1)/2))."""
    a, d = rows(50, 5, 0), 5
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0, 0.0]).double()
    exact = 5 * math.gamma(d / 2) / (math.sqrt(math.pi) * math.gamma((d + 1) / 2))
    found = [sliced_wasserstein(a, a + shift, slices=500, seed=seed).value for seed in range(10)]
    spread = torch.tensor(found).std().item() / math.sqrt(10)
    assert sum(found) / 10 == pytest.approx(exact, abs=4 * spread)


def test_the_sliced_distance_does_not_mind_a_rotation():
    a, b = rows(80, 4, 0), rows(70, 4, 1, 0.5) * torch.tensor([1.0, 2.0, 0.5, 1.0]).double()
    turn = torch.linalg.qr(rows(4, 4, 2)).Q
    straight, turned = (
        torch.tensor([sliced_wasserstein(x, y, slices=400, seed=s).value for s in seeds])
        for x, y, seeds in ((a, b, range(8)), (a @ turn, b @ turn, range(8, 16)))
    )
    error = ((straight.var() + turned.var()) / 8).sqrt().item()
    assert straight.mean().item() == pytest.approx(turned.mean().item(), abs=4 * error)
    squashed = sliced_wasserstein(a @ turn * torch.tensor([3.0, 1, 1, 1]).double(), b @ turn, slices=400).value
    assert abs(squashed - straight.mean().item()) > 20 * error


def test_the_sliced_error_is_that_of_repeated_rows_and_the_callers_noise_is_left():
    state = torch.get_rng_state()
    found = [sliced_wasserstein(rows(100, 3, i), rows(100, 3, i + 500, 1.0), slices=30) for i in range(100)]
    assert torch.equal(state, torch.get_rng_state())
    spread = torch.tensor([distance.value for distance in found]).std().item()
    assert torch.tensor([distance.error for distance in found]).mean().item() == pytest.approx(spread, rel=0.25)


def test_a_mixture_of_bandwidths_is_the_mean_of_theirs():
    a, b = rows(30, 3, 0), rows(40, 3, 1, 0.5)
    each = [kernel_mmd(a, b, bandwidth=h).value for h in (0.5, 1.0, 3.0)]
    assert kernel_mmd(a, b, bandwidth=(0.5, 1.0, 3.0)).value == pytest.approx(sum(each) / 3, abs=1e-12)
    for wrong in (0.0, [], [1.0, -1.0]):
        with pytest.raises(ValueError, match="a bandwidth must be above 0"):
            kernel_mmd(a, b, bandwidth=wrong)
    with pytest.raises(ValueError, match="slices must be at least 1"):
        sliced_wasserstein(a, b, slices=0)


def test_no_more_pairs_are_held_than_a_tile_of_them_and_tiles_change_nothing(monkeypatch):
    a, b = rows(70, 3, 0), rows(53, 3, 1, 0.5)
    whole = kernel_mmd(a, b, bandwidth=1.3), energy_distance(a, b)
    held = []
    value = Gaussians.value
    monkeypatch.setattr(module, "TILE", 16)
    monkeypatch.setattr(Gaussians, "value", lambda self, squares: held.append(squares.numel()) or value(self, squares))
    tiled = kernel_mmd(a, b, bandwidth=1.3), energy_distance(a, b)
    assert max(held) == 16 * 16
    assert sum(held) < 0.75 * (70 + 53) ** 2  # the mirror images of a set's own pairs are not worked out
    for one, other in zip(whole, tiled, strict=True):
        assert other == pytest.approx(one, abs=1e-9)
