"""Unknown names, and those they were probably meant for."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def near(given: Any, names: Iterable[Any]) -> str:
    """The end of an error that lists the names nearest to one that is unknown."""
    known = [str(name) for name in names]
    found = get_close_matches(str(given), known, n=3, cutoff=0.5)
    return f"; near: {', '.join(found)}" if found else f"; known: {', '.join(known[:24])}"
