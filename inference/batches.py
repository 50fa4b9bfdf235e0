"""Batches in an order that the seed and the step decide alone, so that any step can be come back to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from inference.data import Batch, DatasetRows, TensorRows
from inference.world import World

IN_MEMORY = 64 * 2**20
"""Bytes up to which an epoch is shuffled as one copy, so that a batch is a slice."""
EPOCHS = 1_000_003
"""Between the shuffles of one seed and those of the next."""


class Batches:
    """Rows, shuffled anew for each epoch and cut into batches, of which each process takes its share.

    Parameters:
        batch_size: rows a step over all processes; None takes all.
        checked: what to do to a batch that is read only now.
    """

    def __init__(
        self,
        rows: TensorRows | DatasetRows,
        batch_size: int | None,
        seed: int,
        world: World,
        checked: Callable[[Batch], Batch],
    ) -> None:
        n = len(rows)
        self.rows, self.seed, self.world, self.checked = rows, seed, world, checked
        self.size = min(batch_size or n, n)
        if self.size < world.size:
            raise ValueError(f"a batch of {self.size} rows can't be shared by {world.size} processes")
        too_small = 0 < n % self.size < world.size
        self.per_epoch = -(-n // self.size) - int(too_small)

    def first(self, numbers: int = 0) -> Batch:
        """The first rows, as they come: a batch, or as many more as hold so many numbers."""
        batch = self._take(torch.arange(self.size))
        count = min(len(self.rows), numbers // max(1, batch[0][0].numel()))
        return batch if count <= self.size else self._take(torch.arange(count))

    def after(self, step: int) -> Iterator[tuple[Tensor, Tensor | None, float]]:
        """The batches from a step on, each with its share: how much of the whole batch this process has."""
        world = self.world
        epoch, first = divmod(step, self.per_epoch)
        while True:
            generator = torch.Generator().manual_seed(self.seed * EPOCHS + epoch)
            order = torch.randperm(len(self.rows), generator=generator)
            if world.size == 1 and isinstance(self.rows, TensorRows) and self.rows.x.nbytes <= IN_MEMORY:
                xs, contexts = (None if t is None else t.split(self.size) for t in self._take(order))
                assert xs is not None
                for index in range(first, self.per_epoch):
                    yield xs[index], None if contexts is None else contexts[index], 1.0
            else:
                for index in range(first, self.per_epoch):
                    whole = order[index * self.size : (index + 1) * self.size]
                    x, context = self._take(whole[world.rank :: world.size])
                    yield x, context, len(x) * world.size / len(whole)
            epoch, first = epoch + 1, 0

    def _take(self, index: Tensor) -> Batch:
        if isinstance(self.rows, TensorRows):
            return self.rows.take(index.to(self.rows.x.device))
        return self.checked(self.rows.take(index))


def split(
    rows: TensorRows | DatasetRows, validation: Any, seed: int, checked: Callable[[Any], TensorRows | DatasetRows]
) -> tuple[TensorRows | DatasetRows, TensorRows | DatasetRows | None]:
    """Rows to fit to and rows to hold out: none, a random fraction, or other data."""
    if validation is None:
        return rows, None
    if not isinstance(validation, float):
        return rows, checked(validation)
    count = round(validation * len(rows))
    if not 0 < count < len(rows):
        raise ValueError(
            f"validation={validation} holds out {count} of {len(rows)} rows; at least one must be on each side"
        )
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    return rows.part(order[count:]), rows.part(order[:count])
