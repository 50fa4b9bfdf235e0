# %% [markdown]
# # How to read a diagnosis
#
# Each fit here is broken on purpose, in one way, and `diagnose` is asked. Read its verdict from the top: the first
# line says whether the draws can be trusted, and if they can, whether the program can. Draws first: what wrong draws
# say of a program is worth nothing. Each line that begins with ! says what ails, how it is seen, and what to do; that
# is then done, and the line is gone.

# %%
import math
import warnings
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import torch

from inference import Alarm, Ess, calibration, diagnose, loo, mcmc, smc, variational
from inference.sampling import Chees, RandomWalk
from inference.variational import FullCovariance, MeanField
from zoo import programs

torch.set_num_threads(1)
warnings.simplefilter("ignore", Alarm)  # the samplers warn too; here the diagnosis says it
quiet = partial(mcmc, progress=False)


def say(posterior, *illnesses):
    """The diagnosis; its first line and what it says of the illnesses, which it must have found."""
    found = diagnose(posterior)
    print(found.verdict[0])
    for illness in illnesses:
        assert illness in found.alarms, (illness, list(found.alarms))
        print(f"! {illness}: {found.alarms[illness]}")
    return found


def gone(posterior, *illnesses):
    """The diagnosis after the cure: none of the illnesses is found any more."""
    found = diagnose(posterior)
    print("cured:", found.verdict[0])
    assert not set(illnesses) & set(found.alarms), list(found.alarms)
    return found


# %% [markdown]
# ## Nothing is wrong
#
# A line through 40 points. This is what a good one looks like, whole; every sentence says what was checked.

# %%
torch.manual_seed(0)
x = torch.linspace(-2, 2, 40, dtype=torch.float64)
y = 1.0 + 2.0 * x + 0.5 * torch.randn(40, dtype=torch.float64)


def line(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 5.0))
    b = pyro.sample("b", dist.Normal(0.0, 5.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a + b * x, sigma), obs=y)


well = quiet(line, {"x": x, "y": y})
sound = diagnose(well)
print(sound)
print(sound.parameters.round(3))
assert not sound.alarms

# %% [markdown]
# ## Too few draws
#
# Four chains that walk at random, for a short while, and are stopped.

# %%
short = quiet(line, {"x": x, "y": y}, kernel=RandomWalk(), chains=4, warmup=300, draws=60)
say(short, "too few draws")
gone(quiet(line, {"x": x, "y": y}, kernel=RandomWalk(), chains=16, until=Ess(500), draws=20_000), "too few draws")

# %% [markdown]
# ## Steps far too large
#
# The same walk without a warm-up: its steps are some twenty posterior sds long, and nearly all are refused. A chain
# that stands still is a flat line in the trace.

# %%
say(quiet(line, {"x": x, "y": y}, kernel=RandomWalk(), chains=8, warmup=1, draws=200), "stuck chains")
gone(well, "stuck chains")

# %% [markdown]
# ## Two modes, of which neither is wrong: labels that switch
#
# A mixture says the same with its components numbered the other way about. Each chain numbers them as it began, and the
# mean over chains of `mean[0]` is halfway between the components, where there is nothing.

# %%
torch.manual_seed(1)
heights = torch.cat([torch.randn(60) - 2, torch.randn(40) + 2]).double()


def mixture(y):
    share = pyro.sample("share", dist.Beta(2.0, 2.0))
    with pyro.plate("component", 2):
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
    with pyro.plate("row", len(y)):
        which = pyro.sample("which", dist.Bernoulli(share)).long()
        pyro.sample("y", dist.Normal(mean[which], 1.0), obs=y)


def in_order(y):
    share = pyro.sample("share", dist.Beta(2.0, 2.0))
    lower = pyro.sample("lower", dist.Normal(0.0, 5.0))
    gap = pyro.sample("gap", dist.HalfNormal(5.0))
    mean = pyro.deterministic("mean", torch.stack([lower, lower + gap]))
    with pyro.plate("row", len(y)):
        which = pyro.sample("which", dist.Bernoulli(share)).long()
        pyro.sample("y", dist.Normal(mean[which], 1.0), obs=y)


switched = quiet(mixture, heights, draws=100)
say(switched, "chains disagree", "label switching")
ordered = quiet(in_order, heights)
gone(ordered, "chains disagree", "label switching")
print("mean over the draws:", *(f"{m:.2f}" for m in switched["mean"].mean((0, 1))), "; in order:", end=" ")
print(*(f"{m:.2f}" for m in ordered["mean"].mean((0, 1))))

# %% [markdown]
# ## Two modes that are not the same
#
# A speed is measured by its square. Its sign is told by the prior alone, which leans to the one side: chains can't know
# how much, as each stays on the side where it began. Particles that are carried over from the prior do.

# %%


def speed(y):
    v = pyro.sample("v", dist.Normal(1.0, 2.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(v**2, 1.0), obs=y)


squares = torch.tensor([8.5, 9.6, 9.1, 8.2], dtype=torch.float64)
say(quiet(speed, squares, draws=100), "several modes")
weighed = smc(speed, squares, particles=2048, progress=False)
gone(weighed, "several modes")
share = float((weighed["v"] > 0).double().mean())
print(f"P(v > 0): {share:.2f}; by the prior's density at 3 and -3: {1 / (1 + math.exp(-1.5)):.2f}")
assert abs(share - 1 / (1 + math.exp(-1.5))) < 0.05

# %% [markdown]
# ## A funnel
#
# Effects drawn around a common mean with an unknown spread: where the spread is small, they are squeezed together.
# `eight_schools.py` is about nothing else.

# %%
schools = programs.data("eight_schools")
say(quiet(programs.eight_schools_centred, schools, draws=200), "funnel")
gone(quiet(programs.eight_schools, schools, kernel=Chees(target=0.9)), "funnel", "divergences", "chains disagree")

# %% [markdown]
# ## A likelihood that does not fit the data
#
# Now the draws are right and the program is not. The noise is held at 0.25, and is twice that in the data. Data drawn
# from the program vary too little about the line (predictive check), and too many points lie outside of what is
# predicted for them from the others (LOO-PIT). The draws look as good as ever; their intervals are half as wide as they
# should be.

# %%


def too_sure(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 5.0))
    b = pyro.sample("b", dist.Normal(0.0, 5.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a + b * x, 0.25), obs=y)


def residual(given):
    """The sd of what a line leaves of the data."""
    slope, level = np.polyfit(x.numpy(), given, 1)
    return float(np.std(given - level - slope * x.numpy()))


sure = quiet(too_sure, {"x": x, "y": y})
say(sure, "miscalibrated predictions")
named = diagnose(sure, statistics={"residual sd": residual})
print("! misfit:", named.alarms["misfit"])
gone(well, "misfit", "miscalibrated predictions")

# %% [markdown]
# Asked for the mean, sd, least and largest of y, the program passes, as the slope makes up nearly all of these:
# `diagnose` can't know what matters. A statistic of what is in doubt finds it.
#
# ## One observation that sways all
#
# A typing error, far out. Without it the posterior would be another, so that its weights can't tell what the others say
# of it: Pareto k names the row. A likelihood of heavier tails lets it be. Its predictive check may still say "misfit":
# the row is an error, and no line makes it, nor half as heavy a tail on the other side.

# %%
far, wrong = torch.cat([x, x.new_tensor([6.0])]), torch.cat([y, y.new_tensor([-10.0])])


def tolerant(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 5.0))
    b = pyro.sample("b", dist.Normal(0.0, 5.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.StudentT(2.0, a + b * x, sigma), obs=y)


swayed, steady = (quiet(program, {"x": far, "y": wrong}) for program in (line, tolerant))
say(swayed, "unreliable LOO")
gone(steady, "unreliable LOO")
print(f"slope {swayed['b'].mean():.2f} with a normal, {steady['b'].mean():.2f} with Student's t; it is 2")
assert abs(steady["b"].mean() - 2) < 0.3 < abs(swayed["b"].mean() - 2)
assert loo(swayed).unreliable == ["y[40]"]

# %% [markdown]
# ## A prior in conflict with the data
#
# Somebody was sure that the slope is 0 ± 0.1. The posterior is then neither what was thought nor what is seen.

# %%


def opinionated(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 5.0))
    b = pyro.sample("b", dist.Normal(0.0, 0.1))
    sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a + b * x, sigma), obs=y)


say(quiet(opinionated, {"x": x, "y": y}), "prior-data conflict")
gone(well, "prior-data conflict")

# %% [markdown]
# ## A guide that is too tight
#
# With x far from zero level and slope hang together, and independent normals can't say so: fitted by the ELBO they are
# as narrow as the ridge is across, and miss its length. Pareto k of the weights tells; a guide with covariances has it.

# %%


def known_noise(x, y):
    a = pyro.sample("a", dist.Normal(0.0, 5.0))
    b = pyro.sample("b", dist.Normal(0.0, 5.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(a + b * x, 0.5), obs=y)


shifted = {"x": x + 10, "y": y}
fitted = partial(variational, known_noise, shifted, steps=300, starts=1, progress=False)
tight, full = fitted(MeanField), fitted(FullCovariance)
say(tight, "unreliable guide")
gone(full, "unreliable guide")
print(f"sd of a: mean field {tight.flat['a'].std():.2f}, full covariance {full.flat['a'].std():.2f}")
assert tight.flat["a"].std() < 0.3 * full.flat["a"].std()

# %% [markdown]
# ## Wrong code
#
# All of these look at one data set, and code that is wrong in the same way each time passes them. Simulation-based
# calibration draws latents and data from the program, infers, and ranks the truth among the draws: uniform, if all is
# right. Any function that returns draws can be asked. This one works out a normal mean by hand, and in its first
# version the author took the variance for the standard deviation:

# %%


def level(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def by_hand(program, data, seed, power=1.0):
    """1,000 draws of p(mu | y), which is normal with precision n + 1, and mean sum(y) / (n + 1)."""
    y = torch.as_tensor(data["y"])
    noise = torch.randn(1, 1000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return {"mu": y.sum() / (len(y) + 1) + noise * (len(y) + 1) ** (-0.5 * power)}


ten = {"y": torch.zeros(10)}
right = calibration(level, ten, by=by_hand, simulations=100, progress=False)
mistaken = calibration(level, ten, by=partial(by_hand, power=2.0), simulations=100, progress=False)
print(right)
print(mistaken)
assert right.uniform and "too narrow" in mistaken.alarms
