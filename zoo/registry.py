"""The families by name, a line each: what `zoo list` shows, specs build and the contract test runs over."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from zoo.base import Model

ROWS = ("real", "bits", "levels", "own")
MANY = 100
"""Names that an error lists at most."""


@dataclass(frozen=True)
class Example:
    """The smallest model of a family worth building, and rows to show it.

    `rows` says what its data looks like: "real" numbers, "bits" as floats, "levels" 0..levels-1, or the
    family's "own" draws where not every combination of codes is possible.
    """

    event_shape: tuple[int, ...]
    rows: str = "real"
    context_shape: tuple[int, ...] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def data(self, n: int, *, seed: int = 0, model: Model | None = None) -> Tensor:
        """n rows of example data, [n, *event_shape]."""
        generator = torch.Generator().manual_seed(seed)
        shape = (n, *self.event_shape)
        if self.rows == "real":
            return torch.randn(shape, generator=generator)
        if self.rows == "bits":
            return torch.randint(0, 2, shape, generator=generator).float()
        if self.rows == "levels":
            return torch.randint(0, self.kwargs["levels"], shape, generator=generator)
        if model is None:
            raise ValueError("rows of this family are its own draws: give the model")
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return model.sample(n, context=self.context(n))

    def context(self, n: int, *, seed: int = 1) -> Tensor | None:
        """n rows of context, or None."""
        if self.context_shape is None:
            return None
        shape, generator = (n, *self.context_shape), torch.Generator().manual_seed(seed)
        if "classes" in self.kwargs:  # of which the last is left out, and -1 stands for none known
            return torch.randint(-1, self.kwargs["classes"] - 1, shape, generator=generator)
        return torch.randn(shape, generator=generator)


@dataclass(frozen=True)
class Family:
    """A family: its name in specs, where its class lives ("module:Class"), what it is, an example."""

    name: str
    path: str
    summary: str
    example: Example

    def load(self) -> type[Model]:
        """The class, imported now."""
        module, _, name = self.path.partition(":")
        return getattr(importlib.import_module(module), name)

    def build_example(self) -> Model:
        """The example model, freshly built; its parameters come from torch's generator."""
        example = self.example
        return self.load()(example.event_shape, context_shape=example.context_shape, **example.kwargs)


_SMALL = {"hidden": (8,)}
FAMILIES: tuple[Family, ...] = (
    Family("gaussian_mixture", "zoo.gaussian_mixture:GaussianMixture", "Gaussians weighted and summed; fitted by EM",
           Example((3,), kwargs={"components": 2})),
    Family("realnvp", "zoo.realnvp:RealNVP", "a flow of affine couplings, exact both ways",
           Example((4,), context_shape=(2,), kwargs={"layers": 2, "hidden": 8})),
    Family("spline_flow", "zoo.spline_flow:SplineFlow", "a flow of spline couplings, exact both ways",
           Example((4,), context_shape=(2,), kwargs={"layers": 2, "hidden": 8, "bins": 4})),
    Family("maf", "zoo.maf:MAF", "a masked autoregressive flow, which scores in one pass",
           Example((4,), context_shape=(2,), kwargs={"layers": 2, "hidden": 8})),
    Family("iaf", "zoo.iaf:IAF", "an inverse autoregressive flow, which draws in one pass",
           Example((4,), context_shape=(2,), kwargs={"layers": 2, "hidden": 8})),
    Family("autoregressive_spline_flow", "zoo.autoregressive_spline_flow:AutoregressiveSplineFlow",
           "each number moved by a spline that the ones before it decide",
           Example((4,), context_shape=(2,), kwargs={"layers": 2, "hidden": 8, "bins": 4})),
    Family("image_realnvp", "zoo.image_realnvp:ImageRealNVP", "couplings on checkerboards and channels of images",
           Example((1, 4, 4), context_shape=(2,), kwargs={"couplings": 1, "hidden": 4, "blocks": 1})),
    Family("glow", "zoo.glow:Glow", "a flow over images, of invertible convolutions and couplings",
           Example((1, 4, 4), context_shape=(2,), kwargs={"steps": 1, "hidden": 4, "blocks": 1})),
    Family("supported", "zoo.supports:Supported", "any density, moved to bounded, positive and circular numbers",
           Example((4,), "own", kwargs={
               "support": {"0": [0, 1], "1": "positive", "2": "circle"}, "bins": 4, "hidden": (8,),
           })),
    Family("made", "zoo.made:MADE", "discrete numbers one by one, by one masked network",
           Example((2, 2), "levels", context_shape=(2,), kwargs={"levels": 3, "hidden": 8})),
    Family("pixelcnn", "zoo.pixelcnn:PixelCNN", "images pixel by pixel, by two stacks of convolutions",
           Example((2, 2, 3), "levels", kwargs={"levels": 3, "hidden": 6, "layers": 2, "kernel": 3})),
    Family("wavenet", "zoo.wavenet:WaveNet", "sound sample by sample, by dilated causal convolutions",
           Example((7,), "levels", context_shape=(2,), kwargs={
               "levels": 3, "channels": 4, "skip": 6, "blocks": 2, "layers": 2,
           })),
    Family("transformer", "zoo.transformer:Transformer", "tokens one by one, by attention to all before them",
           Example((4,), "levels", context_shape=(2,), kwargs={"levels": 3, "layers": 2, "heads": 2, "width": 8})),
    Family("pixelrnn", "zoo.pixelrnn:PixelRNN", "images pixel by pixel, by LSTMs along rows or diagonals",
           Example((2, 2, 3), "levels", kwargs={"levels": 3, "mixture": 2, "hidden": 4, "layers": 2, "kernel": 3})),
    Family("factor_analysis", "zoo.factor_analysis:FactorAnalysis", "a few factors and noise; fitted by EM",
           Example((4,), kwargs={"latent": 2})),
    Family("ppca", "zoo.ppca:ProbabilisticPCA", "principal components with even noise; fitted in closed form",
           Example((4,), kwargs={"latent": 2})),
    Family("vae", "zoo.vae:VAE", "a latent code, with networks that write and read it",
           Example((4,), "bits", kwargs={"latent": 2, **_SMALL})),
    Family("discrete_vae", "zoo.discrete_vae:DiscreteVAE", "a latent code of a few levels, summed or relaxed",
           Example((4,), "bits", kwargs={"codes": 2, "levels": 3, **_SMALL})),
    Family("semi_supervised_vae", "zoo.semi_supervised_vae:SemiSupervisedVAE",
           "a latent code and a class, known of some rows and summed out of the others",
           Example((4,), "bits", context_shape=(), kwargs={"classes": 3, "latent": 2, **_SMALL})),
    Family("ladder_vae", "zoo.ladder_vae:LadderVAE", "latent codes in layers, each above giving the one below",
           Example((4,), "bits", kwargs={"latent": (3, 2), **_SMALL})),
    Family("latent_dirichlet", "zoo.latent_dirichlet:LatentDirichlet", "counts of words, by topics",
           Example((5,), "own", kwargs={"topics": 2, "length": 9.0, "hidden": (4,)})),
    Family("autoencoder", "zoo.autoencoder:Autoencoder", "a code that is a point, and a density that reads it",
           Example((4,), "bits", kwargs={"latent": 2, **_SMALL})),
    Family("denoising_autoencoder", "zoo.denoising_autoencoder:DenoisingAutoencoder",
           "a code made of a corrupted row, read as the clean one",
           Example((4,), "bits", kwargs={"corruption": {"kind": "masking", "rate": 0.25}, "latent": 2, **_SMALL})),
    Family("adversarial_autoencoder", "zoo.adversarial_autoencoder:AdversarialAutoencoder",
           "a code that is a point, matched as a whole to any prior by a critic",
           Example((4,), "bits", kwargs={"latent": 2, **_SMALL})),
    Family("vae_gan", "zoo.vae_gan:VAEGAN", "a VAE whose rows a critic judges, in whose features they are compared",
           Example((4,), kwargs={"latent": 2, **_SMALL})),
    Family("diffusion", "zoo.diffusion:Diffusion", "noise added step by step, and taken away by a network",
           Example((4,), "levels", context_shape=(2,), kwargs={
               "steps": 4, "levels": 3, "schedule": "learned", "variance": "learned",
               "network": {"kind": "mlp", "width": 8, "blocks": 1},
           })),
    Family("rbm", "zoo.rbm:RBM", "bits and hidden bits that pull at each other",
           Example((6,), "bits", kwargs={"hidden": 3})),
    Family("boltzmann_machine", "zoo.boltzmann_machine:BoltzmannMachine",
           "bits, any two of which may pull at each other",
           Example((4,), "bits", kwargs={"hidden": 2})),
    Family("deep_boltzmann_machine", "zoo.deep_boltzmann_machine:DeepBoltzmannMachine",
           "layers of bits, each of which pulls at the next", Example((4,), "bits", kwargs={"hidden": [3, 2]})),
    Family("classification_rbm", "zoo.classification_rbm:ClassificationRBM",
           "an RBM over rows and their classes, which tells the class exactly",
           Example((6,), "own", kwargs={"classes": 2, "hidden": 3})),
    Family("deep_belief_net", "zoo.deep_belief_net:DeepBeliefNet",
           "layers of bits directed downwards under an RBM, fitted one after the other",
           Example((4,), "bits", kwargs={"hidden": [3, 2]})),
    Family("gan", "zoo.gan:GAN", "noise made into x, trained against a critic",
           Example((4,), kwargs={"latent": 2, **_SMALL})),
    Family("tabular_gan", "zoo.tabular_gan:TabularGAN", "a GAN of tables whose columns are numbers and states",
           Example((4,), "own", kwargs={
               "columns": {"age": "whole", "dose": "real", "arm": ["left", "right"], "ward": 3},
               "latent": 2, "modes": 2, **_SMALL,
           })),
    Family("alpha_gan", "zoo.alpha_gan:AlphaGAN", "a GAN that codes the rows too, a critic for rows and one for codes",
           Example((4,), kwargs={"latent": 2, **_SMALL})),
    Family("gmmn", "zoo.gmmn:GMMN", "noise made into x, held to the data by moments",
           Example((4,), context_shape=(2,), kwargs={"latent": 2, **_SMALL})),
    Family("code_gmmn", "zoo.code_gmmn:CodeGMMN", "noise made into an autoencoder's codes, held to those of the data",
           Example((4,), context_shape=(2,), kwargs={"latent": 2, "code": 3, **_SMALL})),
    Family("pix2pix", "zoo.pix2pix:Pix2Pix", "an image made of another, learned from pairs; sharpens, fills gaps",
           Example((1, 4, 4), context_shape=(1, 2, 2), kwargs={"latent": 2, "channels": [4, 4]})),
    Family("cycle_gan", "zoo.cycle_gan:CycleGAN", "images of two domains made of each other, learned without pairs",
           Example((1, 4, 4), context_shape=(1, 4, 4), kwargs={"latent": 2, "channels": [4, 4]})),
    Family("style_transfer", "zoo.style_transfer:StyleTransfer", "the content of an image in the style of others",
           Example((1, 4, 4), context_shape=(1, 4, 4), kwargs={"latent": 2, "channels": [4, 4]})),
    Family("bayesian_network", "zoo.bayesian_network:BayesianNetwork", "a graph of named variables with tables",
           Example((5,), "own", kwargs={"network": "cancer"})),
    Family("hybrid_network", "zoo.hybrid_network:HybridNetwork", "tables and densities in one graph",
           Example((6,), "own", kwargs={
               "states": {"kind": 3, "sign": ["plus", "minus"]}, "shapes": {"panel": [3], "sum": 1},
               "parents": {"sign": ["kind"], "panel": ["kind"], "sum": ["sign", "panel"]},
           })),
    Family("hidden_markov", "zoo.hidden_markov:HiddenMarkov", "a hidden chain of states, each of which shows itself",
           Example((7, 2), kwargs={"states": 3})),
    Family("cascade", "zoo.spread.cascade:Cascade", "the steps at which a rumour or virus reaches the nodes of a graph",
           Example((4,), "own", kwargs={
               "edges": [[0, 1], [1, 2], [2, 3], [3, 1]], "steps": 3, "per": "edge", "rate": 0.5, "seeds": 0.3,
           })),
    Family("spread_curve", "zoo.spread.spread_curve:SpreadCurve", "the case curve of an outbreak in compartments",
           Example((6,), "own", kwargs={"population": 200.0, "overdispersion": 1.0})),
    Family("markov_chain", "zoo.markov_chain:MarkovChain", "symbols, each from a few before it; fitted by counting",
           Example((6,), "levels", kwargs={"levels": 3, "order": 2})),
    Family("continuous_markov_chain", "zoo.continuous_chain:ContinuousMarkovChain", "states that change at any time",
           Example((5,), "levels", kwargs={"levels": 3, "times": [0.0, 0.5, 1.0, 2.0, 4.0]})),
    Family("standard_gaussian", "zoo.conditionals:StandardGaussian", "N(0, 1), without parameters",
           Example((3,), context_shape=(2,))),
    Family("gaussian", "zoo.conditionals:Gaussian", "independent normals, means and scales from the context",
           Example((3,), context_shape=(2,), kwargs=_SMALL)),
    Family("homoscedastic_gaussian", "zoo.conditionals:HomoscedasticGaussian", "normals that share one scale",
           Example((3,), context_shape=(2,), kwargs=_SMALL)),
    Family("full_gaussian", "zoo.full_gaussian:FullGaussian", "normals with every covariance, from the context",
           Example((3,), context_shape=(2,), kwargs=_SMALL)),
    Family("vamp_prior", "zoo.vamp_prior:VampPrior", "a VAE's prior, made of its encoder and of rows that are learned",
           Example((3,), kwargs={"components": 4, **_SMALL})),
    Family("student_t", "zoo.student_t:StudentT", "independent Student-t's, with heavy tails, from the context",
           Example((3,), context_shape=(2,), kwargs=_SMALL)),
    Family("bernoulli", "zoo.conditionals:Bernoulli", "independent bits, from the context",
           Example((3,), "bits", context_shape=(2,), kwargs=_SMALL)),
    Family("categorical", "zoo.conditionals:Categorical", "independent variables of a few levels, from the context",
           Example((3,), "levels", context_shape=(2,), kwargs={"levels": 3, **_SMALL})),
    Family("discretised_logistic", "zoo.discretised_logistic:DiscretisedLogistic",
           "levels that are near in value and in probability, from the context",
           Example((3,), "levels", context_shape=(2,), kwargs={"levels": 3, **_SMALL})),
)  # fmt: skip


def families() -> tuple[Family, ...]:
    """Every family, in the order that `zoo list` shows them."""
    return FAMILIES


def family(name: str) -> Family:
    """The family of this name."""
    for member in FAMILIES:
        if member.name == name:
            return member
    raise ValueError(f"there is no family {name!r}{near(name, [member.name for member in FAMILIES])}")


def near(name: Any, names: Iterable[Any]) -> str:
    """The end of an error about an unknown name: what was probably meant, or all there is."""
    known = [str(each) for each in names]
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    if len(known) > MANY:
        return f"; there are {len(known):,}, such as {', '.join(known[:5])}"
    return f"; there {'is' if len(known) == 1 else 'are'} {', '.join(known)}" if known else "; there are none"
