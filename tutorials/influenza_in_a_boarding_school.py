# %% [markdown]
# # Influenza in a boarding school
#
# In January 1978 influenza went through an English boarding school: of 763 boys 512 spent days in bed, and the British
# Medical Journal printed how many each day. Fourteen numbers are enough to ask how contagious it was, how long the boys
# were ill, and, from the first week alone, how bad it would become.

# %%
import tempfile
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import torch

import inference
from inference.predictive_draws import simulate
from inference.program import Program
from inference.sampling import Independent
from zoo.spread import Outbreak, PositiveNormal, RandomWalk, in_bed, influenza, sir

matplotlib.use("Agg", force=False)
folder = Path(tempfile.mkdtemp())

cases = in_bed()
days = torch.arange(1, 15)
print("boys in bed:", *cases.int().tolist())

# %% [markdown]
# ## A program of it
#
# Susceptible boys are infected by contact, S -> I at the rate beta S I / N, and get well, I -> R, at the rate gamma. On
# day 0 one boy is ill. The boys in bed on a day scatter about I with a variance of I + phi_inv I^2: more than chance
# alone would, as beds are counted by people. `influenza()` is short for this:

# %%
school = Outbreak(
    sir(),
    {"S": 762, "I": 1},
    {"beta": PositiveNormal(2.0, 1.0), "gamma": PositiveNormal(0.4, 0.5)},
    observes="I",
    times=range(1, 15),
)
assert school.compartments.transitions == influenza().compartments.transitions

# %% [markdown]
# ## Before the data
#
# What do the priors say? Courses drawn from them are of every kind, from none at all to all boys in bed in three days:
# they rule out nothing that could have happened.

# %%
latents, prior = simulate(Program.of(school, {"cases": cases}), 500, seed=0)
levels = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)


def band(axes, draws, colour, label):
    """The middle nine tenths of draws [n, T], and their median."""
    low, middle, high = draws.double().flatten(0, -2).quantile(levels, dim=0)
    axes.fill_between(days, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(days, middle, color=colour, label=label)


figure, axes = plt.subplots(1, 3, figsize=(13, 3.6), sharey=True, layout="constrained")
band(axes[0], prior["cases"], "tab:grey", "prior")
axes[0].set(title="before the data", xlabel="day", ylabel="boys in bed", ylim=(0, 780))
share = ((prior["cases"].double().amax(1) > 298) & (prior["cases"].double().amax(1) <= 763)).double().mean()
print(f"the prior sees a worse peak than the real one in {share:.0%} of its draws")

# %% [markdown]
# ## After them
#
# A Laplace approximation finds where the posterior is, and 64 chains that propose from its shape give draws that are
# nearly independent. `R0`, how many boys one infects among none that are immune, and the peak are sites of the program.


# %%
def drawn(program, data, seed=0):
    """Chains from a Laplace approximation."""
    near = inference.laplace(program, data, seed=seed)
    return inference.mcmc(program, data, kernel=Independent(), chains=64, start=near, progress=False, seed=seed)


posterior = drawn(school, {"cases": cases})
print(posterior.summary(var_names=["beta", "gamma", "phi_inv"], kind="all").to_string())
answer = inference.query(posterior, ["R0", "peak", "peak_time", "total"])
print(answer)
R0 = posterior["R0"]
low, high = R0.flatten().quantile(torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
print(f"one boy infected {R0.mean():.2f}; between {low:.2f} and {high:.2f} with probability 0.9")
assert 3.0 < R0.mean() < 3.5

# %% [markdown]
# Draws are worth what they are only if chains agree and the program could have made these data. `diagnose` looks at
# both. It also says that prior and data pull phi_inv to different places: fourteen numbers tell little of their own
# scatter, so that its prior counts; beta and gamma are not named.

# %%
print(inference.diagnose(posterior))
band(axes[1], posterior.predictive()["cases"], "tab:blue", "posterior")
axes[1].plot(days, cases, "k.", label="in bed")
axes[1].set(title="after fourteen days", xlabel="day")

# %% [markdown]
# ## On day 7
#
# Suppose it is the evening of the seventh day, and the future is missing: NaN. What will the peak be, and when? And the
# days to come? Once they are known the forecast is scored: by CRPS in boys, by the log score in nats, and by whether
# intervals hold what came.

# %%
week = cases.clone()
week[7:] = torch.nan
early = drawn(school, {"cases": week}, seed=1)
print(inference.query(early, ["peak", "peak_time", "R0"]))
scores = inference.forecast_scores(early, {"cases": cases})
print(scores.round(2).to_string())
print(f"mean CRPS {scores['crps'].mean():.1f} boys; within 90%: {scores['within 90%'].mean():.0%} of the days")

band(axes[2], early.predictive()["cases"], "tab:orange", "forecast")
axes[2].plot(days[:7], cases[:7], "k.", label="known")
axes[2].plot(days[7:], cases[7:], "k.", markerfacecolor="white", label="what came")
axes[2].axvline(7.5, color="black", linewidth=0.7)
axes[2].set(title="on day 7", xlabel="day")
for each in axes:
    each.legend(frameon=False)
figure.savefig(folder / "curves.png", dpi=80)

# %% [markdown]
# A forecast of an outbreak whose peak has just been seen is as wide as this one is: whether the next days are a plateau
# or a fall, the first week can't tell.
#
# ## R(t)
#
# R0 falls to R(t) as fewer boys are left to infect, and the outbreak shrinks once it is below 1: the site `R` has it at
# each day, with an interval.

# %%
low, middle, high = posterior["R"].flatten(0, 1).quantile(levels, dim=0)
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
axis.fill_between(days, low, high, alpha=0.3, linewidth=0)
axis.plot(days, middle)
axis.axhline(1, color="black", linewidth=0.7)
axis.set(xlabel="day", ylabel="R(t)", title="how many boys one infects")
figure.savefig(folder / "reproduction.png", dpi=80)
turned = int(days[(middle < 1).nonzero()[0]])
print(f"R(t) falls below 1 on day {turned}")

# %% [markdown]
# Contacts need not stay the same: `{"beta": RandomWalk(first, scale, at=[4, 7, 10])}` lets beta wander, and
# `Piecewise(prior, at=[7])` lets it change once. Reports that come late have `delay=`, and reports of new cases instead
# of boys in bed `observes=("S", "I")`.

# %%
wandering = Outbreak(
    sir(),
    {"S": 762, "I": 1},
    {"beta": RandomWalk(PositiveNormal(2.0, 1.0), 0.3, at=[4, 7, 10]), "gamma": PositiveNormal(0.4, 0.5)},
    observes="I",
    times=range(1, 15),
)
print(*Program.of(wandering, {"cases": cases}).latents)
plt.close("all")
