# %% [markdown]
# # A VAE, its bound, and how tight it is
#
# A variational autoencoder has no likelihood to be read off: what it is trained by, the ELBO, is a lower bound, and how
# far below log p(x) it lies is what the encoder decides. Here that gap is measured: against the truth where it can be
# integrated, by more draws where it can't. Then a VAE whose code tells nothing, and its cure.

# %%
import math

import torch

import zoo
from inference import diagnose, fit, log_likelihood
from inference.likelihood import ElboBound, ImportanceWeighted
from inference.objectives import Elbo, ImportanceWeightedElbo
from inference.schedules import warmup

digits = zoo.datasets.load("digits").binarised().flat()
train, test = digits.train.x, digits.test.x[:200]


def trained(spec, objective=None, steps=1000, lr=2e-3):
    torch.manual_seed(0)
    model = zoo.build({"family": "vae", **spec}, event_shape=digits.event_shape)
    return fit(model, train, objective, steps=steps, lr=lr, progress=False)


# %% [markdown]
# ## Two numbers of code: the truth by integration
#
# log p(x) = log of the integral of p(z) p(x | z) over z. In two dimensions a fine grid is as good as the integral, and
# every bound can be held to it.

# %%
flat = trained({"latent": 2}).model


@torch.no_grad()
def by_grid(model, x, reach=5.0, points=161):
    axis = torch.linspace(-reach, reach, points)
    z = torch.cartesian_prod(axis, axis)
    cell = 2 * math.log(float(axis[1] - axis[0]))
    log_prior = model.prior().log_prob(z)
    parts = [model.decoder(z.repeat_interleave(len(rows), 0)).log_prob(rows.repeat(len(z), 1)) for rows in x.split(20)]
    joint = [part.view(len(z), -1) + log_prior[:, None] for part in parts]
    return torch.cat([each.logsumexp(0) + cell for each in joint])


truth = by_grid(flat, test).mean().item()
print(f"log p(x), by a grid over z: {truth:.3f} nats a digit\n")
for method in (ElboBound(200), *(ImportanceWeighted(draws) for draws in (5, 50, 500))):
    bound = log_likelihood(flat, test, method=method)
    print(f"{bound.method:36} {bound.mean:8.3f}, below the truth by {truth - bound.mean:.3f}")
    assert bound.mean < truth + 0.02

# %% [markdown]
# More draws close the gap: the importance-weighted bound with K draws rises to log p(x) as K grows, wherever the
# encoder reaches. How well it reaches is what the Pareto k of the weights tells, a number for each row: below 0.7 the
# draws are trustworthy, above it the bound is still far below and 500 draws do not say how far.
#
# ## Eight numbers of code: no truth, but a diagnosis

# %%
wide = trained({"latent": 8})
diagnosis = diagnose(wide, test)
print(diagnosis)
print(diagnosis.table)

# %% [markdown]
# ## A tighter bound to train by
#
# What is trained by the importance-weighted bound may spread its proposals: the ELBO punishes each draw that explains
# nothing, the other bound only all of them together. Its plain gradient tells the encoder less the more draws there
# are; the doubly reparameterised one, the default, does not have that fault.

# %%
sharper = trained({"latent": 8}, ImportanceWeightedElbo(draws=10))
scores = {}
for name, result in {"trained by the ELBO": wide, "trained by 10 draws": sharper}.items():
    elbo = log_likelihood(result.model, test, method=ElboBound(100))
    scores[name] = log_likelihood(result.model, test, method=ImportanceWeighted(500))
    gap = scores[name].mean - elbo.mean
    print(f"{name:22} ELBO {elbo.mean:8.2f}   500 draws {scores[name].mean:8.2f}   gap {gap:.2f}")
print("paired:", scores["trained by 10 draws"] - scores["trained by the ELBO"])

# %% [markdown]
# ## A code that tells nothing
#
# Give the decoder the power to do without the code, here a network that makes a digit pixel by pixel, and learn fast:
# the cheapest thing that the encoder can do early on is to say nothing. q(z | x) becomes the prior, the KL nought, and
# from there it does not come back.

# %%
strong = {"latent": 4, "decoder": {"family": "made", "levels": 2, "hidden": 256}}
silent = trained(strong, steps=600, lr=1e-2)
print(diagnose(silent, test))

# %% [markdown]
# The cures keep the tax off the code until it is of use: a KL that is phased in (warm-up), or so many nats a unit that
# cost nothing (free bits). Neither is the bound itself, so each is judged by the bound.

# %%
cures = {
    "as it was": silent,
    "warm-up": trained(strong, Elbo(beta=warmup(400)), steps=600, lr=1e-2),
    "free bits": trained(strong, Elbo(free_bits=0.5), steps=600, lr=1e-2),
}
told = {name: result.history["kl"].iloc[-1] for name, result in cures.items()}
for name, result in cures.items():
    bound = log_likelihood(result.model, test, method=ImportanceWeighted(100))
    print(f"{name:10} KL {told[name]:5.2f} nats, bound {bound.mean:.2f} nats a digit")

# %%
assert told["as it was"] < 0.7 and told["free bits"] > 1.5
