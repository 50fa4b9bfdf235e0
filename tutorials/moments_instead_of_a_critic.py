# %% [markdown]
# # Moments instead of a critic
#
# A GAN's critic has to be trained, and what the generator minimises changes with it. A moment matching network has no
# critic: it draws as many rows as a batch has and asks how far the two sets are apart, by a distance between
# distributions that can be worked out from samples. One loss, which goes down, and which means something on rows held
# out.

# %%
import time
import warnings
from pathlib import Path
from tempfile import mkdtemp

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch

import zoo
from inference import em, evaluate, fit
from inference.objectives import CodeMatching, EnergyDistance, Mmd, MomentMatching, SlicedWasserstein
from inference.quality import classifier_features, energy_distance, kernel_mmd, sliced_wasserstein
from inference.results import Alarm
from inference.schedules import cosine

folder = Path(mkdtemp())
torch.manual_seed(0)

# %% [markdown]
# ## Three distances, one ring
#
# Eight Gaussians in a ring. `Mmd` compares by Gaussian kernels of several widths, `EnergyDistance` by plain distances,
# `SlicedWasserstein` by how far rows must be moved, seen along lines. Each is an object in the same objective.


# %%
def ring(n):
    angle = torch.randint(8, (n,)) * torch.pi / 4
    return 2 * torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(n, 2)


x, held_out = ring(4000), ring(1000)
moments = {"mmd": Mmd(), "energy distance": EnergyDistance(), "sliced wasserstein": SlicedWasserstein(50)}
fits = {}
for name, moment in moments.items():
    torch.manual_seed(0)
    model = zoo.GMMN(2, latent=4, hidden=(64, 64))
    started = time.process_time()
    fits[name] = fit(model, x, MomentMatching(moment), steps=600, batch_size=256, lr=5e-3,
                     schedule=cosine(600, warmup=20), validation=held_out, every=100, progress=False)  # fmt: skip
    print(f"{name}: {time.process_time() - started:.1f} CPU s\n{fits[name].history.round(5).to_string(index=False)}")

# %% [markdown]
# Any of the three can be asked of any two sets of rows, with a standard error. The training rows beside the held-out
# ones say what is as good as perfect.

# %%
torch.manual_seed(1)
clouds = {"training rows": x[:1000], **{name: found.model.sample(1000) for name, found in fits.items()}}
for name, cloud in clouds.items():
    print(f"{name:20} MMD {kernel_mmd(cloud, held_out, bandwidth=0.5)}, energy {energy_distance(cloud, held_out)}, "
          f"sliced {sliced_wasserstein(cloud, held_out)}")  # fmt: skip

figure, axes = plt.subplots(1, len(clouds), figsize=(3 * len(clouds), 3), sharex=True, sharey=True)
for axis, (name, cloud) in zip(axes, clouds.items(), strict=True):
    axis.scatter(*cloud.T.numpy(), s=2)
    axis.set_title(name)
figure.savefig(folder / "ring.png", dpi=110)
plt.close(figure)
print(folder / "ring.png")

# %% [markdown]
# All eight modes are reached: one that is left out costs every one of these distances, so that nothing collapses as it
# may against a critic. What moments are slow at is what a critic is quick to see, the rows that lie between two modes.

# %%
corners = 2 * torch.stack([f(torch.arange(8) * torch.pi / 4) for f in (torch.cos, torch.sin)], 1)
for name, found in fits.items():
    nearest = torch.cdist(found.model.sample(2000), corners).min(1)
    reached = nearest.indices[nearest.values < 0.4].bincount(minlength=8) / 2000
    print(f"{name}: {', '.join(f'{share:.0%}' for share in reached)} of the draws near each mode")
    assert (reached > 0.02).all()

# %% [markdown]
# ## Digits, in values and in codes
#
# Of images, distances in pixels mean less than distances in what an autoencoder has learned to tell. A `CodeGMMN`
# matches codes, and its autoencoder reads them: here it is fitted first, then frozen, as in the paper.

# %%
digits = zoo.datasets.load("digits")
train, test = ((part.x.flatten(1).float() / 16) for part in (digits.train, digits.test))
settings = {"steps": 500, "batch_size": 256, "lr": 6e-3, "schedule": cosine(500, warmup=30), "average": 0.98}

torch.manual_seed(0)
values = fit(zoo.GMMN(64, bounds=(0, 1)), train, **settings, validation=0.15, progress=False)

coder = zoo.build(
    {"family": "autoencoder", "latent": 8, "decoder": {"family": "homoscedastic_gaussian", "hidden": [256, 256]}},
    event_shape=64,
)
fit(coder, train, steps=500, lr=2e-3, schedule=cosine(500, warmup=30), progress=False)
codes = fit(
    zoo.CodeGMMN(64, autoencoder=coder.requires_grad_(False)),
    train,
    CodeMatching(Mmd()),
    **settings,
    validation=0.15,
    progress=False,
)
for name, found in {"values": values, "codes": codes}.items():
    print(name, found, found.history[["mmd", "held_out"]].round(5).iloc[[0, -1]].to_string(), sep="\n")

# %% [markdown]
# ## On one scoreboard
#
# A Gaussian mixture has a density, and a GAN a critic; what all four can be compared by is their draws, in the features
# of a small classifier. A distance alone can be had cheaply, so that coverage stands beside it: the share of held-out
# digits that have a draw among their own neighbours.

# %%
torch.manual_seed(0)
mixture = zoo.GaussianMixture(64, components=10)
em(mixture, train + 0.02 * torch.randn_like(train), seed=0)
gan = zoo.GAN(64, bounds=(0, 1))
with warnings.catch_warnings():
    warnings.simplefilter("ignore", Alarm)  # what so short a game is warned of is printed instead
    game = fit(
        gan,
        train,
        steps=500,
        batch_size=64,
        lr={"critic": 2e-3, "generator": 5e-4},
        optimizer=lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(0.0, 0.9), fused=True),
        progress=False,
    )
print(game, *game.alarms.values(), sep="\n")

features = classifier_features(train, digits.train.y, epochs=30)
models = {"mixture": mixture, "GAN": gan, "GMMN": values, "GMMN of codes": codes}
board = evaluate(models, test, features=features, samples=450)
print(board)


# %%
def sheet(rows):
    return rows[:40].clamp(0, 1).view(4, 10, 8, 8).permute(0, 2, 1, 3).reshape(32, 80)


shown = {"data": test, **board.samples}
figure, axes = plt.subplots(len(shown), 1, figsize=(8, 3.4 * len(shown)))
for axis, (name, some) in zip(axes, shown.items(), strict=True):
    axis.imshow(sheet(some).numpy(), cmap="gray_r", vmin=0, vmax=1)
    axis.set_title(name)
    axis.axis("off")
figure.savefig(folder / "digits.png", dpi=80)
plt.close(figure)
print(folder / "digits.png")
