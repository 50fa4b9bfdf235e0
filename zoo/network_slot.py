"""The place of a network, such as a diffusion's: a module, what builds one, or a table that declares it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
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


def as_network(
    written: Network | Mapping[str, Any] | str | None,
    what: str = "network",
    kinds: Mapping[str, str] = NETWORKS,
    given: Sequence[str] = SHAPES,
) -> Network:
    """The network in the slot, or what builds the one that a name or a table declares; a perceptron unless told.

    The builder is called with the event_shape and the other keywords of `given`.
    """
    if written is not None and not isinstance(written, Mapping | str):
        return written
    table = {"kind": "mlp", **written} if isinstance(written, Mapping) else written or "mlp"
    kind, own = kind_of(what, table, kinds)
    module, _, name = kinds[kind].partition(":")
    maker = getattr(importlib.import_module(module), name)
    return partial(maker, **arguments(what, kind, own, maker, given))
