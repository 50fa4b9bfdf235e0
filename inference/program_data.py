"""What a program is called with: the data as tensors, and the settings of torch that it is run under."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyro
import torch
from pyro.ops import special
from torch import Tensor


def arguments_of(data: Any, precision: torch.dtype, device: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a program is called: a mapping by keyword, a tuple in order, None with nothing, anything else by itself.

    Real numbers and arrays of them become tensors of the precision; integers and truth values, which count and
    index, keep their kind, and a plain Python integer, as a plate's size is, stays one.
    """
    if data is None:
        return (), {}
    if isinstance(data, Mapping):
        return (), {str(name): as_tensor(value, precision, device) for name, value in data.items()}
    if isinstance(data, tuple):
        return tuple(as_tensor(value, precision, device) for value in data), {}
    return (as_tensor(data, precision, device),), {}


def as_tensor(value: Any, precision: torch.dtype, device: Any) -> Any:
    """A number, an array or a list of numbers as a tensor; whatever else is given as it is."""
    if isinstance(value, Tensor):
        return value.detach().to(device=device, dtype=precision if value.is_floating_point() else value.dtype)
    if isinstance(value, (bool, int, str)) or value is None or callable(value):
        return value
    try:
        array = np.asarray(value)
    except ValueError:  # a list of lists of several lengths
        return value
    if array.dtype.kind == "f":
        return torch.as_tensor(np.array(array, dtype=float), device=device).to(precision)
    return torch.as_tensor(np.array(array), device=device) if array.dtype.kind in "iub" else value


def framed(value: Any) -> Any:
    """What is not the numbers of a tensor: shape, dtype and device, or the value itself."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device
    return value if isinstance(value, (bool, int, str)) or value is None else id(value)


@contextlib.contextmanager
def settings(precision: torch.dtype, device: Any = None) -> Iterator[None]:
    """What a program is run in: a default dtype and device, no validation, logarithms that can be vmapped."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(precision)
    before = [getattr(home, name) for home, name, _ in _INSTEAD]
    for home, name, other in _INSTEAD:
        setattr(home, name, other)
    place = contextlib.nullcontext() if device is None else torch.device(device)
    try:
        with place, pyro.validation_enabled(False):
            yield
    finally:
        torch.set_default_dtype(dtype)
        for (home, name, _), was in zip(_INSTEAD, before, strict=True):
            setattr(home, name, was)


class _SafeLog(torch.autograd.Function):
    """Pyro's logarithm of sums that may be zero, whose slope there is large and finite; Pyro's own can't be vmapped."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.log()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return slope / x.clamp(min=torch.finfo(x.dtype).eps)


def _broadcast(*shapes: Any) -> torch.Size:
    return torch.Size(np.broadcast_shapes(*shapes))


def _clamp(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return x.copy_(x.clamp(*args, **kwargs))


_cumprod_of_torch = torch.Tensor.cumprod
FEW = 16
"""Factors whose running product is multiplied out: torch's own is differentiated by way of where it is zero."""


def _cumprod(x: Tensor, dim: int = -1, **kwargs: Any) -> Tensor:
    if kwargs or not 0 < x.shape[dim] <= FEW:
        return _cumprod_of_torch(x, dim, **kwargs)
    return torch.stack(list(itertools.accumulate(x.unbind(dim), torch.mul)), dim)


_INSTEAD = [
    (special, "_SafeLog", _SafeLog),
    (torch, "broadcast_shapes", _broadcast),  # torch's own imports a computer algebra system: half a second
    (torch.Tensor, "cumprod", _cumprod),
    (torch.Tensor, "clamp_", _clamp),  # which vmap would do chain by chain
]
"""What a program finds in the place of functions that can't be vmapped, or are slow at it."""
