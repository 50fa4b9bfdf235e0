"""Models moved away from where they start, for tests of what must hold wherever they are."""

from typing import Any

import torch
from torch import Tensor


def shaken(model: Any, scale: float = 0.4, seed: int = 1) -> Any:
    """The model in float64, every parameter moved, those under a mask as well."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return model


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
