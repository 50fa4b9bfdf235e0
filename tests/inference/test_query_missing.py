"""A part of x given the rest: against enumeration, the algebra of Gaussians, and a mixture's closed form."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from inference.query import query
from zoo.bayesian_network import BayesianNetwork
from zoo.conditionals import Gaussian
from zoo.gaussian_mixture import GaussianMixture
from zoo.hidden_markov import HiddenMarkov
from zoo.made import MADE
from zoo.markov_chain import MarkovChain

NAN = math.nan


class Plain(nn.Module):
    """Another model with nothing shown but its density and its draws."""

    support = constraints.real

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inner = model

    def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        return self.inner.log_prob(x)

    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        return self.inner.sample(n)


class Linear(Plain):
    """A flow of one linear map: x = A z + b."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        generator = torch.Generator().manual_seed(0)
        self.matrix = nn.Parameter(torch.randn(4, 4, generator=generator).double() + 2 * torch.eye(4))
        self.shift = nn.Parameter(torch.randn(4, generator=generator).double())

    def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        z = torch.linalg.solve(self.matrix, (x - self.shift).mT).mT
        return torch.distributions.Normal(0, 1).log_prob(z).sum(-1) - self.matrix.det().abs().log()

    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        return torch.randn(n, 4).double() @ self.matrix.mT + self.shift


class Lognormal(Plain):
    """The exponential of another model."""

    support = constraints.positive

    def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        return self.inner.log_prob(x.log()) - x.log().sum(-1)

    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        return self.inner.sample(n).exp()


def mixture() -> GaussianMixture:
    torch.manual_seed(0)
    model = GaussianMixture(3, components=3).double()
    with torch.no_grad():
        model.means.mul_(3)
        model.covariance.below.add_(0.5 * torch.randn_like(model.covariance.below))
    return model


ROWS = torch.tensor([[0.5, NAN, -1.0], [NAN, 2.0, NAN], [0.0, 1.0, 2.0]]).double()


def test_a_mixture_answers_in_closed_form() -> None:
    model = mixture()
    answer = query(model, "x", given={"x": ROWS})
    assert answer.kind == "exact" and answer["x"].dims == ("row", "x_dim_0", "statistic")
    given = model.conditional(ROWS[:1, [0, 2]], [0, 2])
    expected = [given.mean.item(), given.variance.sqrt().item()]
    np.testing.assert_allclose(answer["x"].sel(row=0, x_dim_0=1, statistic=["mean", "sd"]), expected)
    np.testing.assert_allclose(answer["x"].sel(row=2, statistic="mean"), ROWS[2])
    assert "exact" in repr(answer)


def test_importance_sampling_of_a_density_meets_the_mixtures_closed_form() -> None:
    model = mixture()
    exact = query(model, "x", given={"x": ROWS})["x"]
    state = torch.get_rng_state()
    answer = query(Plain(model), "x", given={"x": ROWS}, draws=4000, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert answer.kind == "estimate" and "kernels" in answer.method and not answer.warnings
    error = answer["x"].sel(statistic="error")
    assert (np.abs(answer["x"].sel(statistic="mean") - exact.sel(statistic="mean")) < 4 * error + 1e-9).all()
    np.testing.assert_allclose(answer["x"].sel(statistic="sd"), exact.sel(statistic="sd"), rtol=0.06, atol=1e-9)
    evidence = [
        model.marginal([0, 2]).log_prob(ROWS[:1, [0, 2]]).item(),
        model.marginal(1).log_prob(ROWS[1:2, 1:2]).item(),
        model.log_prob(ROWS[2:]).item(),
    ]
    np.testing.assert_allclose(answer.log_evidence, evidence, atol=0.05)
    assert answer.reliability["ess_min"] > 1000


def test_importance_sampling_of_a_linear_flow_is_gaussian_conditioning() -> None:
    model = Linear()
    x = torch.tensor([[1.0, NAN, NAN, 0.5], [NAN, 3.0, NAN, NAN]]).double()
    answer = query(model, "x", given={"x": x}, draws=4000)
    mean, matrix = model.shift.detach().numpy(), model.matrix.detach().numpy()
    spread = matrix @ matrix.T
    for n, row in enumerate(x.numpy()):
        a, b = np.isnan(row), ~np.isnan(row)
        gain = spread[np.ix_(a, b)] @ np.linalg.inv(spread[np.ix_(b, b)])
        middle = mean[a] + gain @ (row[b] - mean[b])
        sd = np.sqrt(np.diag(spread[np.ix_(a, a)] - gain @ spread[np.ix_(b, a)]))
        found = answer["x"].sel(row=n).values[a]
        assert (np.abs(found[:, 0] - middle) < 4 * found[:, 2]).all()
        np.testing.assert_allclose(found[:, 1], sd, rtol=0.06)
    assert not answer.warnings and answer.reliability["ess_min"] > 1500


def test_bounded_supports_are_proposed_for_within_their_bounds() -> None:
    inner = GaussianMixture(2, components=1).double()
    with torch.no_grad():
        inner.means.copy_(torch.tensor([[0.3, -0.2]]))
    answer = query(Lognormal(inner), "x", given={"x": torch.tensor([[1.5, NAN]]).double()}, draws=4000)
    given = inner.conditional(torch.tensor([[1.5]]).double().log(), 0)
    expected = (given.mean + given.variance / 2).exp().item()
    found = answer["x"].sel(row=0, x_dim_0=1)
    assert abs(float(found.sel(statistic="mean")) - expected) < 4 * float(found.sel(statistic="error"))


def test_a_model_that_is_hard_to_propose_for_says_so() -> None:
    class Needle(Plain):
        def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
            return self.inner.log_prob(x) - 1e7 * (x[:, 1] - 0.7).abs().sqrt()

    model = Needle(GaussianMixture(2, components=1).double())
    answer = query(model, "x", given={"x": torch.tensor([[0.0, NAN]]).double()}, draws=200)
    assert answer.warnings and "proposed fits the missing cells poorly" in answer.warnings[0]


def by_enumeration(model, row: Tensor, levels: int) -> Tensor:
    places = (row < 0).nonzero()[:, 0]
    rows = row.repeat(levels ** len(places), 1)
    rows[:, places] = torch.tensor(list(itertools.product(range(levels), repeat=len(places))))
    weight = model.log_prob(rows).detach().double()
    one_hot = torch.nn.functional.one_hot(rows, levels).double()
    return torch.einsum("p,ptl->tl", weight.softmax(0), one_hot), weight.logsumexp(0)


CODES = torch.tensor([[0, -1, 2, -1], [1, 2, -1, -1], [-1, -1, -1, 0]])


def chains():
    torch.manual_seed(0)
    hidden = HiddenMarkov(4, states=2, levels=3).double()
    chain = MarkovChain(4, levels=3, order=2).double()
    chain.count(torch.randint(3, (20, 4)))
    return [pytest.param(hidden, id="hidden"), pytest.param(chain, id="chain")]


@pytest.mark.parametrize("model", chains())
def test_chains_answer_exactly(model) -> None:
    answer = query(model, "x", given={"x": CODES})
    assert answer.kind == "exact" and answer["x"].dims == ("row", "x_dim_0", "level")
    for n, row in enumerate(CODES):
        cells, evidence = by_enumeration(model, row, 3)
        np.testing.assert_allclose(answer["x"].sel(row=n), cells)
        if answer.log_evidence is not None:
            assert float(answer.log_evidence[n]) == pytest.approx(evidence.item())


def test_rows_made_in_sequence_are_weighted_by_what_is_known() -> None:
    torch.manual_seed(0)
    model = MADE(4, levels=3, hidden=16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    answer = query(model, "x", given={"x": CODES}, draws=20_000)
    assert answer.kind == "estimate" and "number by number" in answer.method
    for n, row in enumerate(CODES):
        cells, evidence = by_enumeration(model, row, 3)
        np.testing.assert_allclose(answer["x"].sel(row=n), cells, atol=0.03)
        assert float(answer.log_evidence[n]) == pytest.approx(evidence.item(), abs=0.05)
    assert float(answer.reliability["ess"][1]) == pytest.approx(20_000)  # what is missing comes last


def test_draws_stand_in_where_a_model_has_no_closed_form() -> None:
    torch.manual_seed(0)
    model = HiddenMarkov((3, 2), states=2, emission=Gaussian(2, context_shape=2, hidden=(4,)))
    x = model.sample(1)
    x[0, 1] = NAN
    answer = query(model, "x", given={"x": x}, draws=500)
    assert answer.kind == "estimate" and "500 exact draws" in answer.method
    assert answer.log_evidence is not None
    assert np.isfinite(answer["x"]).all()


def test_what_can_not_be_filled_in_is_refused() -> None:
    with pytest.raises(ValueError, match="give rows with NaN"):
        query(Plain(mixture()), "x", given={"x": torch.zeros(2, 3).double()})
    with pytest.raises(ValueError, match="shape"):
        query(mixture(), "x", given={"x": torch.full((2, 4), NAN).double()})
    with pytest.raises(ValueError, match="not finite"):
        query(mixture(), "x", given={"x": torch.tensor([[NAN, math.inf, 0.0]]).double()})
    with pytest.raises(ValueError, match="x"):
        query(BayesianNetwork(network="cancer"), "x", given={"x": torch.full((1, 5), -1)})
    boxed = Plain(mixture())
    boxed.support = constraints.simplex
    with pytest.raises(ValueError, match="no proposal"):
        query(boxed, "x", given={"x": ROWS})
