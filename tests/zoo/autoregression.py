"""What must hold of every model that makes a row number by number, by means of its public methods alone."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from zoo.choosing import Choose


def all_rows(levels: int, *shape: int) -> Tensor:
    """Every row there is, [levels ** size, *shape]."""
    size = torch.Size(shape).numel()
    return torch.tensor(list(itertools.product(range(levels), repeat=size))).view(-1, *shape)


def places(model: Any) -> Tensor:
    """Where in a flattened row the first, second, ... number of the model's order lies, [features]."""
    order = getattr(model, "order", None)
    return order.cpu() if isinstance(order, Tensor) else torch.arange(model.features)


def in_order(model: Any, x: Tensor) -> Tensor:
    """Rows as codes in the model's order, [N, features]."""
    return x.flatten(1).long()[:, places(model)]


def step_logits(model: Any, x: Tensor, i: int, context: Tensor | None) -> Tensor:
    """log p(x_i = level | x_1..x_(i-1)) of every level, by the parallel pass, [N, levels]."""
    found = []
    for level in range(model.levels):
        row = x.flatten(1).clone()
        row[:, places(model)[i]] = level
        found.append(model.step_log_prob(model.as_rows(row.view(x.shape)), context=context)[:, i])
    return torch.stack(found, -1)


def naive_rows(model: Any, n: int, context: Tensor | None, prefix: Tensor, choose: Choose) -> Tensor:
    """What sampling must give: a whole pass through the network for each number."""
    codes = torch.zeros(n, model.features, dtype=torch.long)
    order = places(model)
    codes[:, order[: prefix.shape[1]]] = prefix
    for i in range(prefix.shape[1], model.features):
        x = codes.view(n, *model.event_shape)
        codes[:, order[i]] = choose(i, step_logits(model, x, i, context))
    return model.as_rows(codes.view(n, *model.event_shape))


def unrolled_log_prob(model: Any, x: Tensor, context: Tensor | None = None, told: int = 0) -> Tensor:
    """log p of each number from `told` on as `unroll` has it, choosing the rows x themselves, [N, features - told]."""
    codes, found = in_order(model, x).to(model.device), []

    def choose(i: int, logits: Tensor) -> Tensor:
        assert logits.shape == (len(x), model.levels)
        found.append(logits.log_softmax(-1).gather(-1, codes[:, i : i + 1]).squeeze(-1))
        return codes[:, i]

    made = model.unroll(choose, len(x), context=context, known=codes[:, :told] if told else None)
    assert torch.equal(made.flatten(1), x.flatten(1).long())
    return torch.stack(found, -1)
