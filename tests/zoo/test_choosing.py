"""Ways to choose a level, against the definition."""

import pytest
import torch

from zoo.choosing import drawing

LOGITS = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15]).log() + 3


def frequencies(**options) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = drawing(**options)(0, LOGITS.expand(40_000, -1))
    return drawn.bincount(minlength=5) / 40_000


def near(found: torch.Tensor, expected: list[float]) -> bool:
    wanted = torch.tensor(expected) / sum(expected)
    return bool(((found - wanted).abs() <= 5 * (wanted * (1 - wanted) / 40_000).sqrt()).all())


def test_draws_have_the_frequencies_of_the_logits():
    assert near(frequencies(), [0.1, 0.4, 0.05, 0.3, 0.15])


def test_a_temperature_is_a_power():
    assert near(frequencies(temperature=0.5), [0.01, 0.16, 0.0025, 0.09, 0.0225])


def test_at_temperature_zero_the_likeliest_is_taken():
    assert frequencies(temperature=0)[1] == 1


def test_top_k_keeps_so_many():
    assert near(frequencies(top_k=2), [0, 0.4, 0, 0.3, 0])
    assert near(frequencies(top_k=9), [0.1, 0.4, 0.05, 0.3, 0.15])


def test_top_p_keeps_the_fewest_that_come_to_it():
    assert near(frequencies(top_p=0.5), [0, 0.4, 0, 0.3, 0])
    assert near(frequencies(top_p=0.71), [0, 0.4, 0, 0.3, 0.15])
    assert near(frequencies(top_p=0.01), [0, 1, 0, 0, 0])


def test_a_very_low_temperature_takes_the_likeliest():
    assert frequencies(temperature=1e-40)[1] == 1


def test_a_top_p_of_one_keeps_all_however_unlikely():
    logits = torch.full((20_000, 256), -9.0)
    logits[:, 0] = 9.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        every = drawing()(0, logits)
        torch.manual_seed(0)
        assert torch.equal(drawing(top_p=1.0)(0, logits), every)


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_two_levels(p):
    logits = torch.tensor([1 - p, p]).log().expand(10_000, -1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = float(drawing()(0, logits).double().mean())
    assert abs(found - p) <= 5 * (p * (1 - p) / 10_000) ** 0.5


@pytest.mark.parametrize("shift", [-7.0, 7.0])
def test_only_differences_of_two_logits_matter(shift):
    logits = (torch.tensor([0.75, 0.25]).log() + shift).expand(40_000, -1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = float(drawing()(0, logits).double().mean())
    assert abs(found - 0.25) <= 5 * (0.25 * 0.75 / 40_000) ** 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature must be at least 0, not -1"),
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"top_p": 0.0}, "top_p must lie above 0"),
        ({"top_p": 1.5}, "top_p must lie above 0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        drawing(**options)
