"""Parts that a name or a table declares: {"kind": name, ...}, the other keys the arguments of what it names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from zoo.registry import near

Made = TypeVar("Made")


def declared(
    what: str, written: Mapping[str, Any] | str, kinds: Mapping[str, type[Made]], *, given: Sequence[str] = ()
) -> Callable[..., Made]:
    """What builds the object declared; the parameters in `given` are not the table's to say."""
    kind, own = kind_of(what, written, kinds)
    return partial(kinds[kind], **arguments(what, kind, own, kinds[kind], given))


def kind_of(what: str, written: Mapping[str, Any] | str, kinds: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind that a table or a name declares, one of `kinds`, and the table's other keys."""
    table = {"kind": written} if isinstance(written, str) else written
    if not isinstance(table, Mapping):
        raise TypeError(f"{what} is {written!r}, but a kind, a table of one or an object of Python was expected")
    own = dict(table)
    kind = own.pop("kind", None)
    if kind is None:
        raise ValueError(f"{what}: its table has no kind; write kind = {' or '.join(map(repr, kinds))}")
    if kind not in kinds:
        raise ValueError(f"{what}: there is no kind {kind!r}{near(kind, kinds)}")
    return kind, own


def arguments(what: str, kind: str, own: Mapping[str, Any], maker: type, given: Sequence[str] = ()) -> dict[str, Any]:
    """The keys of a table as arguments of the class that its kind names, each checked by name and by value."""
    from zoo.spec import SpecError, check  # which reads whole models, these parts among them

    known = [name for name in inspect.signature(maker).parameters if name not in given]
    for key in own:
        if key not in known:
            raise ValueError(f"{what}: {key} is not a parameter of {kind}{near(key, known)}")
    try:
        return check(own, maker.__init__, what, skip=given)  # type: ignore[misc]
    except SpecError as error:  # a plain error: whoever builds the model puts the path of the slot before it
        raise ValueError(str(error)) from None
