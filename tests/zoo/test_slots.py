"""Any density in any slot of a VAE: built from tables, its ELBO that of Pyro on the same draws, saved and fitted."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import zoo
from inference.fit import fit
from inference.likelihood import ImportanceWeighted, log_likelihood
from inference.objectives import Elbo, PyroElbo, sampled
from tests.zoo.shaking import normal, shaken
from zoo.conditionals import Gaussian
from zoo.distributions import DiagonalNormal
from zoo.iaf import IAF
from zoo.spec import SpecError, build, spec_of
from zoo.vae import VAE

SMALL = {"hidden": [6]}
FLOW = {"layers": 2, "hidden": 6}
IMAGE = {"kind": "convolutional", "channels": [3, 4]}
ENCODERS = {
    "full": {"family": "full_gaussian", **SMALL},
    "iaf": {"family": "iaf", **FLOW},
    "iaf-of-standard": {"family": "iaf", "base": "standard_gaussian", **FLOW},
    "realnvp": {"family": "realnvp", "base": {"family": "gaussian", **SMALL}, **FLOW},
    "spline": {"family": "spline_flow", "bins": 4, **FLOW},
    "convolutional": {"family": "gaussian", "network": IMAGE},
    "full-convolutional": {"family": "full_gaussian", "network": IMAGE},
}
PRIORS = {
    "mixture": {"family": "gaussian_mixture", "components": 3},
    "vamp": {"family": "vamp_prior", "components": 4},
    "realnvp": {"family": "realnvp", **FLOW},
    "maf": {"family": "maf", **FLOW},
    "autoregressive-spline": {"family": "autoregressive_spline_flow", "bins": 4, **FLOW},
}
DECODERS = {
    "gaussian": {"family": "homoscedastic_gaussian", "network": IMAGE},
    "bernoulli": {"family": "bernoulli", "network": IMAGE},
    "categorical": {"family": "categorical", "levels": 5, "network": IMAGE},
    "logistic": {"family": "discretised_logistic", "levels": 5, **SMALL},
    "logistic-convolutional": {"family": "discretised_logistic", "levels": 5, "network": IMAGE},
    "pixelcnn": {"family": "pixelcnn", "levels": 5, "hidden": 4, "layers": 2, "kernel": 3},
}
COMBINATIONS = [
    *({"encoder": table} for table in ENCODERS.values()),
    *({"prior": table} for table in PRIORS.values()),
    *({"decoder": table} for table in DECODERS.values()),
    {"encoder": ENCODERS["iaf"], "prior": PRIORS["vamp"], "decoder": DECODERS["pixelcnn"]},
    {"encoder": ENCODERS["full-convolutional"], "prior": PRIORS["vamp"], "decoder": DECODERS["logistic"]},
    {"encoder": ENCODERS["full"], "prior": PRIORS["maf"], "decoder": DECODERS["bernoulli"]},
]
SHAPE = (1, 5, 4)


def name(slots: dict) -> str:
    return " ".join(f"{slot}-{table['family']}" for slot, table in slots.items())


def vae(slots: dict, event_shape=SHAPE) -> VAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build({"family": "vae", "latent": 3, **SMALL, **slots}, event_shape=event_shape)


def rows(model: VAE, n: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    if model.measure == "density":
        return torch.randn(n, *model.event_shape, generator=generator).to(model.dtype)
    levels = getattr(model.decoder_model, "levels", 2)
    codes = torch.randint(levels, (n, *model.event_shape), generator=generator)
    return codes.to(model.dtype) if levels == 2 else codes


def loss_and_gradients(objective, model: VAE, x: Tensor) -> tuple[Tensor, dict[str, Tensor | None]]:
    model.zero_grad()
    torch.manual_seed(3)
    loss = objective(model, x).value
    loss.backward()
    return loss.detach(), {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("slots", COMBINATIONS, ids=name)
def test_the_elbo_of_every_slot_is_pyros(slots):
    model = shaken(vae(slots), 0.2)
    x = rows(model)
    direct, gradients = loss_and_gradients(Elbo(kl=sampled), model, x)
    through_pyro, pyros = loss_and_gradients(PyroElbo(), model, x)
    torch.testing.assert_close(direct, through_pyro, rtol=1e-9, atol=1e-9)
    for which, ours in gradients.items():
        assert ours is not None and pyros[which] is not None, f"{which} gets no gradient"
        torch.testing.assert_close(ours, pyros[which], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("slots", COMBINATIONS, ids=name)
def test_each_is_fitted_saved_and_loaded(slots, tmp_path):
    model = vae(slots)
    fit(model, rows(model, 12), steps=3, batch_size=6, progress=False)
    assert build(spec_of(model)).state_dict().keys() == model.state_dict().keys()
    zoo.save(model, tmp_path / "run")
    again = zoo.load(tmp_path / "run")
    x = rows(model)
    ours, theirs = (log_likelihood(each, x, method=ImportanceWeighted(3)).values for each in (model, again))
    assert torch.equal(ours, theirs)
    assert model.sample(2).shape == (2, *SHAPE)
    assert model.encode(x, draws=2).shape == (4, 3) and model.reconstruct(x).shape == x.shape


def test_an_iaf_encoders_density_is_autograds_and_costs_one_pass():
    model = shaken(vae({"encoder": {"family": "iaf", "layers": 3, "hidden": 6}}), 0.1)
    x, passes = rows(model), []
    for network in model.encoder_model.transform.networks:
        network.register_forward_hook(lambda *_: passes.append(1))
    q = model.encoder(x)
    torch.manual_seed(5)
    z, log_q = q.rsample_and_log_prob()
    assert len(passes) == 3
    torch.manual_seed(5)
    start = torch.distributions.Normal(q.base.loc, q.base.log_scale.exp())
    noise = start.rsample()
    for i in range(len(x)):

        def move(before: Tensor, i: int = i) -> Tensor:
            return model.encoder_model.transform.forward_and_log_det(before[None], x[i][None])[0][0]

        jacobian = torch.autograd.functional.jacobian(move, noise[i])
        expected = start.log_prob(noise)[i].sum() - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(move(noise[i]), z[i])
        torch.testing.assert_close(log_q[i], expected)
    torch.testing.assert_close(q.log_prob(z), log_q)


def test_an_iaf_encoder_starts_as_the_diagonal_normal_of_its_base():
    model = vae({"encoder": ENCODERS["iaf"]})
    x = rows(model)
    base = model.encoder_model.base
    assert isinstance(base, Gaussian) and base.context_shape == torch.Size(SHAPE)
    q, start = model.encoder(x), base.distribution(x)
    assert isinstance(start, DiagonalNormal)
    z = normal(4, 3).float()
    torch.testing.assert_close(q.log_prob(z), start.log_prob(z))
    assert type(IAF(3).base).__name__ == "StandardGaussian"


def test_a_pixelcnn_reads_the_code_and_the_pixels_before():
    model = shaken(vae({"decoder": DECODERS["pixelcnn"]}))
    x, z = rows(model, 1), normal(1, 3)

    def of_pixels(code: Tensor, image: Tensor) -> Tensor:
        return model.decoder_model.step_log_prob(image, context=code)[0]

    changed = x.clone()
    changed[0, 0, 2, 1] = (changed[0, 0, 2, 1] + 1) % 5
    moved = (of_pixels(z, changed) - of_pixels(z, x)).abs() > 1e-12
    assert not moved[: 2 * 4 + 1].any() and moved[2 * 4 + 1 :].all()
    assert ((of_pixels(z + 1, x) - of_pixels(z, x)).abs() > 1e-12).all()


def test_a_copied_vae_has_a_prior_of_its_own_encoder():
    model = vae({"prior": PRIORS["vamp"]})
    again = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.encoder_model.parameters():
            parameter.add_(1.0)
    z = normal(2, 3).float()
    assert not torch.allclose(model.prior().log_prob(z), again.prior().log_prob(z))
    assert again.prior_model.lent[0] is again.encoder_model


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({"decoder": {"family": "bernoulli", "network": {"kind": "convolutionl"}}}, "did you mean convolutional"),
        ({"decoder": {"family": "bernoulli", "network": {"kind": "convolutional", "channel": [3]}}}, "mean channels"),
        ({"decoder": {"family": "bernoulli", "network": {"kind": "convolutional", "channels": [0]}}}, "at least 1"),
        ({"decoder": {"family": "bernoulli", "network": 3}}, "a table by name"),
        ({"prior": {"family": "gaussian", "network": IMAGE}}, "nothing to read"),
        ({"prior": {"family": "vamp_prior", "components": 0}}, "components must be at least 1"),
    ],
)
def test_a_wrong_table_is_refused_in_words(slots, message):
    with pytest.raises(SpecError, match=message):
        vae(slots)


def test_a_context_leaves_no_image_for_convolutions_and_no_place_for_a_vamp_prior():
    with pytest.raises(SpecError, match=r"from an image .* but here from \[22\] to \[3\]"):
        build({"family": "vae", "latent": 3, "encoder": ENCODERS["convolutional"]}, event_shape=SHAPE, context_shape=2)
    with pytest.raises(SpecError, match="VampPrior takes no context"):
        build({"family": "vae", "latent": 3, "prior": "vamp_prior"}, event_shape=SHAPE, context_shape=2)


def test_a_code_of_no_numbers_and_a_table_of_no_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="latent must be at least 1, not 0"):
        VAE(4, latent=0)
    spec = {"family": "vae", "latent": 2}
    for network, said in (
        ({"channels": [4]}, "network: its table has no kind"),
        ({"kind": "convolutional", "channels": 4}, "network.channels is 4, but a list of whole numbers was expected"),
        ("convolution", "did you mean convolutional"),
    ):
        with pytest.raises(SpecError, match=said):
            build({**spec, "encoder": {"family": "gaussian", "network": network}}, event_shape=[1, 4, 4])
    build({**spec, "encoder": {"family": "gaussian", "network": "convolutional"}}, event_shape=[1, 4, 4])
