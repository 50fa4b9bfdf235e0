"""The classification RBM against all states of rows, classes and hidden units."""

from __future__ import annotations

import itertools

import pytest
import torch

from inference import query
from inference.ais import ais
from inference.fit import fit
from inference.objectives import ContrastiveDivergence, Discriminative, HybridDivergence
from inference.query import ClampedChains
from tests.zoo.bit_machines import states
from zoo.classification_rbm import ClassificationRBM

WIDTH, CLASSES, HIDDEN = 3, 3, 2


def machine(seed: int = 0) -> ClassificationRBM:
    torch.manual_seed(seed)
    model = ClassificationRBM(WIDTH + CLASSES, classes=CLASSES, hidden=HIDDEN).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def all_rows() -> torch.Tensor:
    """Every x with every class, [classes * 2^width, width + classes]."""
    pairs = itertools.product(range(CLASSES), states(WIDTH))
    return torch.stack([torch.cat([x, torch.eye(CLASSES, dtype=torch.float64)[y]]) for y, x in pairs])


@torch.no_grad()
def table(model: ClassificationRBM) -> torch.Tensor:
    """-E of each of `all_rows` and each h, term by term."""
    found = []
    for row in all_rows():
        x, y = row[:WIDTH], int(row[WIDTH:].argmax())
        for h in states(HIDDEN):
            value = model.class_bias[y].clone()
            for i, j in itertools.product(range(WIDTH), range(HIDDEN)):
                value += x[i] * model.weights[i, j] * h[j]
            for j in range(HIDDEN):
                value += (model.class_weights[y, j] + model.hidden_bias[j]) * h[j]
            for i in range(WIDTH):
                value += model.visible_bias[i] * x[i]
            found.append(value)
    return torch.stack(found).view(len(all_rows()), -1)


def test_free_energy_and_log_partition_are_the_sums() -> None:
    model = machine()
    torch.testing.assert_close(model.free_energy(all_rows()), -table(model).logsumexp(1))
    torch.testing.assert_close(model.log_partition(), table(model).flatten().logsumexp(0))


def test_a_row_without_a_class_has_it_summed_out() -> None:
    model = machine()
    x = torch.cat([states(WIDTH), torch.zeros(2**WIDTH, CLASSES).double()], 1)
    exact = table(model).logsumexp(1).view(CLASSES, -1).logsumexp(0)
    torch.testing.assert_close(model.free_energy(x), -exact)
    model.check(x)
    assert (model.gibbs_step(x)[:, WIDTH:].sum(1) == 1).all()


def test_the_class_is_told_as_the_joint_says() -> None:
    model = machine()
    exact = table(model).logsumexp(1).view(CLASSES, -1).softmax(0).t()
    torch.testing.assert_close(model.class_probabilities(states(WIDTH)), exact)
    answer = query(model, "y", given={"x": states(WIDTH)})
    assert answer.kind == "exact"
    torch.testing.assert_close(torch.as_tensor(answer["y"].values), exact)


def test_gradients_of_the_objectives_are_those_of_the_exact_likelihoods() -> None:
    model, rows = machine(), all_rows()[[1, 9, 20]]
    x, y = model.split(rows)
    joint = -model.free_energy(all_rows()).view(CLASSES, -1)
    place = (x @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long()
    exact = -(joint.log_softmax(0)[y.argmax(1), place]).mean()
    torch.testing.assert_close(Discriminative()(model, rows).value, exact)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(Discriminative()(model, rows).value, parameters, allow_unused=True)
    autograds = torch.autograd.grad(exact, parameters)
    for name, mine, theirs in zip(dict(model.named_parameters()), ours, autograds, strict=True):
        torch.testing.assert_close(torch.zeros_like(theirs) if mine is None else mine, theirs)
        assert (mine is None) == (name == "visible_bias")


def test_the_hybrid_is_the_sum_of_its_parts() -> None:
    model, rows = machine(), all_rows()[[1, 9, 20]]
    objective = HybridDivergence(alpha=0.3, chains=50)
    objective.prepare(model, rows)
    chains = objective.chains.state
    found = objective(model, rows)
    gap = model.free_energy(rows).mean() - model.free_energy(chains).mean()
    torch.testing.assert_close(found.value, Discriminative()(model, rows).value + 0.3 * gap)
    assert set(found.terms) == {"loss", "classification", "free_energy_gap"}
    with pytest.raises(ValueError, match="alpha must not be negative"):
        HybridDivergence(alpha=-1.0)


def test_gibbs_keeps_the_distribution() -> None:
    model, every = machine(), all_rows()
    p = table(model).logsumexp(1).softmax(0)
    torch.manual_seed(1)
    draws = 40_000
    after = model.gibbs_step(every[torch.multinomial(p, draws, replacement=True)])
    assert (after[:, WIDTH:].sum(1) == 1).all()
    share = (after[:, None] == every[None]).all(-1).double().mean(0)
    assert ((share - p).abs() < 5 * (p * (1 - p) / draws).sqrt() + 1e-4).all()


def test_ais_finds_log_z() -> None:
    model = machine()
    found = ais(model, chains=256, temperatures=150, data=all_rows()[:5], seed=1)
    assert abs(found.value.item() - model.log_partition().item()) < 4 * found.standard_error.item() + 0.01
    assert found.standard_error.item() < 0.1


def gapped() -> torch.Tensor:
    nan = float("nan")
    return torch.tensor(
        [
            [1, nan, 0, nan, nan, nan],
            [nan, nan, 1, 0, nan, nan],
            [nan, 0, 1, nan, 1, nan],
            [nan] * 6,
            [0, 1, 1, 0, 0, 1],
        ],
        dtype=torch.float64,
    )


def truth(model: ClassificationRBM, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    fits = (row.isnan() | (all_rows() == row)).all(1)
    log_p = table(model).flatten().log_softmax(0).view(len(fits), -1).masked_fill(~fits[:, None], -torch.inf)
    p = log_p.flatten().softmax(0).view(log_p.shape)
    return torch.cat([p.sum(1) @ all_rows(), p.sum(0) @ states(HIDDEN)]), log_p.flatten().logsumexp(0)


def test_gaps_in_rows_and_classes_are_filled_as_the_joint_says() -> None:
    model, x = machine(), gapped()
    means, evidence = (torch.stack(part) for part in zip(*(truth(model, row) for row in x), strict=True))
    answer, hidden = (query(model, target, given={"x": x}) for target in ("x", "h"))
    assert answer.kind == hidden.kind == "exact"
    torch.testing.assert_close(torch.as_tensor(answer["x"].values[..., 1]), means[:, : WIDTH + CLASSES])
    torch.testing.assert_close(torch.as_tensor(hidden["h"].values[..., 1]), means[:, WIDTH + CLASSES :])
    torch.testing.assert_close(torch.as_tensor(answer.log_evidence.values), evidence)
    chains = query(model, "x", given={"x": x}, method=ClampedChains(16, 20), draws=3200, seed=2)
    error = torch.as_tensor(chains.reliability["error"].values)[:, None]
    off = (torch.as_tensor(chains["x"].values[..., 1]) - means[:, : WIDTH + CLASSES]).abs()
    assert (off < 5 * error + 1e-9).all() and error.max() < 0.03


@pytest.mark.parametrize("objective", [Discriminative(), HybridDivergence(), ContrastiveDivergence()], ids=str)
def test_each_objective_learns_to_tell_the_class(objective) -> None:
    torch.manual_seed(0)
    y = torch.randint(0, 2, (600,))
    x = (torch.rand(600, 6) < torch.where(y[:, None] == 1, 0.8, 0.2)).float()
    model = ClassificationRBM(8, classes=2, hidden=4)
    rows = model.rows(x, y)
    fit(model, rows, objective, steps=400, batch_size=100, lr=0.01, seed=0, progress=False)
    assert (model.class_logits(x).argmax(1) == y).double().mean() > 0.93


def test_what_is_wrong_is_named() -> None:
    model = ClassificationRBM(6, classes=3, hidden=2)
    with pytest.raises(ValueError, match=r"row 1: the last 3 columns must be a class as one-hot.*not several"):
        model.check(torch.tensor([[0.0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 1, 0]]))
    with pytest.raises(ValueError, match=r"class 0\.\.2"):
        model.rows(torch.zeros(2, 3), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="event_shape must be"):
        ClassificationRBM(3, classes=3)
    with pytest.raises(ValueError, match="3 zeros and ones, without their class"):
        query(model, "y", given={"x": torch.zeros(2, 6)})
    x = torch.tensor([[float("nan"), 1, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match="row 0: what is known leaves no class possible"):
        query(model, "x", given={"x": x})
