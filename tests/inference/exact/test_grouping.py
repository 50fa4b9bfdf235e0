"""Rows grouped by what they lack."""

from __future__ import annotations

import pytest
import torch

from inference.exact.grouping import patterns


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (500, 3), (400, 31), (300, 95), (7, 0)])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_patterns_are_the_different_rows(rows, columns, share) -> None:
    generator = torch.Generator().manual_seed(rows + columns)
    missing = torch.rand(rows, columns, generator=generator) < share
    found, group = patterns(missing)
    assert torch.equal(found[group], missing)
    assert len({tuple(row) for row in found.tolist()}) == len(found) == len({tuple(row) for row in missing.tolist()})
