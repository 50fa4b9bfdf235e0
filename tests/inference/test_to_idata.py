"""One door to ArviZ: chains, draws from elsewhere, fits of every kind, importance samples, answers."""

import math
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from pyro.infer import MCMC, NUTS
from scipy import stats

import inference
from inference import diagnose, em, fit, log_likelihood, query, to_idata
from inference.diagnostics import arviz_io
from inference.diagnostics.arviz_io import arviz, group_names
from inference.importance import Weighted
from tests.inference.test_likelihood import linear_vae
from tests.inference.test_posterior import NOISE, Y, exact_draws, mean_and_sd, of_schools, schools
from zoo.bayesian_network import BayesianNetwork
from zoo.conditionals import StandardGaussian
from zoo.gan import GAN
from zoo.gaussian_mixture import GaussianMixture
from zoo.ppca import ProbabilisticPCA


def rows(n=60, columns=2, seed=0):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# ---- chains


@pytest.fixture(scope="module")
def chains():
    """Pyro's NUTS on eight numbers of a hierarchy, in single precision as Pyro is by itself."""

    def model(x):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("group", 3):
            theta = pyro.sample("theta", dist.Normal(mu, 1.0))
        with pyro.plate("row", 6):
            pyro.sample("x", dist.Normal(theta[..., torch.arange(6) % 3], 0.5), obs=x)

    x = torch.tensor([0.3, -1.0, 0.8, 0.1, -0.7, 1.2])
    pyro.set_rng_seed(0)
    mcmc = MCMC(NUTS(model), num_samples=30, warmup_steps=20, num_chains=1, disable_progbar=True)
    mcmc.run(x)
    return mcmc, x


def test_pyros_chains_are_what_arviz_makes_of_them(chains):
    mcmc, x = chains
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        theirs = arviz().from_pyro(mcmc, log_likelihood=True, dims={"theta": ["group"], "x": ["row"]})
    ours = to_idata(mcmc, x, prior=False)
    for name in ("mu", "theta"):
        xr.testing.assert_allclose(
            ours.posterior[name].drop_attrs(), theirs.posterior[name].astype(float).drop_attrs(), rtol=1e-6
        )
    xr.testing.assert_equal(ours.sample_stats["diverging"], theirs.sample_stats["diverging"].drop_attrs())
    np.testing.assert_allclose(ours.log_likelihood["x"], theirs.log_likelihood["x"], rtol=1e-4, atol=1e-5)
    assert ours.log_likelihood["x"].dims == theirs.log_likelihood["x"].dims
    np.testing.assert_allclose(ours.observed_data["x"], theirs.observed_data["x"], rtol=1e-6)
    assert group_names(to_idata(mcmc)) == ["posterior", "sample_stats"]


def test_draws_from_elsewhere_with_their_program_are_a_posterior():
    theta = exact_draws(2, 40)
    ours = to_idata(
        {"theta": theta.numpy()}, {"noise": NOISE, "y": Y}, {"school": list("ABCDE")}, model=schools, prior=False
    )
    np.testing.assert_allclose(ours.log_likelihood["y"], stats.norm(theta, NOISE).logpdf(Y), rtol=1e-12)
    assert list(ours.posterior["school"].values) == list("ABCDE")
    bare = to_idata({"theta": theta.numpy()})
    assert group_names(bare) == ["posterior"] and bare.posterior["theta"].dims == ("chain", "draw", "theta_dim_0")
    az = arviz()
    table, other = (az.summary(each) for each in (bare, az.from_dict({"theta": theta.numpy()})))
    assert table.equals(other)
    with pytest.raises(ValueError, match="has the latent 'theta', of which there are no draws; near: thet"):
        to_idata({"thet": theta}, {"noise": NOISE, "y": Y}, model=schools)


def test_a_posterior_is_what_it_makes_of_itself():
    posterior = of_schools(exact_draws(2, 20))
    found = to_idata(posterior, coords={"school": list("ABCDE")})
    assert {"prior", "posterior_predictive", "prior_predictive", "constant_data"} < set(group_names(found))
    assert list(found.prior["school"].values) == list("ABCDE")
    with pytest.raises(ValueError, match="is given the data of its program"):
        to_idata(posterior, Y)


# ---- fits of models


def test_a_fit_with_latents_of_each_row_is_what_diagnose_finds():
    vae, x = linear_vae(), torch.randn(30, 5).double()
    found = to_idata(vae, x, draws=40, coords={"row": [f"r{i}" for i in range(30)]})
    known = diagnose(vae, x, draws=40).idata
    assert set(group_names(found)) == set(group_names(known))
    for group in group_names(known):
        for name in known[group].data_vars:
            np.testing.assert_array_equal(found[group][name], known[group][name])
    assert found.posterior["z"].dims == ("chain", "draw", "row", "z_unit") and found.posterior["row"].values[3] == "r3"
    assert found.sample_stats["log_weight"].dims == ("chain", "draw", "row") and found.attrs["model"] == "VAE"
    again = to_idata(diagnose(vae, x, draws=40), coords={"row": [f"r{i}" for i in range(30)]})
    xr.testing.assert_equal(again.posterior, found.posterior)


def test_what_em_finds_is_a_point():
    x = rows()
    fitted = em(GaussianMixture(2, components=2).double(), x, steps=5, progress=False)
    found = to_idata(fitted, x)
    assert found.attrs["kind"] == "point estimate" and found.attrs["likelihood_kind"] == "exact"
    assert found.posterior["means"].shape == (1, 1, 2, 2) and found.posterior["logits"].shape == (1, 1, 2)
    np.testing.assert_array_equal(found.posterior["means"][0, 0], fitted.model.means.detach())
    np.testing.assert_allclose(found.log_likelihood["x"][0, 0], fitted.model.log_prob(x).detach())
    np.testing.assert_array_equal(found.observed_data["x"], x)
    assert "posterior_predictive" in group_names(found)
    assert group_names(to_idata(fitted)) == ["posterior"] and to_idata(fitted).attrs["kind"] == "point estimate"
    pca = to_idata(em(ProbabilisticPCA(2, latent=1).double(), x, steps=3, progress=False), x)
    assert {"loc", "loadings", "log_scale"} == set(pca.posterior.data_vars) and pca.posterior["log_scale"].shape == (
        1,
        1,
    )


def test_a_networks_tables_are_named_by_its_variables():
    network = BayesianNetwork(network="asia")
    found = to_idata(network)
    xray = found.posterior["xray_probability"]
    assert found.attrs["kind"] == "point estimate" and xray.dims == ("chain", "draw", "either", "xray")
    np.testing.assert_allclose(xray.sum("xray"), 1.0, rtol=1e-6)
    np.testing.assert_allclose(xray[0, 0].values[:, 0], [0.98, 0.05], rtol=1e-6)


def test_generative_fits_have_their_likelihood_and_samples():
    x = rows()
    explicit = to_idata(StandardGaussian(2).double(), x)
    assert "posterior" not in group_names(explicit)
    np.testing.assert_allclose(explicit.log_likelihood["x"][0, 0], stats.norm.logpdf(x).sum(1), rtol=1e-10)
    implicit = to_idata(GAN(2), x.float(), rows=40)
    assert {"posterior_predictive", "observed_data"} <= set(group_names(implicit))
    assert "log_likelihood" not in group_names(implicit) and implicit.observed_data.sizes["row"] == 40


def test_a_fit_keeps_its_history():
    fitted = fit(GaussianMixture(2, components=2), rows().float(), steps=20, every=2, progress=False)
    assert to_idata(fitted, rows().float()).constant_data["history_loss"].dims == ("report",)


# ---- importance samples, likelihoods and answers


def test_importance_samples_are_resampled_in_each_row():
    mean, sd = mean_and_sd()
    z = mean + 0.5 * sd + 1.5 * sd * torch.randn(4000, 5, generator=torch.Generator().manual_seed(0)).double()
    log_w = dist.Normal(mean, sd).log_prob(z) - dist.Normal(mean + 0.5 * sd, 1.5 * sd).log_prob(z)
    found = to_idata(Weighted({"z": z}, log_w), coords={"row": list("ABCDE")})
    assert found.posterior["z"].dims == ("chain", "draw", "row") and found.posterior["z"].shape == (1, 4000, 5)
    np.testing.assert_array_equal(found.proposal["z"][0], z)
    np.testing.assert_array_equal(found.sample_stats_proposal["log_weight"][0], log_w)
    gap = (found.posterior["z"][0].mean("draw").values - mean.numpy()) / sd.numpy()
    np.testing.assert_array_less(abs(gap), 4.5 / math.sqrt(2000))
    np.testing.assert_allclose(found.posterior["z"][0].std("draw"), sd, rtol=0.08)
    place = {float(z): float(lw) for z, lw in zip(z[:, 2], log_w[:, 2], strict=True)}
    taken = zip(found.posterior["z"][0, :, 2].values, found.sample_stats["log_weight"][0, :, 2].values, strict=True)
    assert all(place[float(each)] == lw for each, lw in taken)


def test_a_likelihood_and_an_answer_as_they_are(tmp_path):
    x = rows()
    mixture = em(GaussianMixture(2, components=2).double(), x, steps=3, progress=False).model
    likelihood = to_idata(log_likelihood(mixture, x))
    np.testing.assert_allclose(likelihood.log_likelihood["x"][0, 0], mixture.log_prob(x).detach())
    assert likelihood.attrs["likelihood_kind"] == "exact" and likelihood.attrs["measure"] == "density"
    answered = query(mixture, "component", given={"x": x})
    found = to_idata(answered, coords={"component": ["left", "right"]})
    np.testing.assert_array_equal(found["query"]["component_probability"], answered["component"])
    assert found.attrs["kind"] == "exact" and found.attrs["method"] == "Bayes' rule in closed form"
    drawn = to_idata(query(mixture, "x", draws=7))
    assert drawn.posterior_predictive["x"].dims == ("chain", "draw", "x_dim_0") and drawn.posterior_predictive[
        "x"
    ].shape == (1, 7, 2)
    posterior = to_idata(query(of_schools(exact_draws(2, 20)), ["theta", "y"]))
    assert posterior["query"]["theta"].dims == ("school", "statistic")
    arviz_io.to_netcdf(posterior, tmp_path / "answer.nc")
    read = arviz().from_netcdf(tmp_path / "answer.nc")
    np.testing.assert_array_equal(read["query"]["theta"], posterior["query"]["theta"])


# ---- both ages, and what is refused


def test_every_kind_in_arvizs_next_age(tmp_path, monkeypatch):
    x = rows()
    fitted = em(GaussianMixture(2, components=2).double(), x, steps=3, progress=False)
    before = to_idata(fitted, x)
    before_file = tmp_path / "before.nc"
    arviz_io.to_netcdf(before, before_file)
    monkeypatch.setattr(arviz_io, "arviz", SimpleNamespace)  # from 1.0 on there is no InferenceData
    for thing in (
        fitted,
        of_schools(exact_draws(2, 10)),
        query(fitted.model, "x", draws=5),
        log_likelihood(fitted.model, x),
    ):
        found = to_idata(thing, None if thing is not fitted else x)
        assert isinstance(found, xr.DataTree)
        arviz_io.to_netcdf(found, tmp_path / "after.nc")
        with xr.open_datatree(tmp_path / "after.nc", engine="h5netcdf") as read:
            assert set(group_names(read)) == set(group_names(found)) and read.attrs == found.attrs
    again = to_idata(fitted, x, coords={"row": np.arange(60) + 100})
    assert again["log_likelihood"]["row"].values[0] == 100
    xr.testing.assert_allclose(again["posterior"].to_dataset(), before["posterior"])


def test_what_holds_nothing_for_arviz_is_refused():
    with pytest.raises(TypeError, match="to_idata takes a Posterior, a Fit, a model"):
        to_idata(3)
    with pytest.raises(ValueError, match="StandardGaussian says nothing without rows"):
        to_idata(StandardGaussian(2))
    with pytest.raises(ValueError, match="coords name 'rows', which is no axis; near: row"):
        to_idata(StandardGaussian(2).double(), rows(), {"rows": range(60)})
    assert "to_idata" in inference.__all__ and "Posterior" in inference.__all__
