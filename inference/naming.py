"""The names of the numbers that a site's value holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def number(site: str, index: tuple[Any, ...]) -> str:
    """The name of one number of a site, as ArviZ has it: "w[0, 1]"."""
    return f"{site}[{', '.join(map(str, index))}]" if index else site


def numbers(site: str, shape: Sequence[int]) -> list[str]:
    """A name for each number of a value of this shape, the last axis running fastest."""
    return [number(site, index) for index in np.ndindex(*shape)]
