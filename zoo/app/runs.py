"""A run's folder: the spec, the weights and what was found, written beside and renamed when complete.

spec.toml          what was built, fitted and asked; `zoo run` takes it again
weights.safetensors    the model's tensors; loading never unpickles
tokens.json        the vocabulary, where the data is text
history.csv  scores.json  posterior.nc  figures/*.png  report.html
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from zoo.base import Model
from zoo.registry import near
from zoo.spec import SpecError, build, spec_of

SPEC, WEIGHTS = "spec.toml", "weights.safetensors"


def save(model: Model, folder: str | Path) -> Path:
    """Leave a model that was built from a spec in a new folder, from which `load` gives it back."""
    with new_folder(folder) as draft:
        write_model(model, draft)
    return Path(folder)


def load(folder: str | Path) -> Model:
    """The model of a run's folder, in evaluation mode, with the density it was saved with."""
    folder = Path(folder)
    spec = read_spec(folder)
    if "model" not in spec:
        raise ValueError(
            f"{folder} is the run of a program: it holds draws of a posterior, and no model; ask it by zoo query "
            f"{folder} --find NAME, and zoo diagnose {folder}"
        )
    with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced below
        model = build(spec["model"])
    state = read_weights(folder / WEIGHTS)
    floats = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
    if len(floats) == 1:  # of a model whose parts differ, each is built as it was
        model = model.to(floats.pop())
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise ValueError(f"{folder / WEIGHTS} does not fit the model in {folder / SPEC}: {what}") from None
    return model.eval()


def write_model(model: Model, folder: Path, table: Mapping[str, Any] | None = None) -> None:
    """The spec (of a whole run where there is one) and the weights, into a folder that is being made."""
    (folder / SPEC).write_text(toml({**(table or {}), "model": spec_of(model)}), encoding="utf-8")
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(tensors, folder / WEIGHTS)


def read_spec(folder: Path) -> dict[str, Any]:
    """The spec of a run's folder."""
    if not folder.is_dir():
        siblings = [str(path) for path in folder.parent.glob("*/") if (path / SPEC).exists()]
        raise FileNotFoundError(f"there is no run {str(folder)!r}{near(str(folder), siblings)}")
    if not (folder / SPEC).exists():
        raise FileNotFoundError(f"{folder} is not a run: it holds no {SPEC}")
    table = read_toml(folder / SPEC)
    if "model" not in table and "program" not in table:
        raise SpecError(f"{folder / SPEC} has no [model]")
    return table


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a table."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {str(path)!r}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder; a spec is a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} is not TOML: {error}") from None


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a weights file."""
    if not path.exists():
        raise FileNotFoundError(f"{path.parent} is not a whole run: it holds no {path.name}")
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} is damaged or cut short ({path.stat().st_size} bytes; {error}): "
            "copy it anew, or run the spec again"
        ) from None


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """A folder to fill in, which gets its name once it is complete; nothing is left of one that is not."""
    folder = Path(folder)
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield draft
        refuse_existing(folder)
        draft.chmod(0o777 & ~_umask())
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def refuse_existing(folder: Path) -> None:
    if folder.exists():
        raise FileExistsError(f"{folder} exists already, and a run is never written over: give another name with --out")


def free_name(folder: Path) -> Path:
    """The folder, or where it exists the first of folder-2, folder-3, ... that does not."""
    number = 2
    free = folder
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def toml(table: Mapping[str, Any]) -> str:
    """A table as TOML: plain values first, then the tables; tables in tables are written inline."""
    lines = [f"{_key(key)} = {_inline(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{_key(key)}]", *(f"{_key(k)} = {_inline(v)}" for k, v in value.items())]
    return "\n".join(lines).lstrip() + "\n"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)
