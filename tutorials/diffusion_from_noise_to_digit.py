# %% [markdown]
# # Diffusion, from noise to digit
#
# A diffusion model is a chain of latents, z_1 a little noisier than the picture, z_T nothing but noise. What adds the
# noise is fixed; a network learns to take it away a step at a time, told of what it should show by a text, by a smaller
# picture, or by edges.

# %%
import time
from pathlib import Path
from tempfile import mkdtemp

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch
from torch.nn import functional as F

import zoo
from inference import fit, log_likelihood
from inference.quality import classifier_features, fidelity, frechet_distance
from inference.schedules import cosine
from zoo.samplers import DDIM, Ancestral, DPMSolver
from zoo.tokens import CharacterTokenizer

digits = zoo.datasets.load("digits")
train, test = digits.train, digits.test
folder = Path(mkdtemp())

# %% [markdown]
# ## Captions
#
# Each digit gets a line of text, by its label and by how much ink it took: "thin seven", "bold three". A context is
# rows of numbers, and a text is its characters' codes.

# %%
NUMERALS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ink = train.x.flatten(1).float().mean(1)
edges = ink.quantile(torch.tensor([1 / 3, 2 / 3]))
letters = CharacterTokenizer.of("".join(NUMERALS) + "thin plain bold ")
LENGTH = len("plain seven")


def tokens(lines):
    return torch.tensor([letters.encode(line.ljust(LENGTH)) for line in lines])


def captions(x, y):
    weights = torch.bucketize(x.flatten(1).float().mean(1), edges)
    return [f"{('thin', 'plain', 'bold')[w]} {NUMERALS[c]}" for w, c in zip(weights.tolist(), y.tolist(), strict=True)]


print(captions(train.x[:4], train.y[:4]))

# %% [markdown]
# ## Text to image
#
# A Transformer encoder reads the line, a U-Net takes the noise away. A tenth of the rows are told nothing, so that one
# network knows both p(x | text) and p(x), and draws can be guided by the difference. The weights it ends with are an
# average over the last steps, which draws better than any of them.


# %%
def trained(x, context, conditioner, steps, channels=(32, 64)):
    torch.manual_seed(0)
    model = zoo.Diffusion(
        digits.event_shape,
        context_shape=context.shape[1:],
        levels=digits.levels,
        network={"kind": "unet", "channels": channels, "width": 64, "conditioner": conditioner},
    )
    rows = {"x": x, "context": context}
    schedule = cosine(steps, warmup=30)
    print(fit(model, rows, steps=steps, lr=2e-3, schedule=schedule, average=0.98, progress=False))
    return model


lines = tokens(captions(train.x, train.y))
painter = trained(train.x, lines, {"kind": "tokens", "levels": letters.size}, steps=300)

# %%
wishes = [f"{weight} {numeral}" for weight in ("thin", "bold") for numeral in NUMERALS]
torch.manual_seed(0)
drawn = painter.sample(len(wishes), context=tokens(wishes), sampler=DDIM(50, guidance=1.5))


def show(name, rows, titles=(), per_row=10):
    count = -(-len(rows) // per_row)
    figure, axes = plt.subplots(count, per_row, figsize=(per_row, 1.25 * count), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, row in zip(axes.flat, rows, strict=False):
        axis.imshow(row.squeeze(0).numpy(), cmap="gray_r")
    for axis, title in zip(axes.flat, titles, strict=False):
        axis.set_title(title, fontsize=7)
    figure.savefig(folder / f"{name}.png", dpi=120)
    plt.close(figure)
    print(folder / f"{name}.png")


show("text_to_image", drawn, wishes)

# %% [markdown]
# ## The chain itself
#
# Each sampler tells z after each of its steps. Far out there is nothing to see; the digit is decided in the middle.

# %%
torch.manual_seed(1)
z = torch.randn(4, *digits.event_shape)
with torch.no_grad():
    path = list(DDIM(30, guidance=1.5).path(
        painter, painter.noise_levels(torch.linspace(1000 / 30, 1000, 30).long()), z, tokens(["bold three"] * 4)
    ))  # fmt: skip
stages = [path[step].float() for step in (0, 5, 10, 14, 18, 21, 24, 26, 28, 29)]
show("chain", [stage[row] for row in range(4) for stage in stages])

# %% [markdown]
# ## Ways to draw
#
# The reverse chain is the model; a thousand steps of it are what it says. Samplers that follow the same path without
# noise need far fewer. How good the draws are is told by features of a small classifier, beside rows held out.

# %%
features = classifier_features(train.x.flatten(1), train.y, epochs=30)
real = features(test.x.flatten(1))
asked = tokens(captions(test.x, test.y))[:200]
for name, sampler in {
    "the chain, 50 steps": Ancestral(50),
    "DDIM, 25 steps": DDIM(25),
    "DPM-Solver++, 10 steps": DPMSolver(10),
}.items():
    torch.manual_seed(0)
    started = time.process_time()
    found = features(painter.sample(len(asked), context=asked, sampler=sampler).flatten(1))
    spent = time.process_time() - started
    print(f"{name:24} Frechet {frechet_distance(found, real).value:5.1f}, coverage {fidelity(real, found).coverage}, "
          f"{spent:4.1f} CPU s")  # fmt: skip

# %% [markdown]
# ## What it is worth as a model
#
# The chain's bound is a sum over steps, so that log p(x | text) has a lower bound in nats, here over levels: a mass.
# What the text is worth is the same bound told of other texts.

# %%
some, told = test.x[:60], asked[:60]
right = log_likelihood(painter, some, context=told)
wrong = log_likelihood(painter, some, context=told.roll(7, 0))
bits = digits.bits_per_dim(right.values, some).mean()
print(f"{right}\n{bits:.2f} bits a pixel; told another digit's text, {wrong.mean:.1f} nats")
assert (right - wrong).mean > 2 * (right - wrong).error

# %% [markdown]
# ## Image to image
#
# A picture as context stands beside the noise as more channels: one of 4 x 4 pixels to be sharpened, or edges to be
# filled. The truth is one of the many pictures that would fit.


# %%
def coarse(x):
    return F.avg_pool2d(x.float(), 2) / 8 - 1


def outlines(x):
    ink = (x.float() > 7.5).float()
    inner = -F.max_pool2d(-F.pad(ink, (1, 1, 1, 1)), 3, stride=1)
    return ink - inner


for name, look in {"super_resolution": coarse, "edges_to_digit": outlines}.items():
    sharpener = trained(train.x, look(train.x), {"kind": "image"}, steps=150, channels=(16, 32))
    torch.manual_seed(0)
    seen = look(test.x[:10])
    guesses = [sharpener.sample(10, context=seen, sampler=DDIM(25)).float() for _ in range(4)]
    show(name, torch.cat([F.interpolate(seen, 8), *guesses[:2], test.x[:10].float()]))
    kept = (look(torch.stack(guesses)[0]) - seen).abs().mean()
    strange = (look(torch.stack(guesses)[0]) - seen.roll(1, 0)).abs().mean()
    print(f"{name}: what was seen is off by {kept:.3f} in the draws, by {strange:.3f} in those for another digit")
    assert kept < 0.5 * strange
