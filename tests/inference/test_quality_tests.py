"""Two-sample tests, memorization, usefulness and their intervals, held to what they must say of known cases."""

import math
from functools import partial

import pytest
import torch
from scipy.stats import kstest
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from inference.labelled import labelled_draws
from inference.quality import (
    bootstrap,
    classifier_features,
    classifier_test,
    judge,
    kernel_distance,
    kernel_mmd,
    memorization,
    mmd_test,
    usefulness,
)
from inference.quality.estimates import around, share


def normal(n: int, seed: int, columns: int = 3) -> Tensor:
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def within(values: list[float], level: float) -> float:
    return sum(value <= level for value in values) / len(values)


# ---- intervals


def test_a_bootstrap_interval_holds_the_truth_as_often_as_it_says():
    means = [bootstrap(torch.mean, normal(40, i, 1), draws=150, seed=i) for i in range(200)]
    held = sum(found.low <= 0 <= found.high for found in means) / len(means)
    assert 0.95 - 4 * math.sqrt(0.95 * 0.05 / 200) < held <= 1
    a, b = normal(50, 0, 1), 2 + normal(70, 1, 1)
    two = bootstrap(lambda a, b: a.mean() - b.mean(), a, b, draws=2000)
    assert two.low < -2 < two.high and two.n == (50, 70)
    spread = a.var(correction=0) / 50 + b.var(correction=0) / 70
    assert two.error == pytest.approx(math.sqrt(spread), rel=0.06)


def test_intervals_of_shares_are_exact_and_say_something_of_none_and_all():
    assert share(0, 100)[:3] == pytest.approx((0, 0, 1 - 0.025 ** (1 / 100)))
    assert share(100, 100).low == pytest.approx(0.025 ** (1 / 100))
    found = around(1.0, 0.5, 10, 20)
    assert (found.low, found.high) == pytest.approx((1 - 0.98, 1 + 0.98), abs=1e-3) and found.error == pytest.approx(
        0.5
    )
    assert str(found) == "1 [0.02, 1.98] of 10 and 20 rows"


# ---- two samples


def test_the_p_of_the_mmd_is_uniform_where_nothing_differs_and_small_where_something_does():
    found = [mmd_test(normal(20, 2 * i), normal(15, 2 * i + 1), permutations=59, seed=i).p for i in range(200)]
    assert kstest(found, "uniform").pvalue > 0.005
    assert mmd_test(normal(60, 0), normal(60, 1) + 0.8).p == 1 / 500
    assert mmd_test(normal(80, 0), 1.8 * normal(80, 1)).p < 0.01


def test_the_permutations_are_those_of_the_statistic_by_definition():
    a, b = normal(7, 0), normal(5, 1) + 0.4
    found, both = mmd_test(a, b, permutations=199, bandwidth=1.1, seed=3), torch.cat([a, b])
    assert found.statistic.value == pytest.approx(kernel_mmd(a, b, bandwidth=1.1).value)
    assert found.statistic.error == pytest.approx(kernel_mmd(a, b, bandwidth=1.1).error)
    generator, reached = torch.Generator().manual_seed(3), 0
    for _ in range(199):
        order = torch.randperm(12, generator=generator)
        dealt = kernel_mmd(both[order[:7]], both[order[7:]], bandwidth=1.1).value
        reached += dealt >= found.statistic.value - 1e-12
    assert found.p == (1 + reached) / 200
    assert found.p > 2 / 200  # so that the count above is of more than one


def test_the_permutations_are_the_same_block_by_block(monkeypatch):
    a, b = normal(30, 0), normal(25, 1) + 0.4
    whole = mmd_test(a, b, permutations=99)
    monkeypatch.setattr("inference.quality.two_sample.BLOCK", 8)
    assert mmd_test(a, b, permutations=99).p == whole.p


def test_a_classifier_tells_apart_what_differs_and_guesses_elsewhere():
    def neighbours():
        return KNeighborsClassifier(3)

    found = [classifier_test(normal(40, 2 * i), normal(50, 2 * i + 1), classifier=neighbours) for i in range(120)]
    assert sum(each.statistic.value for each in found) / 120 == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(120 * 40))
    assert within([each.p for each in found], 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 120)
    assert sum(each.statistic.low <= 0.5 <= each.statistic.high for each in found) > 0.9 * 120
    assert found[0].statistic.n == (40,)
    apart = classifier_test(normal(100, 0), normal(100, 1) + 4)
    assert apart.statistic.value > 0.95 and apart.p < 1e-10
    wider = classifier_test(normal(300, 0), 2 * normal(300, 1))  # of the same mean: no line tells them apart
    assert wider.statistic.value > 0.6 and wider.p < 0.001


def test_the_kernel_distance_is_that_of_its_definition_and_its_closed_form():
    a, b = normal(9, 0), normal(7, 1) + 0.3

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / 3 + 1) ** 3

    pairs = [kernel(rows, rows) for rows in (a, b)]
    inner = [(found.sum() - found.diagonal().sum()) / (len(found) * (len(found) - 1)) for found in pairs]
    assert kernel_distance(a, b).value == pytest.approx((inner[0] + inner[1] - 2 * kernel(a, b).mean()).item())
    # of one column: E (xy + 1)^3 = 1 + 3 mx my + 3 qx qy + cx cy, by the moments; the squares of their differences
    found = kernel_distance(normal(2000, 0, 1), normal(2000, 1, 1) + 1)
    assert found.value == pytest.approx(3 * 1**2 + 3 * (2 - 1) ** 2 + 4**2, abs=3 * found.error)
    null = [kernel_distance(normal(30, 2 * i), normal(30, 2 * i + 1)).value for i in range(60)]
    spread = torch.tensor(null).std().item()
    assert abs(sum(null) / 60) < 4 * spread / math.sqrt(60) and min(null) < 0


# ---- memory


def test_p_of_memory_is_never_small_by_more_than_chance(monkeypatch):
    monkeypatch.setattr("inference.quality.memory.bootstrap", partial(bootstrap, draws=40))
    found = [
        memorization(normal(40, i), normal(60, i + 1000), normal(30, i + 2000), permutations=59, seed=i)
        for i in range(10_000, 10_120)
    ]
    for p in ([each.memory.p for each in found], [each.copies.p for each in found], [each.closer.p for each in found]):
        for level in (0.05, 0.2, 0.5):  # ties make it cautious
            assert within(p, level) <= level + 3 * math.sqrt(level * (1 - level) / 120)
    assert within([each.p for each in found], 0.1) <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 120)
    assert within([each.memory.p for each in found], 0.5) > 0.25
    assert kstest([each.closer.p for each in found], "uniform").pvalue > 0.005
    assert abs(sum(each.memory.statistic.value for each in found) / 120) < 0.1
    assert sum(each.memory.statistic.low <= 0 <= each.memory.statistic.high for each in found) > 0.85 * 120


@pytest.mark.parametrize(("noise", "copied"), [(0.0, 1.0), (0.3, 1.0), (0.0, 0.25)])
def test_a_copier_is_flagged(noise: float, copied: float):
    train, held_out = normal(240, 0, 20), normal(80, 1, 20)
    samples = normal(200, 2, 20)
    count = round(copied * 200)
    samples[:count] = train[:count] + noise * normal(count, 3, 20)
    found = memorization(samples, train, held_out)
    assert found.memorizes and "knows its training rows" in str(found)
    assert found.p == pytest.approx(2 / 500)  # the least of 499 permutations, of two tests
    assert found.copies.statistic.low - 0.05 <= copied <= found.copies.statistic.high + 0.05
    assert found.copies.statistic.value == pytest.approx(copied, abs=0.12)
    assert found.copies.statistic.n == (200, 240, 80)
    nearest = found.pairs(5)
    assert all(sample == row and sample < count for sample, row, _ in nearest)
    assert all(gap == pytest.approx((samples[i] - train[j]).norm().item(), abs=1e-9) for i, j, gap in nearest)


@pytest.mark.parametrize("scale", [1.0, 0.6, 1.5])
def test_a_model_that_draws_anew_is_not_flagged_even_where_its_draws_are_too_smooth(scale: float):
    train, held_out = normal(240, 0, 20), normal(80, 1, 20)
    found = memorization(scale * normal(200, 2, 20), train, held_out)
    assert not found.memorizes and "is not seen to know" in str(found)
    assert found.copies.statistic.value == pytest.approx(0, abs=0.05)
    gaps = [torch.cdist(rows, train).amin(1) for rows in (scale * normal(200, 2, 20), held_out)]
    closer = (gaps[0][:, None] < gaps[1]).double().mean().item()
    assert found.closer.statistic.value == pytest.approx(closer) and found.closer.statistic.low < closer
    assert (found.closer.p < 1e-6) == (scale < 1)  # what only compares distances takes the smooth ones for copies


def test_samples_of_codes_tie_with_many_rows_and_are_not_flagged():
    def bits(seed: int, n: int) -> Tensor:
        return (normal(n, seed, 4) > 0).double()

    assert not memorization(bits(0, 200), bits(1, 240), bits(2, 80)).memorizes


# ---- usefulness


def classes(n: int, seed: int, shuffled: bool = False) -> tuple[Tensor, Tensor]:
    labels = torch.arange(n) % 3
    x = normal(n, seed, 2) + 3 * torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).double()[labels]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)) if shuffled else torch.arange(n)
    return x, labels[order]


def test_the_true_generator_is_as_useful_as_data_and_one_of_wrong_labels_useless():
    real, test = classes(300, 0), classes(300, 1)
    true, wrong = (usefulness(real, classes(300, 2, shuffled), test) for shuffled in (False, True))
    assert true.synthetic.low <= true.real.value <= true.synthetic.high and true.lost.low <= 0.02
    assert true.real.value == wrong.real.value > 0.8
    assert abs(wrong.synthetic.value - 1 / 3) < 0.15 and wrong.lost.low > 0.3
    assert wrong.lost.value == pytest.approx(wrong.real.value - wrong.synthetic.value)
    few = (real[0][:9], real[1][:9])
    assert usefulness(few, classes(300, 2), test).gained.low > 0
    one_class = usefulness(real, (real[0][real[1] == 0], real[1][real[1] == 0]), test)
    assert one_class.synthetic.value == pytest.approx(1 / 3)


def test_labelled_draws_give_each_class_its_context():
    class Shifted:
        def sample(self, n: int, context: Tensor) -> Tensor:
            return context + 0.01 * torch.randn(n, 2)

    contexts = torch.tensor([[0.0, 0.0], [5.0, 0.0], [0.0, 7.0]])
    x, y = labelled_draws(Shifted(), contexts, 4)
    assert y.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.allclose(x, contexts[y], atol=0.1)
    assert torch.equal(x, labelled_draws(Shifted(), contexts, 4)[0])


# ---- all together, and what is refused


def test_a_judgement_is_made_of_its_parts():
    samples, held_out, train = normal(60, 0), normal(50, 1), normal(70, 2)
    found = judge(samples, held_out, train)
    columns = found.columns()
    assert columns["memory"] == found.memory.memory.statistic.value and columns["samples"] == 60
    assert columns["precision_low"] <= columns["precision"] <= columns["precision_high"]
    assert "a classifier is right about" in found.words("mine") and "modes" not in found.words("mine")
    sample, row, gap = found.memory.pairs(1)[0]
    assert torch.equal(found.pairs.samples[0], samples[sample]) and torch.equal(found.pairs.rows[0], train[row])
    assert found.pairs.distances[0] == pytest.approx(gap)
    alone = judge(samples[:5], held_out[:5])
    assert alone.memory is None and alone.fidelity is None and math.isnan(alone.columns()["recall"])


def test_a_classifier_is_kept_whole_or_taught_again(tmp_path):
    x, y = normal(40, 0, 6), torch.arange(40) % 2
    first = classifier_features(x, y, epochs=2, folder=tmp_path / "kept")
    (file,) = (tmp_path / "kept").iterdir()
    assert file.name == f"{first.name}.safetensors"
    whole, written = file.read_bytes(), file.stat().st_mtime_ns
    again = classifier_features(x, y, epochs=2, folder=tmp_path / "kept")
    assert torch.equal(first(x), again(x)) and file.stat().st_mtime_ns == written
    assert first.name == classifier_features(x, y, epochs=2).name
    for damaged in (b"", whole[:100], whole.replace(b'"hash"', b'"hush"')):
        file.write_bytes(damaged)
        assert torch.equal(classifier_features(x, y, epochs=2, folder=tmp_path / "kept")(x), first(x))
        assert file.read_bytes() == whole
    other = classifier_features(x + 1e-9, y, epochs=2, folder=tmp_path / "kept")
    assert other.name != first.name and len(list((tmp_path / "kept").iterdir())) == 2


def test_what_is_kept_is_read_and_not_taught(tmp_path, monkeypatch):
    x, y = normal(40, 0, 6), torch.arange(40) % 2
    first = classifier_features(x, y, epochs=2, folder=tmp_path)
    monkeypatch.setattr("inference.quality.classifier._teach", None)
    assert torch.equal(classifier_features(x, y, epochs=2, folder=tmp_path)(x), first(x))


@pytest.mark.parametrize("ask", [mmd_test, classifier_test, kernel_distance, lambda a, b: memorization(a, b, b)])
def test_what_can_not_be_compared_is_refused_in_a_sentence(ask):
    with pytest.raises(ValueError, match=r"(a|samples) must be features \[N, D\] of at least 4 rows, not \[3, 2\]"):
        ask(normal(3, 0, 2), normal(9, 1, 2))
    with pytest.raises(ValueError, match=r"(a|samples) has 2 features, but (b|train) has 3"):
        ask(normal(9, 0, 2), normal(9, 1, 3))
    with pytest.raises(ValueError, match="is the same: there is nothing to compare"):
        ask(torch.ones(9, 2), torch.ones(9, 2))
    with pytest.raises(ValueError, match="must be finite numbers, but 1 of its 9 rows"):
        ask(normal(9, 0, 2), torch.cat([normal(8, 1, 2), torch.full((1, 2), math.nan)]))


def test_labels_that_can_not_be_learned_are_refused():
    real = classes(30, 0)
    with pytest.raises(ValueError, match="labels of synthetic must be codes, one for each of 30 rows"):
        usefulness(real, (real[0], real[1][:5]), real)
    with pytest.raises(ValueError, match=r"test has labels that no real row to be taught by has: \[7\]"):
        usefulness(real, real, (real[0], torch.full((30,), 7)))
    with pytest.raises(ValueError, match="sets of at least 2"):
        bootstrap(torch.mean, torch.zeros(1))
