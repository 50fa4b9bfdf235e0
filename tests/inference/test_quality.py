"""Distances between samples, held to the closed forms of normals."""

import math

import pytest
import torch

from inference.quality import VALUES, Features, frechet_distance, kernel_mmd
from inference.quality.distances import median_distance


def normal(n: int, mean: torch.Tensor, cov: torch.Tensor, seed: int) -> torch.Tensor:
    noise = torch.randn(n, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return mean + noise @ torch.linalg.cholesky(cov).T


MEAN_A, MEAN_B = torch.tensor([0.0, 1.0, 0.0]).double(), torch.tensor([0.5, 0.0, -0.3]).double()
COV_A = torch.tensor([[1.0, 0.5, 0.0], [0.5, 2.0, 0.3], [0.0, 0.3, 0.7]]).double()
COV_B = torch.tensor([[0.6, -0.2, 0.1], [-0.2, 1.0, 0.0], [0.1, 0.0, 1.5]]).double()


def exact_frechet() -> float:
    product = torch.linalg.eigvals(COV_A @ COV_B).real.sqrt().sum()
    return ((MEAN_A - MEAN_B).square().sum() + COV_A.trace() + COV_B.trace() - 2 * product).item()


def exact_mmd(mean_a, cov_a, mean_b, cov_b, bandwidth: float) -> float:
    """E k(a, a') + E k(b, b') - 2 E k(a, b): each a normal density at the gap of means, rescaled."""

    def mean_kernel(gap, cov):
        scale = bandwidth**2 * torch.eye(len(gap)).double()
        density = torch.distributions.MultivariateNormal(torch.zeros_like(gap), cov + scale).log_prob(gap)
        return (density + len(gap) / 2 * math.log(2 * math.pi * bandwidth**2)).exp().item()

    zero = torch.zeros_like(mean_a)
    within = mean_kernel(zero, 2 * cov_a) + mean_kernel(zero, 2 * cov_b)
    return within - 2 * mean_kernel(mean_a - mean_b, cov_a + cov_b)


def test_frechet_distance_of_normals():
    found = frechet_distance(normal(40_000, MEAN_A, COV_A, 0), normal(40_000, MEAN_B, COV_B, 1))
    assert found.value == pytest.approx(exact_frechet(), abs=4 * found.error)
    assert 0 < found.error < 0.03 * exact_frechet()


def test_frechet_distance_is_exact_on_its_moments():
    a = normal(50, MEAN_A, COV_A, 0)
    assert frechet_distance(a, a).value == pytest.approx(0, abs=1e-12)
    assert frechet_distance(a, a + 2).value == pytest.approx(12, rel=1e-9)
    centred = a - a.mean(0)
    spread = torch.cov(a.T).trace().item()
    assert frechet_distance(centred, 3 * centred).value == pytest.approx(4 * spread, rel=1e-9)
    assert frechet_distance(a, centred[:, [1, 2, 0]]).value == pytest.approx(
        frechet_distance(centred[:, [1, 2, 0]], a).value
    )


def test_kernel_mmd_of_normals():
    a, b = normal(4000, MEAN_A, COV_A, 0), normal(3000, MEAN_B, COV_B, 1)
    found = kernel_mmd(a, b, bandwidth=1.3)
    assert found.value == pytest.approx(exact_mmd(MEAN_A, COV_A, MEAN_B, COV_B, 1.3), abs=4 * found.error)
    assert found.error < 0.1 * found.value


def test_kernel_mmd_equals_the_sum_over_pairs():
    a, b = normal(9, MEAN_A, COV_A, 0), normal(7, MEAN_B, COV_B, 1)

    def kernel(x, y):
        return (-torch.cdist(x, y).square() / (2 * 0.9**2)).exp()

    def direct(a, b):
        n, m = len(a), len(b)
        within = (kernel(a, a).sum() - n) / (n * (n - 1)) + (kernel(b, b).sum() - m) / (m * (m - 1))
        return (within - 2 * kernel(a, b).mean()).item()

    found = kernel_mmd(a, b, bandwidth=0.9)
    assert found.value == pytest.approx(direct(a, b), abs=1e-12)
    keep_a = [[j for j in range(9) if j != i] for i in range(9)]
    keep_b = [[j for j in range(7) if j != i] for i in range(7)]
    out_a = torch.tensor([direct(a[keep], b) for keep in keep_a])
    out_b = torch.tensor([direct(a, b[keep]) for keep in keep_b])
    jackknife = 8 / 9 * (out_a - out_a.mean()).square().sum() + 6 / 7 * (out_b - out_b.mean()).square().sum()
    assert found.error == pytest.approx(jackknife.sqrt().item(), rel=1e-5)


def test_kernel_mmd_is_unbiased_at_zero_and_its_error_is_honest():
    def drawn(seed: int) -> torch.Tensor:
        return normal(100, MEAN_A, COV_A, seed)

    found = [kernel_mmd(drawn(2 * i), drawn(2 * i + 1), bandwidth=1.0) for i in range(200)]
    values = torch.tensor([distance.value for distance in found])
    assert abs(values.mean().item()) < 4 * values.std().item() / math.sqrt(len(values))
    assert (values < 0).any() and (values > 0).any()
    errors = torch.tensor([distance.error for distance in found]).mean()
    assert 0.8 < errors / values.std() < 2.5  # the jackknife is cautious where the statistic degenerates
    apart = [kernel_mmd(drawn(i), drawn(i + 500) + 1, bandwidth=1.0) for i in range(200)]
    spread = torch.tensor([distance.value for distance in apart]).std().item()
    assert torch.tensor([distance.error for distance in apart]).mean().item() == pytest.approx(spread, rel=0.2)


def test_the_frechet_error_is_that_of_repeated_draws():
    found = [frechet_distance(normal(200, MEAN_A, COV_A, i), normal(200, MEAN_B, COV_B, i + 999)) for i in range(150)]
    spread = torch.tensor([distance.value for distance in found]).std().item()
    assert torch.tensor([distance.error for distance in found]).mean().item() == pytest.approx(spread, rel=0.25)


def test_the_bandwidth_is_the_median_distance():
    rows = torch.tensor([[0.0], [1.0], [3.0]])
    assert median_distance(rows) == 2
    assert median_distance(torch.zeros(5, 2)) == 1
    many = torch.arange(1999.0)[:, None] ** 2  # at most a thousand rows are looked at: here every second
    assert median_distance(many) == torch.pdist(many[::2]).median()


def test_features_are_named_and_checked():
    x = torch.arange(12.0).reshape(3, 2, 2)
    assert VALUES(x).shape == (3, 4) and VALUES(x).dtype == torch.float64
    blocks = Features("sums", lambda rows: rows.flatten(1).sum(1, keepdim=True), block=2)
    torch.testing.assert_close(blocks(x).flatten(), x.flatten(1).sum(1).double())
    with pytest.raises(ValueError, match="features 'bad' must be"):
        Features("bad", lambda rows: rows.sum())(x)
    with pytest.raises(ValueError, match="at least 4 rows"):
        frechet_distance(torch.zeros(2, 2), torch.zeros(9, 2))
    with pytest.raises(ValueError, match="a has 2 features, but b has 3"):
        kernel_mmd(torch.zeros(9, 2), torch.zeros(9, 3))
