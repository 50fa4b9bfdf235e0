# %% [markdown]
# # First model in ten lines
#
# A generative model of handwritten digits: fitted, sampled, scored on images it has not seen, and diagnosed.

# %%
import zoo
from inference import diagnose, fit, log_likelihood

digits = zoo.datasets.load("digits").binarised().flat()  # 8x8 images, black or white: 64 bits a row
vae = zoo.build({"family": "vae", "latent": 8}, event_shape=digits.event_shape)
result = fit(vae, digits.train.x, steps=1000, validation=digits.test.x)
print(result)

# %% [markdown]
# Every likelihood says what it is. A VAE's integrates over its code, so what can be had is a bound from below:
# the ELBO, or a tighter one that weighs many draws of the code.

# %%
bound = log_likelihood(vae, digits.test.x)
print(bound)
assert bound.kind == "lower bound"
assert -20 < bound.mean < -15

# %% [markdown]
# New digits, drawn as text: `#` is ink.

# %%
for image in vae.sample(3).reshape(-1, 8, 8):
    print("\n".join("".join(".#"[int(pixel)] for pixel in row) for row in image), end="\n\n")

# %% [markdown]
# And the diagnosis: words first. `diagnosis.idata` is an ArviZ `InferenceData`, for all that ArviZ can do.

# %%
diagnosis = diagnose(result, digits.test.x, rows=200)
print("\n".join(diagnosis.verdict))
