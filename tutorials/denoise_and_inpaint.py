# %% [markdown]
# # Denoise and inpaint
#
# A model of whole images is a model of their parts: what the lower half is likely to be, given the upper, is a question
# to p(x), and `query` answers it for each family by what that family allows. A denoising autoencoder, which is no model
# of p(x), has learned the one thing that it is for.
#
# The images are the 1,797 digits of scikit-learn, 8 x 8, of 17 levels of grey.

# %%
import time

import numpy as np
import torch

import zoo
from inference import fit
from inference.objectives import OneTimestep
from inference.objectives.diffusion import bound
from inference.query import Chains, Particles, PseudoGibbs, Replacement, query
from inference.schedules import cosine

digits = zoo.datasets.load("digits")
train, test = digits.train.x, digits.test.x
train, validation = train[:1200], train[1200:]


def show(*lines):
    """Images of levels 0 to 16 as text, a line of them after the other; what is below 0 is hidden."""
    for images in lines:
        for row in range(8):
            levels = [torch.as_tensor(image)[0, row].round().long() for image in images]
            print("   ".join("".join("?" if v < 0 else " .:-=+*#@"[v // 2] for v in line) for line in levels))
        print()


def learned(spec, x, held, steps, **settings):
    torch.manual_seed(0)
    model, start = zoo.build(spec, event_shape=(1, 8, 8)), time.process_time()
    fit(model, x, steps=steps, batch_size=64, schedule=cosine(steps), validation=held, **settings)
    print(f"{spec['family']}: {time.process_time() - start:.1f} s")
    return model


# %% [markdown]
# ## Denoising
#
# The autoencoder is shown images with noise of standard deviation 0.3 (of 1), and is to tell the images themselves.

# %%
noise = {"kind": "gaussian", "scale": 0.3}
spec = {
    "family": "denoising_autoencoder",
    "corruption": noise,
    "latent": 32,
    "decoder": {"family": "homoscedastic_gaussian"},
}
denoiser = learned(spec, train / 16, validation / 16, 700, lr=2e-3)
torch.manual_seed(1)
noisy = test / 16 + 0.3 * torch.randn(test.shape)
with torch.no_grad():
    clean = denoiser.denoise(noisy)
for name, images in (("noisy", noisy), ("denoised", clean)):
    print(f"{name:9} square error {(images - test / 16).square().mean():.4f}")
assert (clean - test / 16).square().mean() < 0.45 * (noisy - test / 16).square().mean()
show(test[:8], 16 * noisy[:8].clamp(0, 1), 16 * clean[:8].clamp(0, 1))

# %% [markdown]
# ## The lower half, given the upper
#
# Three models of the images, none of them told what will be hidden.

# %%
logistics = {"family": "discretised_logistic", "levels": 17}
vae = learned({"family": "vae", "latent": 16, "decoder": logistics}, train, validation, 1000, lr=2e-3)
pixelcnn = {"family": "pixelcnn", "levels": 17, "hidden": 24, "layers": 2, "kernel": 7}
pixelcnn = learned(pixelcnn, train, validation, 200, lr=4e-3)
diffusion = {"family": "diffusion", "levels": 17, "steps": 50, "variance": "learned", "network": {"kind": "mlp"}}
objective = OneTimestep(bound)
diffusion = learned(diffusion, train, validation, 1000, lr=2e-3, average=0.99, objective=objective)

# %% [markdown]
# In rows of codes -1 stands for what is not known. `query` picks the way:
#
# * the VAE by chains over its code and the hidden pixels, each proposal of its encoder taken or left by Metropolis'
#   rule. Without the rule (pseudo-Gibbs) they are only as right as the encoder, which has never seen half an image;
# * PixelCNN pixel by pixel: the hidden ones come last in its order, so these are draws of its exact conditional;
# * the diffusion by particle filters along paths of noise of the upper half. Replacement puts that half in and weighs
#   nothing.

# %%
truth = test[:10]
hidden = truth.clone()
hidden[:, :, 4:] = -1
ways = {
    "VAE, pseudo-Gibbs": (vae, Chains(moves=PseudoGibbs()), 480),
    "VAE": (vae, None, 480),
    "PixelCNN": (pixelcnn, None, 200),
    "diffusion, replacement": (diffusion, Replacement(), 50),
    "diffusion": (diffusion, Particles(64), 512),
}
answers = {
    name: query(model, "x", given={"x": hidden}, draws=draws, method=method)
    for name, (model, method, draws) in ways.items()
}

# %% [markdown]
# An estimate says how far to trust it. Half an image leaves room for several digits, and chains that must go from one
# to another mix slowly: R-hat is above 1.05 after so few draws. Filters are few in effect for the same reason.

# %%
for name, answer in answers.items():
    figures = [f"{key} {value:.2f}" for key, value in answer.reliability.items() if isinstance(value, float)]
    print(f"{name}: {answer.method}", *figures, sep="\n    ")
    for text in answer.warnings:
        print(f"    {text}")

# %% [markdown]
# ## Who tells the hidden half best?
#
# The answers are probabilities of the levels of each pixel. Their mean has a square error, and what they gave to the
# levels that were there is a score in nats a pixel, lower is better. (A hundredth is put aside for levels that no draw
# had.) The first line is the mean and the shares of the levels of each pixel in the training images.

# %%
levels = np.arange(17)
below = truth[:, :, 4:].numpy()


def scored(name, shares):
    """Square error and nats of the hidden pixels, [N, 1, 4, 8, 17]."""
    given = np.take_along_axis(0.99 * shares + 0.01 / 17, below[..., None], -1)
    error, nats = ((shares @ levels - below) ** 2).mean(), -np.log(given).mean()
    print(f"{name:24}{error:8.2f}{nats:8.3f}")
    return error, nats


counts = torch.nn.functional.one_hot(train[:, :, 4:], 17).float().mean(0).numpy()
print(f"{'':24}{'error':>8}{'nats':>8}")
base = scored("each pixel by itself", np.broadcast_to(counts, (*below.shape, 17)))
scores = {name: scored(name, answer["x"].values[:, :, 4:]) for name, answer in answers.items()}
assert all(scores[name][0] < base[0] for name in ("VAE", "PixelCNN", "diffusion"))

# %% [markdown]
# Digits, what is known of them, and each model's mean of the rest.

# %%
means = {name: answer["x"].values @ levels for name, answer in answers.items()}
show(truth[:8], hidden[:8])
for name in ("VAE", "PixelCNN", "diffusion"):
    print(name)
    show(means[name][:8])
