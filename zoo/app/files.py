"""Files that are whole or not there: written beside, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def check_out(path: Path, endings: Sequence[str], option: str) -> None:
    """Refuse, before anything is computed, a file of another kind or in a folder that is not there."""
    if path.suffix.lower() not in endings:
        raise ValueError(f"{option} {path} is neither a {' nor a '.join(endings)} file")
    if path.is_dir():
        raise ValueError(f"{option} {path} is a folder; a file was expected")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: there is no folder {str(path.parent)!r}")


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A file to fill in, which gets its name once it is complete; nothing is left of one that is not."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
