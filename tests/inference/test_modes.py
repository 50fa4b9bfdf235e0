"""Mode coverage on sets whose modes are known because they were put there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.diagnostics.modes import draw_modes
from inference.quality.modes import find_modes, known_modes, mode_coverage

CENTRES = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


def blobs(*counts: int, scale: float = 0.5, seed: int = 0) -> Tensor:
    """So many rows around each centre."""
    noise = torch.randn(sum(counts), 2, generator=torch.Generator().manual_seed(seed))
    return CENTRES.repeat_interleave(torch.tensor(counts), 0) + scale * noise


def test_all_modes_are_reached_by_the_data_itself() -> None:
    found = mode_coverage(blobs(1000, 1000, 1000, 1000), known_modes(CENTRES, 0.5))
    assert found.missing == () and found.missed == 0 and found.n == 4000
    assert found.good.low < 1 - math.exp(-4.5) < found.good.high  # of a normal in two dimensions, within 3 deviations
    assert all(0.2 < share.value <= 0.25 for share in found.shares)


def test_what_is_missing_is_named_and_counted_by_the_datas_share() -> None:
    shares = torch.tensor([0.4, 0.3, 0.2, 0.1])
    modes = known_modes(CENTRES, 0.5, shares=shares, names=("a", "b", "c", "d"))
    found = mode_coverage(blobs(500, 0, 500, 0), modes)
    assert found.missing == ("b", "d") and found.missed == pytest.approx(0.4)
    assert found.reached == (True, False, True, False)
    assert found.shares[1].low == 0 < found.shares[1].high < 0.01 and found.shares[1].n == (1000,)
    assert "2 of 4 modes" in str(found) and "all but b, d" in str(found)


def test_a_mode_is_reached_by_a_tenth_of_the_datas_share_there() -> None:
    rows = torch.cat([CENTRES[:1].expand(975, 2), CENTRES[1:2].expand(25, 2)])
    modes = known_modes(CENTRES, 0.5)
    assert mode_coverage(rows, modes).missing == ("(0, 10)", "(10, 10)")
    assert mode_coverage(rows[:-1], modes).missing == ("(10, 0)", "(0, 10)", "(10, 10)")
    assert len(mode_coverage(rows, modes, least=0.2).missing) == 3


def test_a_row_is_of_high_quality_within_so_many_deviations() -> None:
    x = torch.tensor([[1.49, 0.0], [1.51, 0.0], [10.0, 2.9], [10.0, 3.1]])
    modes = known_modes(CENTRES, torch.tensor([0.5, 1.0, 0.5, 0.5]))
    assert modes.assign(x)[1].tolist() == [True, False, True, False]
    assert mode_coverage(x, modes).good.value == 0.5
    assert mode_coverage(x, known_modes(CENTRES, 0.5, within=10)).good.value == 1


def test_rows_between_modes_reach_none_but_are_in_a_cell() -> None:
    x, modes = CENTRES + torch.tensor([3.0, 3.0]), known_modes(CENTRES, 0.5)
    assert len(mode_coverage(x, modes).missing) == 4
    assert mode_coverage(x, modes.cells()).missing == ()


def test_clusters_find_the_modes_and_the_samples_that_miss_one() -> None:
    data = blobs(300, 400, 100, 200)
    modes = find_modes(data)
    assert sorted(modes.names) == ["(0, 0)", "(0, 10)", "(10, 0)", "(10, 10)"]
    by_name = dict(zip(modes.names, modes.shares.tolist(), strict=True))
    assert by_name == {"(0, 0)": 0.3, "(10, 0)": 0.4, "(0, 10)": 0.1, "(10, 10)": 0.2}
    found = mode_coverage(blobs(500, 500, 0, 500, seed=1), modes)
    assert found.missing == ("(0, 10)",) and found.missed == pytest.approx(0.1)
    assert found.good.value > 0.97
    assert modes.names == find_modes(data).names


def test_a_count_that_is_told_is_kept_and_units_weigh_the_features() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = 1000 * torch.randn(400, generator=generator)
    narrow = torch.cat([torch.zeros(200), torch.ones(200)]) + 0.01 * torch.randn(400, generator=generator)
    data = torch.stack([wide, narrow], 1)
    modes = find_modes(data, 2, unit=torch.tensor([1e4, 1.0]))
    assert sorted(round(v) for v in modes.centres[:, 1].tolist()) == [0, 1]
    assert modes.shares.tolist() == [0.5, 0.5]
    assert len(find_modes(data, 5).names) == 5


def test_bad_input_is_named() -> None:
    modes = known_modes(CENTRES, 0.5)
    with pytest.raises(ValueError, match="samples have 3 features, but the modes 2"):
        mode_coverage(torch.zeros(5, 3), modes)
    with pytest.raises(ValueError, match="samples must be finite, but row 1"):
        mode_coverage(torch.tensor([[0.0, 0.0], [math.nan, 0.0]]), modes)
    with pytest.raises(ValueError, match="some alike"):
        known_modes(torch.zeros(3, 2), 0.5)
    with pytest.raises(ValueError, match="2 names are given for 4 modes"):
        known_modes(CENTRES, 0.5, names=("a", "b"))
    with pytest.raises(ValueError, match="scale and within must be above 0"):
        known_modes(CENTRES, 0.0)
    with pytest.raises(ValueError, match="shares must be above 0"):
        known_modes(CENTRES, 0.5, shares=torch.ones(3))
    with pytest.raises(ValueError, match="least"):
        mode_coverage(CENTRES, modes, least=0.0)
    with pytest.raises(ValueError, match="2 modes can't be told apart in 1 different rows"):
        find_modes(torch.ones(9, 2))


def test_the_callers_random_state_is_left_as_it_was() -> None:
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    find_modes(blobs(20, 20, 20, 20))
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # type: ignore[index] # noqa: NPY002


def test_a_picture_marks_the_missing_modes() -> None:
    modes = known_modes(CENTRES, 0.5)
    found = mode_coverage(blobs(100, 100, 0, 100), modes)
    axes = draw_modes(found, blobs(100, 100, 0, 100), blobs(50, 50, 50, 50)).axes[0]
    marks = {str(each.get_label()): np.asarray(each.get_offsets()) for each in axes.collections if each.get_label()}
    assert marks["missing"].tolist() == [[0.0, 10.0]]
    assert len(marks["samples"]) == 300 and len(marks["data"]) == 200
    assert sorted(text.get_text() for text in axes.texts) == ["(0, 10)"]


def test_a_picture_of_many_features_is_along_the_directions_that_part_the_modes() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = torch.zeros(3, 6)
    centres[1, 2], centres[2, 4] = 5, 5
    samples = centres[:2].repeat(50, 1) + 0.1 * torch.randn(100, 6, generator=generator)
    axes = draw_modes(found := mode_coverage(samples, known_modes(centres, 0.2)), samples).axes[0]
    assert found.missing == ("mode 2",)
    places = np.asarray(next(c for c in axes.collections if c.get_label() == "missing").get_offsets())
    drawn = np.asarray(next(c for c in axes.collections if c.get_label() == "samples").get_offsets())
    assert np.linalg.norm(drawn - places, axis=1).min() > 4  # as far as in all six
