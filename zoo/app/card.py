"""What `zoo show` prints of a family."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

from zoo.datasets import Data
from zoo.registry import Family
from zoo.spec import SHAPES, in_words

LIKELIHOODS = {
    "exact": "exact",
    "lower bound": "bounded from below",
    "estimate": "estimated (exact where log Z can be summed)",
    None: "not defined; samples only",
}


def card(member: Family) -> str:
    """A family's kind, likelihood, capabilities and parameters, and its docstring with the papers."""
    kind = member.load()
    lines = [
        f"{member.name}: {member.summary}",
        "",
        f"  kind          {kind.kind}",
        f"  likelihood    {LIKELIHOODS.get(kind.likelihood, kind.likelihood)}",
        f"  class         {member.path.replace(':', '.')}",
        f"  can be asked  {', '.join(sorted(kind.capabilities))}",
        "",
        "parameters",
        *_parameters(kind),
        "",
        *(inspect.getdoc(kind) or "").splitlines(),
    ]
    return "\n".join(lines)


def data_card(data: Data) -> str:
    """What data is: its rows, their shape and what their numbers mean."""
    rows = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    shown = {
        "rows": rows if data.event_shape else f"one sequence, {rows}; a model of event_shape n is shown windows of n",
        "a row": str(list(data.event_shape)),
        "numbers": f"{data.space}, 0 to {data.levels - 1}" if data.levels else data.space,
        "columns": ", ".join(data.feature_names or ()),
        "classes": ", ".join(map(str, data.class_names or ())),
    }
    lines = [f"  {name:<14}{value}" for name, value in shown.items() if value not in ("", "[]")]
    return "\n".join([f"{data.name}: {data.description}", "", *lines])


def program_card(program: Callable[..., Any]) -> str:
    """A program's data, as arguments, and its docstring."""
    arguments = ", ".join(inspect.signature(program).parameters)
    about, *rest = (inspect.getdoc(program) or "").splitlines()
    return "\n".join([f"{program.__name__}: {about}", "", f"  arguments     {arguments}", *rest])


def _parameters(kind: Any) -> list[str]:
    hints = typing.get_type_hints(kind.__init__)
    own = [
        (name, parameter)
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if name not in ("self", *SHAPES)
    ]
    if not own:
        return ["  none"]
    said = [in_words(hints.get(name, Any)) for name, _ in own]
    first = max(16, *(len(name) + 2 for name, _ in own))
    second = max(16, *(len(words) + 2 for words in said if len(words) < 40))
    return [
        f"  {name:<{first}}{words:<{second}}  {_default(parameter)}"
        for (name, parameter), words in zip(own, said, strict=True)
    ]


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "needed"
    if parameter.default is None:
        return "default: the family's own"
    return f"default: {getattr(parameter.default, '__name__', parameter.default)!s}"
