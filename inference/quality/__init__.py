"""How good samples are, on declared features: `Features`, `frechet_distance`, `kernel_mmd`."""

from inference.quality.distances import Distance, frechet_distance, kernel_mmd
from inference.quality.features import VALUES, Features

__all__ = ["VALUES", "Distance", "Features", "frechet_distance", "kernel_mmd"]
