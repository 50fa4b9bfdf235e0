"""An outbreak in compartments."""

from __future__ import annotations

import functools

from torch import Tensor

from zoo.spread import Outbreak
from zoo.spread import influenza as school


def influenza(cases: Tensor) -> Tensor:
    """Boys in bed: [14] of an English boarding school in 1978; NaN where not known, and predicted.

    SIR of 763 boys from one on day 0: beta ~ N+(2, 1), gamma ~ N+(0.4, 0.5), phi_inv ~ Exponential(5), cases_t ~
    NegBinomial(I_t, I_t + phi_inv I_t^2).

    References:
        Bayesian workflow for disease transmission modeling in Stan (Grinsztajn et al., 2021)
    """
    return _outbreak().model(cases)


@functools.cache
def _outbreak() -> Outbreak:
    return school()
