"""Where a Pyro pair's numbers stop being numbers: the first site whose log-probability is not finite."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from inference.protocols import Pair, given_context, offers


@dataclass(frozen=True)
class Broken:
    """A site of the model or the guide, the first value of its log-probability that is not finite, and how many are."""

    part: str
    name: str
    value: float
    bad: int = 0
    of: int = 0

    def __str__(self) -> str:
        how = f"{self.value} in {self.bad} of {self.of}" if self.of else "its distribution could not be used"
        return f"the site {self.name!r} of the {self.part} (log-probability: {how})"


class _Watch(Messenger):
    """Stops at the first site whose log-probability is not finite; knows which site was last begun."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part, self.at = part, ""
        self.found: Broken | None = None

    def _pyro_sample(self, msg: Any) -> None:
        self.at = "" if type(msg["fn"]).__name__ == "_Subsample" else msg["name"]

    def _pyro_post_sample(self, msg: Any) -> None:
        if not self.at or self.found is not None:
            return
        log_prob = scale_and_mask(msg["fn"].log_prob(msg["value"]), msg["scale"], msg["mask"])
        bad = ~torch.isfinite(log_prob)
        if bad.any():
            value = float(log_prob[bad].flatten()[0])
            self.found = Broken(self.part, self.at, value, int(bad.sum()), bad.numel())
        self.at = ""


def first_broken(model: Any, x: Tensor, context: Tensor | None = None) -> Broken | None:
    """The first site of a pair, the guide's before the model's, whose log-probability of x is not finite.

    None where all are finite, or where there is no pair that scores x. The pair is run once, by torch's generator.
    """
    if not offers(model, Pair):
        return None
    trace = poutine.Trace()
    with torch.no_grad(), pyro.validation_enabled(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in ("guide", "model"):
            watch = _Watch(part)
            run = poutine.trace(poutine.replay(given_context(getattr(model, part), context), trace=trace))
            try:
                with watch:
                    trace = run.get_trace(x)
            except Exception:  # whatever a program does that meets NaN, the site is what is asked for
                return watch.found or (Broken(part, watch.at, math.nan) if watch.at else None)
            if watch.found is not None:
                return watch.found
    return None


def where(model: Any, x: Tensor, context: Tensor | None = None) -> str:
    """`first_broken` in words that follow a fault, with the first parameter that is NaN; empty if neither is found."""
    site = first_broken(model, x, context)
    named = model.named_parameters() if isinstance(model, nn.Module) else ()
    broken = [name for name, parameter in named if parameter.isnan().any()]
    words = [] if site is None else [f"first at {site}"]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        words.append(f"with the parameter {broken[0]!r}{more} nan before")
    return "".join(f", {each}" for each in words)
