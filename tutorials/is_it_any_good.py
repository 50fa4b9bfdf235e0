# %% [markdown]
# # Is it any good? Fidelity, coverage, memory
#
# One number is easily fooled: a model that repeats its training rows is at the least distance from the data that there
# is. Four models of the digits of scikit-learn, 8 x 8, are put on one scoreboard: a mixture of Gaussians, a VAE, a GAN,
# and one that cheats.

# %%
import torch

import zoo
from inference import em, evaluate, fit, log_likelihood
from inference.labelled import labelled_draws
from inference.quality import VALUES, classifier_features, find_modes, usefulness
from inference.schedules import cosine

torch.set_num_threads(1)
digits = zoo.datasets.load("digits")
views = {"smooth": digits.dequantised().logit().flat(), "levels": digits, "unit": digits.unit().flat()}
levels = digits.train.x.float()


def show(*lines):
    """Images of levels 0 to 16 as text, a line of them after the other."""
    for images in lines:
        for row in range(8):
            each = [torch.as_tensor(image).reshape(8, 8)[row].round().long().clamp(0, 16) for image in images]
            print("   ".join("".join(" .:-=+*#@"[v // 2] for v in line) for line in each))
        print()


# %% [markdown]
# The cheat is a model as any other, as far as `evaluate` can see: it offers `sample`. It draws training rows, with a
# little noise.

# %%


class Copier:
    kind = "implicit"

    def __init__(self, rows, noise):
        self.rows, self.noise = rows, noise

    def sample(self, n):
        copied = self.rows[torch.randint(len(self.rows), (n,))]
        return (copied + self.noise * torch.randn(copied.shape)).round().clamp(0, 16)


torch.manual_seed(0)
mixture = zoo.build({"family": "gaussian_mixture", "components": 10}, event_shape=64)
logistics = {"family": "discretised_logistic", "levels": 17}
vae = zoo.build({"family": "vae", "latent": 16, "decoder": logistics}, event_shape=(1, 8, 8))
gan = zoo.build({"family": "gan", "bounds": [0.0, 1.0]}, event_shape=64)
models = {
    "mixture": em(mixture, views["smooth"].train.x),
    "vae": fit(vae, levels, steps=1000, batch_size=64, lr=2e-3, schedule=cosine(1000)),
    "gan": fit(
        gan,
        views["unit"].train.x,
        steps=1000,
        batch_size=64,
        lr={"critic": 2e-3, "generator": 5e-4},
        optimizer=lambda parameters, lr: torch.optim.Adam(parameters, lr, betas=(0.0, 0.9)),
    ),
    "copier": Copier(levels, noise=0.7),
}
seen_as = {"mixture": views["smooth"], "vae": digits, "gan": views["unit"], "copier": digits}

# %% [markdown]
# Samples are compared by what a small classifier of the digits sees in them; its name ends in a hash of what it was
# taught. The modes are ten clusters of the training rows.

# %%
features = classifier_features(levels, digits.train.y, epochs=15)
modes = find_modes(features(levels), 10)
board = evaluate(models, seen_as, features=features, modes=modes)
print(board)

# %% [markdown]
# By the Frechet distance the copier is the best; so it is by coverage. The test of memory catches it: its samples'
# nearest rows are training rows, hardly ever held-out ones.

# %%
table = board.table
print("least Frechet distance:", table["frechet"].idxmin())
assert table["frechet"].idxmin() == "copier"
for name, found in board.quality.items():
    print(found.words(name))
    assert found.memory.copies.statistic.value < 0.2 or name == "copier"
assert board.quality["copier"].memory.memorizes and table.loc["copier", "copies_low"] > 0.8

# %% [markdown]
# The mixture knows its training rows too, though it copies none: it has ten full covariances to fit to 1,347 rows, and
# gives these a greater density than held-out ones. Memory is where overfitting shows in the samples.

# %%
seen, held_out = (log_likelihood(mixture, rows.x).mean for rows in (views["smooth"].train, views["smooth"].test))
print(f"the mixture: {seen:.1f} nats a training row, {held_out:.1f} a held-out row")
print(f"memory {board.quality['mixture'].memory.memory}")
assert seen > held_out + 5

# %% [markdown]
# The samples that are closest to a training row, and the row below each: the copier's are the same digits, speck by
# speck; the VAE's only resemble them.

# %%
for name in ("copier", "vae"):
    pairs = board.quality[name].pairs
    print(f"{name}: at distances of {pairs.distances[0]:.1f} to {pairs.distances[7]:.1f}")
    show(pairs.samples[:8], pairs.rows[:8])

# %% [markdown]
# ## Are the samples of any use?
#
# A model of each class gives samples with labels. A classifier taught on these alone, asked about real digits, tells
# how much of what matters the samples hold.

# %%
by_class = zoo.build({"family": "vae", "latent": 16, "decoder": logistics}, event_shape=(1, 8, 8), context_shape=10)
few = slice(0, 200)
contexts = torch.eye(10)
known = {"x": levels[few], "context": contexts[digits.train.y[few]]}
fit(by_class, known, steps=400, batch_size=64, lr=2e-3, schedule=cosine(400))
made, labels = labelled_draws(by_class, contexts, rows=60)
found = usefulness(
    (VALUES(levels[few]), digits.train.y[few]), (VALUES(made.float()), labels), (VALUES(digits.test.x), digits.test.y)
)
print(f"taught on 200 real digits      {found.real}")
print(f"taught on 600 synthetic ones   {found.synthetic}")
print(f"taught on both                 {found.both}, gained {found.gained}")
assert found.synthetic.low > 0.5
