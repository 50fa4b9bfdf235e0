# %% [markdown]
# # An RBM recommends films
#
# A table of ratings has a row for each user, a column for each film, and mostly gaps. A restricted Boltzmann machine
# over such rows has a softmax unit for each film, and only those that a user rated take part in her row: each user has
# a machine of her own size, and all share their weights. What she would rate another film then has a distribution,
# with the hidden units summed out exactly.
#
# Without a file this runs on a simulation of tastes, in which every user likes two of six genres: no one's ratings.
# Where the environment variable ZOO_DATA names a folder that holds `movielens/ratings.csv` and `movies.csv`
# (ml-latest-small), it runs on these.

# %%
import time
from pathlib import Path
from tempfile import mkdtemp

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import torch

import zoo
from inference import fit
from inference.objectives import ContrastiveDivergence, DataChains
from inference.schedules import cosine
from zoo.datasets import Missing
from zoo.datasets.ratings import movielens, simulated_tastes

folder = Path(mkdtemp())
try:
    data, settings = movielens(), {"hidden": 50, "lr": 0.05, "steps": 200}
except Missing as missing:
    print(missing)
    data, settings = simulated_tastes(), {"hidden": 20, "lr": 0.2, "steps": 800}
print(data)
known = data.train != -1
print(f"{known.float().mean():.1%} of the cells are known, {known.sum(1).float().mean():.0f} a user")

# %% [markdown]
# ## Which films were rated tells something, too
#
# Of each user's ratings a tenth is held out for the test and another for validation. That they were rated at all is
# not: `data.seen` holds the train ratings, -1 where nothing is known, and one code more where a film is known to have
# been rated, but not how. Units of kind "ratings" make of it the conditional RBM, in which rated films shift the hidden
# biases by D, whatever their rating.
#
# Rows that lack different cells have a log Z of their own, so that the chains of contrastive divergence start at the
# rows themselves. Steps of plain momentum are small for films that few rated; Adam's would be as large for these.

# %%
levels = len(data.scale)
torch.manual_seed(0)
rbm = zoo.RBM(len(data.films), hidden=settings["hidden"], visible={"kind": "ratings", "levels": levels})
rbm.initialise(data.seen)
recommender = zoo.Recommender(rbm, data.films, scale=data.scale)
print(f"before: RMSE {recommender.rmse(data.seen, data.validation):.3f} on validation ratings")

started = time.process_time()
found = fit(
    rbm,
    data.seen,
    ContrastiveDivergence(1, DataChains()),
    steps=settings["steps"],
    batch_size=32,
    lr=settings["lr"],
    optimizer=lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
    schedule=cosine(settings["steps"], warmup=20),
    average=0.97,
    every=settings["steps"] // 4,
    callbacks=[lambda at: print(f"step {at.step}: RMSE {recommender.rmse(data.seen, data.validation):.3f}")],
    progress=False,
)
print(f"{time.process_time() - started:.1f} CPU s")

# %% [markdown]
# ## Better than each film's mean?
#
# The root of the mean squared error on test ratings, beside the mean of all and of each film's train ratings.

# %%
values, held_out = torch.tensor(data.scale), data.test != -1
truth = values[data.test[held_out]]
stars = torch.where(known, values[data.train.clamp(min=0)], torch.nan)
item = torch.where(known.any(0), stars.nanmean(0), stars.nanmean()).expand(held_out.shape)[held_out]


def rmse(predicted):
    return float((predicted - truth).square().mean().sqrt())


board = {
    "mean of all": rmse(stars.nanmean()),
    "each film's mean": rmse(item),
    "RBM": recommender.rmse(data.seen, data.test),
}
for name, value in board.items():
    print(f"{name:18} {value:.3f}")
assert board["RBM"] < board["each film's mean"] < board["mean of all"]

# %% [markdown]
# ## What shall I watch?
#
# Ratings by name, and the best of the films not seen. `None` is for a film seen, but not rated. Two ratings of
# MovieLens' ten thousand films say little, and the answer is much what anyone would be told; a user of the table has
# said more.

# %%
popular = [data.films[i] for i in known.sum(0).argsort(descending=True).tolist()]
mine = {popular[0]: data.scale[-1], popular[1]: data.scale[1], popular[2]: None}
if data.name == "simulated tastes":
    mine = {f"western {i}": 5 for i in (1, 2, 3, 4)} | {"comedy 1": 1, "comedy 2": 1, "western 5": None}
row = recommender.rows(mine)
print("known:", mine)
for film, rating in recommender.recommend(row, 8)[0]:
    print(f"{rating:.2f}  {film}")
user = data.seen[:1]
favourites = data.train[0].argsort(descending=True, stable=True)[:5].tolist()
print(f"\nthe first user of the table likes {', '.join(data.films[i] for i in favourites)}; and might")
for film, rating in recommender.recommend(user, 8)[0]:
    print(f"{rating:.2f}  {film}")
print("for anyone:", [film for film, _ in recommender.popular(5)])

# %% [markdown]
# An answer is a distribution over levels, and not its mean alone: some films divide.

# %%
film = recommender.recommend(row, 1)[0][0][0]
column = recommender.column[film]
asked = torch.tensor([0]), torch.tensor([column])
shares = {
    "of my ratings": recommender.probabilities(row, *asked)[0],
    "of nothing": recommender.probabilities(recommender.rows({}), *asked)[0],
}
figure, axis = plt.subplots(figsize=(6, 3))
for offset, (name, share) in enumerate(shares.items()):
    axis.bar([level + 0.4 * offset for level in range(levels)], share.numpy(), width=0.4, label=f"knowing {name}")
axis.set_xticks([level + 0.2 for level in range(levels)], [f"{value:g}" for value in data.scale])
axis.set_title(film)
axis.legend()
figure.savefig(folder / "levels.png", dpi=100)
plt.close(figure)
print(folder / "levels.png")

# %% [markdown]
# ## What can't be asked

# %%
for ask in (
    lambda: recommender.rows({popular[0]: 17}),
    lambda: recommender.rows({popular[0][:-1] + "?": 1}),
    lambda: recommender.recommend(recommender.rows({})),
):
    try:
        ask()
    except ValueError as error:
        print(error)
