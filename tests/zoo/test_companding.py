"""mu-law against the standard's formula, its inverse and its step sizes."""

import math

import numpy as np
import pytest
import torch

from zoo.companding import mu_law_decode, mu_law_encode


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [2, 3, 16, 255, 256, 4096])
def test_codes_come_back_exactly(levels, dtype):
    codes = torch.arange(levels)
    waveform = mu_law_decode(codes, levels, dtype=dtype)
    assert waveform.dtype == dtype and (waveform.abs() <= 1).all()
    assert torch.allclose(waveform[[0, -1]], torch.tensor([-1, 1], dtype=dtype))
    assert torch.equal(mu_law_encode(waveform, levels), codes)
    assert (waveform.diff() > 0).all()


def test_it_is_the_papers_formula():
    x = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    y = np.sign(x.numpy()) * np.log(1 + 255 * np.abs(x.numpy())) / np.log(256)
    assert np.array_equal(mu_law_encode(x).numpy(), np.floor((y + 1) / 2 * 255 + 0.5))
    codes = 2 * np.arange(256) / 255 - 1
    expected = np.sign(codes) * (256 ** np.abs(codes) - 1) / 255
    assert np.allclose(mu_law_decode(torch.arange(256), dtype=torch.float64).numpy(), expected, atol=1e-12)


def test_no_sample_moves_by_more_than_half_a_step_and_quiet_ones_by_least():
    x = torch.linspace(-1, 1, 20_001, dtype=torch.float64)
    moved = (mu_law_decode(mu_law_encode(x), dtype=torch.float64) - x).abs()
    slope = (1 + 255 * x.abs()) * math.log(256) / 255  # of the decoder: a step is 2 / 255 of the compressed scale
    assert (moved <= slope / 255 * math.exp(math.log(256) / 255) + 1e-12).all()
    assert moved[x.abs() < 0.01].max() < 1e-3 < moved[x.abs() > 0.9].max()


def test_between_two_codes_lies_the_edge_of_their_cells():
    edges = mu_law_decode(torch.arange(255) + 0.5, dtype=torch.float64)
    assert torch.equal(mu_law_encode(edges - 1e-9), torch.arange(255))
    assert torch.equal(mu_law_encode(edges + 1e-9), torch.arange(1, 256))


@pytest.mark.parametrize("value", [1.1, -3.0, float("nan"), float("inf")])
def test_what_is_no_waveform_is_refused(value):
    with pytest.raises(ValueError, match=f"between -1 and 1, but this one has the value {value:g}"):
        mu_law_encode(torch.tensor([0.5, value, -1.0]))


def test_wrong_codes_levels_and_types_are_refused():
    with pytest.raises(ValueError, match="codes lie between 0 and 255, not between 3 and 256"):
        mu_law_decode(torch.tensor([3, 256]))
    with pytest.raises(ValueError, match="codes lie between 0 and 255, not between -1 and 0"):
        mu_law_decode(torch.tensor([0, -1]))
    with pytest.raises(ValueError, match="levels must be at least 2, not 1"):
        mu_law_encode(torch.zeros(3), 1)
    with pytest.raises(TypeError, match=r"floats from -1 to 1, not torch.int16"):
        mu_law_encode(torch.zeros(3, dtype=torch.int16))
    assert mu_law_encode(torch.zeros(0)).shape == mu_law_decode(torch.zeros(0, dtype=torch.long)).shape == (0,)
