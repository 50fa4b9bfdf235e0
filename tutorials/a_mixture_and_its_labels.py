# %% [markdown]
# # A mixture and its labels
#
# Proline in 178 Italian wines comes in two humps. A mixture of two Gaussians says so, but which of them is called the
# first is nothing that the data could know: the posterior has two modes, one the mirror image of the other. Chains stay
# in whichever they meet, and averages over them mean nothing. Here is what a diagnosis says of it, and two cures.
#
# There is a truth to be held against: 59 of the wines are of another grape, Nebbiolo, than the rest. The program never
# sees which.

# %%
import warnings

import matplotlib
import matplotlib.pyplot as plt
import pyro
import pyro.distributions as dist
import torch

import zoo
from inference import Alarm, compare, diagnose, mcmc, smc
from zoo import programs
from zoo.programs.mixtures import NormalMixture

matplotlib.use("Agg", force=False)

wines = zoo.datasets.load("wine")
proline = torch.cat([split.x[:, wines.feature_names.index("proline")] for split in (wines.train, wines.test)]).double()
nebbiolo = torch.cat([split.y for split in (wines.train, wines.test)]) == 0
y = (proline - proline.mean()) / proline.std()
truth = torch.stack([y[~nebbiolo].mean(), y[nebbiolo].mean()])
print(f"{len(y)} wines; the grapes' means, in sds of proline: {truth[0]:.2f} and {truth[1]:.2f}")

# %% [markdown]
# ## The program, as one would write it
#
# Each wine's component is summed out (`NormalMixture` does what `MixtureSameFamily` does, faster). The prior treats
# both components alike, and so does the likelihood.


# %%
def exchangeable(y):
    with pyro.plate("component", 2):
        mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
        sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
    theta = pyro.sample("theta", dist.Beta(5.0, 5.0))
    with pyro.plate("wine", len(y)):
        pyro.sample("y", NormalMixture(torch.stack([theta, 1 - theta], -1), mu, sigma), obs=y)


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", Alarm)
    chains = mcmc(exchangeable, {"y": y}, chains=8, draws=200, progress=False)
print(chains.summary().to_string())
assert caught, "chains in two mirrored modes can't agree"

# %% [markdown]
# Both components have the same mean, near that of all wines, where there are few: an average over two stories. R-hat is
# far from one. Why, the diagnosis says:

# %%
diagnosis = diagnose(chains)
print(diagnosis)
assert "label switching" in diagnosis.alarms

# %% [markdown]
# More draws would not help: a chain would have to pass through wines that neither hump has, and if it did, both
# components' averages would be the same number. What the program says of *wines* is right all the same, as a wine's
# density is the same under either numbering; it is questions about "component 0" that have no answer.
#
# ## First cure: say which is which
#
# `zoo.programs.gaussian_mixture` is the same program, of the same priors, with mu_0 < mu_1. Half of the space is left,
# and one of the two modes.

# %%
ordered = mcmc(programs.gaussian_mixture, {"y": y}, progress=False)
print(ordered)
diagnosis = diagnose(ordered)
print(diagnosis)
assert not {"label switching", "chains disagree", "several modes"} & set(diagnosis.alarms)

named = {
    "mean of the lower": (ordered["mu"][..., 0], truth[0]),
    "mean of the higher": (ordered["mu"][..., 1], truth[1]),
    "sd of the lower": (ordered["sigma"][..., 0], y[~nebbiolo].std()),
    "sd of the higher": (ordered["sigma"][..., 1], y[nebbiolo].std()),
    "share of the lower": (ordered["theta"], (~nebbiolo).double().mean()),
}
for name, (draws, true) in named.items():
    low, high = draws.flatten().quantile(draws.new_tensor([0.025, 0.975])).tolist()
    print(f"{name:20} {draws.mean():6.2f}, 95 % in [{low:5.2f}, {high:5.2f}]; the grapes have {true:.2f}")
    assert low < true < high

# %% [markdown]
# Which wine is of which grape, by proline alone: p(component | wine) averaged over the posterior. It is a probability,
# and can be held to how often it comes true: it is a little too high, as the other grapes' hump is lopsided and the
# higher component takes its far end. That is a Gaussian's fault, and none of the labels.

# %%
mu, sigma, theta = (
    ordered.flat[name][..., None, :] if name != "theta" else ordered.flat[name][..., None, None]
    for name in ("mu", "sigma", "theta")
)
joint = dist.Normal(mu, sigma).log_prob(y[:, None]) + torch.cat([theta, 1 - theta], -1).log()
higher = joint.softmax(-1)[..., 1].mean(0)
right = ((higher > 0.5) == nebbiolo).double().mean()
print(f"named rightly: {right:.1%}; calling none of them Nebbiolo would name {(~nebbiolo).double().mean():.1%}")
for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0)):
    these = (higher >= low) & (higher <= high)
    print(
        f"  {int(these.sum()):3} wines of probability {low} to {high}: {higher[these].mean():.2f} on average, "
        f"{nebbiolo[these].double().mean():.2f} are Nebbiolo"
    )
assert right > 0.85

# %% [markdown]
# ## Second cure: draw from both modes, in proportion
#
# Where modes are no mirror images there is no order to impose. Sequential Monte Carlo carries particles from the prior,
# which knows no modes yet, to the posterior; they end in each as its mass asks. The mirror images must get half each,
# and sorting each draw then gives what the ordered program gave. It also gives the evidence log p(y), which is the same
# for both programs: naming components tells nothing about wines.

# %%
particles = smc(exchangeable, {"y": y}, particles=512, progress=False)
in_order = (particles["mu"][..., 0] < particles["mu"][..., 1]).double().mean(1)
share, error = in_order.mean(), in_order.std() / len(in_order) ** 0.5
print(f"particles in the mode where component 0 is the lower: {share:.3f} ± {error:.3f}")
assert abs(share - 0.5) < 4 * error
assert error < 0.06

by_order = smc(programs.gaussian_mixture, {"y": y}, particles=512, progress=False)
for name, found in {"exchangeable": particles, "ordered": by_order}.items():
    print(f"log evidence, {name:13} {found.extra['log_evidence']:8.2f} ± {found.extra['log_evidence_error']:.2f} nats")
apart = abs(particles.extra["log_evidence"] - by_order.extra["log_evidence"])
assert apart < 4 * (particles.extra["log_evidence_error"] ** 2 + by_order.extra["log_evidence_error"] ** 2) ** 0.5

sorted_means = particles["mu"].sort(-1).values.mean((0, 1))
print(f"means, each draw sorted: {sorted_means.tolist()}, ordered program: {ordered['mu'].mean((0, 1)).tolist()}")
assert (sorted_means - ordered["mu"].mean((0, 1))).abs().max() < 0.1

# %% [markdown]
# And what all three say of wines left out is one and the same, label switching or not:

# %%
comparison = compare({"exchangeable, chains": chains, "exchangeable, particles": particles, "ordered": ordered})
print(comparison)
assert comparison.table["difference"].max() < 1

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
for number, colour in enumerate(("C0", "C3")):
    for chain in chains["mu"][..., number]:
        axes[0].plot(chain, color=colour, linewidth=0.5, alpha=0.7)
axes[0].set(title="8 chains: mu_0 (blue), mu_1 (red)", xlabel="draw", ylabel="sds of proline")
axes[1].plot([-2, 2], [-2, 2], color="gray", linewidth=0.8)
axes[1].scatter(*particles.flat["mu"].T, s=5, alpha=0.5, label="particles, exchangeable")
axes[1].scatter(*ordered.thinned(4).flat["mu"].T, s=5, alpha=0.3, color="C1", label="chains, ordered")
axes[1].plot(*truth, "k*", markersize=11, label="the grapes")
axes[1].set(title="Two mirrored modes", xlabel="mu_0", ylabel="mu_1", xlim=(-1.5, 2), ylim=(-1.5, 2))
axes[1].legend(fontsize="small", loc="upper right")
axes[2].hist(
    [y[~nebbiolo], y[nebbiolo]],
    24,
    density=True,
    stacked=True,
    color=["C0", "C3"],
    alpha=0.5,
    label=["other grapes", "Nebbiolo"],
)
grid = torch.linspace(-2.2, 3.4, 200, dtype=torch.float64)
parts = dist.Normal(mu, sigma).log_prob(grid[:, None]).exp() * torch.cat([theta, 1 - theta], -1)
low, high = parts.sum(-1).quantile(torch.tensor([0.05, 0.95], dtype=torch.float64), 0)
axes[2].fill_between(grid, low, high, color="gray", alpha=0.5, label="density, 90 %")
for number, colour in enumerate(("C0", "C3")):
    axes[2].plot(grid, parts[..., number].mean(0), color=colour)
axes[2].set(title="What the ordered program says", xlabel="proline, standardised", ylabel="density")
axes[2].legend(fontsize="small")

# %% [markdown]
# An r-hat far from one says that chains disagree. The diagnosis says that they disagree about names only; and the cure
# is to name, in the program or after the fact.
