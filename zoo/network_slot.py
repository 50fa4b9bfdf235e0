"""The place of a diffusion's network: a module, what builds one, or a table that declares it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from zoo.coding import Network
from zoo.declared import arguments, kind_of

NETWORKS: Mapping[str, str] = {
    "mlp": "zoo.score_networks:ScoreMLP",
    "unet": "zoo.unet:UNet",
    "transformer": "zoo.score_transformer:ScoreTransformer",
}
SHAPES = ("event_shape", "context_shape", "outputs")


def as_network(written: Network | Mapping[str, Any] | str | None) -> Network:
    """The network in the slot, or what builds the one that a name or a table declares; a perceptron unless told."""
    if written is not None and not isinstance(written, Mapping | str):
        return written
    table = {"kind": "mlp", **written} if isinstance(written, Mapping) else written or "mlp"
    kind, own = kind_of("network", table, NETWORKS)
    module, _, name = NETWORKS[kind].partition(":")
    maker = getattr(importlib.import_module(module), name)
    return partial(maker, **arguments("network", kind, own, maker, SHAPES))
