"""Influenza in a boarding school, January 1978: 763 boys, fourteen days.

The figures are the boys in bed on each day from 22 January on, as the R package outbreaks read them off the figure in
"Influenza in a boarding school" (British Medical Journal 1978; 1:587); other readings differ by a few boys. The priors
are those of Stan's case study.

References:
    Bayesian workflow for disease transmission modeling in Stan (Grinsztajn et al., 2021), https://arxiv.org/abs/2006.02985
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor

from zoo.spread.compartments import Compartments, Transition
from zoo.spread.outbreak import Outbreak
from zoo.spread.reporting import NegativeBinomial, PositiveNormal

BOYS = 763
IN_BED = (3, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4)


def influenza(times: Sequence[float] = range(1, 15)) -> Outbreak:
    """SIR of the school from one boy on day 0, boys in bed counted with overdispersion; sites beta, gamma, phi_inv."""
    return Outbreak(
        Compartments("SIR", [Transition("S", "I", "beta", by="I"), Transition("I", "R", "gamma")]),
        {"S": BOYS - 1, "I": 1},
        {"beta": PositiveNormal(2.0, 1.0), "gamma": PositiveNormal(0.4, 0.5)},
        observes="I",
        times=times,
        reporting=NegativeBinomial(phi_inv=dist.Exponential(torch.tensor(5.0, dtype=torch.float64))),
    )


def in_bed() -> Tensor:
    """[14]"""
    return torch.tensor(IN_BED, dtype=torch.float64)
