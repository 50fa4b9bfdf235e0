# %% [markdown]
# # A prior that fits
#
# A VAE is drawn from by its prior: z from p(z), then x from p(x | z). What the decoder has learned to read is another
# distribution of z, the codes of the data: the mean of q(z | x) over all x. Where the two differ, draws come from
# places that no digit was ever coded at, and every bound pays for the difference.
#
# Here one VAE gets four priors: the standard normal, a mixture of what the encoder makes of a few learned rows
# (VampPrior), a flow, and a diffusion. They are held to each other on one scoreboard.

# %%
import dataclasses
from pathlib import Path
from tempfile import mkdtemp

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch.nn import functional as F

import zoo
from inference import evaluate, fit
from inference.likelihood import ImportanceWeighted
from inference.objectives import Elbo
from inference.quality import classifier_features, kernel_mmd
from inference.schedules import warmup

digits = zoo.datasets.load("digits").binarised().flat()
train, test = digits.train.x, digits.test.x
folder = Path(mkdtemp())

# %% [markdown]
# ## Four priors
#
# A slot takes a density. A diffusion has none that can be worked out, but it has an estimate: log p(z, chain) -
# log q(chain | z), at one draw of the chain. Its exponential is p(z) in expectation, and so a bound made with it is a
# bound, of the ELBO's kind and of the importance-weighted kind alike. To train by, one step of the chain a row is
# enough, a 30th of the work; `fit` does that by itself. (One step would make a fine ELBO, but log mean exp of it over
# draws would bound nothing: the scoreboard goes through the whole chain.)
#
# A code is nearly normal, and of a normal the right variance of the reverse steps is the larger one, "noise". With the
# smaller one the same fit is some 2 nats worse.

# %%
priors = {
    "standard": "standard_gaussian",
    "VampPrior": {"family": "vamp_prior", "components": 100},
    "flow": {"family": "realnvp", "layers": 4, "hidden": 32},
    "diffusion": {
        "family": "diffusion",
        "steps": 30,
        "variance": "noise",
        "network": {"kind": "mlp", "width": 64, "blocks": 2},
    },
}


def built(prior):
    torch.manual_seed(0)
    return zoo.build({"family": "vae", "latent": 8, "prior": prior}, event_shape=digits.event_shape)


fits = {}
for name, prior in priors.items():
    fits[name] = fit(built(prior), train, Elbo(beta=warmup(400)), steps=700, lr=2e-3, progress=False)
    print(f"{name:10} {fits[name]}")

# %% [markdown]
# The KL is phased in, or a prior that learns and a code that has yet to say anything would agree on nothing.
#
# ## In two stages
#
# The other way, that of latent diffusion in pictures: first a code that keeps what it likes, its KL hardly taxed at
# all, then, once the codes stand still, a density of them. The second stage is a fit like any other, of a model whose
# data are codes; its result goes into the slot of a VAE made of the same parts.

# %%
sharp = fit(built("standard_gaussian"), train, Elbo(beta=0.1), steps=500, lr=2e-3, progress=False)
first = sharp.model
with torch.no_grad():
    codes = torch.cat([first.encoder(train).sample() for _ in range(10)])
print("standard deviations of the codes:", codes.std(0).round(decimals=2).tolist())


def second_stage(prior):
    torch.manual_seed(0)
    found = fit(zoo.build(prior, event_shape=8), codes, steps=700, lr=3e-3, average=0.99, progress=False)
    model = zoo.VAE(64, latent=8, prior=found.model, encoder=first.encoder_model, decoder=first.decoder_model)
    return dataclasses.replace(found, model=model, seconds=sharp.seconds + found.seconds)


fits["sharp, standard"] = sharp
fits["sharp, flow"] = second_stage(priors["flow"])
fits["sharp, diffusion"] = second_stage(priors["diffusion"])

# %% [markdown]
# ## One scoreboard
#
# Samples are compared in the features of a small classifier of digits, by the Frechet distance; and by coverage, the
# share of held-out digits that have a sample among their neighbours.

# %%
images = digits.restore(train)
features = classifier_features(images, digits.train.y, epochs=8, name="digits")
methods = dict.fromkeys(fits, ImportanceWeighted(20))
board = evaluate(fits, digits, methods=methods, features=features)
print(board.readable().drop(columns=["kind", "bits per dim"]).to_string())
print(board.readable_quality()[["Frechet", "Frechet of train", "coverage"]].to_string())
coverage = {name: found.fidelity.coverage for name, found in board.quality.items()}

# %% [markdown]
# Each bound is compared with the standard prior's digit by digit, which takes out how hard each digit is.

# %%
for name in fits:
    if name != "standard":
        print(f"{name:17} {board.compare(name, 'standard')}")

# %% [markdown]
# ## The codes, and what each prior takes them for
#
# How far draws of the prior are from codes of held-out digits, by a kernel: nought where nothing tells them apart.


# %%
@torch.no_grad()
def clouds(model):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model.encoder(test).sample(), model.prior().sample((1000,))


gaps = {name: kernel_mmd(*(cloud.double() for cloud in clouds(found.model))) for name, found in fits.items()}
print(pd.Series({name: f"{gap.value:.4f} ± {gap.error:.4f}" for name, gap in gaps.items()}))

figure, axes = plt.subplots(2, len(fits), figsize=(3 * len(fits), 6.5), layout="constrained")
for (name, found), (above, below) in zip(fits.items(), axes.T, strict=True):
    there, drawn = clouds(found.model)
    first_two = there.var(0).topk(2).indices
    above.scatter(*drawn[:, first_two].T.numpy(), s=2, label="prior")
    above.scatter(*there[:, first_two].T.numpy(), s=2, label="codes")
    above.set_title(name)
    with torch.no_grad():
        pictures = F.pad(found.model.decoder(drawn[:36]).mean.view(6, 6, 8, 8), (1, 1, 1, 1))
    below.imshow(pictures.transpose(1, 2).reshape(60, 60).numpy(), cmap="gray_r")
    below.axis("off")
axes[0, 0].legend()
figure.savefig(folder / "priors.png", dpi=80)
print(folder / "priors.png")

# %% [markdown]
# A few draws of the sharp code's diffusion, as they are: black or white, pixel by pixel.

# %%
for row in range(8):
    drawn = board.samples["sharp, diffusion"][:10, 0, row]
    print("   ".join("".join(" #"[int(pixel)] for pixel in image) for image in drawn))

# %% [markdown]
# Where the KL is paid in full, the encoder sees to it that its codes look like the prior, whatever the prior is: what a
# better one buys are fractions of a nat, and most of it is had by the mixture that the encoder itself makes. Where the
# code was left to itself, the standard normal draws from the gaps between the codes, and a prior that is fitted to
# them, a flow or a diffusion, wins back bound, distance and coverage, and no one had to touch the VAE.

# %%
plain, fitted = "sharp, standard", "sharp, diffusion"
assert (board.table["likelihood"] == "lower bound").all()
assert board.compare(fitted, plain).mean > 1
assert gaps[fitted].value < 0.4 * gaps[plain].value
assert board.table.loc[fitted, "frechet"] < board.table.loc[plain, "frechet"]
assert coverage[fitted].value > coverage[plain].value
