"""RBMs of numbers and of codes asked about a part of a row: against enumeration and quadrature; chains against sums."""

import pytest
import torch
from torch import Tensor

import zoo.held
from inference import query
from zoo.rbm import RBM


def machine(visible: object, features: int = 3, hidden: int = 3) -> RBM:
    torch.manual_seed(1)
    model = RBM(features, hidden=hidden, visible=visible).double()  # type: ignore[arg-type]
    for parameter in model.parameters():
        parameter.data = 0.7 * torch.randn_like(parameter)
    return model


def asked(model: RBM, x: Tensor, **settings: object) -> Tensor:
    return query(model, "x", given={"x": x}, **settings)  # type: ignore[arg-type]


def test_codes_are_those_of_the_sum_over_all_rows() -> None:
    model = machine({"kind": "softmax", "levels": 3})
    x = torch.tensor([[-1, 2, -1], [-1, -1, -1], [1, 0, -1]])
    answer = asked(model, x)
    assert answer.kind == "exact"
    rows = torch.cartesian_prod(*[torch.arange(3)] * 3)
    p = (-model.free_energy(rows)).exp()
    for found, given in zip(torch.as_tensor(answer["x"].values), x, strict=True):
        agrees = ((given == -1) | (rows == given)).all(1) * p
        for cell in range(3):
            wanted = torch.stack([agrees[rows[:, cell] == level].sum() for level in range(3)]) / agrees.sum()
            torch.testing.assert_close(found[cell], wanted.detach())


@pytest.mark.parametrize("variance", ["unit", "learned"])
def test_numbers_are_those_of_quadrature(variance: str) -> None:
    model = machine({"kind": "gaussian", "variance": variance}, features=2)
    x = torch.tensor([[float("nan"), 0.8], [float("nan"), float("nan")]], dtype=torch.float64)
    found = torch.as_tensor(asked(model, x)["x"].values)
    grid = torch.linspace(-14, 14, 1401, dtype=torch.float64)
    for row, others in enumerate((torch.tensor([0.8], dtype=torch.float64), grid)):
        pairs = torch.cartesian_prod(grid, others)
        p = (-model.free_energy(pairs)).exp()
        p = p / p.sum()
        mean = (p * pairs[:, 0]).sum()
        sd = (p * (pairs[:, 0] - mean).square()).sum().sqrt()
        torch.testing.assert_close(found[row, 0], torch.stack([mean, sd]).detach(), atol=1e-6, rtol=1e-6)
    assert found[0, 1].tolist() == [0.8, 0.0]


@pytest.mark.parametrize("visible", ["gaussian", {"kind": "softmax", "levels": 3}])
def test_chains_of_larger_machines_agree_with_the_sum(visible: object, monkeypatch: pytest.MonkeyPatch) -> None:
    model = machine(visible)
    x = torch.tensor([[-1, 2, -1], [1, 0, -1]])
    if visible == "gaussian":
        x = torch.where(x == -1, torch.nan, x.double())
    exact = torch.as_tensor(asked(model, x)["x"].values)
    monkeypatch.setattr(zoo.held, "MOST_HIDDEN", 2)
    answer = asked(model, x, draws=4000, seed=0)
    found = torch.as_tensor(answer["x"].values)
    assert answer.kind == "estimate" and "4 chains" in answer.method
    assert float(answer.reliability["r_hat_max"]) < 1.05
    torch.testing.assert_close(found[..., : exact.shape[-1]], exact, atol=0.1, rtol=0)
    if visible == "gaussian":
        known = ~x.isnan()
        assert torch.equal(found[..., 0][known], x[known]) and not found[..., 1:][known].any()
        assert (found[..., 0] - exact[..., 0])[~known].abs().max() < 4 * found[..., 2][~known].max()
        ess = torch.as_tensor(answer.reliability["ess"].values)[:, None]
        torch.testing.assert_close(found[..., 2], found[..., 1] / ess.sqrt())


def test_words_are_refused() -> None:
    model = RBM(4, hidden=3, visible="replicated_softmax")
    with pytest.raises((TypeError, ValueError)):
        asked(model, torch.tensor([[1.0, float("nan"), 0.0, 2.0]]))
