"""The keyword arguments of `fit`, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.checkpoint import Checkpoint
from inference.descent import FusedAdam
from inference.progress import Callback
from inference.schedules import Schedule

OptimizerOf = Callable[[Sequence[nn.Parameter], float], torch.optim.Optimizer]


def adam(parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """Adam, all parameters in one fused call."""
    if len({(parameter.device, parameter.dtype) for parameter in parameters}) > 1:
        return torch.optim.Adam(parameters, lr=lr, fused=True)
    return FusedAdam(parameters, lr)


def adamw(
    parameters: Sequence[nn.Parameter],
    lr: float,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.99),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """AdamW, fused. Matrices decay, vectors (biases, scales) do not; the defaults are those of small Transformers.

    References:
        Decoupled Weight Decay Regularization (Loshchilov and Hutter, 2019), https://arxiv.org/abs/1711.05101
    """
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be at least 0, not {weight_decay}")
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=betas, eps=eps, fused=True)


DEFAULTS: Mapping[str, Any] = {"lr": 1e-3, "optimizer": adam, "every": 50}
"""What `fit` takes where neither its caller nor the model says."""


@dataclass(frozen=True)
class Settings:
    """The keyword arguments of `fit`, checked."""

    steps: int | None
    epochs: int | None
    batch_size: int | None
    lr: float | Mapping[str, float]
    optimizer: OptimizerOf
    schedule: Schedule | None
    transform: Callable[[Tensor], Tensor] | None
    clip: float | None
    average: float | None
    validation: Any
    patience: int | None
    every: int
    seed: int
    device: torch.device | str | None
    precision: torch.dtype | None
    callbacks: Sequence[Callback]
    checkpoint: Checkpoint | None
    resume: str | Path | None
    progress: bool
    tensorboard: str | Path | None

    @classmethod
    def of(cls, arguments: Mapping[str, Any], advice: Mapping[str, Any] | None = None) -> Settings:
        """The arguments of `fit`; what is None is taken from a model's advice, and then from `DEFAULTS`."""
        given = {name: arguments[name] for name in cls.__dataclass_fields__}
        for name, value in {**DEFAULTS, **(advice or {})}.items():
            if name not in given:
                raise ValueError(f"the model's recipe has {name!r}, which is no argument of fit")
            given[name] = value if given[name] is None else given[name]
        if given["steps"] is not None and given["epochs"] is not None:
            raise ValueError("give steps or epochs, not both")
        for name in ("steps", "epochs", "batch_size", "every", "patience"):
            if given[name] is not None and given[name] < 1:
                raise ValueError(f"{name} must be at least 1, not {given[name]}")
        if given["clip"] is not None and not given["clip"] > 0:
            raise ValueError(f"clip must be positive, not {given['clip']}")
        if given["average"] is not None and not 0 < given["average"] < 1:
            raise ValueError(f"average is the decay of a moving average, between 0 and 1, not {given['average']}")
        _check_device(given["device"])
        if given["patience"] is not None and given["validation"] is None:
            raise ValueError("patience needs validation: rows to hold out, or a fraction such as 0.1")
        if given["precision"] not in (None, torch.float32, torch.float64, torch.bfloat16):
            raise ValueError(f"precision is torch.float32, float64 or bfloat16, not {given['precision']}")
        if given["checkpoint"] is not None and not isinstance(given["checkpoint"], Checkpoint):
            given["checkpoint"] = Checkpoint(given["checkpoint"])
        return cls(**given)


def _check_device(device: torch.device | str | None) -> None:
    if device is None:
        return
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ValueError(f"there is no device {device!r}; there are 'cpu' and 'cuda'") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {str(device)!r} needs a GPU and the CUDA build of torch; this machine offers 'cpu'")
