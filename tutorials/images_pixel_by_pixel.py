# %% [markdown]
# # Images pixel by pixel
#
# Any distribution of images is a product, p(x) = p(x_1) p(x_2 | x_1) p(x_3 | x_1, x_2) ..., pixel after pixel from the
# upper left. A network that puts out all these conditionals at once, each from the pixels before it alone, has an
# exact likelihood, and can draw, or go on from any beginning.
#
# Two such networks learn the 1,797 digits of scikit-learn, 8 x 8, black or white.

# %%
import time

import torch

import zoo
from inference import fit, log_likelihood
from inference.schedules import cosine

digits = zoo.datasets.load("digits").binarised()
train, test = digits.train.x, digits.test.x
train, validation = train[:1200], train[1200:]
print(f"{len(train)} to train on, {len(validation)} to choose by, {len(test)} held out, each {list(train.shape[1:])}")


def show(*lines):
    """Images as text, a line of them after the other."""
    for images in lines:
        for row in range(8):
            print("   ".join("".join(" .#"[int(pixel)] for pixel in image[0, row]) for image in images))
        print()


show(2 * test[:10])

# %% [markdown]
# MADE is a perceptron whose weights are masked. PixelCNN is made of convolutions that are cut to the rows above and
# the pixels to the left; what it learns about a stroke in one place it knows everywhere, with fewer numbers to learn.
# It is fitted until the images to choose by stop getting likelier.

# %%
torch.manual_seed(0)
made = zoo.build("made", event_shape=(1, 8, 8))
pixelcnn = zoo.build({"family": "pixelcnn", "hidden": 24, "layers": 2, "kernel": 7}, event_shape=(1, 8, 8))
for name, model, steps in (("MADE", made, 1000), ("PixelCNN", pixelcnn, 350)):
    settings = {"lr": 4e-3, "schedule": cosine(steps), "validation": validation, "patience": 4}
    print(f"{name}, {sum(p.numel() for p in model.parameters()):,} parameters:")
    print(fit(model, train, steps=steps, batch_size=64, **settings))

# %% [markdown]
# ## Which explains held-out images better?
#
# Both likelihoods are exact, so they can be compared as they stand: nats an image, higher is better.

# %%
for name, model in (("MADE", made), ("PixelCNN", pixelcnn)):
    found = log_likelihood(model, test)
    print(f"{name:9}{found.mean:8.2f} nats, {found.kind}")
    assert found.mean > -19

# %% [markdown]
# ## What does it expect?
#
# `step_log_prob` has the terms of the sum, a pixel each: how surprising each was, given those before it. The picture
# has the mean surprise over the held-out images: nothing below 0.05 nats, `.` below 0.35, `#` above.

# %%
with torch.no_grad():
    surprise = -pixelcnn.step_log_prob(test).mean(0).view(8, 8)
for row in surprise:
    print("".join(" .#"[int((nats > 0.05).long() + (nats > 0.35).long())] for nats in row))

# %% [markdown]
# ## Drawing
#
# A draw goes pixel by pixel too, but nothing is computed twice: all draws together cost about one pass more than a
# likelihood. A lower temperature keeps to what is likely.

# %%
torch.manual_seed(0)
start = time.perf_counter()
drawn = pixelcnn.sample(100)
print(f"100 images of 64 steps each in {time.perf_counter() - start:.2f} s")
show(2 * drawn[:10], 2 * pixelcnn.sample(10, temperature=0.5))

# %% [markdown]
# ## The lower half, given the upper
#
# A prefix is what is known: the first 32 of the 64 pixels. The first line are held-out images; below them, three times
# over, are the same upper halves (as `.`) with lower halves drawn. Since the model goes from the top, these are draws
# of its exact conditional distribution.

# %%
chosen = test[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]
upper = chosen.flatten(1)[:, :32]
completed = [pixelcnn.sample(10, prefix=upper) for _ in range(3)]
for images in completed:
    assert torch.equal(images.flatten(1)[:, :32], upper)


def marked(images):
    """The upper half grey, the lower black."""
    return torch.cat([images[:, :, :4], 2 * images[:, :, 4:]], 2)


show(2 * chosen, *map(marked, completed))

# %% [markdown]
# ## How much does the upper half say?
#
# The likelihood of the true lower half given its own upper half, against that given another image's.

# %%
with torch.no_grad():
    own = pixelcnn.step_log_prob(test)[:, 32:].sum(1)
    mixed = torch.cat([test.roll(1, 0)[:, :, :4], test[:, :, 4:]], 2)
    other = pixelcnn.step_log_prob(mixed)[:, 32:].sum(1)
print(f"lower half given its own upper half: {own.mean():.2f} nats; given another's: {other.mean():.2f}")
assert own.mean() > other.mean() + 1
