"""Each kind of visible units against enumeration: of all x and h, or, of real numbers, by quadrature."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import zoo
from inference.fit import fit
from inference.likelihood import Ais, log_likelihood
from inference.objectives import ContrastiveDivergence, DataChains
from zoo.rbm import RBM
from zoo.spec import SpecError
from zoo.visible_gaussian import GaussianUnits

KINDS: dict[str, Any] = {
    "bernoulli": "bernoulli",
    "gaussian": {"kind": "gaussian"},
    "learned": {"kind": "gaussian", "variance": "learned"},
    "softmax": {"kind": "softmax", "levels": 3},
    "words": {"kind": "replicated_softmax", "length": 4},
}
FEATURES = {"bernoulli": 4, "gaussian": 2, "learned": 2, "softmax": 3, "words": 3}
HIDDEN = 2


def machine(kind: str, seed: int = 0, scale: float = 0.7) -> RBM:
    generator = torch.Generator().manual_seed(seed)
    rbm = RBM(FEATURES[kind], hidden=HIDDEN, visible=KINDS[kind]).double()
    with torch.no_grad():
        for parameter in rbm.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return rbm


def grid(kind: str) -> tuple[Tensor, float]:
    """All x, or a fine grid of them, and the volume of each."""
    if kind == "bernoulli":
        return torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64), 1.0
    if kind == "softmax":
        return torch.tensor(list(itertools.product(range(3), repeat=3))), 1.0
    if kind == "words":
        every = itertools.product(range(5), repeat=3)
        return torch.tensor([row for row in every if sum(row) == 4], dtype=torch.float64), 1.0
    line = torch.linspace(-12, 12, 401, dtype=torch.float64)
    return torch.cartesian_prod(line, line), float(line[1] - line[0]) ** 2


def states() -> Tensor:
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=HIDDEN)), dtype=torch.float64)


def minus_energy(kind: str, rbm: RBM, x: Tensor, h: Tensor) -> Tensor:
    """-E(x, h) as the papers write it, [N, 2^hidden], a number at a time."""
    weights, b, c = (p.detach() for p in (rbm.weights, rbm.visible_bias, rbm.hidden_bias))
    total = torch.zeros(len(x), len(h), dtype=torch.float64)
    for j in range(HIDDEN):
        words = x.sum(1) if kind == "words" else torch.ones(len(x), dtype=torch.float64)
        total += words[:, None] * c[j] * h[:, j]
    for i in range(x.shape[1]):
        if kind == "softmax":
            for level in range(3):
                at = (x[:, i] == level).double()
                total += at[:, None] * (b[3 * i + level] + h @ weights[3 * i + level])
            continue
        pull = h @ weights[i]
        if kind in ("gaussian", "learned"):
            s = float(rbm.visible.log_scale[i].detach().exp())
            total += (x[:, i, None] * pull) / s**2 - (0.5 * (x[:, i] - b[i]).square() / s**2)[:, None]
            total += 0.5 * b[i] ** 2 / s**2  # a constant, which free energies leave out
        else:
            total += x[:, i, None] * (pull + b[i])
    if kind == "words":
        ways = [math.log(math.factorial(int(r.sum())) / math.prod(math.factorial(int(v)) for v in r)) for r in x]
        total += torch.tensor(ways, dtype=torch.float64)[:, None]
    return total


def exact(kind: str, rbm: RBM) -> tuple[Tensor, Tensor, Tensor]:
    """All x, the joint p(x, h) of each cell of the grid, and log Z."""
    x, volume = grid(kind)
    table = minus_energy(kind, rbm, x, states()) + math.log(volume)
    log_z = table.flatten().logsumexp(0)
    return x, (table - log_z).exp(), log_z


@pytest.mark.parametrize("kind", KINDS)
def test_energies_and_log_z_are_those_of_the_joint(kind: str) -> None:
    rbm = machine(kind)
    x, joint, log_z = exact(kind, rbm)
    torch.testing.assert_close(rbm.log_partition(), log_z, rtol=1e-7, atol=1e-7)
    expected = -minus_energy(kind, rbm, x, states()).logsumexp(1)
    torch.testing.assert_close(rbm.free_energy(x).detach(), expected)
    total = log_likelihood(rbm, x[joint.sum(1) > 1e-30]).values.exp().sum() * grid(kind)[1]
    assert float(total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_conditionals_are_those_of_the_joint(kind: str) -> None:
    rbm = machine(kind, seed=1)
    x, joint, _ = exact(kind, rbm)
    likely = joint.sum(1) > 1e-12
    torch.testing.assert_close(
        rbm.hidden_probabilities(x).detach()[likely], ((joint / joint.sum(1, keepdim=True)) @ states())[likely]
    )
    given_h = joint / joint.sum(0)
    statistics = torch.nn.functional.one_hot(x, 3).double() if kind == "softmax" else x
    means = torch.einsum("xh,x...->h...", given_h, statistics)
    torch.testing.assert_close(rbm.visible_means(states()).detach(), means, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_rows_and_gibbs_steps_follow_the_marginal(kind: str) -> None:
    """Mean and second moments of draws, and of the same rows a step later, which would betray a step that moves p."""
    rbm, n = machine(kind, seed=2), 20_000
    x, joint, _ = exact(kind, rbm)
    torch.manual_seed(0)
    draws = rbm.exact_rows(n)
    for rows in (draws, rbm.gibbs_step(draws)):
        for power in (1, 2):
            values = x.double() ** power
            mean = joint.sum(1) @ values
            error = ((joint.sum(1) @ values.square() - mean.square()) / n).sqrt()
            assert ((rows.double() ** power).mean(0) - mean).abs().le(4.5 * error).all()
        cross = joint.sum(1) @ (x[:, 0] * x[:, 1]).double()
        products = (rows[:, 0] * rows[:, 1]).double()
        assert float((products.mean() - cross).abs()) < 4.5 * float(products.std()) / math.sqrt(n)


@pytest.mark.parametrize("kind", KINDS)
def test_contrast_is_the_gradient_at_the_chains_rows(kind: str) -> None:
    rbm = machine(kind, seed=3)
    torch.manual_seed(0)
    x, chains = rbm.exact_rows(12), rbm.exact_rows(7)
    if kind == "softmax":
        x[0, 1] = x[3, 0] = -1
    gap, gradients, moved = rbm.contrast(x, chains, 2)
    assert moved.shape == chains.shape and moved.dtype == chains.dtype
    loss = rbm.free_energy(x).mean() - rbm.free_energy(chains).mean()
    autograds = torch.autograd.grad(loss, list(rbm.parameters()))
    assert len(gradients) == len(autograds)
    for ours, expected in zip(gradients, autograds, strict=True):
        torch.testing.assert_close(ours, expected)
    assert torch.isfinite(gap()) and not gap().requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_the_contrast_with_the_model_itself_is_the_likelihoods_gradient(kind: str) -> None:
    """Contrastive divergence in the infinite limit: chains weighted as the enumerated model."""
    rbm = machine(kind, seed=4, scale=0.5)
    x, _ = grid(kind)
    torch.manual_seed(0)
    data, n = rbm.exact_rows(30), 40_000
    _, gradients, _ = rbm.contrast(data, rbm.exact_rows(n), 0)
    energies = rbm.free_energy(x)
    nll = rbm.free_energy(data).mean() + (-energies).logsumexp(0)
    for ours, expected in zip(gradients, torch.autograd.grad(nll, list(rbm.parameters())), strict=True):
        assert (ours - expected).abs().max() < 4.5 * 3 / math.sqrt(n)


def test_a_missing_rating_is_no_unit_at_all() -> None:
    """Energy, log Z and gradient are those of a machine built without the cell."""
    whole, small = machine("softmax"), RBM(2, hidden=HIDDEN, visible=KINDS["softmax"]).double()
    with torch.no_grad():
        small.weights.copy_(whole.weights[[0, 1, 2, 6, 7, 8]])
        small.visible_bias.copy_(whole.visible_bias[[0, 1, 2, 6, 7, 8]])
        small.hidden_bias.copy_(whole.hidden_bias)
    rows = torch.tensor([[0, -1, 2], [1, -1, 0]])
    rest = rows[:, [0, 2]]
    torch.testing.assert_close(whole.free_energy(rows), small.free_energy(rest))
    torch.testing.assert_close(whole.machine(rows[:1]).log_partition(), small.log_partition())
    torch.testing.assert_close(log_likelihood(whole, rows).values, log_likelihood(small, rest).values)
    assert torch.equal(whole.gibbs_step(rows)[:, 1], rows[:, 1])
    assert not whole.visible_means(torch.ones(2, 2).double(), like=rows)[:, 1].any()


def test_documents_of_each_length_have_their_own_log_z() -> None:
    rbm = machine("words")
    rows = torch.tensor([[1.0, 0, 0], [0, 2, 3], [2, 2, 0], [0, 0, 1]])
    found = log_likelihood(rbm, rows.double())
    for length, index in ((1, [0, 3]), (5, [1]), (4, [2])):
        every = [r for r in itertools.product(range(length + 1), repeat=3) if sum(r) == length]
        log_z = (-rbm.free_energy(torch.tensor(every, dtype=torch.float64))).logsumexp(0)
        torch.testing.assert_close(found.values[index], (-rbm.free_energy(rows[index].double()) - log_z).detach())
    annealed = log_likelihood(rbm, rows.double(), method=Ais(200, 50))
    assert annealed.kind == "estimate" and found.kind == "exact"
    assert annealed.standard_error is not None
    assert ((annealed.values - found.values).abs() < 4 * annealed.standard_error + 1e-3).all()
    assert torch.equal(rbm.gibbs_step(rows.double()).sum(1), rows.double().sum(1))


@pytest.mark.parametrize("kind", ["learned", "softmax", "words"])
def test_fitted_it_comes_near_what_made_the_rows(kind: str) -> None:
    truth = machine(kind, seed=5, scale=1.2)
    torch.manual_seed(0)
    x = truth.exact_rows(2000).to(torch.float32 if kind != "softmax" else torch.long)
    rbm = RBM(FEATURES[kind], hidden=HIDDEN, visible=KINDS[kind])
    fit(rbm, x, ContrastiveDivergence(2, chains=200), steps=600, batch_size=200, lr=0.03, progress=False)
    gap = log_likelihood(truth, x) - log_likelihood(rbm, x)
    assert -0.01 < gap.mean < 0.03


def test_rows_that_differ_in_form_are_fitted_by_chains_of_their_own() -> None:
    x = torch.tensor([[1, -1, 0], [2, 2, -1]] * 8)
    fit(RBM(3, hidden=2, visible=KINDS["softmax"]), x, steps=3, progress=False)
    with pytest.raises(ValueError, match=r"take chains=DataChains\(\)"):
        fit(RBM(3, hidden=2, visible=KINDS["softmax"]), x, ContrastiveDivergence(chains=5), steps=3, progress=False)
    objective = ContrastiveDivergence(chains=DataChains())
    fit(RBM(3, hidden=2, visible=KINDS["words"]), x.clamp(min=0).float(), objective, steps=3, progress=False)


def test_initialise_gives_free_units_the_rows_means() -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 2) * torch.tensor([0.5, 3.0]) + torch.tensor([1.0, -2.0])
    rbm = RBM(2, hidden=3, visible=KINDS["learned"])
    rbm.initialise(x)
    torch.testing.assert_close(rbm.visible_bias.detach(), x.mean(0))
    torch.testing.assert_close(rbm.visible.log_scale.exp().detach(), x.std(0))
    start = rbm.start(20_000)
    torch.testing.assert_close(start.std(0), x.std(0), rtol=0.03, atol=0)
    ratings = RBM(2, hidden=3, visible=KINDS["softmax"])
    ratings.initialise(torch.tensor([[0, 1], [0, -1], [2, -1]]))
    shares = torch.tensor([[3 / 6, 1 / 6, 2 / 6], [1 / 4, 2 / 4, 1 / 4]])
    torch.testing.assert_close(ratings.visible_bias.view(2, 3).softmax(1).detach(), shares)


@pytest.mark.parametrize(
    "visible, message",
    [
        ("gausian", "gaussian"),
        ({"kind": "gaussian", "variance": "free"}, "variance"),
        ({"kind": "softmax", "levels": 1}, "levels"),
        ({"kind": "softmax", "levls": 3}, "levels"),
        ({"kind": "replicated_softmax", "length": 0}, "length"),
        (GaussianUnits(5), "5 features, but a row has 3"),
        (torch.nn.Linear, "."),
    ],
)
def test_refuses_units_that_are_none(visible: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        RBM(3, visible=visible)


def test_ratings_outside_the_scale_are_refused_by_place() -> None:
    rbm = RBM(3, hidden=2, visible=KINDS["softmax"])
    with pytest.raises(ValueError, match="value 3 at row 1, column 2"):
        fit(rbm, torch.tensor([[0, 1, -1], [2, 2, 3]]), steps=1, progress=False)


def test_a_spec_names_the_units_and_is_saved(tmp_path: Any) -> None:
    spec = {"family": "rbm", "hidden": 2, "visible": {"kind": "softmax", "levels": 3}}
    model = zoo.build(spec, event_shape=4)
    zoo.save(model, tmp_path / "run")
    x = torch.tensor([[0, 2, -1, 1]])
    assert torch.equal(zoo.load(tmp_path / "run").free_energy(x), model.free_energy(x))
    built = RBM(4, visible=GaussianUnits(4, variance="learned"))
    assert built.measure == "density" and RBM(4, visible=GaussianUnits).support is built.support
    with pytest.raises(SpecError, match="visible"):
        zoo.build({"family": "rbm", "visible": 3}, event_shape=4)
