"""Samplers of unconstrained log densities: many chains in one batch."""

from inference.sampling.chees import Chees
from inference.sampling.compiled import compiled
from inference.sampling.density import LogDensity
from inference.sampling.elliptical import EllipticalSlice
from inference.sampling.hmc import Hmc
from inference.sampling.independent import Independent
from inference.sampling.nuts import Nuts
from inference.sampling.pyro_nuts import PyroNuts
from inference.sampling.random_walk import RandomWalk
from inference.sampling.stopping import Ess, RHat
from inference.sampling.stretch import DifferentialEvolution, Stretch

__all__ = [
    "Chees",
    "DifferentialEvolution",
    "EllipticalSlice",
    "Ess",
    "Hmc",
    "Independent",
    "LogDensity",
    "Nuts",
    "PyroNuts",
    "RHat",
    "RandomWalk",
    "Stretch",
    "compiled",
]
