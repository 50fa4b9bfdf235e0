"""What the command line asks of a fitted model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from inference.asking import asking
from inference.diagnostics import diagnose
from inference.from_idata import from_idata
from inference.likelihood import log_likelihood
from zoo.app import figures
from zoo.app.program_recipe import program_recipe
from zoo.app.program_run import posterior_of
from zoo.app.recipe import Task, prepare, recipe
from zoo.app.rows import numbers, read_csv
from zoo.app.runs import load, read_spec
from zoo.app.texts import as_text, read_tokens
from zoo.datasets import Data


def task_of(folder: Path) -> Task:
    """The fitted model of a run's folder beside the data it was fitted to, in its view."""
    table = read_spec(folder)
    model = load(folder)
    if "data" not in table:
        raise ValueError(f"{folder} names no data: it was saved from Python, not by `zoo run`")
    task = prepare(recipe(table, folder.name))
    return Task(model, task.data, task.classes)


def sample(folder: Path, n: int, out: Path | None, seed: int) -> None:
    """Draw rows, in the data's own units where the run knows its data, to a file or the terminal.

    Rows of a run that keeps a vocabulary are text there, and codes in a CSV file.
    """
    if n < 1:
        raise ValueError(f"-n is {n}, but at least one row was expected")
    tokenizer = read_tokens(folder)
    written = (".csv", ".png") if tokenizer is None else (".csv", ".txt")
    if out is not None and out.suffix not in written:
        raise ValueError(f"--out {out} is neither a {written[0]} nor a {written[1]} file")
    if tokenizer is not None and (out is None or out.suffix == ".txt"):
        model = load(folder)
        with asking(model, seed):
            text = as_text(tokenizer, model.sample(n))
        _say_or_write(text, n, out)
        return
    task = task_of(folder) if "data" in read_spec(folder) else None
    model = task.model if task else load(folder)
    with asking(model, seed):
        x = model.sample(n, context=task.any_context(n) if task else None)
    names = list(task.data.feature_names or ()) if task else []
    rows = task.data.restore(x) if task else x
    if out is not None and out.suffix == ".png":
        figures.pictures({"samples": rows}, task.image_shape if task else None, names).savefig(out, dpi=150)
    else:
        _frame(model, x, rows, names).to_csv(sys.stdout if out is None else out, index=False)
    if out is not None:
        print(f"{n} rows: {out}")


def _say_or_write(text: str, n: int, out: Path | None) -> None:
    if out is None:
        print(text)
        return
    out.write_text(text + "\n", encoding="utf-8")
    print(f"{n} rows: {out}")


def _frame(model: Any, x: torch.Tensor, rows: torch.Tensor, names: list[str]) -> pd.DataFrame:
    if hasattr(model, "decode"):
        return model.decode(x)
    flat = rows.flatten(1)
    columns = names if len(names) == flat.shape[1] else [f"x{i}" for i in range(flat.shape[1])]
    return pd.DataFrame(flat.cpu().numpy(), columns=columns)


def score(folder: Path, path: str, seed: int) -> None:
    """Print row, nats and kind for each row of a CSV file in the data's own units."""
    spec = read_spec(folder)
    task = task_of(folder) if "data" in spec else None
    model = task.model if task else load(folder)
    frame = read_csv(path)
    x = _rows(model, task.data if task else None, frame, path)
    found = log_likelihood(model, x, seed=seed)
    nats = found.values.cpu()
    if task is not None and found.measure == "density":
        nats = nats + task.data.log_volume(x.cpu())
    table = pd.DataFrame({"row": range(len(frame)), "nats": nats.numpy(), "kind": found.kind})
    table.to_csv(sys.stdout, index=False, float_format="%.6g")


def _rows(model: Any, data: Data | None, frame: pd.DataFrame, path: str) -> torch.Tensor:
    """Rows of a frame as the model takes them, through the steps that its data went through."""
    if hasattr(model, "encode_frame"):
        return model.encode_frame(frame)
    names = list(data.feature_names or ()) if data is not None else []
    missing = [name for name in names if name not in frame.columns]
    if names and len(missing) < len(names):
        if missing:
            raise ValueError(f"{path} has no column {missing[0]!r}; the run was fitted to {', '.join(names)}")
        frame = frame[names]
    if frame.shape[1] != model.features:
        raise ValueError(f"{path} has {frame.shape[1]} columns, but the model's rows have {model.features} numbers")
    x = numbers(frame, path)
    if data is None:
        return x.reshape(-1, *model.event_shape)
    first = next((step.shape for step in data.steps if hasattr(step, "shape")), data.event_shape)
    x = x.reshape(-1, *first)
    if data.levels and ((x != x.round()) | (x < 0) | (x >= data.levels)).any():
        raise ValueError(f"{path} holds values that are not levels 0 to {data.levels - 1}, which {data.name} has")
    for step in data.steps:
        x = step.apply(x, 999)
    return x


def diagnose_folder(folder: Path) -> None:
    """Print the verdict and the table of a run's model on its held-out data; of draws in a run or in a netCDF file."""
    if folder.suffix == ".nc":
        found = diagnose(from_idata(folder))
    elif "program" in (table := read_spec(folder)):
        found = diagnose(posterior_of(program_recipe(table, folder.name), folder))
    else:
        task = task_of(folder)
        found = diagnose(task.model, task.data.test.x, context=task.context(task.data.test))
    print("\n".join(found.verdict))
    if found.table is not None and len(found.table):
        print()
        print(found.table.to_string())
