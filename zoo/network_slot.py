"""The place of a diffusion's network: a module, what builds one, or a table that declares it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from zoo.coding import Network
from zoo.registry import near

NETWORKS: Mapping[str, str] = {
    "mlp": "zoo.score_networks:ScoreMLP",
    "unet": "zoo.unet:UNet",
    "transformer": "zoo.score_transformer:ScoreTransformer",
}
SHAPES = ("event_shape", "context_shape", "outputs")


def as_network(declared: Network | Mapping[str, Any] | None) -> Network:
    """The network in the slot, or what builds the one that a table declares; a perceptron unless told."""
    if declared is not None and not isinstance(declared, Mapping):
        return declared
    table = dict(declared or {})
    kind = str(table.pop("kind", "mlp"))
    if kind not in NETWORKS:
        raise ValueError(f"network: there is no kind {kind!r}{near(kind, NETWORKS)}")
    module, _, name = NETWORKS[kind].partition(":")
    maker = getattr(importlib.import_module(module), name)
    known = [name for name in inspect.signature(maker).parameters if name not in SHAPES]
    for key in table:
        if key not in known:
            raise ValueError(f"network: {key} is not a parameter of {kind}{near(key, known)}")
    return partial(maker, **table)
