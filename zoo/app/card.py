"""What `zoo show` prints of a family."""

from __future__ import annotations

import inspect
import typing
from typing import Any

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


def _parameters(kind: Any) -> list[str]:
    hints = typing.get_type_hints(kind.__init__)
    own = [
        (name, parameter)
        for name, parameter in inspect.signature(kind.__init__).parameters.items()
        if name not in ("self", *SHAPES)
    ]
    if not own:
        return ["  none"]
    return [f"  {name:<16}{in_words(hints.get(name, Any)):<34}{_default(parameter)}" for name, parameter in own]


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "needed"
    if parameter.default is None:
        return "default: the family's own"
    return f"default: {getattr(parameter.default, '__name__', parameter.default)!s}"
