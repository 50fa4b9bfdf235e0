"""Moment matching: discrepancies held to closed forms, sums over pairs and autograd; the objective to what it says."""

import math

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm
from torch import Tensor, nn

from inference.fit import fit
from inference.kernels import Distances, Gaussians, Octaves, discrepancy, quantile_gaps
from inference.objectives import EnergyDistance, Mmd, MomentMatching, SlicedWasserstein, default_objective
from inference.objectives.moments import pull
from inference.quality import kernel_mmd

MOMENTS = (Mmd(1.4), EnergyDistance(), SlicedWasserstein(16))
KERNELS = (Gaussians((0.4, 1.7)), Octaves(1.4, 6), Distances())


def rows(n: int, d: int, seed: int, shift: float = 0.0) -> Tensor:
    return shift + torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Shift(nn.Module):
    """x = scale z + shift (+ slope context), z a standard normal: a generator whose truth is known."""

    def __init__(self, d: int = 1, slope: float = 0.0) -> None:
        super().__init__()
        self.shift, self.scale = nn.Parameter(torch.zeros(d)), nn.Parameter(torch.ones(d))
        self.slope = nn.Parameter(torch.tensor(slope))

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, len(self.shift), dtype=self.shift.dtype)

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        x = self.scale * noise + self.shift
        return x if context is None else x + self.slope * context


# ---- kernels and their discrepancies


def test_octaves_are_gaussians_of_bandwidths_whose_squares_halve():
    squares = 5 * torch.rand(40, dtype=torch.float64)
    octaves = Octaves(2.0, 4)
    assert octaves.bandwidths == pytest.approx([2, math.sqrt(2), 1, math.sqrt(0.5)])
    plain = sum((-squares / (2 * h)).exp() for h in (4.0, 2.0, 1.0, 0.5)) / 4
    torch.testing.assert_close(octaves.value(squares), plain)
    torch.testing.assert_close(Gaussians(octaves.bandwidths).value(squares), plain)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_a_slope_is_minus_the_derivative(kernel):
    squares = (0.1 + 5 * torch.rand(30, dtype=torch.float64)).requires_grad_()
    (derivative,) = torch.autograd.grad(kernel.value(squares).sum(), squares)
    torch.testing.assert_close(kernel.slope(squares.detach().clone()), -derivative)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
def test_the_discrepancy_is_the_sum_over_pairs(kernel):
    a, b, n = rows(8, 3, 0), rows(8, 3, 1, 0.3), 8
    total = 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                gaps = torch.stack([a[i] - a[j], b[i] - b[j], a[i] - b[j]]).square().sum(1)
                aa, bb, ab = kernel.value(gaps + 0.0 * gaps.sum()).tolist()
                total += aa + bb - 2 * ab
    assert discrepancy(kernel, a, b).item() == pytest.approx(total / (n * (n - 1)), abs=1e-12)
    far = discrepancy(kernel, a + 1000, b + 1000).item()
    assert far == pytest.approx(total / (n * (n - 1)), abs=1e-9)


def normals_mmd(gap: float, sd_a: float, sd_b: float, h: float) -> float:
    """E k(a, a') + E k(b, b') - 2 E k(a, b) of normals: E exp(-u^2 / 2h^2) = h / s exp(-m^2 / 2s^2), s^2 = h^2 + v."""

    def mean_kernel(m: float, v: float) -> float:
        s = math.sqrt(h * h + v)
        return h / s * math.exp(-m * m / (2 * s * s))

    return mean_kernel(0, 2 * sd_a**2) + mean_kernel(0, 2 * sd_b**2) - 2 * mean_kernel(gap, sd_a**2 + sd_b**2)


def normals_energy(gap: float, sd_a: float, sd_b: float) -> float:
    def mean_absolute(m: float, s: float) -> float:
        return s * math.sqrt(2 / math.pi) * math.exp(-m * m / (2 * s * s)) + m * (1 - 2 * norm.cdf(-m / s))

    across = mean_absolute(gap, math.hypot(sd_a, sd_b))
    return 2 * across - mean_absolute(0, sd_a * math.sqrt(2)) - mean_absolute(0, sd_b * math.sqrt(2))


def over_draws(moment, n: int, draws: int, gap: float, sd: float) -> tuple[float, float]:
    """Mean and its standard error of a moment of N(gap, sd^2) and N(0, 1), n rows each."""
    made, real = rows(n * draws, 1, 0).chunk(draws), rows(n * draws, 1, 1).chunk(draws)
    values = torch.stack([moment(gap + sd * a, b) for a, b in zip(made, real, strict=True)])
    return values.mean().item(), values.std().item() / math.sqrt(draws)


@pytest.mark.parametrize("gap, sd", [(0.0, 1.0), (0.6, 1.4)])
def test_mmd_and_energy_distance_are_unbiased_for_normals(gap, sd):
    moment = Mmd(1.5, count=3)
    exact = sum(normals_mmd(gap, sd, 1.0, h) for h in (1.5, 1.5 / math.sqrt(2), 0.75)) / 3
    found, error = over_draws(moment, 20, 400, gap, sd)
    assert found == pytest.approx(exact, abs=4 * error)
    assert error < 0.004
    found, error = over_draws(EnergyDistance(), 20, 800, gap, sd)
    assert found == pytest.approx(normals_energy(gap, sd, 1.0), abs=4 * error)
    assert error < 0.01


def test_sliced_wasserstein_is_the_mean_cost_of_the_best_pairing():
    a, b = rows(12, 1, 0), rows(12, 1, 1, 0.5)
    cost = torch.cdist(a, b).square()
    best = cost[linear_sum_assignment(cost)].mean()
    torch.testing.assert_close(SlicedWasserstein(3)(a, b), best)
    torch.manual_seed(0)
    shift = torch.tensor([3.0, 0.0, 4.0]).double()
    a = rows(5, 3, 2)
    values = torch.stack([SlicedWasserstein(50)(a + shift, a) for _ in range(200)])
    assert values.mean().item() == pytest.approx(25 / 3, abs=4 * values.std().item() / math.sqrt(200))


def test_quantile_gaps_of_unequal_numbers_are_those_of_repeated_rows():
    a, b = rows(6, 2, 0), rows(4, 2, 1)
    gaps, shares = quantile_gaps(a, b)
    even, _ = quantile_gaps(a.repeat_interleave(2, 0), b.repeat_interleave(3, 0))
    assert shares.sum().item() == pytest.approx(1)
    torch.testing.assert_close(shares @ gaps.square(), even.square().mean(0))


# ---- gradients


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.term)
def test_a_players_gradient_is_that_of_the_plain_form(moment, conditional):
    x = rows(20, 2, 0, 0.4)
    context = rows(20, 1, 5) if conditional else None
    model, objective = Shift(2, slope=0.3).double(), MomentMatching(moment)
    objective.settle(x, context)
    torch.manual_seed(3)
    plain = torch.autograd.grad(objective(model, x, context).value, list(model.parameters()), allow_unused=True)
    torch.manual_seed(3)
    (player,) = objective.players(model)
    loss = player.loss(x, context)
    torch.testing.assert_close(loss.terms[moment.term], loss.value.detach())
    pull(loss, player.parameters)
    for parameter, gradient in zip(model.parameters(), plain, strict=True):
        if gradient is None:
            assert parameter.grad is None
        else:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-10, atol=1e-10)
    assert model.shift.grad.abs().max() > 1e-3


def test_the_gradient_of_mmd_is_that_of_six_exponentials_over_all_pairs():
    made, real = rows(15, 3, 0).requires_grad_(), rows(15, 3, 1, 0.5)
    both = torch.cat([made, real])
    k = sum((-torch.cdist(both, both).square() / (2 * 4.0 / 2**i)).exp() for i in range(6)) / 6
    k = k * (1 - torch.eye(15, dtype=torch.float64).repeat(2, 2))
    value = (k[:15, :15] + k[15:, 15:] - 2 * k[:15, 15:]).sum() / (15 * 14)
    (gradient,) = torch.autograd.grad(value, made)
    again = made.detach().clone().requires_grad_()
    loss = Mmd(2.0).late(again, real)
    loss.pull()
    assert loss.value.item() == pytest.approx(value.item(), abs=1e-12)
    torch.testing.assert_close(again.grad, gradient, rtol=1e-10, atol=1e-10)


# ---- the objective


def test_rows_of_one_context_are_no_bias():
    """Made and real rows share their contexts: pairs of one context would make the estimate negative at the truth."""
    objective, model = MomentMatching(Mmd(1.0)), Shift(1, slope=2.0).double()
    values = []
    for i in range(400):
        torch.manual_seed(i)
        context = torch.randn(12, 1, dtype=torch.float64)
        x = torch.randn(12, 1, dtype=torch.float64) + 2.0 * context
        values.append(objective(model, x, context).value.detach())
    found = torch.stack(values)
    assert found.mean().item() == pytest.approx(0, abs=4 * found.std().item() / 20)
    assert found.std().item() / 20 < 0.003


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.term)
def test_a_wrong_pairing_with_the_context_is_noticed(moment):
    x, context = rows(200, 1, 0), rows(200, 1, 1)
    x = 0.3 * x + context
    model = Shift(1, slope=1.0).double()
    with torch.no_grad():
        model.scale.fill_(0.3)
    objective = MomentMatching(moment)
    objective.settle(x, context)
    torch.manual_seed(0)
    right = objective(model, x, context).value.item()
    wrong = objective(model, x.roll(1, 0), context).value.item()
    assert wrong > 10 * abs(right)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.term)
def test_a_fit_recovers_a_normal(moment):
    x = (0.5 + 0.4 * rows(2000, 1, 0)).float()
    model = Shift()
    before = MomentMatching(moment).held_out(model, x[:400]).item()
    found = fit(model, x, MomentMatching(moment), steps=300, batch_size=100, lr=0.02, validation=0.2, progress=False)
    assert model.shift.item() == pytest.approx(0.5, abs=0.08)
    assert abs(model.scale.item()) == pytest.approx(0.4, abs=0.08)
    assert found.history[moment.term].iloc[-1] < 0.2 * found.history[moment.term].iloc[0]
    assert found.history["held_out"].iloc[-1] < 0.1 * before
    assert found.history.attrs["unit"] == f"{moment.term} of a batch"


def test_a_conditional_fit_finds_the_slope():
    context = rows(2000, 1, 1).float()
    x = 0.3 * rows(2000, 1, 0).float() - 1.5 * context
    model = Shift()
    fit(model, {"x": x, "context": context}, steps=400, batch_size=200, lr=0.02, progress=False)
    assert model.slope.item() == pytest.approx(-1.5, abs=0.1)
    assert abs(model.scale.item()) == pytest.approx(0.3, abs=0.1)


def test_what_is_held_out_is_the_unbiased_discrepancy_and_stops_a_fit():
    x, model = rows(300, 1, 0, 0.3), Shift().double()
    objective = MomentMatching(Mmd(1.3, count=1))
    torch.manual_seed(0)
    value = objective.held_out(model, x).item()
    torch.manual_seed(0)
    made = model.generate(model.noise(300)).detach()
    across = (-torch.cdist(made, x).square() / (2 * 1.3**2)).exp()
    twins = 2 * (across.mean() - (across.sum() - across.trace()) / (300 * 299))  # the pairs (i, i) are not counted
    assert value == pytest.approx((kernel_mmd(made, x, bandwidth=1.3).value + twins).item(), abs=1e-9)
    assert value > 0.01
    settled = fit(model, x.float(), steps=2000, lr=0.05, batch_size=50, validation=0.3, patience=3, progress=False)
    assert settled.stopped == "early stopping"


def test_scales_are_taken_from_the_data_and_kept_by_a_checkpoint(tmp_path):
    x = 7 * rows(200, 1, 0).float()
    context = 0.01 * rows(200, 1, 1).float()
    objective = MomentMatching()
    data = {"x": x, "context": context}
    whole = Shift()
    fit(whole, data, objective, steps=20, batch_size=50, every=10, progress=False)
    assert objective.context_scale == pytest.approx(700, rel=0.2)
    assert objective.moment.widest == pytest.approx(7 * 1.55, rel=0.3)  # of two normals: median of 7 sqrt(chi2_2)
    again, part = MomentMatching(), Shift()
    fit(part, data, again, steps=10, batch_size=50, every=10, progress=False, checkpoint=tmp_path / "c.pt")
    fit(part, data, again, steps=20, batch_size=50, every=10, progress=False, resume=tmp_path / "c.pt")
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), part.parameters(), strict=True))
    fresh = MomentMatching()
    fresh.load_state_dict(objective.state_dict())
    assert (fresh.context_scale, fresh.moment.widest) == (objective.context_scale, objective.moment.widest)


def test_it_is_the_default_of_a_generator_without_a_critic():
    assert isinstance(default_objective(Shift()), MomentMatching)


def test_bad_settings_and_batches_are_refused_in_a_sentence():
    for wrong in (lambda: Mmd(0.0), lambda: Mmd(count=0), lambda: SlicedWasserstein(0)):
        with pytest.raises(ValueError, match="must be"):
            wrong()
    with pytest.raises(ValueError, match="a batch must have at least 2"):
        MomentMatching()(Shift(), torch.zeros(1, 1))
