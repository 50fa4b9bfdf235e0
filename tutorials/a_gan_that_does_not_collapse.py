# %% [markdown]
# # A GAN that does not collapse
#
# A generator is taught by a critic alone, and a critic can be pleased by one good kind of row made over and over. On
# eight Gaussians in a ring one can see it happen, hear the fit say so, and try what is said to help.

# %%
import math
import time
import warnings
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import nn

import zoo
from inference import Alarm, diagnose, fit
from inference.diagnostics.modes import draw_modes
from inference.objectives import NonSaturating, Relativistic
from inference.objectives.penalties import R1
from inference.quality import known_modes, mode_coverage
from inference.schedules import cosine
from zoo.networks import mlp

ring = zoo.datasets.load("eight_gaussians")
rows = ring.train.x
angle = torch.arange(8) * math.pi / 4
NAMES = ("east", "north-east", "north", "north-west", "west", "south-west", "south", "south-east")
modes = known_modes(2 * torch.stack([angle.cos(), angle.sin()], 1), scale=0.2, names=NAMES)
folder = Path(mkdtemp())
print(ring, mode_coverage(ring.test.x, modes), sep="\n")

# %% [markdown]
# Here the modes are known. A row is of high quality within three standard deviations of one, as 99 % of the data are;
# a mode is reached by at least a tenth of the rows that the data has there.
#
# ## The loss as it comes
#
# Two perceptrons, and nothing that holds the critic back. A fit looks at itself at each report: it makes
# a few rows and sees which parts of the data they miss, without being told what the modes are. An alarm is a warning.


# %%
class Critic(nn.Module):
    """Of any slope, as nothing here bounds it."""

    def __init__(self, event_shape, *, context_shape=None):
        super().__init__()
        self.network = mlp(event_shape.numel(), 1, (128, 128))

    def forward(self, x, context=None):
        return self.network(x).squeeze(-1)


def adam(parameters, lr):
    return torch.optim.Adam(parameters, lr, betas=(0.5, 0.9))


def trained(game, steps, batch_size=128, lr=1e-3, schedule=None, **parts):
    torch.manual_seed(0)
    model = zoo.GAN(2, hidden=(128, 128), **parts)
    started = time.process_time()
    settings = {"batch_size": batch_size, "lr": lr, "optimizer": adam, "schedule": schedule, "progress": False}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", Alarm)
        fitted = fit(model, rows, game, steps=steps, **settings)
    for warning in caught:
        print(f"! {warning.message}")
    print(f"{time.process_time() - started:.1f} CPU s")
    return fitted


def judged(name, fitted):
    torch.manual_seed(1)
    samples = fitted.model.sample(5000)
    coverage = mode_coverage(samples, modes)
    draw_modes(coverage, samples, rows[:2000]).savefig(folder / f"{name}.png", dpi=100)
    print(f"{name}: {coverage}\n{folder / name}.png")
    return coverage


vanilla = trained(NonSaturating(), 700, critic=Critic)
collapsed = judged("vanilla", vanilla)
assert "mode collapse" in vanilla.alarms
assert collapsed.missing

# %% [markdown]
# The alarm names the modes by where they are, as it found them in the data by itself; the picture has a cross at each.
# `diagnose` looks again, at what the fitted model draws now, and repeats what the fit had warned of.

# %%
found = diagnose(vanilla, ring.test.x)
print(found)
found.plots()["modes"].savefig(folder / "diagnosis.png", dpi=100)
assert "mode collapse" in found.alarms

# %% [markdown]
# ## A critic of bounded slope
#
# The vanilla critic may grow as steep as it likes around the few places where rows are made, and says nothing of the
# modes far away: the generator is chased from one to the next. The default critic of `GAN` has spectral normalisation:
# its slope is at most `gain` anywhere, and it tells every row where the data lie.

# %%
spectral = trained(NonSaturating(), 700)
bounded = judged("spectral", spectral)
assert bounded.missing == () and spectral.alarms == {}

# %% [markdown]
# All eight are there. But a fair part of the rows lie on bridges between them: a continuous generator can't jump, and
# what it makes between two modes takes the less of its noise, the steeper it is.
#
# ## All eight, and few bridges
#
# Noise of two numbers, eight times as wide, makes the generator steep from the start. A penalty on the critic's slope
# at the data alone (R1) lets it see a bridge more sharply than a bound everywhere does. In the relativistic game each
# made row is compared with a real one, so that a few good kinds of row do not win. And there are two time scales: the
# critic's learning rate is twice the generator's, both down to zero along a cosine.


# %%
class Steep(nn.Module):
    """A perceptron of wide noise."""

    def __init__(self, event_shape, *, context_shape=None, latent):
        super().__init__()
        self.network = mlp(latent, event_shape.numel(), (128, 128))

    def forward(self, noise):
        return self.network(8 * noise)


STEPS = 2000
rates, game = {"critic": 2e-3, "generator": 1e-3}, Relativistic(penalty=R1(0.1))
steep = {"latent": 2, "generator": Steep, "critic": Critic}
cured = trained(game, STEPS, 256, lr=rates, schedule=cosine(STEPS, warmup=20), **steep)
whole = judged("cured", cured)
assert whole.missing == () and cured.alarms == {}
assert whole.good.value >= 0.95 > bounded.good.value

# %%
print(diagnose(cured, ring.test.x))
