"""Ratings of films that were held out, by a conditional RBM: its RMSE on MovieLens beside simpler ones.

The split is that of `zoo.datasets.ratings.movielens(0)`: of each user's ratings a tenth for the test, a tenth for
validation, by which all settings were chosen; everything is fitted to the train ratings alone. Every film is asked
about: one that nobody rated in train has the mean of all ratings, to the item mean, and the levels' shares among all
ratings, to the RBM. As in the paper the conditional RBM is told which films were rated, held-out ones among them, but
not how; the figure in parentheses is of one that is told of train ratings only.

It needs `movielens` in the folder of ZOO_DATA and one to two minutes of one core.
"""

from __future__ import annotations

import torch
from torch import Tensor

import zoo
from benchmarks.common import Row
from inference.em import em
from inference.fit import fit
from inference.objectives import ContrastiveDivergence, DataChains
from inference.schedules import cosine
from zoo.datasets.ratings import MISSING, Ratings, movielens

HIDDEN, STEPS, BATCH, LR, DECAY, AVERAGE = 50, 480, 32, 0.1, 0.01, 0.97
RANKS = (2, 5, 10, 20)
"""Of the truncated SVD, chosen on validation ratings."""


def recommender(data: Ratings, x: Tensor, seed: int = 0) -> zoo.Recommender:
    """By CD-1, with momentum; weights, but no biases, decay, so that films of few ratings keep small ones."""
    torch.manual_seed(seed)
    rbm = zoo.RBM(len(data.films), hidden=HIDDEN, visible={"kind": "ratings", "levels": len(data.scale)})
    rbm.initialise(x)

    def optimizer(parameters: list[torch.nn.Parameter], lr: float) -> torch.optim.Optimizer:
        weights = [p for p in parameters if p.dim() > 1]
        biases = [p for p in parameters if p.dim() == 1]
        return torch.optim.SGD([{"params": weights, "weight_decay": DECAY}, {"params": biases}], lr=lr, momentum=0.9)

    fit(rbm, x, ContrastiveDivergence(1, DataChains()), steps=STEPS, batch_size=BATCH, lr=LR, optimizer=optimizer,
        schedule=cosine(STEPS, warmup=20), average=AVERAGE, every=STEPS, progress=False)  # fmt: skip
    return zoo.Recommender(rbm, data.films, scale=data.scale)


# ---- the others: expected ratings of all cells, [users, films]


def stars(data: Ratings, codes: Tensor) -> Tensor:
    """Ratings, NaN where there is none."""
    return torch.where(codes == MISSING, torch.nan, torch.tensor(data.scale)[codes.clamp(min=0)])


def rmse(predicted: Tensor, truth: Tensor) -> float:
    known = ~truth.isnan()
    return float((predicted.expand(truth.shape)[known] - truth[known]).square().mean().sqrt())


def item_means(x: Tensor) -> Tensor:
    return torch.where(x.isnan().all(0), x.nanmean(), x.nanmean(0))


def biases(x: Tensor, strength: float = 5.0, rounds: int = 10) -> Tensor:
    """Mean + film's bias + user's bias, each shrunk as if by `strength` ratings of no bias, in turns."""
    known, mean = ~x.isnan(), x.nanmean()
    left, film, user = torch.where(known, x - mean, 0.0), torch.zeros(x.shape[1]), torch.zeros(len(x), 1)
    for _ in range(rounds):
        film = ((left - user) * known).sum(0) / (known.sum(0) + strength)
        user = ((left - film) * known).sum(1, keepdim=True) / (known.sum(1, keepdim=True) + strength)
    return mean + film + user


def svd(x: Tensor, rank: int) -> Tensor:
    """Biases, and the truncated SVD of what they leave, gaps filled by 0."""
    torch.manual_seed(0)
    base = biases(x)
    u, s, v = torch.svd_lowrank((x - base).nan_to_num(0.0), q=rank, niter=4)
    return base + (u * s) @ v.mT


def factorised(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    model = zoo.BayesianMatrixFactorisation(x.shape[1], size=len(x), latent=4)
    em(model, x, steps=40, seed=0)
    return model.predict(x)[..., 0]


def others(data: Ratings) -> dict[str, float]:
    """Their RMSE on the test ratings."""
    x, validation, test = (stars(data, part) for part in (data.train, data.validation, data.test))
    rank = min(RANKS, key=lambda rank: rmse(svd(x, rank), validation))
    predicted = {
        "global mean": x.nanmean(),
        "item mean": item_means(x),
        "user and item bias": biases(x),
        f"SVD of rank {rank}": svd(x, rank),
        "Bayesian matrix factorisation": factorised(x),
    }
    return {name: rmse(values, test) for name, values in predicted.items()}


def rows(rounds: int) -> list[Row]:
    data = movielens()
    simpler = others(data)
    told = ", ".join(f"{name} {value:.4f}" for name, value in simpler.items())
    conditional = recommender(data, data.seen).rmse(data.seen, data.test)
    plain = recommender(data, data.train).rmse(data.train, data.test)
    return [
        Row("rbm_rmse", conditional, simpler["item mean"], "lower", f"({plain:.4f} told train only); {told}"),
        Row("rbm_rmse_over_global_mean", conditional / simpler["global mean"], 1.0, "lower", "global mean"),
    ]
