"""Handlers that set a program's sites, and what the sites of a trace are worth together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import torch
from opt_einsum import shared_intermediates
from pyro.distributions.util import scale_and_mask
from pyro.ops.contract import contract_to_tensor
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from torch import Tensor

from inference.supports import map_of

RADIUS = 2.0
"""Where nothing can be drawn of a prior, its value is that of an unconstrained number within so much of zero."""


class Draw(Messenger):
    """Draws every site that has no value; `observed` names those whose value is put aside and drawn anew.

    `improper` lets a prior that has no draws be a number somewhere in its support; else it is refused by name.
    """

    def __init__(self, observed: Collection[str] = (), improper: bool = False) -> None:
        super().__init__()
        self.observed, self.improper = observed, improper

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.observed:
            msg["is_observed"], msg["value"], msg["done"] = False, None, False
        if msg["done"] or msg["is_observed"] or type(msg["fn"]).__name__ == "_Subsample":
            return
        try:
            msg["value"] = msg["fn"]()
        except NotImplementedError:
            if not self.improper:
                raise ValueError(
                    f"the site {msg['name']!r} can't be drawn: a {type(msg['fn']).__name__} has no draws; "
                    "give it a proper prior"
                ) from None
            msg["value"] = anywhere(msg["fn"])
        msg["done"] = True


class Substitute(Messenger):
    """Gives sites their values by name: {name: value}."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"], msg["done"] = self.values[msg["name"]], True


class Enumerate(EnumMessenger):
    """Pyro's parallel enumeration, which reads a site's shape from `.data`: that can't be vmapped."""

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["value"] is None or type(msg["fn"]).__name__ == "_Subsample":
            return
        shape = msg["value"].shape[: msg["value"].dim() - msg["fn"].event_dim]
        dims = msg["infer"].setdefault("_dim_to_id", {})
        dims.update(self._param_dims.get(msg["name"], {}))
        self._value_dims[msg["name"]] = {d: i for d, i in dims.items() if len(shape) >= -d and shape[d] > 1}


def anywhere(fn: Any) -> Tensor:
    """A value somewhere in the support of a distribution that can't be drawn."""
    onto = map_of(fn.support)
    return onto(RADIUS * (2 * torch.rand(onto.inverse_shape(fn.shape())) - 1))


def is_draw(node: Any) -> bool:
    """Whether a node of a trace is a value with a density: no plate, factor or deterministic."""
    if node["type"] != "sample" or type(node["fn"]).__name__ in ("_Subsample", "Unit"):
        return False
    return not is_derived(node)


def is_derived(node: Any) -> bool:
    return (node["type"] == "sample" and bool(node["infer"].get("_deterministic"))) or _is_point(node)


def _is_point(node: Any) -> bool:
    # what a reparameterisation leaves of the site it takes apart: a point at a function of the new sites
    fn = node.get("fn")
    return bool(node.get("is_observed")) and type(getattr(fn, "base_dist", fn)).__name__ == "Delta"


def log_prob(node: Any) -> Tensor:
    """log p of a node's value, one number an entry of its batch, scaled and masked."""
    value = node["fn"].log_prob(node["value"], *node["args"], **node["kwargs"])
    return scale_and_mask(value, node["scale"], node["mask"])


def seen(node: Any) -> Tensor:
    """An observed node's value, NaN where a mask says that it was not seen: what stands there is no datum."""
    value, fn, masks = node["value"], node["fn"], [node["mask"]]
    batch = value.dim() - fn.event_dim
    while fn is not None:
        masks.append(getattr(fn, "_mask", None))
        fn = getattr(fn, "base_dist", None)
    for mask in masks:
        if isinstance(mask, Tensor) and not bool(mask.all()):
            whole = mask.bool().reshape(*[1] * (batch - mask.dim()), *mask.shape)
            there = whole.reshape(*whole.shape, *[1] * (value.dim() - whole.dim()))
            value = torch.where(there, value if value.is_floating_point() else value.double(), torch.nan)
    return value


def scored(trace: Any) -> dict[str, Any]:
    """The nodes of a trace that have a density, factors included."""
    return {
        name: node
        for name, node in trace.nodes.items()
        if node["type"] == "sample"
        and type(node["fn"]).__name__ != "_Subsample"
        and not node["infer"].get("_deterministic")
    }


def joint(trace: Any, discrete: Collection[str]) -> Tensor:
    """The log density of a trace, one number: the sum of its sites', where the discrete ones are summed out."""
    nodes = scored(trace)
    if discrete:
        return contracted(trace, nodes)
    total: Any = 0.0
    for node in nodes.values():
        total = total + log_prob(node).sum()
    return total


def pack(trace: Any) -> None:
    """Every site's log density, its axes named after plates and enumerated sites; once a trace."""
    if hasattr(trace, "plate_to_symbol"):
        return
    for node in scored(trace).values():
        node["log_prob"] = node["unscaled_log_prob"] = log_prob(node)
    trace.pack_tensors()


def contracted(trace: Any, nodes: Collection[str], plates: frozenset[str] = frozenset()) -> Tensor:
    """log of the product of these nodes' factors, summed over the enumerated sites; of the named plates' shape."""
    pack(trace)
    factors: OrderedDict[frozenset[str], list[Tensor]] = OrderedDict()
    for name in nodes:
        node = trace.nodes[name]
        frames = frozenset(trace.plate_to_symbol[f.name] for f in node["cond_indep_stack"] if f.vectorized)
        factors.setdefault(frames, []).append(node["packed"]["log_prob"])
    summed = set(trace.symbol_to_dim) - set(trace.plate_to_symbol.values())
    target = frozenset(trace.plate_to_symbol[name] for name in plates)
    with shared_intermediates() as cache:
        return contract_to_tensor(factors, summed, target_ordinal=target, cache=cache)
