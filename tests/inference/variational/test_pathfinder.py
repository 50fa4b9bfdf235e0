"""Pathfinder: its factors against dense algebra, its climbing and its draws against closed forms."""

import math

import pytest
import torch

from inference.variational import pathfinder
from inference.variational.climbing import climb
from inference.variational.inverse_hessian import History
from inference.variational.pathfinder import find_paths
from tests.inference.variational.densities import Known, covariance, gaussian


def _history(dim, steps, paths=2, size=3, seed=0):
    """The history of some steps on Gaussian log densities, and the steps themselves."""
    torch.manual_seed(seed)
    curvature = torch.linalg.inv(covariance(dim, seed))
    slope = torch.randn(paths, dim, dtype=torch.float64)
    history, told = History.begin(slope, size), []
    for _ in range(steps):
        s = torch.randn(paths, dim, dtype=torch.float64)
        told.append((s, s @ curvature))
        history = history.after(*told[-1])
    return history, told, slope


def _dense(alpha, pairs):
    """The inverse Hessian of BFGS, a step at a time: (I - s z'/s'z) H (I - z s'/s'z) + s s'/s'z."""
    inverse = torch.diag(alpha)
    eye = torch.eye(len(alpha), dtype=alpha.dtype)
    for s, z in pairs:
        left = eye - torch.outer(s, z) / (s @ z)
        inverse = left @ inverse @ left.T + torch.outer(s, s) / (s @ z)
    return inverse


@pytest.mark.parametrize(("dim", "steps"), [(7, 0), (7, 1), (7, 3), (7, 5), (2, 3), (4, 3)])
def test_the_covariance_is_that_of_dense_bfgs_over_the_last_steps(dim, steps):
    history, told, slope = _history(dim, steps)
    q = torch.randn_like(slope)
    normal = history.normal(q, slope)
    for k in range(2):
        dense = _dense(history.alpha[k], [(s[k], z[k]) for s, z in told[-3:]])
        torch.testing.assert_close(normal.covariance()[k], dense, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(normal.mean[k], q[k] + dense @ slope[k], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(normal.log_volume[k], 0.5 * torch.logdet(dense), rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(normal.variance()[k], dense.diagonal(), rtol=1e-9, atol=1e-9)
    assert normal.sound.all()


def test_draws_have_the_log_density_of_that_normal():
    history, _, slope = _history(5, 3)
    normal = history.normal(torch.zeros_like(slope), slope)
    q, log_q = normal.draw(6)
    for k in range(2):
        dense = torch.distributions.MultivariateNormal(normal.mean[k], normal.covariance()[k])
        torch.testing.assert_close(log_q[:, k], dense.log_prob(q[:, k]), rtol=1e-9, atol=1e-9)


def test_the_diagonal_is_gilbert_and_lemarechal_s():
    """Written out a number at a time from Pathfinder's algorithm 3."""
    history, told, slope = _history(4, 1)
    first = History.begin(slope, 3).alpha
    s, z = told[0]
    for k in range(2):
        a = sum(z[k, i] ** 2 * first[k, i] for i in range(4))
        b = sum(z[k, i] * s[k, i] for i in range(4))
        c = sum(s[k, i] ** 2 / first[k, i] for i in range(4))
        for i in range(4):
            inverse = a / (b * first[k, i]) + z[k, i] ** 2 / b - a * s[k, i] ** 2 / (b * c * first[k, i] ** 2)
            assert float(history.alpha[k, i]) == pytest.approx(float(1 / inverse))


def test_a_step_of_no_downward_curvature_is_not_remembered():
    history, *_ = _history(4, 2)
    s = torch.randn(2, 4, dtype=torch.float64)
    z = torch.stack([s[0], -s[1]])
    after = history.after(s, z)
    torch.testing.assert_close(after.s[0, -1], s[0])
    torch.testing.assert_close(after.s[1], history.s[1])
    torch.testing.assert_close(after.alpha[1], history.alpha[1])


def test_paths_climb_to_a_known_mode_and_never_down():
    def rosenbrock(q):
        return -((1 - q[:, 0]) ** 2) - 20 * (q[:, 1] - q[:, 0] ** 2) ** 2

    points = list(climb(Known(2, rosenbrock), torch.tensor([[-1.2, 1.0], [2.0, -1.0], [0.0, 0.0]]).double()))
    torch.testing.assert_close(points[-1].q, torch.ones(3, 2, dtype=torch.float64), atol=1e-4, rtol=0)
    values = torch.stack([point.value for point in points])
    assert (values.diff(dim=0) >= -1e-12).all()
    assert len(points) < 80


def test_a_path_that_is_done_waits_for_the_others_and_one_that_is_nowhere_is_left():
    def half(q):
        return torch.where(q[:, 0] > -5, -0.5 * (q**2).sum(-1), torch.nan)

    *_, last = climb(Known(2, half), torch.tensor([[0.0, 0.0], [3.0, 4.0], [-6.0, 0.0]]).double())
    torch.testing.assert_close(last.q[:2], torch.zeros(2, 2, dtype=torch.float64), atol=1e-4, rtol=0)
    assert last.q[2].tolist() == [-6.0, 0.0]


def test_a_round_posterior_is_met_exactly_and_an_oval_one_by_weights():
    round_one = pathfinder(
        gaussian(torch.full((6,), 3.0).double(), 0.25 * torch.eye(6).double(), -40.0), paths=4, draws=500
    )
    assert round_one.extra["log_evidence"] == pytest.approx(-40.0, abs=1e-3)
    assert round_one.extra["elbo"] == pytest.approx(-40.0, abs=1e-2)
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    oval = pathfinder(gaussian(mean, covariance(3), 7.0), paths=8, draws=1000, seed=1)
    assert oval.draws["q"].shape == (8, 1000, 3) and oval.unconstrained.shape == (8, 1000, 3)
    assert oval.extra["log_evidence"] == pytest.approx(7.0, abs=5 * oval.extra["log_evidence_error"] + 0.01)
    drawn = oval.resampled().draws["q"][0]
    sd = covariance(3).diagonal().sqrt()
    assert ((drawn.mean(0) - mean) / sd).abs().max() < 0.1
    assert (drawn.std(0) / sd - 1).abs().max() < 0.1


def test_the_best_normal_of_a_funnel_is_not_at_its_infinite_top():
    """x given v ~ N(0, e^v): the density has no top, while the ELBO has."""

    def funnel(q):
        v, x = q[:, 0], q[:, 1:]
        normal = -0.5 * (x**2 * (-v[:, None]).exp()).sum(-1) - 0.5 * x.shape[-1] * v
        return -0.5 * (v / 3) ** 2 - math.log(3) - 3 * math.log(2 * math.pi) + normal

    torch.manual_seed(0)
    found = find_paths(Known(6, funnel), torch.randn(4, 6, dtype=torch.float64))
    assert (found.normal.mean[:, 0] > -9).all() and (found.elbo > -5).all() and (found.elbo < 0).all()


def test_the_same_seed_gives_the_same_draws_and_leaves_the_caller_s_noise():
    density = gaussian(torch.zeros(2).double(), covariance(2))
    torch.manual_seed(3)
    ahead = torch.rand(1)
    torch.manual_seed(3)
    one, two, other = (pathfinder(density, paths=2, draws=30, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.rand(1), ahead)
    assert torch.equal(one.unconstrained, two.unconstrained) and not torch.equal(one.unconstrained, other.unconstrained)


def test_a_density_that_is_nowhere_finite_is_refused():
    with pytest.raises(ValueError, match=r"none of 3 paths"):
        pathfinder(Known(2, lambda q: q.sum(-1) * torch.nan), paths=3, draws=30)
