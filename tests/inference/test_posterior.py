"""A posterior's container, weights, predictions and pointwise likelihood, where all of them are known."""

import math
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from scipy import stats

from inference import posterior_groups
from inference.diagnostics import arviz_io
from inference.diagnostics.arviz_io import arviz, group_names
from inference.posterior import Posterior
from inference.predictive_draws import simulate
from inference.program import Program
from inference.resampling import by_seed
from zoo.bayesian_mixture import BayesianGaussianMixture

Y = torch.tensor([1.2, -0.4, 0.7, 2.5, -1.9], dtype=torch.float64)
NOISE = torch.tensor([0.5, 1.0, 1.5, 0.8, 1.2], dtype=torch.float64)


def schools(noise, y, schools=5):
    """theta_i ~ N(0, 2^2), y_i ~ N(theta_i, noise_i^2): each theta's posterior is a normal."""
    with pyro.plate("school", schools):
        theta = pyro.sample("theta", dist.Normal(0.0, 2.0))
        pyro.deterministic("twice", 2 * theta)
        pyro.sample("y", dist.Normal(theta, noise), obs=y)


def mean_and_sd():
    precision = 1 / 4 + NOISE**-2
    return (Y / NOISE**2) / precision, precision.rsqrt()


def exact_draws(chains=4, draws=500, seed=0):
    mean, sd = mean_and_sd()
    noise = torch.randn(chains, draws, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return mean + sd * noise


def of_schools(theta, **more):
    return Posterior("schools", Program.of(schools, {"noise": NOISE, "y": Y}), {"theta": theta}, **more)


def one_mean(y):
    """mu ~ N(0, 1), y_i ~ N(mu, 1)."""
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y)


# ---- the container


def test_summary_is_arvizs_on_the_same_draws():
    theta = exact_draws()
    ours = of_schools(theta).summary(round_to="none")
    theirs = arviz().summary(arviz().from_dict({"theta": theta.numpy(), "twice": 2 * theta.numpy()}), round_to="none")
    np.testing.assert_allclose(ours.to_numpy(), theirs.to_numpy(), rtol=1e-12)
    assert list(ours.columns) == list(theirs.columns) and list(ours.index) == list(theirs.index)


def test_the_summary_of_what_is_constant_or_of_one_chain_is_quiet(capfd):
    draws = {"a": torch.randn(1, 40, dtype=torch.float64), "b": torch.ones(1, 40, 2, dtype=torch.float64)}
    posterior = Posterior("plain", None, draws)
    with np.errstate(invalid="ignore"):
        arviz().summary(posterior.idata)  # which tells anyone who asks ArviZ itself
    assert "Shape validation failed" in capfd.readouterr().err
    table = posterior.summary()
    assert list(table.index) == ["a", "b[0]", "b[1]"] and table["r_hat"].isna().all()
    assert capfd.readouterr() == ("", "")


def test_dims_are_plates_and_coords_what_one_says():
    posterior = of_schools(exact_draws(2, 50), stats={"diverging": torch.zeros(2, 50, dtype=torch.bool)})
    idata = posterior.to_idata(coords={"school": list("ABCDE")})
    assert idata.posterior["theta"].dims == ("chain", "draw", "school")
    assert idata.posterior["twice"].dims == ("chain", "draw", "school")
    assert idata.log_likelihood["y"].dims == idata.posterior_predictive["y"].dims == ("chain", "draw", "school")
    assert idata.prior["theta"].dims == idata.prior_predictive["y"].dims == ("chain", "draw", "school")
    assert idata.observed_data["y"].dims == idata.constant_data["noise"].dims == ("school",)
    assert all(
        list(idata[group]["school"].values) == list("ABCDE")
        for group in group_names(idata)
        if "school" in idata[group].dims
    )
    np.testing.assert_array_equal(idata.observed_data["y"], Y)
    np.testing.assert_array_equal(idata.constant_data["noise"], NOISE)
    assert "y" not in idata.constant_data
    assert not idata.sample_stats["diverging"].any()
    np.testing.assert_array_equal(posterior.idata.posterior["school"], np.arange(5))
    assert set(group_names(posterior.idata)) == {
        "posterior",
        "sample_stats",
        "log_likelihood",
        "observed_data",
        "constant_data",
    }


def test_coords_that_fit_no_axis_are_refused():
    posterior = of_schools(exact_draws(2, 10))
    with pytest.raises(ValueError, match="'shool', which is no axis; near: school"):
        posterior.to_idata(predictive=False, prior=False, coords={"shool": list("ABCDE")})
    with pytest.raises(ValueError, match="3 places for 'school', which has 5"):
        posterior.to_idata(predictive=False, prior=False, coords={"school": list("ABC")})


def test_axes_of_events_and_of_nested_plates_are_named_as_arviz_names_them():
    def nested(x, draw):
        location = pyro.sample("location", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("draw", 4), pyro.plate("group", 2):
            pyro.sample("y", dist.Normal(location, 1.0).to_event(1), obs=x)

    x = torch.randn(2, 4, 3)
    program = Program.of(nested, {"x": x, "draw": x[0, :, 0]})
    posterior = Posterior("nested", program, {"location": torch.randn(2, 10, 3).double()})
    idata = posterior.to_idata(prior=False)
    assert idata.posterior["location"].dims == ("chain", "draw", "location_dim_0")
    # a plate that has the name of one of ArviZ's own axes can't lend it
    assert idata.log_likelihood["y"].dims == ("chain", "draw", "group", "y_dim_1")
    assert idata.observed_data["y"].dims == ("group", "y_dim_1", "y_dim_2")
    assert idata.posterior_predictive["y"].dims == ("chain", "draw", "group", "y_dim_1", "y_dim_2")
    assert "draw_value" in idata.constant_data


def test_netcdf_there_and_back(tmp_path):
    posterior = of_schools(
        exact_draws(2, 20),
        method="exact",
        seconds=1.5,
        extra={"log_evidence": -3.0, "paths": torch.ones(2)},
        alarms={"divergences": "2 draws diverged."},
        super_chains=2,
    )
    posterior.to_netcdf(tmp_path / "posterior.nc")
    assert [path.name for path in tmp_path.iterdir()] == ["posterior.nc"]
    read = arviz().from_netcdf(tmp_path / "posterior.nc")
    for group in group_names(posterior.idata):
        xr.testing.assert_equal(read[group].load(), posterior.idata[group])
    assert read.attrs["method"] == "exact" and read.attrs["model"] == "schools" and read.attrs["super_chains"] == 2
    assert read.attrs["log_evidence"] == -3.0 and read.attrs["alarm: divergences"] == "2 draws diverged."


def test_the_container_of_arvizs_next_age(tmp_path, monkeypatch):
    monkeypatch.setattr(arviz_io, "arviz", SimpleNamespace)  # from 1.0 on there is no InferenceData
    idata = of_schools(exact_draws(2, 20)).to_idata(coords={"school": list("ABCDE")})
    assert isinstance(idata, xr.DataTree)
    arviz_io.to_netcdf(idata, tmp_path / "posterior.nc")
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as read:
        assert read["posterior"]["theta"].dims == ("chain", "draw", "school")
        assert list(read["observed_data"]["school"].values) == list("ABCDE")
        assert read.attrs["model"] == "schools"


def test_large_groups_leave_out_draws_and_keep_their_numbers(monkeypatch):
    monkeypatch.setattr(posterior_groups, "LARGEST", 300)
    idata = of_schools(exact_draws(2, 100)).to_idata(prior=False)
    assert idata.posterior.sizes["draw"] == 100
    kept = idata.log_likelihood["draw"].values
    assert list(kept) == list(range(0, 100, 4)) and list(idata.posterior_predictive["draw"].values) == list(kept)
    expected = stats.norm(idata.posterior["theta"].sel(draw=kept), NOISE.numpy()).logpdf(Y.numpy())
    np.testing.assert_allclose(idata.log_likelihood["y"], expected, rtol=1e-12)


# ---- likelihood and predictions


def test_pointwise_likelihood_in_closed_form():
    theta = exact_draws(2, 30)
    found = of_schools(theta).log_likelihood()["y"]
    np.testing.assert_allclose(found, stats.norm(theta, NOISE).logpdf(Y), rtol=1e-12)


def test_event_axes_are_summed_in_the_likelihood():
    covariance = torch.tensor([[2.0, 0.6], [0.6, 1.0]], dtype=torch.float64)

    def pairs(x):
        mu = pyro.sample("mu", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("row", len(x)):
            pyro.sample("x", dist.MultivariateNormal(mu, covariance), obs=x)

    x, mu = torch.randn(6, 2).double(), torch.randn(2, 3, 2).double()
    posterior = Posterior("pairs", Program.of(pairs, {"x": x}), {"mu": mu})
    found = posterior.idata.log_likelihood["x"]
    assert found.dims == ("chain", "draw", "row")
    for chain, draw in np.ndindex(2, 3):
        expected = stats.multivariate_normal(mu[chain, draw], covariance).logpdf(x)
        np.testing.assert_allclose(found[chain, draw], expected, rtol=1e-10)


def mixture(x):
    share = pyro.sample("share", dist.Beta(2.0, 2.0))
    means = pyro.sample("means", dist.Normal(torch.tensor([-1.0, 1.0]), 1.0).to_event(1))
    with pyro.plate("row", len(x)):
        z = pyro.sample("z", dist.Bernoulli(share), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(means[z.long()], 0.7), obs=x)


def mixture_likelihood(x, share, means):
    log_p = np.stack([stats.norm(means[..., k, None], 0.7).logpdf(x) for k in (0, 1)])
    weights = np.stack([1 - share, share])[..., None]
    return np.logaddexp(*(np.log(weights) + log_p))


def test_rows_of_a_mixture_are_summed_over_its_components():
    x = torch.tensor([-1.3, 0.1, 2.0], dtype=torch.float64)
    share, means = torch.tensor([[0.2, 0.7, 0.5]]).double(), torch.randn(1, 3, 2).double()
    posterior = Posterior("mixture", Program.of(mixture, {"x": x}), {"share": share, "means": means})
    found = posterior.idata.log_likelihood["x"]
    assert found.dims == ("chain", "draw", "row")
    np.testing.assert_allclose(found, mixture_likelihood(x.numpy(), share.numpy(), means.numpy()), rtol=1e-10)


def test_a_pair_whose_parameters_are_of_single_precision():
    x = torch.randn(6, 2)
    program = Program.of(BayesianGaussianMixture(2, size=6, components=2), {"x": x})
    latents, _ = simulate(program, 3, seed=0)
    found = Posterior("pair", program, {name: value[None] for name, value in latents.items()}).idata.log_likelihood["x"]
    assert found.dims == ("chain", "draw", "data")
    weights, means, scales = (latents[name].double().numpy()[:, None] for name in ("weights", "means", "scales"))
    log_p = np.log(weights) + stats.norm(means, scales).logpdf(x.numpy()[:, None]).sum(-1)
    np.testing.assert_allclose(found[0], np.logaddexp(log_p[..., 0], log_p[..., 1]), rtol=1e-5)


def test_rows_that_share_a_component_have_their_likelihood_together():
    def grouped(x, y):
        means = pyro.sample("means", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("row", 3, dim=-2):
            z = pyro.sample("z", dist.Categorical(torch.tensor([0.3, 0.7])), infer={"enumerate": "parallel"})
            with pyro.plate("feature", 4, dim=-1):
                pyro.sample("x", dist.Normal(means[z], 1.0), obs=x)
        with pyro.plate("other", 2):
            pyro.sample("y", dist.Normal(means.sum(), 1.0), obs=y)

    x, y, means = torch.randn(3, 4).double(), torch.randn(2).double(), torch.randn(1, 5, 2).double()
    program = Program.of(grouped, {"x": x, "y": y})
    found = Posterior("grouped", program, {"means": means}).idata.log_likelihood
    log_p = stats.norm(means[..., None, None], 1).logpdf(x).sum(-1) + np.log([0.3, 0.7])[:, None]
    assert found["x"].dims == ("chain", "draw", "row") and found["y"].dims == ("chain", "draw", "other")
    np.testing.assert_allclose(found["x"], np.logaddexp(log_p[:, :, 0], log_p[:, :, 1]), rtol=1e-10)
    np.testing.assert_allclose(found["y"], stats.norm(means.sum(-1, keepdim=True), 1).logpdf(y), rtol=1e-10)


def test_sites_that_share_a_chain_are_each_given_those_before():
    move = torch.tensor([[0.8, 0.2], [0.3, 0.7]], dtype=torch.float64)

    def hidden(x):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        z = 0
        with pyro.plate("row", 2):
            for t in range(3):
                z = pyro.sample(f"z_{t}", dist.Categorical(move[z]), infer={"enumerate": "parallel"})
                pyro.sample(f"x_{t}", dist.Normal(mean * (2 * z - 1), 1.0), obs=x[:, t])

    x, mean = torch.randn(2, 3).double(), torch.randn(1, 4).double()
    found = Posterior("hidden", Program.of(hidden, {"x": x}), {"mean": mean}).log_likelihood()
    forward = np.broadcast_to(np.array([1.0, 0.0]), (1, 4, 2, 2))
    for t in range(3):
        density = stats.norm(mean.numpy()[..., None, None] * np.array([-1.0, 1.0]), 1).pdf(x.numpy()[:, t, None])
        joint = (forward @ move.numpy()) * density
        np.testing.assert_allclose(found[f"x_{t}"], np.log(joint.sum(-1)), rtol=1e-10)
        forward = joint / joint.sum(-1, keepdims=True)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, by ArviZ
def test_leave_one_out_of_a_mixture_and_comparison_just_work():
    x = torch.cat([torch.randn(20) * 0.7 - 1.5, torch.randn(20) * 0.7 + 1.5]).double()
    share = dist.Beta(22.0, 22.0).sample((2, 200)).double()
    means = torch.tensor([-1.5, 1.5]).double() + 0.15 * torch.randn(2, 200, 2).double()
    two = Posterior("mixture", Program.of(mixture, {"x": x}), {"share": share, "means": means})
    one = Posterior("mean", Program.of(one_mean, {"y": x}), {"mu": 0.15 * torch.randn(2, 200).double()})
    table = arviz().compare({"two": two.idata, "one": one.idata})
    assert list(table.index) == ["two", "one"] and table["elpd_loo"].iloc[0] > table["elpd_loo"].iloc[1] + 5


def left_out(y):
    """The log predictive density of each datum given the others, where mu ~ N(0, 1) and y_i ~ N(mu, 1)."""
    others = (y.sum() - y) / len(y)
    return stats.norm(others, math.sqrt(1 + 1 / len(y))).logpdf(y)


def test_leave_one_out_in_closed_form_of_even_and_of_weighted_draws():
    y = torch.tensor([0.3, 1.4, -0.8, 0.9, 1.1, 0.2, 2.1, -0.3, 0.5, 0.4], dtype=torch.float64)
    mean, sd = float(y.sum() / 11), 11**-0.5
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(4, 5000, dtype=torch.float64, generator=generator)
    program, truth = Program.of(one_mean, {"y": y}), left_out(y.numpy()).sum()
    even = Posterior("mean", program, {"mu": mean + sd * noise})
    wide = mean + 0.2 + 1.5 * sd * noise
    log_w = stats.norm(mean, sd).logpdf(wide) - stats.norm(mean + 0.2, 1.5 * sd).logpdf(wide)
    weighted = Posterior("mean", program, {"mu": wide}, log_weights=torch.as_tensor(log_w))
    assert arviz().loo(even.idata).elpd_loo == pytest.approx(truth, abs=0.02)
    assert arviz().loo(weighted.idata).elpd_loo == pytest.approx(truth, abs=0.03)
    unweighted = Posterior("mean", program, {"mu": wide})
    assert abs(arviz().loo(unweighted.idata).elpd_loo - truth) > 0.1


def test_data_drawn_anew_have_the_moments_of_the_posterior_predictive():
    mean, sd = mean_and_sd()
    drawn = of_schools(exact_draws(2, 2000)).predictive(seed=1)["y"].flatten(0, 1)
    spread = (sd**2 + NOISE**2).sqrt()
    np.testing.assert_array_less(abs(drawn.mean(0) - mean) / spread, 4.5 / math.sqrt(4000))
    np.testing.assert_allclose(drawn.std(0), spread, rtol=4.5 / math.sqrt(8000))


def test_draws_before_the_data_have_the_moments_of_the_prior(monkeypatch):
    monkeypatch.setattr(posterior_groups, "PRIOR", 3000)
    idata = of_schools(exact_draws(2, 5)).to_idata(predictive=False)
    spread = np.sqrt(4 + NOISE.numpy() ** 2)
    theta, y = (idata[group][name].values[0] for group, name in (("prior", "theta"), ("prior_predictive", "y")))
    np.testing.assert_allclose(theta.std(0), 2.0, rtol=0.07)
    np.testing.assert_allclose(y.std(0), spread, rtol=0.07)
    np.testing.assert_array_less(abs(y.mean(0)) / spread, 4.5 / math.sqrt(3000))
    np.testing.assert_allclose(((y - theta) ** 2).mean(0), NOISE.numpy() ** 2, rtol=0.13)


def test_what_is_drawn_is_told_by_the_seed_and_leaves_torchs_own_alone():
    posterior = of_schools(exact_draws(2, 5))
    torch.manual_seed(4)
    before = torch.random.get_rng_state()
    one, same, other = (posterior.predictive(seed)["y"] for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_improper_prior_predicts_nothing_before_the_data():
    def flat(y):
        mu = pyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
        with pyro.plate("row", len(y)):
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    posterior = Posterior("flat", Program.of(flat, {"y": Y}), {"mu": torch.randn(2, 20).double()})
    groups = group_names(posterior.to_idata())
    assert "posterior_predictive" in groups and "prior" not in groups and "prior_predictive" not in groups


# ---- weights


def test_each_draw_is_taken_as_often_as_its_weight_says():
    weights = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64).square()
    weights = weights / weights.sum()
    for seed in range(5):
        counts = by_seed(weights, seed).bincount(minlength=50)
        assert ((counts - 50 * weights).abs() < 1).all() and counts.sum() == 50
    assert (by_seed(weights, 0).diff() >= 0).all()


def guided(draws=4000, seed=0):
    """Draws of a guide that is too wide and off, and their weights."""
    mean, sd = mean_and_sd()
    noise = torch.randn(2, draws // 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    centre, scale = mean + 0.2, 1.3 * sd
    theta = centre + scale * noise
    log_w = (dist.Normal(mean, sd).log_prob(theta) - dist.Normal(centre, scale).log_prob(theta)).sum(-1)
    return theta, log_w


def test_weighted_draws_resampled_are_the_posteriors():
    theta, log_w = guided()
    posterior = of_schools(theta, log_weights=log_w, stats={"lp": log_w}, method="a wide guide")
    even = posterior.resampled(seed=1)
    assert even.shape == (1, 4000) and even.log_weights is None and even.resampled() is even
    mean, sd = mean_and_sd()
    effective = 1 / float(posterior.weights.square().sum())
    for found, error in ((even["theta"].flatten(0, 1), 4.5), (theta.flatten(0, 1), None)):
        gap = ((found.mean(0) - mean) / sd).abs().max()
        assert gap < error / math.sqrt(effective) if error else gap > 0.2
    np.testing.assert_allclose(even["theta"].flatten(0, 1).std(0), sd, rtol=0.1)
    origin = {round(float(t), 12): float(w) for t, w in zip(theta[..., 0].flatten(), log_w.flatten(), strict=True)}
    assert all(
        origin[round(float(t), 12)] == float(w)
        for t, w in zip(even["theta"][0, :, 0], even.stats["log_weight"][0], strict=True)
    )


def test_effective_draws_of_weighted_ones_are_those_of_the_weights():
    theta, log_w = guided()
    posterior = of_schools(theta, log_weights=log_w)
    effective = 1 / float(posterior.weights.square().sum())
    found = arviz().ess(posterior.idata, var_names=["theta"], method="mean")["theta"].values
    np.testing.assert_allclose(found, effective, rtol=0.35)
    assert effective < 3000


def test_the_container_of_weighted_draws_has_both():
    theta, log_w = guided(400)
    idata = of_schools(theta, log_weights=log_w, stats={"lp": log_w}).to_idata(prior=False)
    assert idata.posterior["theta"].shape == (1, 400, 5) and idata.proposal["theta"].shape == (2, 200, 5)
    np.testing.assert_array_equal(idata.proposal["theta"], theta)
    np.testing.assert_array_equal(idata.sample_stats_proposal["log_weight"], log_w)
    assert idata.sample_stats["log_weight"].shape == (1, 400)
    assert idata.posterior_predictive["y"].shape == (1, 400, 5)


# ---- the object


def test_names_reach_draws_and_what_is_derived():
    theta = exact_draws(2, 10)
    posterior = of_schools(theta, method="exact draws", alarms={"x": "Something ails it."})
    assert torch.equal(posterior["theta"], theta)
    torch.testing.assert_close(posterior["twice"], 2 * theta)
    with pytest.raises(KeyError, match="has no 'thetta'; near: theta"):
        posterior["thetta"]
    assert "2 chains of 10 draws by exact draws" in repr(posterior) and "! Something ails it." in repr(posterior)


def test_thinned_keeps_every_so_many():
    theta, log_w = guided(40)
    thin = of_schools(theta, log_weights=log_w, stats={"lp": log_w}, unconstrained=theta).thinned(3)
    assert torch.equal(thin["theta"], theta[:, ::3]) and torch.equal(thin.log_weights, log_w[:, ::3])
    assert torch.equal(thin.stats["lp"], log_w[:, ::3]) and torch.equal(thin.unconstrained, theta[:, ::3])


def test_what_is_no_posterior_is_refused():
    with pytest.raises(ValueError, match="has no draws"):
        Posterior("empty", None, {})
    with pytest.raises(ValueError, match=r"'b' of the posterior of odd is \[2, 4\], which is not \[chains, draws"):
        Posterior("odd", None, {"a": torch.zeros(2, 5), "b": torch.zeros(2, 4)})
    with pytest.raises(ValueError, match="'lp' of the posterior of odd"):
        Posterior("odd", None, {"a": torch.zeros(2, 5)}, {"lp": torch.zeros(5)})
    bare = Posterior("bare", None, {"a": torch.zeros(2, 5)})
    with pytest.raises(ValueError, match="to draw data it needs the program"):
        bare.predictive()
    assert group_names(bare.idata) == ["posterior"]
