"""What a diffusion's network is asked to tell of a noisy row z = alpha x + sigma e, and how x is read from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from zoo.noising import NoiseLevels
from zoo.registry import near


class Parameterisation(ABC):
    """One way to write the same prediction; the levels broadcast over the rows."""

    @abstractmethod
    def target(self, x: Tensor, noise: Tensor, at: NoiseLevels) -> Tensor:
        """What the network is to tell."""

    @abstractmethod
    def clean(self, told: Tensor, z: Tensor, at: NoiseLevels) -> Tensor:
        """The row x that what the network told amounts to."""

    @abstractmethod
    def noise_error(self, error: Tensor, at: NoiseLevels) -> Tensor:
        """The square error of the noise e that a square error of what was told amounts to."""


class Epsilon(Parameterisation):
    """The noise e (Ho, Jain and Abbeel, 2020)."""

    def target(self, x: Tensor, noise: Tensor, at: NoiseLevels) -> Tensor:
        return noise

    def clean(self, told: Tensor, z: Tensor, at: NoiseLevels) -> Tensor:
        return (z - at.sigma * told) / at.alpha

    def noise_error(self, error: Tensor, at: NoiseLevels) -> Tensor:
        return error


class Clean(Parameterisation):
    """The row x itself."""

    def target(self, x: Tensor, noise: Tensor, at: NoiseLevels) -> Tensor:
        return x

    def clean(self, told: Tensor, z: Tensor, at: NoiseLevels) -> Tensor:
        return told

    def noise_error(self, error: Tensor, at: NoiseLevels) -> Tensor:
        return error * at.log_snr.exp()


class Velocity(Parameterisation):
    """v = alpha e - sigma x, which is well behaved at every level of noise.

    References:
        Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022),
        https://arxiv.org/abs/2202.00512
    """

    def target(self, x: Tensor, noise: Tensor, at: NoiseLevels) -> Tensor:
        return at.alpha * noise - at.sigma * x

    def clean(self, told: Tensor, z: Tensor, at: NoiseLevels) -> Tensor:
        return at.alpha * z - at.sigma * told

    def noise_error(self, error: Tensor, at: NoiseLevels) -> Tensor:
        return error * at.alpha.square()


PARAMETERISATIONS: Mapping[str, type[Parameterisation]] = {"epsilon": Epsilon, "x0": Clean, "v": Velocity}


def as_parameterisation(declared: Parameterisation | str) -> Parameterisation:
    """A parameterisation as it stands, or by its name."""
    if isinstance(declared, Parameterisation):
        return declared
    if declared not in PARAMETERISATIONS:
        raise ValueError(f"predicts: there is no {declared!r}{near(declared, PARAMETERISATIONS)}")
    return PARAMETERISATIONS[declared]()
