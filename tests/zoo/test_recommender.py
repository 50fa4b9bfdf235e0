"""A recommender's answers against enumeration, and its machine's gradients against those of the films rated alone."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

import zoo
from inference.fit import fit
from inference.likelihood import log_likelihood
from inference.objectives import ContrastiveDivergence, DataChains
from zoo.datasets import Missing
from zoo.datasets.ratings import movielens, simulated_tastes
from zoo.rbm import RBM
from zoo.recommender import Recommender

HIDDEN, LEVELS, FILMS = 2, 3, 4
NAMES = ("Heat (1995)", "Alien (1979)", "Fargo (1996)", "Casino (1995)")
UNITS = {"kind": "ratings", "levels": LEVELS, "common": 0.6}


def machine(visible: dict = UNITS, seed: int = 0) -> RBM:
    generator = torch.Generator().manual_seed(seed)
    rbm = RBM(FILMS, hidden=HIDDEN, visible=visible).double()
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return rbm


def pooled(rbm: RBM) -> Tensor:
    """Each film's couplings, what films have in common among them, by hand."""
    if rbm.visible.cell[0] == LEVELS:
        return rbm.weights
    films = rbm.weights.detach().view(FILMS, LEVELS + 1, HIDDEN)
    shared = 0.6 / FILMS**0.5 * sum(films)
    shared[LEVELS] = 0  # D is a film's own
    return torch.stack([film + shared for film in films]).flatten(0, 1)


def minus_energy(rbm: RBM, x: list[int], h: tuple[int, ...]) -> Tensor:
    """-E(x, h) as the paper writes it, a number at a time; -1 is missing, `LEVELS` rated but not told."""
    weights, bias = (p.detach().view(FILMS, rbm.visible.cell[0], -1) for p in (pooled(rbm), rbm.visible_bias))
    total = torch.zeros((), dtype=torch.float64)
    for j in range(HIDDEN):
        total += rbm.hidden_bias[j].detach() * h[j]
    for i, level in enumerate(x):
        if 0 <= level < LEVELS:
            total += bias[i, level, 0] + sum(weights[i, level, j] * h[j] for j in range(HIDDEN))
        if level >= 0 and rbm.visible.cell[0] > LEVELS:  # D_i, and a constant of those rated
            total += bias[i, LEVELS, 0] + sum(weights[i, LEVELS, j] * h[j] for j in range(HIDDEN))
    return total


def weight(rbm: RBM, x: list[int]) -> Tensor:
    """exp(-E) summed over the hidden units."""
    return sum((minus_energy(rbm, x, h).exp() for h in itertools.product((0, 1), repeat=HIDDEN)), torch.zeros(()))


USERS = [[0, -1, 2, 1], [-1, 2, -1, -1], [-1, -1, -1, -1], [3, 1, -1, 3], [0, 3, 2, -1]]


@pytest.mark.parametrize("visible", [UNITS, {"kind": "softmax", "levels": LEVELS}], ids=["ratings", "softmax"])
def test_what_is_predicted_is_the_enumerated_conditional(visible: dict) -> None:
    rbm = machine(visible)
    users = USERS if visible is UNITS else USERS[:3]
    recommender, x = Recommender(rbm, NAMES, scale=(0.5, 2, 5)), torch.tensor(users)
    expected = recommender.predict(x)
    for user, film in itertools.product(range(len(users)), range(FILMS)):
        row = users[user]
        if 0 <= row[film] < LEVELS:
            shares = torch.eye(LEVELS)[row[film]].double()
        else:
            filled = [weight(rbm, [*row[:film], level, *row[film + 1 :]]) for level in range(LEVELS)]
            shares = torch.stack(filled) / sum(filled)
        found = recommender.probabilities(x, torch.tensor([user]), torch.tensor([film]))[0]
        torch.testing.assert_close(found, shares)
        torch.testing.assert_close(expected[user, film], shares @ torch.tensor([0.5, 2, 5]).double())


def test_films_rated_shift_the_hidden_units_by_d() -> None:
    """p(h = 1 | x, r) = sigmoid(c + sum_told W + sum_rated D), by hand."""
    rbm = machine()
    weights = pooled(rbm).view(FILMS, LEVELS + 1, HIDDEN)
    pull = rbm.hidden_bias.detach() + weights[1, 1] + weights[0, LEVELS] + weights[1, LEVELS] + weights[3, LEVELS]
    torch.testing.assert_close(rbm.hidden_probabilities(torch.tensor(USERS[3:4])).detach()[0], pull.sigmoid())


def test_energy_and_log_z_of_each_form_are_enumerated() -> None:
    rbm, x = machine(), torch.tensor(USERS)
    energies = torch.stack([-weight(rbm, row).log() for row in USERS])
    torch.testing.assert_close(rbm.free_energy(x).detach(), energies)
    found = log_likelihood(rbm, x)
    for user, row in enumerate(USERS):
        cells = [range(LEVELS) if 0 <= code < LEVELS else [code] for code in row]
        log_z = torch.stack([weight(rbm, list(each)) for each in itertools.product(*cells)]).sum().log()
        torch.testing.assert_close(found.values[user], -energies[user] - log_z)
    means = rbm.visible_means(torch.ones(5, HIDDEN).double(), like=x)
    assert means.shape == (5, FILMS, LEVELS + 1)
    told = (x >= 0) & (x < LEVELS)
    torch.testing.assert_close(means[..., :LEVELS].sum(2), told.double())
    assert torch.equal(means[..., LEVELS], (x >= 0).double())


def test_gibbs_steps_draw_the_conditional_and_keep_the_form() -> None:
    rbm, n = machine(), 40_000
    row = USERS[4]
    torch.manual_seed(0)
    drawn = rbm.gibbs_step(torch.tensor([row]).expand(n, -1))
    assert torch.equal(drawn[:, [1, 3]], torch.tensor([[3, -1]]).expand(n, -1))
    states = list(itertools.product((0, 1), repeat=HIDDEN))
    p_h = torch.stack([minus_energy(rbm, row, h) for h in states]).softmax(0)
    given = torch.stack([torch.stack([minus_energy(rbm, [k, 3, 2, -1], h) for k in range(LEVELS)]) for h in states])
    shares = torch.bincount(drawn[:, 0], minlength=LEVELS) / n
    assert (shares - p_h @ given.softmax(1)).abs().max() < 4.5 * 0.5 / n**0.5


def test_gradients_are_those_of_a_machine_of_the_films_rated() -> None:
    """Rows that lack the same film against a machine built without it, and all against autograd."""
    alone = UNITS | {"common": 0.0}
    whole, small = machine(alone, seed=1), RBM(2, hidden=HIDDEN, visible=alone).double()
    with torch.no_grad():
        for mine, theirs in zip(small.parameters(), whole.parameters(), strict=True):
            by_film = theirs.view(FILMS, LEVELS + 1, -1)[[0, 2]] if theirs is not whole.hidden_bias else theirs
            mine.copy_(by_film.reshape(mine.shape))
    x, chains = torch.tensor([[0, -1, 2, -1], [1, -1, 0, -1]]), torch.tensor([[2, -1, 2, -1], [0, -1, 1, -1]])
    gap, gradients, _ = whole.contrast(x, chains, 0)
    expected_gap, expected, _ = small.contrast(x[:, [0, 2]], chains[:, [0, 2]], 0)
    torch.testing.assert_close(gap(), expected_gap())
    for found, wanted in zip(gradients[:2], expected[:2], strict=True):
        cells = found.view(FILMS, LEVELS + 1, -1)
        torch.testing.assert_close(cells[[0, 2]].reshape(wanted.shape), wanted)
        assert not cells[[1, 3]].any()
    torch.testing.assert_close(gradients[2], expected[2])
    whole = machine(seed=1)
    rows, others = torch.tensor(USERS), torch.tensor(USERS).roll(1, 0)
    loss = whole.free_energy(rows).mean() - whole.free_energy(others[:3]).mean()
    ours = whole.contrast(rows, others[:3], 1)[1]
    for found, wanted in zip(ours, torch.autograd.grad(loss, list(whole.parameters())), strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_film_that_nobody_rated_begins_as_the_average_one() -> None:
    rbm = RBM(3, hidden=2, visible=UNITS | {"prior": 2.0})
    rbm.initialise(torch.tensor([[0, 1, -1], [2, 3, 3], [2, -1, -1]]))
    shares = torch.tensor([2 / 7, 2 / 7, 3 / 7])  # each level once more
    bias = rbm.visible_bias.detach().view(3, LEVELS + 1)[:, :LEVELS]
    torch.testing.assert_close(bias[2].softmax(0), shares)
    torch.testing.assert_close(bias[0].softmax(0), (torch.tensor([1, 0, 2]) + 2 * shares) / 5)


def test_recommended_are_the_best_of_the_films_not_seen() -> None:
    recommender = Recommender(machine(), NAMES)
    x = recommender.rows({"Heat (1995)": 3, "Alien (1979)": None}, {"Casino (1995)": 1})
    assert x.tolist() == [[2, 3, -1, -1], [-1, -1, -1, 0]]
    expected = recommender.predict(x)
    assert float(expected[0, 0]) == 3
    for user, unseen in enumerate(([2, 3], [0, 1, 2])):
        best = sorted(unseen, key=lambda film: -float(expected[user, film]))
        found = recommender.recommend(x, 10)[user]
        assert [name for name, _ in found] == [NAMES[film] for film in best]
        assert [value for _, value in found] == pytest.approx([float(expected[user, film]) for film in best])
    assert len(recommender.recommend(x, 1)[1]) == 1
    assert len(recommender.popular()) == FILMS


def test_what_cannot_be_asked_is_said_in_a_sentence() -> None:
    recommender = Recommender(machine(), NAMES, scale=(0.5, 1, 1.5))
    with pytest.raises(ValueError, match=r"'Heat \(1995\)' is rated 7, which is not on the scale 0.5, 1, 1.5"):
        recommender.rows({"Heat (1995)": 7})
    with pytest.raises(ValueError, match=r"user 1 rates 'Fargo \(1996\)' with the code 4; the scale's codes are 0..2"):
        recommender.predict(torch.tensor([[0, -1, 1, 1], [-1, 3, 4, 0]]))
    with pytest.raises(ValueError, match=r"user 1 has no ratings to recommend by; ask popular\(n\)"):
        recommender.recommend(recommender.rows({"Heat (1995)": 1}, {}))
    with pytest.raises(ValueError, match=r"no film 'fargo'; did you mean 'Fargo \(1996\)'\?"):
        recommender.rows({"fargo": 1})
    with pytest.raises(ValueError, match=r"no film 'Alein \(1979\)'; did you mean 'Alien \(1979\)'"):
        recommender.rows({"Alein (1979)": 1})
    with pytest.raises(ValueError, match="no film 'Zzyzx' among these 4"):
        recommender.rows({"Zzyzx": 1})
    with pytest.raises(ValueError, match="None, which is not on the scale"):
        Recommender(machine({"kind": "softmax", "levels": LEVELS}), NAMES).rows({"Heat (1995)": None})


@pytest.mark.parametrize(
    "rbm, films, scale, message",
    [
        (RBM(4), NAMES, None, 'kind "ratings" or "softmax"'),
        (machine(), NAMES[:3], None, "4 films"),
        (machine(), (*NAMES[:3], NAMES[0]), None, "a name of its own"),
        (machine(), NAMES, (1, 2), "each of the 3 levels, not 2"),
    ],
)
def test_refuses_what_makes_no_recommender(rbm: RBM, films: tuple, scale: tuple | None, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Recommender(rbm, films, scale=scale)


def test_a_prior_is_a_positive_number() -> None:
    with pytest.raises(ValueError, match="prior must be a positive number of ratings, not 0"):
        RBM(3, visible=UNITS | {"prior": 0})
    with pytest.raises(ValueError, match="common must be a number of at least 0, not -1"):
        RBM(3, visible=UNITS | {"common": -1})


def test_fitted_to_tastes_it_knows_more_than_each_films_mean() -> None:
    data = simulated_tastes(300)
    values = torch.tensor(data.scale)
    known, held_out = data.train != -1, data.test != -1
    stars = torch.where(known, values[data.train.clamp(min=0)], 0.0)
    means = (stars.sum(0) / known.sum(0)).expand(len(known), -1)
    item = float((means[held_out] - values[data.test[held_out]]).square().mean().sqrt())
    torch.manual_seed(0)
    rbm = RBM(len(data.films), hidden=20, visible={"kind": "ratings", "levels": 5})
    rbm.initialise(data.seen)
    objective = ContrastiveDivergence(1, DataChains())
    fit(rbm, data.seen, objective, steps=300, batch_size=50, lr=0.01, progress=False)
    recommender = Recommender(rbm, data.films, scale=data.scale)
    assert recommender.rmse(data.seen, data.test) < 0.85 * item
    told = recommender.rows({film: 5 if film.startswith("western") else 1 for film in data.films[:20]})
    best = [film for film, _ in recommender.recommend(told, 5)[0]]
    assert not set(best) & set(data.films[:20])


# ---- data


def test_a_tenth_of_each_users_ratings_is_held_out_twice() -> None:
    data = simulated_tastes(50)
    parts = [part != -1 for part in (data.train, data.validation, data.test)]
    together = sum(part.long() for part in parts)
    assert int(together.max()) == 1
    tenth = (together.sum(1) / 10).round().long()
    assert torch.equal(parts[1].sum(1), tenth) and torch.equal(parts[2].sum(1), tenth)
    assert torch.equal(data.seen == 5, parts[1] | parts[2])
    assert torch.equal(simulated_tastes(50).train, data.train)
    assert not torch.equal(simulated_tastes(50, seed=1).train, data.train)


def test_movielens_is_read_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    with pytest.raises(Missing, match=r"grouplens\.org"):
        movielens()
    folder = tmp_path / "movielens"
    folder.mkdir()
    (folder / "movies.csv").write_text("movieId,title,genres\n7,Emma (1996),x\n3,Heat (1995),y\n90,Emma (1996),x\n")
    (folder / "ratings.csv").write_text("userId,movieId,rating,timestamp\n5,90,0.5,1\n2,3,5.0,1\n2,7,3.5,1\n")
    data = movielens()
    assert data.films == ("Emma (1996) [7]", "Heat (1995)", "Emma (1996) [90]")
    assert data.train.tolist() == [[6, 9, -1], [-1, -1, 0]] and data.scale[6] == 3.5
    assert repr(data) == "Ratings(movielens: 2 users, 3 films; ratings: 3 train, 0 validation, 0 test)"
    (folder / "movies.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="with the columns movieId, title"):
        movielens()
    assert zoo.Recommender is Recommender
