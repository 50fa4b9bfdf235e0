"""The likelihood of each row of observed sites where discrete latents are summed out of a program."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import Tensor

from inference.program_sites import contracted, scored


def summed_out(trace: Any, observed: Collection[str]) -> dict[str, Tensor]:
    """log p(site | latents, the observed sites before it) in nats, name -> [*batch], of a trace with enumerated sites.

    An axis along which rows share a discrete latent is summed, and of size one.
    """
    contracted(trace, [name for name in scored(trace) if name not in observed])  # which packs what each site is worth
    before = [name for name in scored(trace) if name not in observed]
    found = {}
    for name in observed:
        kept = _own_plates(trace, name)
        after = [*before, name]
        with_it, without = (_in_shape(trace, name, nodes, kept) for nodes in (after, before))
        found[name] = with_it - without
        before = after
    return found


def _own_plates(trace: Any, name: str) -> frozenset[str]:
    """The plates of a site in each row of which the discrete latents that it hangs on are others."""
    symbols = {site: set(node["packed"]["log_prob"]._pyro_dims) for site, node in scored(trace).items()}
    plates = set(trace.plate_to_symbol.values())
    reached = symbols[name] - plates
    while True:
        wider = reached.union(*(found - plates for found in symbols.values() if found & reached))
        if wider == reached:
            break
        reached = wider
    latents = [node for node in scored(trace).values() if node["infer"].get("_enumerate_symbol") in reached]
    shared = [_plates(node) for node in latents]
    return frozenset(_plates(trace.nodes[name])).intersection(*shared)


def _plates(node: Any) -> set[str]:
    return {frame.name for frame in node["cond_indep_stack"] if frame.vectorized}


def _in_shape(trace: Any, name: str, nodes: Collection[str], kept: frozenset[str]) -> Tensor:
    """What these nodes are worth in each row of the plates kept, in the shape of a site's batch.

    Its other axes have size one, and so has a plate that none of the nodes is in.
    """
    node = trace.nodes[name]
    known = kept.intersection(plate for each in nodes for plate in _plates(trace.nodes[each]))
    packed = contracted(trace, nodes, known)
    axes = packed._pyro_dims  # type: ignore[attr-defined]
    frames = sorted((f for f in node["cond_indep_stack"] if f.name in known), key=lambda frame: frame.dim)
    shape = [1] * (node["value"].dim() - node["fn"].event_dim)
    for frame in frames:
        shape[frame.dim] = frame.size
    return packed.permute([axes.index(trace.plate_to_symbol[frame.name]) for frame in frames]).reshape(shape)
