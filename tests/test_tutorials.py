"""Every tutorial runs from beginning to end."""

import runpy
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parent.parent / "tutorials").glob("*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_runs(path: Path, capsys) -> None:
    runpy.run_path(str(path))
    assert capsys.readouterr().out
