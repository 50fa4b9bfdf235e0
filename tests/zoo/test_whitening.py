"""Whitening against numpy's covariance and autograd's Jacobian."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from tests.zoo.shaking import normal
from zoo.couplings import Couplings
from zoo.elementwise import SoftAffine
from zoo.whitening import Whitened, Whitening


def skewed(n: int = 300, seed: int = 0) -> torch.Tensor:
    """Correlated columns of very different units."""
    mix = normal(4, 4, seed=seed + 1) + torch.eye(4, dtype=torch.float64)
    return normal(n, 4, seed=seed) @ mix.T * torch.tensor([1.0, 1e3, 1e-4, 5.0]) + torch.tensor([0.0, 2e3, 1.0, -7.0])


def started(y: torch.Tensor, ridge: float = 0.01) -> Whitening:
    whitening = Whitening(y.shape[1:]).double()
    whitening.initialise(y, ridge)
    return whitening


def test_it_is_the_identity_until_it_is_started():
    whitening, x = Whitening(torch.Size([3])), torch.ones(2, 3)
    for go in (whitening.forward_and_log_det, whitening.inverse_and_log_det):
        value, log_det = go(x)
        assert value is x
        assert float(log_det) == 0
    assert whitening.blurred(x, 1.0) is x


def test_the_matrix_is_that_of_numpys_covariance():
    y = skewed()
    x, _ = started(y, ridge=0.0).inverse_and_log_det(y)
    assert np.allclose(np.cov(x.T.numpy(), ddof=0), np.eye(4), atol=1e-9)
    assert torch.allclose(x.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-9)
    scale = y.numpy().std(0)
    shrunk = (np.corrcoef(y.T.numpy()) + 0.5 * np.eye(4)) / 1.5 * np.outer(scale, scale)
    matrix = started(y, ridge=0.5).matrix.numpy()
    assert np.allclose(matrix @ shrunk @ matrix.T, np.eye(4), atol=1e-9)
    assert np.allclose(matrix, np.tril(matrix))


@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_log_determinants_are_autograds_and_the_directions_invert(shape):
    whitening = started(skewed().reshape(-1, *shape))
    row = skewed(1, seed=5).reshape(1, *shape)
    for go, back in (
        (whitening.forward_and_log_det, whitening.inverse_and_log_det),
        (whitening.inverse_and_log_det, whitening.forward_and_log_det),
    ):
        value, log_det = go(row)
        jacobian = torch.autograd.functional.jacobian(lambda x, go=go: go(x[None])[0].flatten(), row[0])
        assert torch.allclose(log_det, torch.linalg.slogdet(jacobian.reshape(4, 4))[1], atol=1e-9)
        again, back_det = back(value)
        assert torch.allclose(again, row, rtol=1e-9, atol=1e-9)
        assert torch.allclose(back_det, -log_det)


def test_a_row_whitened_in_another_precision_still_comes_back():
    whitening = Whitening(torch.Size([4]))
    whitening.initialise(skewed().float())
    y = skewed(5, seed=3)
    x, _ = whitening.double().inverse_and_log_det(y)
    assert torch.allclose(whitening.forward_and_log_det(x)[0], y, rtol=1e-10)


def test_the_units_of_the_columns_make_no_difference():
    y = skewed()
    units = torch.tensor([3.0, 1e-5, 40.0, 1.0], dtype=torch.float64)
    one, other = started(y), started(y * units)
    assert torch.allclose(one.inverse_and_log_det(y)[0], other.inverse_and_log_det(y * units)[0], atol=1e-8)


def test_constant_columns_copies_and_fewer_rows_than_columns_do_no_harm():
    y = skewed()
    y = torch.cat([y, y[:, :1], torch.full((300, 1), 0.1)], 1)
    for rows in (y, y[:3], y[:1]):
        x, log_det = started(rows).inverse_and_log_det(rows)
        assert torch.isfinite(x).all()
        assert torch.isfinite(log_det)
        assert x.abs().max() < 100


def test_a_column_that_varies_by_rounding_errors_counts_as_constant():
    nearly = torch.where(torch.arange(300) % 2 == 0, 0.3, torch.tensor(0.1, dtype=torch.float64) + 0.2)
    rows = torch.stack([normal(300), nearly], 1)
    assert 0 < rows[:, 1].std() < 1e-15
    whitening = started(rows)
    assert torch.allclose(whitening.matrix[1], torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-6)


def test_blurring_adds_noise_of_the_rows_own_covariance():
    y = skewed()
    whitening = started(y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = whitening.blurred(y.repeat(200, 1), 0.2) - y.repeat(200, 1)
    white = noise @ whitening.matrix.mT / 0.2
    assert torch.allclose(torch.cov(white.T), torch.eye(4, dtype=torch.float64), atol=0.03)
    assert white.mean(0).abs().max() < 0.02


def test_it_is_saved_with_the_state_started_or_not():
    y = skewed()
    whole, fresh = started(y), Whitening(torch.Size([4])).double()
    other = copy.deepcopy(fresh)
    other.load_state_dict(whole.state_dict())
    assert torch.equal(other.inverse_and_log_det(y)[0], whole.inverse_and_log_det(y)[0])
    other.load_state_dict(fresh.state_dict())
    assert other.inverse_and_log_det(y)[0] is y


def test_a_whitened_map_is_the_two_after_one_another():
    y = skewed()
    couplings = Couplings(torch.Size([4]), None, 2, [5], SoftAffine(1.0)).double()
    with torch.no_grad():
        for i, parameter in enumerate(couplings.parameters()):
            parameter += 0.3 * normal(*parameter.shape, seed=i)
    both = Whitened(couplings, torch.Size([4])).double()
    assert torch.equal(both.inverse_and_log_det(y)[0], couplings.inverse_and_log_det(y)[0])
    both.whitening.initialise(y)
    row = y[:1]
    for go, back in (
        (both.forward_and_log_det, both.inverse_and_log_det),
        (both.inverse_and_log_det, both.forward_and_log_det),
    ):
        start = row if go == both.inverse_and_log_det else normal(1, 4)
        value, log_det = go(start)
        jacobian = torch.autograd.functional.jacobian(lambda x, go=go: go(x[None])[0][0], start[0])
        assert torch.allclose(log_det[0], torch.linalg.slogdet(jacobian)[1], atol=1e-8)
        assert torch.allclose(back(value)[0], start, rtol=1e-8)
