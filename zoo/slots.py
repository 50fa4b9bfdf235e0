"""Slots: where one model stands in another, and what fits there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from zoo.base import Explicit, LatentVariable, Model, Shape, as_shape

Fitting = TypeVar("Fitting", bound=Model)
Slot = Explicit | Callable[..., Explicit]
"""What a slot for a density takes: a built model, or what builds one from (event_shape, context_shape)."""
PriorSlot = Explicit | LatentVariable | Callable[..., Explicit | LatentVariable]
"""What a slot takes whose density may be an estimate: that of a prior."""

CoderSlot = LatentVariable | Callable[..., LatentVariable]
"""What a slot for an autoencoder takes."""


def fill(slot: Slot, name: str, event_shape: Shape, context_shape: Shape | None = None) -> Explicit:
    """The density in a slot, built if need be, and refused with the slot's name if it does not fit."""
    model = _built(slot, name, event_shape, context_shape)
    if not isinstance(model, Explicit):
        raise TypeError(f"{name} must be an explicit model, which has a density, not {type(model).__name__}")
    return _fitting(model, name, event_shape, context_shape)


def fill_prior(
    slot: PriorSlot, event_shape: Shape, context_shape: Shape | None = None, name: str = "prior"
) -> Explicit | LatentVariable:
    """The same of a slot whose density may be one that is bounded."""
    model = _built(slot, name, event_shape, context_shape)
    if not isinstance(model, Explicit | LatentVariable) or model.likelihood is None:
        raise TypeError(f"{name} must be a model with a density, exact or bounded, not {type(model).__name__}")
    return _fitting(model, name, event_shape, context_shape)


def fill_coder(
    slot: CoderSlot, event_shape: Shape, context_shape: Shape | None = None, name: str = "autoencoder"
) -> Any:
    """The model that codes rows in a slot: one whose latents are numbers of a shape that it says, `latent`."""
    model = _built(slot, name, event_shape, context_shape)
    if not isinstance(model, LatentVariable) or not isinstance(getattr(model, "latent", None), torch.Size):
        raise TypeError(f"{name} must be a model with a latent code, such as a VAE, not {type(model).__name__}")
    return _fitting(model, name, event_shape, context_shape)


def _built(slot: Any, name: str, event_shape: Shape, context_shape: Shape | None) -> nn.Module:
    if not callable(slot):
        raise TypeError(
            f"{name} must be a model, a class, or what builds one, not {type(slot).__name__}; "
            f"zoo.build reads tables such as {{'family': ..., {name!r}: {{...}}}}"
        )
    return slot if isinstance(slot, nn.Module) else slot(event_shape, context_shape=context_shape)


def _fitting(model: Fitting, name: str, event_shape: Shape, context_shape: Shape | None) -> Fitting:
    for what, has, wanted in (
        ("event_shape", model.event_shape, as_shape(event_shape)),
        ("context_shape", model.context_shape, as_shape(context_shape)),
    ):
        if has != wanted:
            raise ValueError(f"{name}: {type(model).__name__} has {what} {_list(has)}, but {_list(wanted)} fits here")
    return model


def _list(shape: torch.Size | None) -> list[int] | None:
    return None if shape is None else list(shape)
