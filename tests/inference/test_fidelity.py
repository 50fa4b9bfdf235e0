"""Precision, recall, density and coverage against their definitions, and the features of a small classifier."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from inference.quality import classifier_features, fidelity


def normal(n: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


def by_definition(data: Tensor, samples: Tensor, k: int) -> tuple[float, float, float, float]:
    def reach(rows: Tensor) -> list[float]:
        return [sorted(float((a - b).norm()) for b in rows)[k] for a in rows]

    gap = [[float((a - b).norm()) for b in samples] for a in data]
    of_data, of_samples = reach(data), reach(samples)
    n, m = len(data), len(samples)
    inside = [[gap[i][j] <= of_data[i] for j in range(m)] for i in range(n)]
    precision = sum(any(inside[i][j] for i in range(n)) for j in range(m)) / m
    recall = sum(any(gap[i][j] <= of_samples[j] for j in range(m)) for i in range(n)) / n
    density = sum(sum(row) for row in inside) / (k * m)
    return precision, recall, density, sum(any(row) for row in inside) / n


@pytest.mark.parametrize(("k", "shift"), [(1, 0.0), (3, 0.7), (5, 1.5)])
def test_all_four_are_what_their_definitions_say(k: int, shift: float):
    data, samples = normal(40, 0), normal(55, 1, shift)
    found = fidelity(data, samples, k=k)
    assert [each.value for each in found] == pytest.approx(by_definition(data, samples, k), abs=1e-12)


def test_they_are_the_same_block_by_block(monkeypatch):
    data, samples = normal(40, 0), normal(55, 1, 0.7)
    monkeypatch.setattr("inference.quality.neighbours.BLOCK", 16)
    found = fidelity(data, samples, k=3)
    assert [each.value for each in found] == pytest.approx(by_definition(data, samples, 3), abs=1e-12)


def test_modes_left_out_cost_recall_and_rows_far_away_precision():
    data = torch.cat([normal(300, 0), normal(300, 1, 30.0)])
    one_mode = fidelity(data, normal(600, 2))
    assert one_mode.precision.value > 0.9 and one_mode.recall.value < 0.51 and one_mode.coverage.value < 0.51
    half_noise = fidelity(data, torch.cat([data[::2] + 0.01, normal(300, 3, 1000.0)]))
    assert half_noise.precision.value == pytest.approx(0.5) and half_noise.coverage.value > 0.95


def test_the_same_distribution_covers_itself_by_one_less_a_half_to_the_k():
    found = fidelity(normal(2000, 0), normal(2000, 1), k=5)
    assert found.coverage.value == pytest.approx(1 - 0.5**5, abs=0.02)  # Naeem et al., equation 10
    assert found.density.value == pytest.approx(1, abs=0.05)
    assert found.coverage.error == pytest.approx((0.97 * 0.03 / 2000) ** 0.5, rel=0.3)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="two sets of rows"):
        fidelity(normal(9, 0), normal(9, 1)[:, :2])
    with pytest.raises(ValueError, match="k must be at least 1 and below the 5 rows, not 5"):
        fidelity(normal(5, 0), normal(9, 1))


@pytest.mark.parametrize(("image", "epochs"), [(True, 15), (False, 40)])
def test_classes_are_nearer_each_other_in_the_features_than_in_the_pixels(image: bool, epochs: int):
    digits = load_digits()
    x, y = torch.tensor(digits.data).float(), torch.tensor(digits.target)
    x = x.reshape(-1, 1, 8, 8) if image else x
    features = classifier_features(x[:900], y[:900], epochs=epochs)

    def by_nearest_mean(rows: Tensor) -> float:
        means = torch.stack([rows[:900][y[:900] == c].mean(0) for c in range(10)])
        return (torch.cdist(rows[900:], means).argmin(1) == y[900:]).double().mean().item()

    assert by_nearest_mean(features(x)) > by_nearest_mean(x.flatten(1).double()) + 0.02
    assert features(x).shape == (1797, 32)


def test_the_name_tells_what_the_features_were_taught_on():
    x, y = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, again = (classifier_features(x, y, epochs=1) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.name == again.name and torch.equal(first(x), again(x))
    others = [classifier_features(x, 1 - y, epochs=1), classifier_features(x, y, epochs=1, seed=1)]
    assert len({first.name, *(other.name for other in others)}) == 3
    with pytest.raises(ValueError, match="labels must be codes, one for each of 40 rows"):
        classifier_features(x, y[:5])
    with pytest.raises(ValueError, match="x is constant"):
        classifier_features(torch.ones(40, 6), y)
