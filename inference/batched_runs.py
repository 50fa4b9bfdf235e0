"""A program run on many draws at once, each with noise of its own; one after the other where it can't be batched."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributions import dirichlet
from torch.overrides import TorchFunctionMode

from inference.program import Program
from inference.program_sites import Draw, Substitute

NUMBERS = 2**22
"""How many numbers the sites of a batch of runs have."""


def run_all(
    program: Program, draws: Mapping[str, Tensor], n: int, draw: Draw, names: Collection[str]
) -> dict[str, Tensor]:
    """Values of the sites `names`, {name: [n, *shape]}, in n runs that are given draws {name: [n, *shape]}.

    What has no value given is drawn, as `draw` has it, by torch's generator.
    """

    def one(row: Mapping[str, Tensor], _: Tensor) -> dict[str, Tensor]:
        trace = program.run(Substitute(row), draw)
        return {name: trace.nodes[name]["value"] for name in names}

    return of_each(one, draws, n, at_once(program, {*names, *draws, *program.observed}))


def of_each(
    function: Callable[[Mapping[str, Tensor], Tensor], dict[str, Tensor]],
    rows: Mapping[str, Tensor],
    n: int,
    at_once: int,
) -> dict[str, Tensor]:
    """What a function makes of each of n rows {name: [n, ...]} and its number, so many in a batch: {name: [n, ...]}."""
    index = torch.arange(n)
    with torch.no_grad():
        try:
            with _noise_of_each():
                return torch.vmap(function, randomness="different", chunk_size=at_once)(dict(rows), index)
        except RuntimeError:  # a program whose course depends on numbers, or that draws in a way that has no batches
            made = [function({name: value[i] for name, value in rows.items()}, index[i]) for i in range(n)]
            return {name: torch.stack([each[name] for each in made]) for name in made[0]}


def at_once(program: Program, names: Collection[str]) -> int:
    """How many runs make a batch of NUMBERS numbers at these sites."""
    sites = {**program.latents, **program.observed, **program.derived}
    return max(1, NUMBERS // max(1, sum(sites[name].shape.numel() for name in names)))


@contextmanager
def _noise_of_each() -> Iterator[None]:
    """Draw under vmap what torch draws in place, or by a function without a rule of vmap's."""
    dirichlets = dirichlet._Dirichlet
    dirichlet._Dirichlet = _Dirichlet  # type: ignore[misc,assignment]
    try:
        with _OutOfPlace(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
            yield
    finally:
        dirichlet._Dirichlet = dirichlets  # type: ignore[misc]


class _Dirichlet:
    """Without a gradient, which no draw asks for here."""

    @staticmethod
    def apply(concentration: Tensor) -> Tensor:
        return torch._sample_dirichlet(concentration)


def _normal(x: Tensor, mean: Any = 0.0, std: Any = 1.0, **_: Any) -> Tensor:
    return torch.randn_like(x) * std + mean


def _uniform(x: Tensor, low: Any = 0.0, high: Any = 1.0, **_: Any) -> Tensor:
    return torch.rand_like(x) * (high - low) + low


def _exponential(x: Tensor, rate: Any = 1.0, **_: Any) -> Tensor:
    return -torch.log1p(-torch.rand_like(x)) / rate


def _cauchy(x: Tensor, median: Any = 0.0, sigma: Any = 1.0, **_: Any) -> Tensor:
    return torch.tan(math.pi * (torch.rand_like(x) - 0.5)) * sigma + median


def _binomial(count: Tensor, p: Tensor) -> Tensor:
    """Of numbers that both differ from row to row: torch's rule resizes its output, with a warning, where one does."""
    return _binomial_of_torch(count + torch.zeros_like(p), p + torch.zeros_like(count))


_binomial_of_torch = torch.binomial

OUT_OF_PLACE: Mapping[Any, Callable[..., Tensor]] = {
    Tensor.normal_: _normal,
    Tensor.uniform_: _uniform,
    Tensor.exponential_: _exponential,
    Tensor.cauchy_: _cauchy,
    torch.binomial: _binomial,
}
"""What torch's distributions fill an empty tensor with, where vmap can't give each row other noise; and binomials."""


class _OutOfPlace(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return OUT_OF_PLACE.get(function, function)(*args, **(kwargs or {}))
