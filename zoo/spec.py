"""Models as values that can be written down: a table with a family and its parameters, nested at will.

    build({"family": "vae", "latent": 16, "prior": {"family": "realnvp", "layers": 4}}, event_shape=64)

A table in a slot for a model is built to the shapes of the slot. Keys are checked against the signature of the
family's constructor and values against its annotations, before anything is built.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn

from zoo.base import Model, Shape, as_shape
from zoo.registry import family, near

SHAPES = ("event_shape", "context_shape")


class SpecError(ValueError):
    """A spec is wrong; the message names the key by its path and says what was expected."""


def build(
    spec: Mapping[str, Any] | str, *, event_shape: Shape | None = None, context_shape: Shape | None = None
) -> Model:
    """The model that a table describes. It remembers its spec as `model.spec`, so that it can be saved.

    The shapes may stand in the table, or be given here.
    """
    return _plan(spec, "model")(event_shape, context_shape=context_shape)


def spec_of(model: Model) -> dict[str, Any]:
    """The table that a model was built from, its shapes included."""
    spec = getattr(model, "spec", None)
    if not isinstance(spec, dict):
        raise ValueError(
            f"this {type(model).__name__} does not know its spec: only a model that zoo.build made from a table "
            "can be saved as a run; to keep another, save its state_dict()"
        )
    return spec


def _plan(spec: Any, path: str) -> Callable[..., Model]:
    """A checked table, as what builds its model from (event_shape, context_shape)."""
    table = {"family": spec} if isinstance(spec, str) else spec
    if not isinstance(table, Mapping):
        raise SpecError(f"{path} is {in_short(table)}, but a table with a family was expected")
    if "family" not in table:
        raise SpecError(f'{path} has no family: write one, such as family = "vae"')
    try:
        kind: Any = family(table["family"]).load()
    except ValueError as error:
        raise SpecError(f"{path}.family: {error}") from None
    given = {key: value for key, value in table.items() if key not in ("family", *SHAPES)}
    parameters = check(given, kind.__init__, path, of=f"of {table['family']}", skip=SHAPES)
    shapes = {key: _shape(table.get(key), f"{path}.{key}") for key in SHAPES}
    knows_shape = inspect.signature(kind.__init__).parameters["event_shape"].default is not inspect.Parameter.empty

    def construct(event_shape: Shape | None = None, *, context_shape: Shape | None = None) -> Model:
        own = {
            key: _agree(shapes[key], as_shape(asked), f"{path}.{key}")
            for key, asked in zip(SHAPES, (event_shape, context_shape), strict=True)
        }
        if own["event_shape"] is None and not knows_shape:
            raise SpecError(f"{path}.event_shape is missing: give the shape of one row, such as event_shape = [64]")
        try:
            model = kind(own["event_shape"], context_shape=own["context_shape"], **parameters)
        except SpecError:
            raise
        except (ValueError, TypeError) as error:
            raise SpecError(f"{path}: {error}") from error
        own["event_shape"] = model.event_shape
        model.spec = plain({"family": table["family"], **own, **given})
        return model

    return construct


def check(
    table: Mapping[str, Any], function: Callable, path: str, *, of: str = "here", skip: Sequence[str] = ()
) -> dict[str, Any]:
    """A table as keyword arguments of a function, each key in its signature, each value of its annotation."""
    hints = typing.get_type_hints(function)
    keywords = {
        name: parameter.default is inspect.Parameter.empty
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in ("self", *skip) and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    for key in table:
        if key not in keywords:
            raise SpecError(f"{path}.{key} is not a parameter {of}{near(key, keywords)}")
    for key, needed in keywords.items():
        if needed and key not in table:
            raise SpecError(f"{path}.{key} is missing: {in_words(hints.get(key, Any))} is needed")
    return {key: _value(value, hints.get(key, Any), f"{path}.{key}") for key, value in table.items()}


def _value(value: Any, hint: Any, path: str) -> Any:
    if takes_model(hint):
        by_name = _models_by_name(hint)
        if by_name is not None:
            if not isinstance(value, Mapping):
                raise SpecError(f"{path} is {in_short(value)}, but a table of models by name was expected")
            return {key: _value(item, by_name, f"{path}.{key}") for key, item in value.items()}
        if isinstance(value, (Mapping, str)):
            return _plan(value, path)
        if isinstance(value, list) and all(isinstance(item, (Mapping, str)) for item in value):
            return [_plan(item, f"{path}[{i}]") for i, item in enumerate(value)]
        raise SpecError(f"{path} is {in_short(value)}, but a model was expected: a table with a family")
    adapter: TypeAdapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True, strict=True))
    for candidate in (value, tuple(value)) if isinstance(value, list) else (value,):
        try:
            return adapter.validate_python(candidate)
        except ValidationError:
            continue
    raise SpecError(f"{path} is {in_short(value)}, but {in_words(hint)} was expected")


def takes_model(hint: Any) -> bool:
    """Whether a parameter of this annotation is a slot for a model."""
    if inspect.isclass(hint) and issubclass(hint, Model):
        return True
    return any(takes_model(part) for part in typing.get_args(hint) if not isinstance(part, list))


def _models_by_name(hint: Any) -> Any:
    """What the values of a parameter that maps names to models are, or None of another parameter."""
    for each in (hint, *typing.get_args(hint)):
        if typing.get_origin(each) is Mapping:
            return typing.get_args(each)[1]
    return None


def in_words(hint: Any) -> str:
    """An annotation as a person would say it."""
    if takes_model(hint):
        return "a model" if _models_by_name(hint) is None else "models by name"
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(in_words(part) for part in parts if part is not type(None)))
    if origin is typing.Literal:
        return " or ".join(repr(part) for part in parts)
    if origin is tuple and ... not in parts:
        return f"a list of {len(parts)} values"
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return f"a list of {_several(parts[0])}"
    if origin is Mapping:
        return "a table by name"
    if hint is torch.Size:
        return "a shape"
    if inspect.isclass(origin or hint) and issubclass(origin or hint, (Callable, nn.Module)):  # type: ignore[arg-type]
        return "an object (from Python only)"
    named = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return named.get(hint, f"a {getattr(hint, '__name__', str(hint))}")


def _several(hint: Any) -> str:
    """The parts of a list, as a person would say them."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    said = (in_words(kind).split(" ", 1)[-1] for kind in kinds)
    return " or ".join(f"lists of {words[8:]}" if words.startswith("list of ") else f"{words}s" for words in said)


def in_short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _shape(value: Any, path: str) -> torch.Size | None:
    try:
        return as_shape(value)
    except (ValueError, TypeError):
        raise SpecError(f"{path} is {in_short(value)}, but positive whole numbers were expected") from None


def _agree(written: torch.Size | None, asked: torch.Size | None, path: str) -> torch.Size | None:
    if written is not None and asked is not None and written != asked:
        raise SpecError(f"{path} is {list(written)} in the spec, but {list(asked)} fits here")
    return asked if written is None else written


def plain(value: Any) -> Any:
    """A spec's value in what TOML and JSON can hold; keys without a value are left out."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, nn.Module):
        raise SpecError(f"a built {type(value).__name__} can't stand in a spec: write its table")
    raise SpecError(f"{in_short(value)} can't stand in a spec: numbers, texts, lists and tables can")
