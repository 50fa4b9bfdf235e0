"""Which numbers of an image a model of images sees, by the gradients of what it puts out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tests.zoo.autoregression import places
from tests.zoo.shaking import normal


def sees(model: Any, seeds: int = 8) -> Tensor:
    """Whether what is put out for number i moves with number j, in the model's order, [features, features]."""
    size = model.features
    found = torch.zeros(size, size, dtype=torch.bool)

    def put_out(read: Tensor) -> Tensor:
        return model.head(model.trunk(read, None), read).flatten(1, 3)[0]

    for seed in range(seeds):  # a unit may be off at one image
        read = normal(1, *model.event_shape, seed=seed)
        jacobian = torch.autograd.functional.jacobian(put_out, read, vectorize=True)
        found |= (jacobian.abs() > 0).any(1).flatten(1)[:, places(model)]
    return found
