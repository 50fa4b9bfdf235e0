"""How a model is asked: in evaluation mode, without gradients, on its device, by a seed of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from inference.seeding import seeded


@contextmanager
def asking(model: Any, seed: int) -> Iterator[None]:
    """Without gradients, in evaluation mode, with random numbers of its own; all put back afterwards."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [module.training for module in modules]
    like = anchor(model)
    try:
        for module in modules:
            module.training = False
        with seeded(seed, None if like is None else like.device), torch.no_grad():
            yield
    finally:
        for module, was in zip(modules, training, strict=True):
            module.training = was


def placed(model: Any, x: Any) -> Tensor:
    """x as a tensor on the model's device, in its dtype where it is made of floats; as it is for no module."""
    like, tensor = anchor(model), torch.as_tensor(x)
    if like is None:
        return tensor
    return tensor.to(like.device, like.dtype if tensor.is_floating_point() else None)


def anchor(model: Any) -> Tensor | None:
    """The tensor whose device and dtype a model follows, if it has one."""
    tensors = (*model.parameters(), *model.buffers()) if isinstance(model, nn.Module) else ()
    return next((tensor for tensor in tensors if tensor.is_floating_point()), None)
