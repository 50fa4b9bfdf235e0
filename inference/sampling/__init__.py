"""Samplers of unconstrained log densities: many chains in one batch."""

from inference.sampling.chees import Chees
from inference.sampling.elliptical import EllipticalSlice
from inference.sampling.nuts import Nuts
from inference.sampling.random_walk import RandomWalk
from inference.sampling.stopping import Ess, RHat
from inference.sampling.stretch import Stretch

__all__ = ["Chees", "EllipticalSlice", "Ess", "Nuts", "RHat", "RandomWalk", "Stretch"]
