"""How good samples are, on declared features: distances, and what nearest neighbours tell."""

from inference.quality.classifier import classifier_features
from inference.quality.distances import Distance, energy_distance, frechet_distance, kernel_mmd, sliced_wasserstein
from inference.quality.features import VALUES, Features
from inference.quality.neighbours import Fidelity, fidelity

__all__ = [
    "VALUES",
    "Distance",
    "Features",
    "Fidelity",
    "classifier_features",
    "energy_distance",
    "fidelity",
    "frechet_distance",
    "kernel_mmd",
    "sliced_wasserstein",
]
