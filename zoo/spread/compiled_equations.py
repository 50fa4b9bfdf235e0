"""The rate equations as one operation of torch's with slopes: loops in the place of thousands of small operations.

It is one step of a recorded density, can be batched by `vmap`, and be differentiated twice (the second time, which is
rare, by torch's own operations).
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from zoo.spread import loops
from zoo.spread.checks import readable
from zoo.spread.compartments import Compartments
from zoo.spread.rate_equations import Plan, by_torch

FEW = 2048
"""Steps of a batch up to which a course alone, without slopes, is not worth the compilation of loops."""
_SIGNATURE = "Tensor start, Tensor paces, Tensor[] tables, Tensor[] weights, Tensor counts, Tensor widths"
_library = torch.library.Library("pyro_zoo", "FRAGMENT")
_library.define(f"rate_equations({_SIGNATURE}) -> (Tensor, Tensor)")
_library.define(f"rate_equations_slopes({_SIGNATURE}, Tensor heads, Tensor happened) -> (Tensor, Tensor)")


def by_loops(start: Tensor, paces: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    """As `by_torch`, of start [B, K] and paces [B, S, E]."""
    few = len(start) * sum(plan.counts) <= FEW
    if few and not start.requires_grad and not paces.requires_grad and readable(paces):
        return by_torch(start, paces, plan)
    heads, happened = _Solved.apply(start, paces, plan)
    return heads, happened


def _rows(table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where each row of a table begins in the list of its numbers that are not 0, their columns, and they."""
    places = table.nonzero()
    begins = torch.cat([torch.zeros(1, dtype=torch.long), (table != 0).sum(-1).cumsum(0)])
    return begins, places[:, 1].contiguous(), table[tuple(places.T)].contiguous()


def _given(plan: Plan) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    tables, weights = _listed(plan.model)
    return tables, weights, torch.tensor(plan.counts), torch.tensor(plan.widths, dtype=torch.float64)


@functools.lru_cache(maxsize=16)
def _listed(model: Compartments) -> tuple[list[Tensor], list[Tensor]]:
    taken, met, change = _rows(model.taken), _rows(model.met), _rows(model.change)
    return [*taken[:2], *met[:2], *change[:2], model.group_of_heads], [met[2], change[2], model.alone]


def _course(start: Tensor, paces: Tensor, tables: Any, weights: Any, counts: Tensor, widths: Tensor) -> Any:
    moments, rows = len(counts) + 1, len(start)
    heads, happened = (start.new_empty(moments, size, rows) for size in (start.shape[1], paces.shape[2]))
    loops.course(*_arrays(start, paces, tables, weights, counts, widths), heads.numpy(), happened.numpy())
    return heads.permute(2, 0, 1).contiguous(), happened.permute(2, 0, 1).contiguous()


def _slopes(
    start: Tensor, paces: Tensor, tables: Any, weights: Any, counts: Tensor, widths: Tensor, heads: Any, happened: Any
) -> Any:
    of_heads, of_happened = (x.permute(1, 2, 0).contiguous().numpy() for x in (heads, happened))
    rows, stages, events = paces.shape
    of_start, of_paces = start.new_empty(start.shape[1], rows), start.new_empty(stages, events, rows)
    loops.slopes(
        *_arrays(start, paces, tables, weights, counts, widths),
        of_heads,
        of_happened,
        of_start.numpy(),
        of_paces.numpy(),
    )
    return of_start.T.contiguous(), of_paces.permute(2, 0, 1).contiguous()


def _arrays(start: Tensor, paces: Tensor, tables: Any, weights: Any, counts: Tensor, widths: Tensor) -> list[Any]:
    lists = (tuple(x.numpy() for x in some) for some in (tables, weights))
    turned = start.T.contiguous().numpy(), paces.permute(1, 2, 0).contiguous().numpy()
    return [*turned, *lists, counts.numpy(), widths.numpy()]


_library.impl("rate_equations", _course, "CPU")
_library.impl("rate_equations_slopes", _slopes, "CPU")


class _Solved(torch.autograd.Function):
    @staticmethod
    def forward(start: Tensor, paces: Tensor, plan: Plan) -> Any:
        return torch.ops.pyro_zoo.rate_equations(start, paces, *_given(plan))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.plan = inputs[2]

    @staticmethod
    def backward(ctx: Any, heads: Tensor, happened: Tensor) -> Any:
        return *_Slopes.apply(*ctx.saved_tensors, heads, happened, ctx.plan), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *given: Any) -> Any:
        return _batched(_Solved, info.batch_size, in_dims, given)


class _Slopes(torch.autograd.Function):
    @staticmethod
    def forward(start: Tensor, paces: Tensor, heads: Tensor, happened: Tensor, plan: Plan) -> Any:
        return torch.ops.pyro_zoo.rate_equations_slopes(start, paces, *_given(plan), heads, happened)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[:4])
        ctx.plan = inputs[4]

    @staticmethod
    def backward(ctx: Any, *more: Tensor) -> Any:
        return *_Curves.apply(*ctx.saved_tensors, *more, ctx.plan), None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *given: Any) -> Any:
        return _batched(_Slopes, info.batch_size, in_dims, given)


class _Curves(torch.autograd.Function):
    """The slopes of `_Slopes`, by torch."""

    @staticmethod
    def forward(*given: Any) -> Any:
        *tensors, plan = given
        with torch.enable_grad():
            start, paces, heads, happened = (x.detach().requires_grad_() for x in tensors[:4])
            first = start, paces
            found = torch.autograd.grad(by_torch(*first, plan), first, (heads, happened), create_graph=True)
            return torch.autograd.grad(found, (*first, heads, happened), tensors[4:])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *more: Tensor) -> Any:
        raise NotImplementedError("the course of a spread has two derivatives here, not three")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *given: Any) -> Any:
        return _batched(_Curves, info.batch_size, in_dims, given)


def _batched(function: Any, size: int, in_dims: Any, given: Any) -> Any:
    """One batch of those that are mapped over: [size, B, ...] as [size * B, ...]."""
    *tensors, plan = given
    fronted = [
        x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0) for x, dim in zip(tensors, in_dims, strict=False)
    ]
    found = function.apply(*(x.reshape(-1, *x.shape[2:]) for x in fronted), plan)
    return tuple(x.unflatten(0, (size, -1)) for x in found), (0,) * len(found)
