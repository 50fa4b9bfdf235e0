# %% [markdown]
# # Eight schools: a funnel, its cure, and a prior that pulls
#
# Eight schools each tried a coaching programme for a test (Rubin, 1981). Of each there is an estimate of the effect y_j
# and its standard error sigma_j, and nothing else. Are the effects the same? How large are they? The model is the
# smallest hierarchy there is, and famous for breaking samplers:
#
#     mu ~ N(0, 5),  tau ~ half-Cauchy(5),  theta_j ~ N(mu, tau),  y_j ~ N(theta_j, sigma_j)

# %%
import math
import warnings

import matplotlib
import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer.reparam import LocScaleReparam

from inference import Alarm, Ess, compare, diagnose, mcmc
from inference.sampling import Chees
from zoo import programs

matplotlib.use("Agg", force=False)
torch.set_num_threads(1)
warnings.simplefilter("ignore", Alarm)  # what is warned of is in the diagnosis too, which is printed here
schools = programs.data("eight_schools")
print("estimates      ", *(f"{y:5.0f}" for y in schools["y"]))
print("standard errors", *(f"{s:5.0f}" for s in schools["sigma"]))

# %% [markdown]
# ## What is right, to hold the chains to
#
# Given tau all is normal, and mu and the effects are integrated out by hand: the posterior of tau is one curve on a
# grid. With most models there is no such thing, which is what a diagnosis is for.

# %%


def exact() -> tuple[torch.Tensor, torch.Tensor, float]:
    """log tau on a grid, its posterior density there, and the posterior mean of mu."""
    log_tau = torch.linspace(-9, 6, 6001, dtype=torch.float64)
    tau = log_tau.exp()
    precision = 1 / (schools["sigma"] ** 2 + tau[:, None] ** 2)  # of y_j about mu
    of_mu = precision.sum(1) + 1 / 25
    mean = (precision * schools["y"]).sum(1) / of_mu
    marginal = 0.5 * (precision.log().sum(1) - of_mu.log() - (precision * schools["y"] ** 2).sum(1) + of_mu * mean**2)
    log_p = marginal - (1 + (tau / 5) ** 2).log() + log_tau
    p = (log_p - log_p.max()).exp()
    p = p / torch.trapezoid(p, log_tau)
    return log_tau, p, float(torch.trapezoid(p * mean, log_tau))


grid, density, mu = exact()
tau = float(torch.trapezoid(density * grid.exp(), grid))
neck = grid < math.log(0.2)
narrow = float(torch.trapezoid(density[neck], grid[neck]))
print(f"mean of mu {mu:.2f}, mean of tau {tau:.2f}, P(tau < 0.2) = {narrow:.4f}")
assert math.isclose(mu, 4.4, abs_tol=0.05) and math.isclose(tau, 3.6, abs_tol=0.05)  # as posteriordb has them

# %% [markdown]
# ## Written as it is thought
#
# The centred program draws theta_j around mu, as the formula says.

# %%
centred = mcmc(programs.eight_schools_centred, schools, draws=400, progress=False)
found = diagnose(centred)
print(found)
print(found.parameters.loc[["mu", "tau"], ["mean", "sd", "ess_bulk", "ess_tail", "r_hat"]].round(3))
assert {"divergences", "funnel", "low energy"} <= set(found.alarms)
assert "tau is small" in found.alarms["divergences"]

# %% [markdown]
# Read it from the top. The first line says whether to go on: no. The rest says why, and all of it says the same: chains
# disagree about tau, energy hardly moves, steps break off, and all that where tau is small. There theta is squeezed
# into a neck: a step that suits the wide end is far too long for the narrow one.
#
# The means of mu and tau are about right all the same, and one might have stopped there. What is missing is the neck:


# %%
def in_the_neck(posterior) -> float:
    """The share of the draws that have tau below 0.2."""
    return float((posterior["tau"] < 0.2).double().mean())


print(f"P(tau < 0.2) by the draws {in_the_neck(centred):.4f}; it is {narrow:.4f}")
assert in_the_neck(centred) < narrow / 2

# %% [markdown]
# ## The cure
#
# Draw a standard normal eta_j instead, and let theta_j = mu + tau eta_j. The posterior of theta is the same, and what
# the sampler moves in is round. Pyro makes one program of the other, in the words of the diagnosis:

# %%
cured = poutine.reparam(programs.eight_schools_centred, config={"theta": LocScaleReparam(0.0)})
free = mcmc(cured, schools, kernel=Chees(target=0.9), until=Ess(4000), progress=False)
told = diagnose(free)
print(told)
print(told.parameters.loc[["mu", "tau"], ["mean", "sd", "ess_bulk", "ess_tail", "r_hat"]].round(3))
print(f"P(tau < 0.2) by the draws {in_the_neck(free):.4f}; it is {narrow:.4f}")
assert not {"divergences", "funnel", "low energy", "chains disagree", "too few draws"} & set(told.alarms)
for name, truth in {"mu": mu, "tau": tau}.items():
    row = told.parameters.loc[name]
    assert abs(row["mean"] - truth) < 4 * row["mcse_mean"], name
assert abs(in_the_neck(free) - narrow) < 0.25 * narrow
print(f"{centred.seconds:.1f} s for the draws that can't be used, {free.seconds:.1f} s for those that can")

# %% [markdown]
# ## All the same, or nothing in common?
#
# tau = 0 says that all schools have one effect; tau without end that they have nothing to do with one another. Held
# to each other by what they say of a school that they have not seen:

# %%


def same(y, sigma):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    with pyro.plate("school", len(y)):
        pyro.sample("y", dist.Normal(mu, sigma), obs=y)


def separate(y, sigma):
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(0.0, 25.0))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


posteriors = {"hierarchy": free}
for program in (same, separate):
    posteriors[program.__name__] = mcmc(program, schools, until=Ess(4000), progress=False)
held = compare(posteriors)
print(held)
assert held.table.index[-1] == "separate" and held.table.loc["separate", "high_k"] >= 4
assert held.table.loc["hierarchy", "difference"] < 1 and "unreliable LOO" in held.alarms

# %% [markdown]
# Nobody could tell the hierarchy from one effect for all by eight numbers, and the verdict does not pretend to. Of the
# separate effects it says that their number is not to be trusted: theta_j hangs on y_j alone, so that no weights make
# the posterior without y_j of the one with it. Here the right number is known, y_j ~ N(0, 25^2 + sigma_j^2):

# %%
alone = dist.Normal(0.0, (625 + schools["sigma"] ** 2).sqrt()).log_prob(schools["y"]).sum()
print(f"separate: {alone:.1f} nats; by weights {held.table.loc['separate', 'elpd']:.1f}")
assert alone < held.table.loc["separate", "elpd"] < held.table.loc["hierarchy", "elpd"]

# %% [markdown]
# ## What is said of the priors
#
# Two sentences are left. The first: prior and data pull mu to different places. The schools' estimates, averaged by
# their precision, are 7.7 ± 4.1, and the prior says 0 ± 5. That is no contradiction (1.2 standard deviations); it is a
# prior with as much to say as the data, and the mean of 4.4 is the compromise. Whether it is meant decides whether it
# stays. Nobody at these schools thought gains and losses of ten points equally likely; it is there because the example
# had to have one. With a prior that leaves mu to the data:

# %%


def hierarchy(y, sigma, width, spread):
    mu = pyro.sample("mu", dist.Normal(0.0, width))
    tau = pyro.sample("tau", dist.HalfCauchy(spread))
    with pyro.plate("school", len(y)):
        eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu + tau * eta, sigma), obs=y)


def asked(width: float, spread: float):
    return mcmc(
        hierarchy,
        {**schools, "width": width, "spread": spread},
        kernel=Chees(target=0.9),
        until=Ess(4000),
        progress=False,
    )


wide, small, large = asked(25.0, 5.0), asked(25.0, 2.0), asked(25.0, 25.0)
scaled = diagnose(wide)
for sentence in ("prior-data conflict", "strong prior or weak likelihood"):
    print(f"{sentence}: {scaled.alarms.get(sentence, 'no longer said')}")
for name, posterior in {"0 ± 5": free, "0 ± 25": wide}.items():
    print(f"mu a priori {name}: {posterior['mu'].mean():.1f} ± {posterior['mu'].std():.1f}")
assert "prior-data conflict" not in scaled.alarms and wide["mu"].mean() > 6
print(compare({"0 ± 5": free, "0 ± 25": wide}))

# %% [markdown]
# mu moves to the data, the conflict is gone, and leave-one-out does not notice: eight schools do not say which prior is
# the better, and yet it decides how much good coaching does. That is what the first sentence was for.
#
# The second stays: most of what is said of tau is said by its prior. Eight estimates with errors of 9 to 18 points can
# hardly tell a spread of 0 from one of 10. That can't be cured; it is to be said, with what follows from it (by itself
# school A was estimated at 28 ± 15):

# %%
for name, posterior in {"2": small, "5": wide, "25": large}.items():
    tau, eta = posterior["tau"], posterior["eta"]
    first = posterior["mu"] + tau * eta[..., 0]
    print(f"scale of tau {name:>2}: tau {tau.mean():4.1f}, school A {first.mean():5.1f} ± {first.std():4.1f}")
assert "strong prior or weak likelihood" in scaled.alarms
assert small["tau"].mean() < wide["tau"].mean() < large["tau"].mean()

# %%
figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
for ax, posterior, name in ((axes[0], centred, "centred"), (axes[1], free, "not centred")):
    log_tau = posterior["tau"].log().flatten()
    effect = posterior["theta"][..., 0].flatten()
    bad = posterior.stats["diverging"].flatten().bool()
    ax.scatter(effect[:8000], log_tau[:8000], s=1, color="C0", alpha=0.3)
    ax.scatter(effect[bad], log_tau[bad], s=16, color="C3", label=f"{int(bad.sum())} diverged", zorder=3)
    ax.set(title=name, xlabel="effect of school A", ylabel="log tau", xlim=(-20, 40), ylim=(-6, 4))
    ax.legend(fontsize="small", loc="lower right")
    axes[2].hist(log_tau.numpy(), 60, range=(-6, 4), density=True, histtype="step", label=name)
axes[2].plot(grid, density, color="black", label="exact")
axes[2].set(title="The posterior of log tau", xlabel="log tau", xlim=(-6, 4))
axes[2].legend(fontsize="small")
