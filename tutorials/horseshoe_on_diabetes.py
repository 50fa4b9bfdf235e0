# %% [markdown]
# # Few coefficients of many: a horseshoe on the diabetes data
#
# 442 patients, ten measurements, and how far their diabetes had come a year later (Efron et al., 2004). Which of the
# measurements matter? A horseshoe prior expects a few coefficients to be large and all others next to nothing; a
# Gaussian prior shrinks all alike; the lasso is the field's usual answer.

# %%
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import BayesianRidge, LassoCV

from inference import Alarm, compare, diagnose, mcmc
from inference.sampling import Chees
from zoo import programs

matplotlib.use("Agg", force=False)

data = programs.data("diabetes")
names = load_diabetes().feature_names
X, y = data["X"], data["y"]
print(f"X {list(X.shape)}, y {list(y.shape)}, both standardised; s1 and s2 correlate by {X[:, 4] @ X[:, 5] / 441:.2f}")


# %% [markdown]
# ## Two priors
#
# A coefficient of the plain horseshoe is N(0, tau lambda_d) with half-Cauchy scales: a funnel in each pair, and tails
# that no data may tame. `programs.horseshoe_regression` is what the field has made of it (Piironen and Vehtari,
# 2017): standard normals times their scales, and a slab that bounds what is let through. tau's own scale says that
# three coefficients are expected to matter. Beside it a Gaussian prior, whose one scale is learnt.


# %%
def gaussian_regression(X, y):
    alpha = pyro.sample("alpha", dist.Normal(0.0, 2.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    tau = pyro.sample("tau", dist.HalfNormal(1.0))
    with pyro.plate("column", X.shape[1]):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        beta = pyro.deterministic("beta", tau * z)
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(alpha + X @ beta, sigma), obs=y)


gaussian = mcmc(gaussian_regression, data, progress=False)
print(gaussian)

# %% [markdown]
# The horseshoe is still the harder one: a local scale may be anything above what the slab lets through, and small steps
# are needed where scales are small. At the default target of 0.8 about one path in 150 diverges; at 0.95 none or next
# to none do. So few chains and draws are for a tutorial's sake: what is left to be warned of is printed.

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", Alarm)
    horseshoe = mcmc(
        programs.horseshoe_regression, data, kernel=Chees(target=0.95), chains=16, warmup=100, draws=100, progress=False
    )
print(horseshoe)
diverged = int(horseshoe.stats["diverging"].sum())
print(
    f"{diverged} of {horseshoe.stats['diverging'].numel()} paths diverged; "
    f"{float(horseshoe.stats['n_steps'].double().mean()):.0f} leapfrog steps a path, beside "
    f"{float(gaussian.stats['n_steps'].double().mean()):.0f} for the Gaussian prior"
)
print(
    horseshoe.summary(var_names=["alpha", "sigma", "tau", "slab", "beta"])[
        ["mean", "sd", "ess_bulk", "ess_tail", "r_hat"]
    ]
)
assert diverged < 0.01 * horseshoe.stats["diverging"].numel()

# %% [markdown]
# ## What is shrunk, and how far
#
# kappa_d = 1 / (1 + N s_d^2 / sigma^2), s_d a coefficient's prior scale, is the share of the least-squares estimate
# that the prior takes away from a column that correlates with no other: near 0 it is left alone, near 1 it is gone. The
# Gaussian prior has one kappa for all; the horseshoe's prior for each has most of its mass at both ends, and looks like
# one.

# %%
scale = horseshoe["beta"] / horseshoe["z"]
kappa = 1 / (1 + len(y) * (scale / horseshoe["sigma"][..., None]).square())
even = 1 / (1 + len(y) * (gaussian["tau"] / gaussian["sigma"]).square())
lasso = LassoCV(cv=10).fit(X.numpy(), y.numpy())
ridge = BayesianRidge().fit(X.numpy(), y.numpy())
least_squares = np.linalg.lstsq(X.numpy(), y.numpy(), rcond=None)[0]
betas = {
    name: posterior["beta"].flatten(0, 1) for name, posterior in (("horseshoe", horseshoe), ("Gaussian", gaussian))
}
print(f"{'':5}{'least squares':>14}{'ridge':>8}{'lasso':>8}{'Gaussian':>16}{'horseshoe':>16}{'kappa':>8}")
for d, name in enumerate(names):
    told = [f"{betas[prior][:, d].mean():8.2f} ± {betas[prior][:, d].std():.2f}" for prior in ("Gaussian", "horseshoe")]
    left = kappa[..., d].mean()
    print(
        f"{name:5}{least_squares[d]:14.2f}{ridge.coef_[d]:8.2f}{lasso.coef_[d]:8.2f}{told[0]:>16}{told[1]:>16}{left:8.2f}"
    )
mean = {name: draws.mean(0) for name, draws in betas.items()}
print(
    f"kappa of the Gaussian prior, for all: {even.mean():.2f}; columns that matter, by the horseshoe: "
    f"{float((1 - kappa).sum(-1).mean()):.1f} of {len(names)}"
)
assert (mean["Gaussian"] - torch.from_numpy(ridge.coef_)).abs().max() < 0.05

# %% [markdown]
# The Gaussian prior with a learnt scale is what `BayesianRidge` fits by its likeliest scale, and the two agree. The
# horseshoe agrees with the lasso on what is large (bmi, s5, bp, sex) and on what is nothing (age, s2), where it
# has smaller means and narrower posteriors than the Gaussian; what large ones lose is less. Unlike the lasso it says
# how sure it is: s1 to s4 stand for each other, and each may matter or not.

# %%
for large in ("bmi", "s5", "bp"):
    low = betas["horseshoe"][:, names.index(large)].quantile(0.025)
    print(f"{large}: 97.5 % above {low:.2f}")
    assert low > 0
for nothing in ("age", "s6"):
    d = names.index(nothing)
    spreads = [float(betas[prior][:, d].std()) for prior in ("horseshoe", "Gaussian")]
    print(f"{nothing}: sd {spreads[0]:.3f} by the horseshoe, {spreads[1]:.3f} by the Gaussian prior")
    assert spreads[0] < spreads[1]
    assert kappa[..., d].mean() > even.mean()

# %% [markdown]
# ## Does it predict better?
#
# By leave-one-out; and as a check of that, `BayesianRidge` fitted anew without each patient.

# %%
comparison = compare({"horseshoe": horseshoe, "Gaussian": gaussian})
print(comparison)
left_out = 0.0
for i in range(len(y)):
    kept = np.arange(len(y)) != i
    at, sd = BayesianRidge().fit(X[kept].numpy(), y[kept].numpy()).predict(X[[i]].numpy(), return_std=True)
    left_out += float(dist.Normal(float(at[0]), float(sd[0])).log_prob(y[i]))
print(f"BayesianRidge, 442 times: {left_out:.2f} nats")
assert abs(left_out - comparison.table.loc["Gaussian", "elpd"]) < 2
assert comparison.table["difference"].max() < 4

# %% [markdown]
# It does not: with 442 patients and ten columns the data outweigh either prior. What the horseshoe gives here is an
# answer to another question, which columns could be left out.
#
# ## Could the program have made these data?

# %%
diagnosis = diagnose(horseshoe)
print(diagnosis)
assert "misfit" in diagnosis.alarms

# %% [markdown]
# The disease's progress is a score that starts at 25 and few patients are near it; a Gaussian's replicated patients go
# far below. No prior on coefficients mends that, it is the noise that is wrong: it should grow with what is predicted.

# %%
predicted = (X @ mean["horseshoe"]).argsort()
left = [(y - X @ mean["horseshoe"])[rows].std() for rows in predicted.tensor_split(3)]
print("sd of what is left, in thirds by prediction:", [round(float(sd), 2) for sd in left])
assert left[0] < left[2]

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained", width_ratios=(1.3, 1, 1))
for shift, (name, draws), colour in zip((-0.15, 0.15), betas.items(), ("C3", "C0"), strict=True):
    low, middle, high = draws.quantile(draws.new_tensor([0.05, 0.5, 0.95]), 0)
    place = torch.arange(len(names)) + shift
    axes[0].hlines(place, low, high, color=colour)
    axes[0].plot(middle, place, "o", color=colour, markersize=4, label=f"{name}, 90 %")
axes[0].plot(lasso.coef_, range(len(names)), "kx", markersize=5, label="lasso")
axes[0].axvline(0, color="gray", linewidth=0.8)
axes[0].set(title="Coefficients", yticks=range(len(names)), yticklabels=names)
axes[0].invert_yaxis()
axes[0].legend(fontsize="small")
low, middle, high = kappa.flatten(0, 1).quantile(kappa.new_tensor([0.05, 0.5, 0.95]), 0)
axes[1].hlines(range(len(names)), low, high, color="C3")
axes[1].plot(middle, range(len(names)), "o", color="C3", markersize=4, label="horseshoe, 90 %")
axes[1].axvline(float(even.mean()), color="C0", linestyle="--", label="Gaussian prior")
axes[1].set(title="kappa: what the horseshoe takes away", yticks=range(len(names)), yticklabels=names)
axes[1].invert_yaxis()
axes[1].legend(fontsize="small")
replicated = horseshoe.predictive()["y"].flatten(0, 1)
grid = np.linspace(-3.5, 3.5, 50)
for row in replicated[:: max(1, len(replicated) // 30)]:
    axes[2].hist(row.numpy(), grid, histtype="step", color="C3", alpha=0.2)
axes[2].hist(y.numpy(), grid, histtype="step", color="black", linewidth=1.6)
axes[2].set(title="Data (black), replicated (red)", xlabel="progress, standardised", ylabel="patients")
