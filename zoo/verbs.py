"""All that a model may be asked, and how each kind refuses what it cannot answer."""

from __future__ import annotations

VERBS: frozenset[str] = frozenset(
    {
        "sample",
        "distribution",
        "log_prob",
        "prior",
        "decoder",
        "encoder",
        "encode",
        "reconstruct",
        "anomaly_score",
        "denoise",
        "posterior",
        "free_energy",
        "gibbs_step",
        "start",
        "log_partition",
        "noise",
        "generate",
        "critic",
        "em_start",
        "prepare",
        "expect",
        "maximise",
        "unroll",
        "cells",
        "complete",
    }
)
"""All that the inference layer may ask of a model, by method name."""


class Refusal(AttributeError, TypeError):
    """A model was asked for what its kind cannot give; the message says what to ask instead."""


_NO_STEPS = "it has no closed-form steps; use inference.fit"
_NO_EM = {"em_start": _NO_STEPS, "prepare": _NO_STEPS, "expect": _NO_STEPS, "maximise": _NO_STEPS}
_DIRECT = "it is sampled directly; ask sample"
_NO_CHAIN = {"gibbs_step": _DIRECT, "start": _DIRECT}
_NO_NOISE = "it is not a generator of noise; ask sample"
_NO_GENERATOR = {"noise": _NO_NOISE, "generate": _NO_NOISE}
_NO_LATENT = "it has no latent variables; ask log_prob, which is exact"
_BOUND = "ask inference.log_likelihood for a lower bound"
_ESTIMATE = "ask free_energy, or inference.log_likelihood for an estimate"
_NO_DENSITY = "an implicit model has no density; ask sample, or inference.evaluate for the quality of its samples"

_NO_DENOISING = {"denoise": "it was not made to undo a corruption; fit a DenoisingAutoencoder"}
_NO_ORDER = {"unroll": "it does not make a row number by number; ask sample"}
_NO_PARTS = "it has no closed form for a part of x given the rest; "
_ASK = _NO_PARTS + "ask inference.query(model, 'x', given={'x': rows}), NaN (in codes -1) at what is asked"
_ASK_Z = _NO_PARTS + "ask inference.query for its latents, or sample"
_ASK_GIBBS = _NO_PARTS + "ask gibbs_step from the given rows"

EXPLICIT = {
    **_NO_EM,
    "cells": _ASK,
    "complete": _ASK,
    **_NO_ORDER,
    **_NO_DENOISING,
    **_NO_CHAIN,
    **_NO_GENERATOR,
    "prior": _NO_LATENT,
    "encoder": _NO_LATENT,
    "decoder": _NO_LATENT,
    "posterior": _NO_LATENT,
    "encode": "it has no latent code; ask log_prob, or fit a VAE",
    "reconstruct": "it has no latent code; ask sample, or fit a VAE",
    "anomaly_score": "ask log_prob, which is exact: minus it is the score",
    "free_energy": "its density is normalised; ask log_prob, which is exact",
    "log_partition": "its density is normalised, so log Z is 0; ask log_prob",
    "critic": "it needs no critic; fit it by its exact likelihood",
}
LATENT_VARIABLE = {
    **_NO_EM,
    "cells": _ASK_Z,
    "complete": _ASK_Z,
    **_NO_ORDER,
    **_NO_DENOISING,
    **_NO_CHAIN,
    "distribution": f"its density integrates over z; {_BOUND}",
    "log_prob": f"its likelihood integrates over z; {_BOUND}",
    "posterior": "p(z | x) has no closed form; ask encoder for its proposal, or inference.query",
    "free_energy": f"it is not energy based; {_BOUND}",
    "log_partition": f"its density is normalised; {_BOUND}",
    "noise": "ask prior for the distribution of z",
    "generate": "ask decoder for the distribution of x given z, or sample",
    "critic": "it needs no critic; fit it by the ELBO",
}
_POINT = (
    "the code of a row is a point, which bounds no likelihood; ask anomaly_score for -log p(x | z) at its code, "
    "or fit a VAE for a bound"
)
POINT_CODED = {
    **LATENT_VARIABLE,
    "distribution": _POINT,
    "log_prob": _POINT,
    "posterior": "its code is a point; ask encode, or fit a VAE for a distribution of codes",
    "free_energy": _POINT,
    "log_partition": _POINT,
    "critic": "it needs no critic; fit it by its reconstruction",
}
ENERGY_BASED = {
    **_NO_EM,
    "cells": _ASK_GIBBS,
    "complete": _ASK_GIBBS,
    **_NO_ORDER,
    **_NO_DENOISING,
    **_NO_GENERATOR,
    "distribution": f"its density lacks log Z; {_ESTIMATE}",
    "log_prob": f"its density lacks log Z; {_ESTIMATE}",
    "prior": "it has no prior over z; ask free_energy",
    "decoder": "its units condition each other; ask gibbs_step",
    "encoder": "it needs no proposal; ask gibbs_step",
    "encode": "it has no latent code of this form; ask free_energy",
    "reconstruct": "ask gibbs_step, which draws x given its hidden units",
    "anomaly_score": "ask free_energy, which orders rows as -log p(x) does",
    "posterior": "ask gibbs_step, which draws x given its hidden units",
    "log_partition": "log Z can't be summed; ask inference.log_likelihood for an estimate by AIS",
    "critic": "it needs no critic; fit it by contrastive divergence",
}
IMPLICIT = dict.fromkeys(VERBS - {"sample", "noise", "generate", "critic"}, _NO_DENSITY) | {
    "critic": "this family is trained without one"
}
