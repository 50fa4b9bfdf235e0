# %% [markdown]
# # Volatility that comes in storms: garch on stock returns
#
# Daily returns of a stock index can hardly be told in advance, but how large they will be can: a wild day follows a
# wild day. garch (Bollerslev, 1986) lets a day's variance follow the last return's square and the last variance. Here
# it is fitted to 500 days of the S&P 500, held to constant volatility by what both say of days left out, and then
# asked each day of the following year about the next.

# %%
import matplotlib
import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch

import zoo
from inference import compare, diagnose, mcmc
from zoo import programs
from zoo.programs.data import returns
from zoo.programs.series import decayed

matplotlib.use("Agg", force=False)


# %% [markdown]
# The returns need `ZOO_DATA`. Without it a series is drawn in their place, by garch itself, and said to be.


# %%
def drawn(days: int) -> torch.Tensor:
    """Returns by garch with Student-t shocks of 6 degrees of freedom, like an index's in per cent."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(days, generator=generator, dtype=torch.float64)
    spread = torch.randn(days, 6, generator=generator, dtype=torch.float64).square().mean(1).sqrt()
    shocks, variance, made = normal / spread * (2 / 3) ** 0.5, 1.0, []
    for shock in shocks.tolist():
        made.append(0.05 + variance**0.5 * shock)
        variance = 0.02 + 0.1 * (made[-1] - 0.05) ** 2 + 0.88 * variance
    return torch.tensor(made, dtype=torch.float64)


try:
    index = zoo.datasets.load("sp500")
    series = torch.cat([split.x[:, 0] for split in (index.train, index.test)]).double()
    series, source = series[2200:2950], "S&P 500"
except zoo.datasets.Missing as missing:
    print(f"drawn instead: {missing}")
    series, source = drawn(1000)[250:], "drawn by garch"
y, later = series[:500], series[500:]
print(f"{source}: {len(y)} days to fit, {len(later)} that follow; sd {y.std():.2f} and {later.std():.2f} per cent")
assert len(later) == 250

# %% [markdown]
# ## Two programs
#
# `programs.garch11` has the returns before each as an argument of its own, so that data drawn anew are predictions one
# day ahead. Beside it, one standard deviation for all days.


# %%
def constant(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(3.0))
    with pyro.plate("time", len(y)):
        pyro.sample("y", dist.Normal(mu, sigma), obs=y)


given = returns(y, y.std())
garch = mcmc(programs.garch11, given, progress=False)
even = mcmc(constant, {"y": y}, progress=False)
for posterior in (garch, even):
    print(posterior)
print(garch.summary(var_names=["mu", "alpha0"]).to_string())
persistence = (garch["alpha1"] + garch["beta1"]).flatten()
quantiles = persistence.quantile(persistence.new_tensor([0.05, 0.5, 0.95])).tolist()
print("alpha1 + beta1, how much of a day's variance lasts to the next: {:.3f}, {:.3f}, {:.3f}".format(*quantiles))
assert quantiles[0] > 0.8

# %% [markdown]
# ## Which predicts the better
#
# By leave-one-out. A day left out is predicted from the days after it too, which is why the following year is asked
# below; but a difference like this is not about that.

# %%
comparison = compare({"garch": garch, "constant": even})
print(comparison)
assert comparison.table.index[0] == "garch"
assert comparison.table.loc["constant", "difference"] > 2 * comparison.table.loc["constant", "difference_error"]


# %% [markdown]
# ## What speaks against each
#
# Statistics that are about time: the correlation of a day's size with the last day's, and the fourth moment. Constant
# volatility has no storms, and the diagnosis says so. `statistics=` takes any function of the data.


# %%
def clustering(x):
    """Correlation of the squares of neighbouring days, summed over five lags."""
    square = (x - x.mean()) ** 2 - ((x - x.mean()) ** 2).mean()
    return sum((square[lag:] * square[:-lag]).mean() for lag in range(1, 6)) / (square**2).mean()


def fourth_moment(x):
    return (((x - x.mean()) / x.std()) ** 4).mean()


found = {
    name: diagnose(posterior, statistics={"clustering": clustering, "fourth moment": fourth_moment})
    for name, posterior in {"constant": even, "garch": garch}.items()
}
for diagnosis in found.values():
    print(diagnosis, end="\n\n")
assert "misfit" in found["constant"].alarms
assert not {"chains disagree", "too few draws", "divergences"} & set(found["garch"].alarms)


# %% [markdown]
# ## Residuals
#
# Each day's return over its volatility should be noise: of variance one, its squares without memory, its tails a
# normal's.


# %%
def volatility(posterior, y, first):
    """sigma_t of each draw, [draws, T]; each day's by the days before it."""
    draws = {name: posterior[name].flatten() for name in ("mu", "alpha0", "alpha1", "beta1")}
    mu, alpha0, alpha1, beta1 = (draws[name][:, None] for name in draws)
    news = alpha0 + alpha1 * (y[:-1] - mu).square()
    sums = [decayed(torch.cat([first.square()[None], row]), rate[0]) for row, rate in zip(news, beta1, strict=True)]
    return torch.stack(sums).sqrt()


some = garch.thinned(max(1, garch.shape[0] * garch.shape[1] // 500))
sigma = volatility(some, series, y.std())
residual = ((series - some["mu"].flatten()[:, None]) / sigma).mean(0)
for name, x in {"returns": y - y.mean(), "residuals": residual[: len(y)]}.items():
    print(f"{name:10} sd {x.std():.2f}, clustering {clustering(x):6.3f}, fourth moment {fourth_moment(x):.2f}")
assert clustering(residual[: len(y)]) < clustering(y)
assert abs(residual[: len(y)].std() - 1) < 0.1

# %% [markdown]
# ## The following year, a day ahead
#
# The parameters stay as fitted; each day's volatility is by the days before it. How often do returns fall in the
# interval that was said the day before, in all and in the wilder half of days?

# %%
torch.manual_seed(0)
levels = torch.tensor([0.5, 0.8, 0.95], dtype=torch.float64)
ahead = torch.normal(some["mu"].flatten()[:, None].expand_as(sigma), sigma)[:, len(y) :]
flat = torch.normal(*(even[name].flatten()[:2000, None].expand(-1, len(later)) for name in ("mu", "sigma")))
wild = sigma[:, len(y) :].mean(0) > sigma[:, len(y) :].mean(0).median()
hits = {}
for name, predicted in {"garch": ahead, "constant": flat}.items():
    low, high = (predicted.quantile(edge, 0) for edge in ((1 - levels) / 2, (1 + levels) / 2))
    inside = ((low < later) & (later < high)).double()
    hits[name] = inside
    for level, all_days, calm_days, wild_days in zip(
        levels.tolist(), inside.mean(1), inside[:, ~wild].mean(1), inside[:, wild].mean(1), strict=True
    ):
        told = f"{all_days:.0%} of days inside, {calm_days:.0%} of calm ones, {wild_days:.0%} of wild ones"
        print(f"{name:9} {level:.0%} intervals: {told}")
off = {name: (inside.mean(1) - levels).abs() for name, inside in hits.items()}
assert off["garch"][1:].max() < 0.1
assert off["garch"].mean() < off["constant"].mean()

# %% [markdown]
# Garch knows calm days from wild ones, and its wide intervals keep what they promise. Constant volatility goes on with
# the storm of the years that it saw, whatever comes. The narrow intervals of garch are too wide, though: residuals have
# a fourth moment above a normal's three, much in the middle and much far out. Student-t shocks are the next program.

# %%
figure, axes = plt.subplots(1, 2, figsize=(12, 3.6), layout="constrained", width_ratios=(3, 1))
days = torch.arange(len(series))
low, middle, high = sigma.quantile(torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64), 0)
axes[0].plot(days, series, color="gray", linewidth=0.5, label=f"returns, {source}")
for sign in (1, -1):
    label = "volatility, 90 %" if sign == 1 else None
    axes[0].fill_between(days, sign * low, sign * high, color="C3", alpha=0.5, label=label)
    axes[0].axhline(sign * even["sigma"].mean(), color="C0", linestyle="--", linewidth=1)
axes[0].axvline(len(y), color="black", linewidth=0.8)
axes[0].set(title="Volatility by the days before; after the line, days not fitted", xlabel="day", ylabel="per cent")
axes[0].legend(fontsize="small", loc="lower left")
ordered = residual[: len(y)].sort().values
normal = dist.Normal(0.0, 1.0).icdf((torch.arange(len(y)) + 0.5) / len(y))
axes[1].plot(normal, ordered, ".", markersize=3)
axes[1].plot([-3, 3], [-3, 3], color="black", linewidth=0.8)
axes[1].set(title="Residuals against a normal", xlabel="normal quantiles", ylabel="residuals")
