"""The judge of generated digits that the benchmarks share."""

import pytest
import torch

from benchmarks.foundation_tasks.data import digits
from benchmarks.latent_tasks.digit_features import NEIGHBOURS, digit_features, judged
from inference.quality import VALUES


def test_shares_are_those_counted_row_by_row() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    made = torch.randn(40, 2, generator=generator, dtype=torch.float64) * 0.6 + 0.8

    def reach(rows, i) -> float:
        return sorted((rows[i] - row).norm().item() for row in rows)[NEIGHBOURS]

    real_balls, made_balls = [reach(real, i) for i in range(30)], [reach(made, j) for j in range(40)]
    gap = [[(real[i] - made[j]).norm().item() for j in range(40)] for i in range(30)]
    precise = sum(any(gap[i][j] < real_balls[i] for i in range(30)) for j in range(40)) / 40
    recalled = sum(any(gap[i][j] < made_balls[j] for j in range(40)) for i in range(30)) / 30
    covered = sum(any(gap[i][j] < real_balls[i] for j in range(40)) for i in range(30)) / 30
    found = judged(VALUES, real, made)
    assert found[1:] == pytest.approx((precise, recalled, covered))
    assert len({precise, recalled, covered}) == 3


@pytest.mark.slow
def test_the_classifier_s_features_tell_digits_from_noise_of_the_same_pixels() -> None:
    train, test = digits()
    features = digit_features()
    alike = judged(features, test, train[:450])
    assert alike.frechet < 3.0
    assert min(alike[1:]) > 0.93
    generator = torch.Generator().manual_seed(0)
    columns = torch.stack([column[torch.randperm(len(train), generator=generator)] for column in train.T], 1)
    shuffled = judged(features, test, columns[:1000])
    assert shuffled.frechet > 30
    assert shuffled.coverage < 0.5
