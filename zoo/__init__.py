"""One probabilistic programming model zoo: generative models of every kind, built, fitted, saved and asked.

    model = zoo.build({"family": "realnvp", "layers": 4}, event_shape=2)
    zoo.save(model, "runs/moons")
    model = zoo.load("runs/moons")

Everything here is imported when it is first named.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "build": "zoo.spec",
    "spec_of": "zoo.spec",
    "load": "zoo.app.runs",
    "save": "zoo.app.runs",
    "families": "zoo.registry",
    "family": "zoo.registry",
    "Model": "zoo.base",
    "Explicit": "zoo.base",
    "LatentVariable": "zoo.base",
    "EnergyBased": "zoo.base",
    "Implicit": "zoo.base",
    "GaussianMixture": "zoo.gaussian_mixture",
    "RealNVP": "zoo.realnvp",
    "SplineFlow": "zoo.spline_flow",
    "MAF": "zoo.maf",
    "IAF": "zoo.iaf",
    "AutoregressiveSplineFlow": "zoo.autoregressive_spline_flow",
    "ImageRealNVP": "zoo.image_realnvp",
    "Glow": "zoo.glow",
    "Supported": "zoo.supports",
    "Cascade": "zoo.spread.cascade",
    "SpreadCurve": "zoo.spread.spread_curve",
    "MADE": "zoo.made",
    "PixelCNN": "zoo.pixelcnn",
    "WaveNet": "zoo.wavenet",
    "mu_law_encode": "zoo.companding",
    "mu_law_decode": "zoo.companding",
    "Transformer": "zoo.transformer",
    "PixelRNN": "zoo.pixelrnn",
    "FactorAnalysis": "zoo.factor_analysis",
    "ProbabilisticPCA": "zoo.ppca",
    "VAE": "zoo.vae",
    "DiscreteVAE": "zoo.discrete_vae",
    "SemiSupervisedVAE": "zoo.semi_supervised_vae",
    "LadderVAE": "zoo.ladder_vae",
    "BayesianMatrixFactorisation": "zoo.matrix_factorisation",
    "LatentDirichlet": "zoo.latent_dirichlet",
    "Autoencoder": "zoo.autoencoder",
    "DenoisingAutoencoder": "zoo.denoising_autoencoder",
    "AdversarialAutoencoder": "zoo.adversarial_autoencoder",
    "VAEGAN": "zoo.vae_gan",
    "Diffusion": "zoo.diffusion",
    "TabularGAN": "zoo.tabular_gan",
    "RBM": "zoo.rbm",
    "Recommender": "zoo.recommender",
    "DeepBeliefNet": "zoo.deep_belief_net",
    "ClassificationRBM": "zoo.classification_rbm",
    "BoltzmannMachine": "zoo.boltzmann_machine",
    "DeepBoltzmannMachine": "zoo.deep_boltzmann_machine",
    "GAN": "zoo.gan",
    "AlphaGAN": "zoo.alpha_gan",
    "GMMN": "zoo.gmmn",
    "CodeGMMN": "zoo.code_gmmn",
    "Pix2Pix": "zoo.pix2pix",
    "CycleGAN": "zoo.cycle_gan",
    "StyleTransfer": "zoo.style_transfer",
    "BayesianNetwork": "zoo.bayesian_network",
    "HybridNetwork": "zoo.hybrid_network",
    "HiddenMarkov": "zoo.hidden_markov",
    "MarkovChain": "zoo.markov_chain",
    "ContinuousMarkovChain": "zoo.continuous_chain",
    "load_network": "zoo.graph_files",
    "read_network": "zoo.graph_files",
    "shipped_networks": "zoo.graph_files",
    "write_network": "zoo.graph_files",
    "StandardGaussian": "zoo.conditionals",
    "Gaussian": "zoo.conditionals",
    "HomoscedasticGaussian": "zoo.conditionals",
    "FullGaussian": "zoo.full_gaussian",
    "VampPrior": "zoo.vamp_prior",
    "StudentT": "zoo.student_t",
    "Bernoulli": "zoo.conditionals",
    "Categorical": "zoo.conditionals",
    "DiscretisedLogistic": "zoo.discretised_logistic",
    "Convolutional": "zoo.convolutional",
}
__all__ = ["datasets", "programs", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in ("datasets", "programs"):
        return importlib.import_module(f"zoo.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
