"""Objectives: what `fit` minimises, each a file. `default_objective` is the one that a model's kind asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from inference.objectives.adversarial import Game, NonSaturating
from inference.objectives.adversarial_autoencoder import AdversarialAutoencoding
from inference.objectives.auto_encoding_gan import AutoEncodingGAN
from inference.objectives.base import Loss, Objective, Player
from inference.objectives.class_energy import Discriminative, HybridDivergence
from inference.objectives.contrastive_divergence import ContrastiveDivergence, DataChains, PersistentChains
from inference.objectives.denoising import Denoising
from inference.objectives.diffusion import OneTimestep
from inference.objectives.discrepancies import EnergyDistance, Mmd, Moment, SlicedWasserstein
from inference.objectives.divergences import closed_form, layered, sampled, stepwise, sticking_the_landing
from inference.objectives.elbo import Elbo, OwnElbo, PyroElbo
from inference.objectives.enumerated import Enumerated
from inference.objectives.games import Hinge, LeastSquares, Relativistic, Wasserstein
from inference.objectives.generator_terms import FeatureMatching, GeneratorTerm, HistoricalAveraging
from inference.objectives.importance_weighted import ImportanceWeightedElbo, doubly_reparameterised, pathwise
from inference.objectives.joint_divergence import JointDivergence
from inference.objectives.layer_by_layer import LayerByLayer
from inference.objectives.learned_similarity import LearnedSimilarity
from inference.objectives.likelihood import NegativeLogLikelihood
from inference.objectives.marginal import MarginalLikelihood
from inference.objectives.moments import CodeMatching, MomentMatching
from inference.objectives.penalties import R1, GradientPenalty, Penalty
from inference.objectives.relaxed import Relaxed, cooling
from inference.objectives.semi_supervised import SemiSupervised
from inference.objectives.stylisation import Stylisation
from inference.objectives.tempered_chains import TemperedChains
from inference.objectives.translation import CycleConsistency, FromPartner, PairedTranslation
from inference.protocols import (
    AutoEncoding,
    Bounded,
    Classed,
    ClassEnergy,
    Coded,
    CodeGenerating,
    CodeMatched,
    Conjugate,
    Corrupting,
    Cyclic,
    Density,
    Energy,
    Enumerable,
    Generating,
    Generator,
    Imitating,
    IncompleteTables,
    Joined,
    Latent,
    Layered,
    Pair,
    Paired,
    Similar,
    Stacked,
    Stepwise,
    Styled,
    name_of,
    offers,
)

DEFAULTS: tuple[tuple[type, Callable[[], Objective]], ...] = (
    (Stacked, LayerByLayer),
    (Enumerable, Enumerated),
    (Coded, Relaxed),
    (Classed, SemiSupervised),
    (Conjugate, NegativeLogLikelihood),
    (Similar, LearnedSimilarity),
    (CodeMatched, AdversarialAutoencoding),
    (Corrupting, Denoising),
    (Stepwise, OneTimestep),
    (Layered, partial(Elbo, kl=layered)),
    (Latent, Elbo),
    (AutoEncoding, AutoEncodingGAN),
    (Cyclic, CycleConsistency),
    (Paired, PairedTranslation),
    (Styled, Stylisation),
    (Imitating, lambda: Wasserstein(penalty=GradientPenalty(), generator_every=2)),
    (Generator, NonSaturating),
    (ClassEnergy, HybridDivergence),
    (Joined, JointDivergence),
    (CodeGenerating, CodeMatching),
    (Generating, MomentMatching),
    (Energy, ContrastiveDivergence),
    (IncompleteTables, MarginalLikelihood),
    (Density, NegativeLogLikelihood),
    (Bounded, OwnElbo),
    (Pair, PyroElbo),
)
"""What a model offers, and the objective that fits it; the first that holds is taken."""


def default_objective(model: Any) -> Objective:
    for protocol, objective in DEFAULTS:
        if offers(model, protocol):
            return objective()
    raise TypeError(
        f"{name_of(model)} is not a model that fit knows: give it log_prob(x), or model(x) and guide(x), "
        "or pass an objective; a program whose parameters have priors is asked by mcmc(...) or variational(...)"
    )


__all__ = [
    "R1",
    "AdversarialAutoencoding",
    "AutoEncodingGAN",
    "CodeMatching",
    "ContrastiveDivergence",
    "CycleConsistency",
    "DataChains",
    "Denoising",
    "Discriminative",
    "Elbo",
    "EnergyDistance",
    "Enumerated",
    "FeatureMatching",
    "FromPartner",
    "Game",
    "GeneratorTerm",
    "GradientPenalty",
    "Hinge",
    "HistoricalAveraging",
    "HybridDivergence",
    "ImportanceWeightedElbo",
    "JointDivergence",
    "LayerByLayer",
    "LearnedSimilarity",
    "LeastSquares",
    "Loss",
    "MarginalLikelihood",
    "Mmd",
    "Moment",
    "MomentMatching",
    "NegativeLogLikelihood",
    "NonSaturating",
    "Objective",
    "OneTimestep",
    "OwnElbo",
    "PairedTranslation",
    "Penalty",
    "PersistentChains",
    "Player",
    "PyroElbo",
    "Relativistic",
    "Relaxed",
    "SemiSupervised",
    "SlicedWasserstein",
    "Stylisation",
    "TemperedChains",
    "Wasserstein",
    "closed_form",
    "cooling",
    "default_objective",
    "doubly_reparameterised",
    "layered",
    "pathwise",
    "sampled",
    "stepwise",
    "sticking_the_landing",
]
