"""Power scaling: conjugate posteriors under powers, the distance by quadrature, ArviZ's own numbers."""

import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from scipy.integrate import quad
from scipy.stats import norm

from inference.diagnostics.arviz_io import arviz, container, datasets_of
from inference.diagnostics.power_scaling import (
    CONFLICT,
    STRONG,
    components,
    distance,
    log_prior,
    own_priors,
    power_scaling,
    power_weights,
    top_sites,
)
from inference.posterior import Posterior
from inference.program import Program
from tests.inference.diagnostics.conjugate import data_of, exact, posterior_of


@pytest.mark.parametrize("power", [0.7, 1.4])
@pytest.mark.parametrize("part", ["prior", "likelihood"])
def test_weights_give_the_posterior_of_the_power(part: str, power: float) -> None:
    y = data_of(5, mean=2.0)
    posterior = posterior_of(y, prior=1.0, draws=10_000)
    component = dict(zip(("prior", "likelihood"), components(posterior), strict=True))[part]
    w, mu = power_weights(component, power).exp(), posterior["mu"].flatten()
    mean, sd = exact(y, 1.0, 1.0, **{f"{part}_power": power})
    assert abs(exact(y, 1.0, 1.0)[0] - mean) > 0.02  # the power does something
    assert float(w @ mu) == pytest.approx(mean, abs=0.01)
    assert float((w @ (mu - w @ mu) ** 2) ** 0.5) == pytest.approx(sd, rel=0.02)


def test_weights_of_a_guide_are_taken_in() -> None:
    y = data_of(5, mean=2.0)
    even = posterior_of(y, prior=1.0, draws=5000)
    mean, sd = exact(y, 1.0, 1.0)
    q = torch.distributions.Normal(mean + 0.2, 1.5 * sd)
    noise = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    mu = q.mean + q.stddev * noise
    log_w = torch.distributions.Normal(mean, sd).log_prob(mu) - q.log_prob(mu)
    guided = Posterior("guide", even.program, {"mu": mu}, log_weights=log_w)
    ours, theirs = power_scaling(guided).table, power_scaling(even).table
    np.testing.assert_allclose(
        ours[["prior", "likelihood"]].to_numpy(), theirs[["prior", "likelihood"]].to_numpy(), rtol=0.1
    )


def truth(p: tuple[float, float], q: tuple[float, float], low: float, high: float) -> float:
    """The cumulative Jensen-Shannon distance of two normals on an interval, by quadrature, from the worse side."""

    def one(below: bool) -> float:
        tail = norm.cdf if below else norm.sf

        def integrand(x: float) -> float:
            a, b = tail(x, *p), tail(x, *q)
            m = (a + b) / 2
            return a * np.log2(a / m) + b * np.log2(b / m)

        area = quad(lambda x: tail(x, *p) + tail(x, *q), low, high)[0]
        return float(np.sqrt(quad(integrand, low, high)[0] / area))

    return max(one(True), one(False))


def test_the_distance_is_that_of_the_normals() -> None:
    x = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    even = np.full(len(x), 1 / len(x))
    w = norm.pdf(x, 0.3, 0.8) / norm.pdf(x)
    assert distance(x, even, w / w.sum()) == pytest.approx(truth((0, 1), (0.3, 0.8), x[0], x[-1]), rel=2e-3)
    assert distance(x, even, even) == pytest.approx(0.0, abs=1e-7)
    assert distance(-x, even, w / w.sum()) == pytest.approx(distance(x, even, w / w.sum()))  # either side


def test_sensitivity_is_the_slope_of_the_true_distance() -> None:
    y = data_of(5, mean=2.0)
    posterior = posterior_of(y, prior=1.0, draws=10_000)
    table = power_scaling(posterior).table
    mu = posterior["mu"].numpy()
    for part in ("prior", "likelihood"):
        moved = [
            truth(exact(y, 1.0, 1.0), exact(y, 1.0, 1.0, **{f"{part}_power": power}), mu.min(), mu.max())
            for power in (1.01, 1 / 1.01)
        ]
        assert table.loc["mu", part] == pytest.approx(sum(moved) / 2 / np.log2(1.01), rel=0.05)


def test_sensitivities_are_arvizs() -> None:
    posterior = posterior_of(data_of(6, mean=2.0), prior=1.0)
    prior, _ = components(posterior)
    groups = datasets_of(posterior.idata)
    groups["log_prior"] = xr.Dataset({"mu": (("chain", "draw"), prior.view(4, 1000).numpy())})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not hasattr(arviz(), "psens") or hasattr(arviz().psens, "backend"):
            pytest.skip("this ArviZ has another psens")
        theirs = [float(arviz().psens(container(groups), component=c)["mu"]) for c in ("prior", "likelihood")]
    # ArviZ's empirical distribution of even weights ends at 1 - 1/n, where ours counts each draw as one
    np.testing.assert_allclose(
        power_scaling(posterior).table.loc["mu", ["prior", "likelihood"]].astype(float), theirs, rtol=5e-3
    )


def test_conflict_strength_and_neither_are_told_apart() -> None:
    far = data_of(5, mean=8.0)
    found = power_scaling(posterior_of(far, prior=1.0))
    assert found.table.loc["mu", "diagnosis"] == CONFLICT and "mu (prior " in found.alarms[CONFLICT]
    weak = power_scaling(posterior_of(data_of(5, mean=0.0, sd=10.0), prior=0.5, sd=30.0))
    assert weak.table.loc["mu", "diagnosis"] == STRONG and list(weak.alarms) == [STRONG]
    fine = power_scaling(posterior_of(data_of(100), prior=10.0))
    assert fine.alarms == {} and "hardly matters" in fine.verdict[0] and "normal:" in repr(fine)


# ---- which priors are scaled


def schools(y: torch.Tensor) -> None:
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, 10.0), obs=y)


def test_priors_at_the_top_are_scaled_and_the_middle_is_not() -> None:
    program = Program.of(schools, torch.tensor([1.0, 5.0, -3.0]))
    draws = {
        "mu": torch.tensor([0.5, 1.0]).double(),
        "tau": torch.tensor([2.0, 3.0]).double(),
        "theta": torch.zeros(2, 3).double(),
    }
    assert top_sites(program, {name: x[0] for name, x in draws.items()}) == ["mu", "tau"]
    expected = dist.Normal(0.0, 5.0).log_prob(draws["mu"]) + dist.HalfCauchy(5.0).log_prob(draws["tau"])
    torch.testing.assert_close(log_prior(program, draws, ["mu", "tau"]), expected)
    middle = dist.Normal(draws["mu"][:, None], draws["tau"][:, None]).log_prob(draws["theta"]).sum(1)
    torch.testing.assert_close(log_prior(program, draws, ["theta"]), middle)
    values = {name: x[0] for name, x in draws.items()}
    posterior = Posterior("schools", program, {name: x[None] for name, x in draws.items()})
    whole = components(posterior, ["mu", "tau", "theta"])
    torch.testing.assert_close(whole[0][0] + whole[1][0], program.log_joint(values))


def apart(y: torch.Tensor) -> None:
    """Effects written non-centred, each with a scale of its own; weights on a scale that is given."""
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    weight = pyro.sample("weight", dist.Normal(0.0, 1.0))
    sigma = pyro.sample("sigma", dist.LogNormal(0.0, 1.0))
    with pyro.plate("school", len(y)):
        raw = pyro.sample("raw", dist.Normal(0.0, 1.0))
        local = pyro.sample("local", dist.HalfCauchy(1.0))
        pyro.sample("y", dist.Normal(mu + weight + tau * local * raw, sigma), obs=y)


def test_a_standard_normal_times_a_scale_has_no_prior_of_its_own() -> None:
    program = Program.of(apart, torch.tensor([1.0, 5.0, -3.0]))
    draw = {name: torch.full(site.shape, 0.7, dtype=torch.float64) for name, site in program.latents.items()}
    assert top_sites(program, draw) == ["mu", "tau", "weight", "sigma", "raw", "local"]
    assert own_priors(program, draw) == ["mu", "tau", "weight", "sigma", "local"]


def test_what_cannot_be_scaled_is_said() -> None:
    with pytest.raises(ValueError, match="needs the program"):
        power_scaling(Posterior("bare", None, {"mu": torch.randn(2, 50)}))
    with pytest.raises(ValueError, match="no latent 'nu'"):
        power_scaling(posterior_of(data_of(5)), sites=["nu"])


def test_the_top_of_a_hierarchy_written_centred_has_a_prior_of_its_own() -> None:
    def centred(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("group", len(y)):
            theta = pyro.sample("theta", dist.Normal(mu, tau))
            pyro.sample("y", dist.Normal(theta, 1.0), obs=y)

    program = Program.of(centred, torch.tensor([1.0, 5.0, -3.0]))
    draw = {name: torch.full(site.shape, 0.7, dtype=torch.float64) for name, site in program.latents.items()}
    assert own_priors(program, draw) == ["mu", "tau"]  # the data hear of both through theta alone
