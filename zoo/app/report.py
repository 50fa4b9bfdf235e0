"""The report of a run, one file that stands alone: what was found in words, then the table, then pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure


@dataclass
class Section:
    """A heading with sentences, a table, pictures by caption, and text as it is written."""

    title: str
    words: Sequence[str] = ()
    table: pd.DataFrame | None = None
    pictures: Mapping[str, Figure] = field(default_factory=dict)
    code: str = ""


def write(path: Path, title: str, lead: Sequence[str], sections: Sequence[Section], made: str = "") -> Path:
    """The report as one HTML file, its pictures within; each picture also as a PNG in figures/ beside it."""
    folder = path.parent / "figures"
    shown = [
        {
            "title": section.title,
            "words": list(section.words),
            "table": _table(section.table),
            "pictures": [
                {"caption": caption, "data": _picture(figure, folder / f"{_slug(section.title, i)}.png")}
                for i, (caption, figure) in enumerate(section.pictures.items())
            ],
            "code": section.code,
        }
        for section in sections
    ]
    text = resources.files("zoo.app").joinpath("report.html.j2").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
    path.write_text(template.render(title=title, lead=lead, sections=shown, made=made), encoding="utf-8")
    return path


def _picture(figure: Figure, path: Path) -> str:
    path.parent.mkdir(exist_ok=True)
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=130)
    path.write_bytes(data.getvalue())
    return base64.b64encode(data.getvalue()).decode()


def _slug(title: str, number: int) -> str:
    words = "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-")
    return words if number == 0 else f"{words}-{number + 1}"


def _table(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    if frame is None or frame.empty:
        return None
    whole, shown = _with_index(frame), tidy(frame)
    return {
        "columns": [
            {"name": name, "text": i > 0 and not pd.api.types.is_numeric_dtype(whole.dtypes.iloc[i])}
            for i, name in enumerate(shown.columns)
        ],
        "rows": shown.to_numpy().tolist(),
    }


def _with_index(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index(names=frame.index.name or "")


def tidy(frame: pd.DataFrame) -> pd.DataFrame:
    """A table for reading: its index as a first column, numbers to four digits, nothing where there is no value."""
    return _with_index(frame).map(in_digits).rename(columns=lambda name: str(name).replace("_", " "))


def in_digits(value: Any) -> str:
    """A value to four digits."""
    if value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, float | np.floating):
        value = float(value)
        return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"
    return str(value)
