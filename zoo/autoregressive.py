"""What the autoregressive families share: a row of levels, each given those before it."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.base import Explicit, Shape
from zoo.choosing import Choose, drawing
from zoo.distributions import RowDistribution


class Autoregressive(Explicit):
    """Rows of levels, p(x | c) = prod_i p(x_i | x_1..x_(i-1), c), i in the family's order of the numbers of a row.

    A family gives both ways through its network: `step_log_prob`, all conditionals at once, and `unroll`, one after
    the other with what was computed before kept. `sample` and whoever codes rows by their conditionals go by `unroll`.

    x is [N, *event_shape]: zeros and ones as floats where there are two levels, codes 0..levels-1 where there are more.
    """

    capabilities = Explicit.capabilities | {"unroll"}

    def __init__(self, event_shape: Shape, *, context_shape: Shape | None = None, levels: int) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if levels < 2:
            raise ValueError(f"levels must be at least 2, not {levels}")
        self.levels = levels
        self.support = constraints.boolean if levels == 2 else constraints.integer_interval(0, levels - 1)

    @abstractmethod
    def step_log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """log p(x_i | x_1..x_(i-1), c) of each number, in the family's order, [N, features], in nats."""

    @abstractmethod
    def unroll(
        self, choose: Choose, rows: int, *, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """So many rows number by number, each what `choose` makes of its logits: codes, [rows, *event_shape].

        `known`, [rows, k], are the codes of the first k numbers in the family's order; `choose` is asked from there.
        The same rows in the same number of rows are given the same logits to the bit, whoever chooses.
        """

    def distribution(self, context: Tensor | None = None) -> AutoregressiveRows:
        self.check(context=context)
        return AutoregressiveRows(self, context)

    @torch.no_grad()
    def sample(
        self,
        n: int = 1,
        *,
        context: Tensor | None = None,
        prefix: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Tensor:
        """n rows drawn, [n, *event_shape].

        `prefix`, [n, k] or [1, k], holds the first k numbers (in the family's order) and the rest is drawn given
        them. See `zoo.choosing.drawing` for temperature, top_k and top_p.
        """
        context, choose = self.context_rows(n, context), drawing(temperature, top_k, top_p)
        known = None if prefix is None else self.prefix_rows(n, prefix)
        return self.as_rows(self.unroll(choose, n, context=context, known=known))

    def as_rows(self, codes: Tensor) -> Tensor:
        """Codes as x holds them: bits as floats."""
        return codes.to(self.dtype) if self.levels == 2 else codes

    def prefix_rows(self, n: int, prefix: Tensor) -> Tensor:
        """The first numbers of n rows, checked, as codes [n, k]."""
        name = type(self).__name__
        if prefix.dim() != 2 or len(prefix) not in (1, n) or prefix.shape[1] > self.features:
            raise ValueError(
                f"prefix holds the first k of {self.features} numbers of 1 or {n} rows, [{n}, k], "
                f"but was given {list(prefix.shape)}"
            )
        check_codes(f"the prefix of {name}", prefix, self.levels)
        return prefix.to(self.device, torch.long).expand(n, -1)

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        super().check(x, context)
        if x is not None:
            check_codes(f"x of {type(self).__name__}", x, self.levels)


def check_codes(what: str, x: Tensor, levels: int) -> None:
    """Refuse what is no code 0..levels-1, naming where it is."""
    if not x.numel():
        return
    if x.is_floating_point():
        sound = torch.equal(x, x.round().clamp_(0, levels - 1))  # of a few ways the quickest: it is asked at each step
    else:
        low, high = (int(end) for end in x.aminmax())
        sound = low >= 0 and high <= levels - 1
    if sound:
        return
    row, *rest = torch.nonzero(~((x >= 0) & (x <= levels - 1) & (x == x.round())))[0].tolist()
    place = ", ".join(map(str, rest))
    raise ValueError(
        f"{what} has the value {float(x[(row, *rest)]):g} at row {row}, column {place}, "
        f"outside the support: its codes are 0 to {levels - 1}"
    )


class AutoregressiveRows(RowDistribution):
    """The rows of an autoregressive model; its batch shape is the context's, [] or [N]."""

    def __init__(self, model: Autoregressive, context: Tensor | None) -> None:
        self._model, self._context = model, context
        super().__init__(torch.Size() if context is None else context.shape[:1], model.event_shape)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self._model.support, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        batch, context = value.shape[: value.dim() - len(self.event_shape)], self._context
        if len(batch) == 1 and self.batch_shape in ((), batch) and (context is None or context.shape[:1] == batch):
            return self._model.step_log_prob(value, context=context).sum(-1)  # as in training: nothing to reshape
        if context is not None:
            batch = torch.broadcast_shapes(batch, context.shape[:1])
        rows = value.expand(*batch, *self.event_shape).reshape(-1, *self.event_shape)
        found = self._model.step_log_prob(rows, context=self._context_of(batch)).sum(-1)
        return found.reshape(batch).expand(torch.broadcast_shapes(batch, self.batch_shape))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        batch = shape[: len(shape) - len(self.event_shape)]
        with torch.no_grad():
            codes = self._model.unroll(drawing(), batch.numel(), context=self._context_of(batch))
        return self._model.as_rows(codes).reshape(shape)

    def _context_of(self, batch: torch.Size) -> Tensor | None:
        """A row of context for each of so many rows."""
        context = self._context
        if context is None or context.shape[:1] == batch:
            return context
        shape = context.shape[1:]
        return context.expand(*batch, *shape).reshape(-1, *shape)
