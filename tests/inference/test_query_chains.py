"""Missing cells of latent-variable models by chains: against Gaussian algebra, a grid over z, and enumeration."""

import importlib
import itertools
import math

import numpy as np
import pytest
import torch
from pyro.distributions import Categorical, MultivariateNormal, Normal
from torch import Tensor, nn
from torch.distributions import constraints

from inference.query import Chains, PseudoGibbs, query
from zoo.autoencoder import Autoencoder
from zoo.conditionals import Categorical as Levels
from zoo.distributions import Bits, DiagonalNormal
from zoo.distributions import Levels as Codes
from zoo.made import MADE
from zoo.vae import VAE

NAN = math.nan


class LinearVAE(nn.Module):
    """x = W z + noise of a covariance, with an encoder that is off: shifted, and of a wrong width."""

    likelihood = "lower bound"
    support = constraints.real

    def __init__(self, covariance: Tensor | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.loadings = nn.Parameter(torch.randn(5, 2, generator=generator).double())
        self.loc = nn.Parameter(torch.randn(5, generator=generator).double())
        self.covariance = covariance

    @property
    def noise(self) -> Tensor:
        return 0.49 * torch.eye(5).double() if self.covariance is None else self.covariance

    def prior(self, context=None):
        return Normal(torch.zeros(2).double(), 1.0).to_event(1)

    def decoder(self, z, context=None):
        mean = self.loc + z @ self.loadings.mT
        if self.covariance is None:
            return Normal(mean, 0.7).to_event(1)
        return MultivariateNormal(mean, self.covariance)

    def encoder(self, x, context=None):
        precision = torch.eye(2).double() + self.loadings.mT @ torch.linalg.solve(self.noise, self.loadings)
        mean = torch.linalg.solve(precision, self.loadings.mT @ torch.linalg.solve(self.noise, (x - self.loc).mT)).mT
        sd = precision.inverse().diagonal().sqrt()
        return Normal(0.8 * mean + 0.3, 1.4 * sd).to_event(1)

    def exactly(self, row: Tensor) -> tuple[np.ndarray, np.ndarray, float]:
        """Mean and sd of what is missing, and log p of what is known."""
        spread = (self.loadings @ self.loadings.mT + self.noise).detach()
        a, b = row.isnan(), ~row.isnan()
        gain = torch.linalg.solve(spread[b][:, b], spread[b][:, a]).mT
        mean = self.loc[a] + gain @ (row[b] - self.loc[b])
        sd = (spread[a][:, a] - gain @ spread[b][:, a]).diagonal().sqrt()
        evidence = MultivariateNormal(self.loc[b], spread[b][:, b]).log_prob(row[b])
        return mean.detach().numpy(), sd.numpy(), float(evidence.detach())


ROWS = torch.tensor([[1.5, NAN, NAN, 0.5, -2.0], [NAN, 3.0, NAN, NAN, NAN], [0.0, 0.5, 1.0, 0.0, NAN]]).double()


@pytest.mark.parametrize("dependent", [False, True])
def test_corrected_chains_meet_the_closed_form(dependent) -> None:
    noise = 0.8 * torch.eye(5).double() + 0.3 if dependent else None
    model = LinearVAE(noise)
    state = torch.get_rng_state()
    method = Chains(chains=64, warmup=150 if dependent else 50)
    answer = query(model, "x", given={"x": ROWS}, draws=16_000, method=method)
    assert torch.equal(torch.get_rng_state(), state)
    assert answer.kind == "estimate" and "Metropolis" in answer.method
    assert answer["x"].dims == ("row", "x_dim_0", "statistic")
    for n, row in enumerate(ROWS):
        mean, sd, evidence = model.exactly(row)
        found = answer["x"].sel(row=n).values
        missing = row.isnan().numpy()
        assert (np.abs(found[missing, 0] - mean) < 5 * found[missing, 2]).all()
        assert (found[missing, 2] < (0.1 if dependent else 0.03)).all()
        np.testing.assert_allclose(found[missing, 1], sd, rtol=0.05)
        np.testing.assert_array_equal(found[~missing, 0], row[~row.isnan()])
        assert not found[~missing, 1:].any()
        if not dependent:
            assert float(answer.log_evidence[n]) == pytest.approx(evidence, abs=0.03)
    assert answer.reliability["r_hat_max"] < (1.3 if dependent else 1.03)
    assert 0.1 < answer.reliability["acceptance"] < 0.95


def test_without_the_correction_chains_go_where_the_encoder_leads_and_say_so() -> None:
    model = LinearVAE()
    answer = query(model, "x", given={"x": ROWS}, draws=8_000, method=Chains(chains=64, moves=PseudoGibbs()))
    mean, _, _ = model.exactly(ROWS[1])
    found = answer["x"].sel(row=1).values[ROWS[1].isnan()]
    assert (np.abs(found[:, 0] - mean) > 10 * found[:, 2]).any()
    assert any("uncorrected" in text for text in answer.warnings) and answer.log_evidence is None


def binary(latent: int = 1) -> VAE:
    torch.manual_seed(3)
    model = VAE((2, 3), latent=latent, hidden=(8,)).double()
    with torch.no_grad():
        for parameter in model.decoder_model.parameters():
            parameter.mul_(4)
    return model


def on_a_grid(model, x: Tensor, known: Tensor, levels: int) -> tuple[Tensor, float]:
    """p(code) of each cell, and log p(the known cells), by all ways to fill a row and a grid over z."""
    places = (~known).flatten().nonzero()[:, 0]
    rows = x.flatten().repeat(levels ** len(places), 1)
    rows[:, places] = torch.tensor(list(itertools.product(range(levels), repeat=len(places)))).to(rows)
    z = torch.linspace(-6, 6, 601).double().unsqueeze(1)
    log_z = Normal(0.0, 1.0).log_prob(z[:, 0]) + math.log(12 / 600)
    decoder = model.decoder(z)
    shaped = rows.view(-1, 1, *x.shape).expand(-1, len(z), *x.shape)
    log_p = torch.stack([decoder.log_prob(row) for row in shaped]) + log_z
    weight = log_p.logsumexp(1).detach()
    hot = nn.functional.one_hot(rows.long(), levels).double()
    return torch.einsum("p,pcl->cl", weight.softmax(0), hot).view(*x.shape, levels), float(weight.logsumexp(0))


def test_bits_meet_a_grid_over_z() -> None:
    model = binary()
    x = torch.tensor([[[1.0, NAN, 0.0], [NAN, 1.0, NAN]], [[NAN, 0.0, 0.0], [1.0, NAN, 1.0]]]).double()
    answer = query(model, "x", given={"x": x}, draws=8000, method=Chains(chains=32))
    assert answer["x"].dims == ("row", "x_dim_0", "x_dim_1", "level")
    assert answer.reliability["r_hat_max"] < 1.1
    for n, row in enumerate(x):
        cells, evidence = on_a_grid(model, row.nan_to_num(), ~row.isnan(), 2)
        np.testing.assert_allclose(answer["x"].sel(row=n), cells, atol=0.03)
        assert float(answer.log_evidence[n]) == pytest.approx(evidence, abs=0.07)
    minus, same = (query(model, "x", given={"x": given}, draws=64) for given in (x, torch.where(x.isnan(), -1.0, x)))
    np.testing.assert_array_equal(minus["x"], same["x"])


def slotted(kind: str) -> VAE:
    torch.manual_seed(2)

    def levels(shape, context_shape):
        return Levels(shape, levels=3, context_shape=context_shape, hidden=(8,))

    def made(shape, context_shape):
        return MADE(shape, levels=3, context_shape=context_shape, hidden=12)

    model = VAE(4, latent=1, hidden=(8,), decoder={"independent": levels, "dependent": made}[kind]).double()
    with torch.no_grad():
        for parameter in model.decoder_model.parameters():
            parameter.add_(0.7 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("kind", ["independent", "dependent"])
def test_codes_meet_a_grid_over_z(kind) -> None:
    model = slotted(kind)
    x = torch.tensor([[0, -1, 2, -1], [1, 2, 0, 1], [-1, -1, -1, 0]])
    answer = query(model, "x", given={"x": x}, draws=12_000, method=Chains(chains=64))
    assert (answer.log_evidence is None) == (kind == "dependent")
    for n, row in enumerate(x):
        cells, evidence = on_a_grid(model, row.clamp(min=0), row >= 0, 3)
        np.testing.assert_allclose(answer["x"].sel(row=n), cells, atol=0.015 if kind == "independent" else 0.04)
        if kind == "independent":
            assert float(answer.log_evidence[n]) == pytest.approx(evidence, abs=0.07)


def test_codes_of_more_levels_than_are_tabled_are_counted(monkeypatch) -> None:
    monkeypatch.setattr(importlib.import_module("inference.query.cells"), "TABLED", 2)
    model, x = slotted("independent"), torch.tensor([[0, -1, 2, -1]])
    answer = query(model, "x", given={"x": x}, draws=16_000, method=Chains(chains=64))
    cells, _ = on_a_grid(model, x[0].clamp(min=0), x[0] >= 0, 3)
    np.testing.assert_allclose(answer["x"].sel(row=0), cells, atol=0.03)
    counts = answer["x"].values[0] * 16_000
    np.testing.assert_allclose(counts, counts.round(), atol=1e-6)


def test_a_context_is_told_to_each_row() -> None:
    torch.manual_seed(0)
    model = VAE(2, context_shape=1, latent=1, hidden=(4,)).double()
    with torch.no_grad():
        for parameter in model.decoder_model.parameters():
            parameter.mul_(5)
    context = torch.tensor([[-2.0], [2.0]]).double()
    x = torch.tensor([[NAN, 1.0], [NAN, 1.0]]).double()
    answer = query(model, "x", given={"x": {"x": x, "context": context}}, draws=4000)
    for n in range(2):
        z = torch.linspace(-6, 6, 601).double().unsqueeze(1)
        decoder = model.decoder(z, context[n].expand(601, 1))
        weight = Normal(0.0, 1.0).log_prob(z[:, 0]) + decoder.cell_log_prob(x[n].nan_to_num())[:, 1]
        expected = float((weight.softmax(0) @ decoder.mean[:, 0]).detach())
        assert float(answer["x"].sel(row=n, x_dim_0=0, level=1)) == pytest.approx(expected, abs=0.03)


class TwoIslands(LinearVAE):
    """x_0 is all but |z_0|'s; what is missing is its sign, and the encoder sees one of both."""

    def decoder(self, z, context=None):
        return Normal(torch.stack([z[..., 0].abs(), z[..., 0].sign()], -1), 0.02).to_event(1)

    def encoder(self, x, context=None):
        mean = torch.stack([x[:, 0] * x[:, 1].sign(), 0 * x[:, 0]], -1)
        return Normal(mean, torch.tensor([0.02, 1.0]).double()).to_event(1)


def test_islands_far_apart_are_reached_by_the_pool_and_badly_mixed_without() -> None:
    model = TwoIslands()
    x = torch.tensor([[1.3, NAN]]).double()
    found = query(model, "x", given={"x": x}, draws=4000)
    assert abs(float(found["x"].sel(row=0, x_dim_0=1, statistic="mean"))) < 0.15
    assert not any("mix badly" in text for text in found.warnings)
    stuck = query(model, "x", given={"x": x}, draws=4000, method=Chains(moves=PseudoGibbs()))
    assert any("mix badly" in text for text in stuck.warnings) and stuck.reliability["r_hat_max"] > 1.5


def test_what_chains_can_not_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="its code of a row is a point"):
        query(Autoencoder(3, latent=2), "x", given={"x": torch.tensor([[0.0, NAN, 1.0]])})
    with pytest.raises(ValueError, match="2 chains"):
        Chains(chains=1)
    with pytest.raises(ValueError, match="outside the support"):
        query(binary(), "x", given={"x": torch.tensor([[[0.5, NAN, 0.0], [0.0, 1.0, 0.0]]])})


def test_log_probabilities_cell_by_cell_sum_to_those_of_rows() -> None:
    torch.manual_seed(0)
    normal = DiagonalNormal(torch.randn(3, 2, 4), torch.randn(()).expand(3, 2, 4), 2)
    bits, codes = Bits(torch.randn(3, 2, 4), 2), Codes(torch.randn(3, 2, 4, 5), 2)
    for distribution, twin in (
        (normal, Normal(normal.loc, normal.stddev)),
        (bits, torch.distributions.Bernoulli(logits=bits.logits)),
        (codes, Categorical(logits=codes.log_probs)),
    ):
        x = distribution.sample()
        torch.testing.assert_close(distribution.cell_log_prob(x), twin.log_prob(x))
        torch.testing.assert_close(distribution.cell_log_prob(x).sum((1, 2)), distribution.log_prob(x))


def test_rows_that_lack_nothing_are_said_to() -> None:
    with pytest.raises(ValueError, match="the rows lack nothing; give NaN"):
        query(VAE(4, latent=2, hidden=(8,)), "x", given={"x": torch.zeros(2, 4)})
