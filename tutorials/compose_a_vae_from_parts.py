# %% [markdown]
# # Compose a VAE from parts
#
# A VAE has three slots, each for a density: the prior p(z), the encoder q(z | x), the decoder p(x | z). Every
# explicit model of the zoo is a conditional density, so every one fits every slot. Here the prior becomes a flow,
# then the encoder too; the question is whether it pays.

# %%
import torch

import zoo
from inference import fit, log_likelihood
from inference.likelihood import ImportanceWeighted

digits = zoo.datasets.load("digits").binarised().flat()
train, test = digits.train.x, digits.test.x
steps = 800

# %% [markdown]
# A model is a value that can be written down: a dict here, the same table in a TOML file for `zoo run`. A slot's
# table leaves the shapes out, which follow from where it stands.

# %%
plain = {"family": "vae", "latent": 8}
flow = {"family": "realnvp", "layers": 4, "hidden": 32}
specs = {
    "plain": plain,
    "flow prior": {**plain, "prior": flow},
    "flow prior and encoder": {**plain, "prior": flow, "encoder": flow},
}
models = {}
for name, spec in specs.items():
    torch.manual_seed(0)
    models[name] = zoo.build(spec, event_shape=digits.event_shape)
    print(fit(models[name], train, steps=steps))

# %% [markdown]
# The same in Python: a slot takes a built model, or whatever builds one when told its shapes.

# %%
from functools import partial

from zoo import VAE, RealNVP

by_hand = VAE(64, latent=8, prior=partial(RealNVP, layers=4, hidden=32))
assert sum(p.numel() for p in by_hand.parameters()) == sum(p.numel() for p in models["flow prior"].parameters())

# %% [markdown]
# Two bounds of the same kind can be compared row by row, which takes out how hard each image is.

# %%
bounds = {name: log_likelihood(model, test, method=ImportanceWeighted(100)) for name, model in models.items()}
for name, bound in bounds.items():
    print(f"{name:24} {bound}")
gain = bounds["flow prior"] - bounds["plain"]
print(f"the flow prior gains {gain.mean:.2f} +- {gain.error:.2f} nats an image")

# %% [markdown]
# A slot refuses what does not fit it, and says why.

# %%
try:
    VAE(64, latent=8, prior=RealNVP(5))
except ValueError as error:
    print(error)
try:
    models["plain"].log_prob(test)
except TypeError as error:
    print(error)
