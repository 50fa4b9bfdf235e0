"""Classes known and summed: the bound against Pyro's enumeration, likelihoods and answers against quadrature."""

import math
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor
from torch.nn import functional as F

from inference import fit, query
from inference.likelihood import ElboBound, ImportanceWeighted, log_likelihood
from inference.objectives import SemiSupervised, default_objective, sampled
from zoo.conditionals import Categorical, HomoscedasticGaussian
from zoo.semi_supervised_vae import SemiSupervisedVAE

CLASSES = 3


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(latent: int = 2, **kwargs) -> SemiSupervisedVAE:
    model = SemiSupervisedVAE((2, 2), classes=CLASSES, latent=latent, hidden=(5,), **kwargs).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        for parameter in model.encoder_model.parameters():
            parameter.mul_(0.3)  # as broad as the posteriors, so that importance weights are good
    return model


def rows(n: int) -> Tensor:
    return torch.rand(n, 2, 2).round().double()


def unknown(n: int) -> Tensor:
    return torch.full((n,), -1)


# ---- the parts, straight from the networks


def proposal(model: SemiSupervisedVAE, x: Tensor, y: Tensor) -> dist.Distribution:
    read = torch.cat([x.flatten(-2), F.one_hot(y, CLASSES)], -1)
    loc, log_scale = model.encoder_model.parameters_of(read).chunk(2, -1)
    return dist.Normal(loc, log_scale.exp()).to_event(1)


def likelihood(model: SemiSupervisedVAE, z: Tensor, y: Tensor) -> dist.Distribution:
    hot = F.one_hot(y, CLASSES).double()
    batch = torch.broadcast_shapes(z.shape[:-1], hot.shape[:-1])
    read = torch.cat([z.expand(*batch, -1), hot.expand(*batch, -1)], -1)
    return dist.Bernoulli(logits=model.decoder_model.parameters_of(read).unflatten(-1, (2, 2))).to_event(2)


def standard(latent: int) -> dist.Distribution:
    return dist.Normal(torch.zeros(latent).double(), 1.0).to_event(1)


def integrated(model: SemiSupervisedVAE, x: Tensor) -> Tensor:
    """log p(x, y) of every class, [K, N], of one latent number by quadrature."""
    z, step = torch.linspace(-9, 9, 2001).double(), 18 / 2000
    found = []
    for y in range(CLASSES):
        told = likelihood(model, z[:, None, None], torch.full((1, 1), y)).log_prob(x)
        found.append((told + standard(1).log_prob(z[:, None])[:, None]).logsumexp(0) + math.log(step))
    return torch.stack(found) + model.class_logits.log_softmax(-1)[:, None]


def read_classes(model: SemiSupervisedVAE, x: Tensor) -> Tensor:
    """log q(y | x), [N, K]."""
    return model.classifier_model.parameters_of(x).log_softmax(-1)


# ---- the bound


def pair(model: SemiSupervisedVAE, x: Tensor, y: Tensor | None) -> tuple:
    def generate(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            label = pyro.sample("y", dist.Categorical(logits=model.class_logits), obs=y)
            z = pyro.sample("z", standard(2))
            pyro.sample("x", likelihood(model, z, label), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            label = y
            if label is None:
                label = pyro.sample(
                    "y", dist.Categorical(logits=read_classes(model, x)), infer={"enumerate": "parallel"}
                )
            shape = torch.broadcast_shapes(label.shape, x.shape[:1])
            pyro.sample("z", proposal(model, x.expand(*shape, 2, 2), label.expand(shape)))

    return generate, guide


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 2, 1, 1, 2, 0])])
def test_the_bound_is_pyros_with_the_class_enumerated(labels) -> None:
    model, x = build(), rows(6)
    torch.manual_seed(3)
    theirs = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False).differentiable_loss(
        *pair(model, x, labels), x
    ) / len(x)
    torch.manual_seed(3)
    ours = SemiSupervised(alpha=0.0, kl=sampled)(model, x, unknown(6) if labels is None else labels).value
    torch.testing.assert_close(ours, theirs)
    parameters = [p for name, p in model.named_parameters() if labels is None or "classifier" not in name]
    for mine, other in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters), strict=True):
        torch.testing.assert_close(mine, other)


def test_rows_with_and_without_a_class_together() -> None:
    model, x, alpha = build(), rows(5), 0.7
    context = torch.tensor([1, -1, 0, -1, -1])
    torch.manual_seed(3)
    loss = SemiSupervised(alpha)(model, x, context)
    torch.manual_seed(3)
    noise = torch.randn(
        2 + 3 * CLASSES, 2, dtype=torch.float64
    )  # those with a class first, then each class of the others
    log_q, log_p = read_classes(model, x), model.class_logits.log_softmax(-1)

    def bound(row: int, y: int, e: Tensor) -> Tensor:
        q = proposal(model, x[row], torch.tensor(y))
        z = q.mean + q.base_dist.scale * e
        kl = torch.distributions.kl_divergence(q.base_dist, dist.Normal(torch.zeros(2).double(), 1.0)).sum()
        return likelihood(model, z, torch.tensor(y)).log_prob(x[row]) - kl + log_p[y]

    known = sum(bound(row, int(context[row]), noise[i]) for i, row in enumerate((0, 2)))
    summed = sum(
        log_q[row, y].exp() * (bound(row, y, noise[2 + 3 * y + i]) - log_q[row, y])
        for y in range(CLASSES)
        for i, row in enumerate((1, 3, 4))
    )
    right = log_q[0, 1] + log_q[2, 0]
    torch.testing.assert_close(loss.value, -(known + summed + alpha * right) / 5)
    torch.testing.assert_close(loss.terms["bound"], (-(known + summed) / 5).detach())
    torch.testing.assert_close(loss.terms["classification"], (-alpha * right / 5).detach())


# ---- likelihoods


def test_a_summed_class_is_a_sum_over_classes() -> None:
    model, x, context = build(), rows(5), torch.tensor([1, -1, 0, -1, 2])
    z = torch.randn(4, 5, 2).double()
    log_q, log_p = read_classes(model, x), model.class_logits.log_softmax(-1)
    told = torch.stack([likelihood(model, z, torch.tensor(y)).log_prob(x) for y in range(CLASSES)])
    proposed = torch.stack([proposal(model, x, torch.full((5,), y)).log_prob(z) for y in range(CLASSES)])
    flat = model.decoder(z.flatten(0, 1), context.repeat(4)).log_prob(x.repeat(4, 1, 1)).view(4, 5)
    found = model.encoder(x, context).log_prob(z)
    for row, y in enumerate(context.tolist()):
        if y < 0:
            wanted = (
                (told[:, :, row] + log_p[:, None]).logsumexp(0),
                (proposed[:, :, row] + log_q[row, :, None]).logsumexp(0),
            )
        else:
            wanted = told[y, :, row], proposed[y, :, row]
        torch.testing.assert_close(flat[:, row], wanted[0])
        torch.testing.assert_close(found[:, row], wanted[1])


def test_bounds_lie_in_order_below_quadrature() -> None:
    model, x = build(latent=1), rows(6)
    joint = integrated(model, x).detach()
    exact = joint.logsumexp(0)
    with torch.no_grad():
        trained = -torch.stack([SemiSupervised()(model, x, unknown(6)).value for _ in range(1000)])
    data = {"x": x, "context": unknown(6)}
    elbo = log_likelihood(model, data, method=ElboBound(4000))
    weighted = log_likelihood(model, data, method=ImportanceWeighted(10_000))
    error = 4 * float(trained.std()) / math.sqrt(1000)
    assert float(trained.mean()) - error < elbo.mean < float(exact.mean())
    assert elbo.mean - float(trained.mean()) > error  # summing the class within q is worth something
    assert ((weighted.values - exact).abs() < 5 * weighted.standard_error + 1e-3).all()
    y = torch.tensor([0, 1, 2, 2, 1, 0])
    given = log_likelihood(model, {"x": x, "context": y}, method=ImportanceWeighted(10_000))
    conditional = joint[y, torch.arange(6)] - model.class_logits.detach().log_softmax(-1)[y]
    assert ((given.values - conditional).abs() < 5 * given.standard_error + 1e-3).all()


def test_the_models_own_class_is_bayes_rule() -> None:
    model, x = build(latent=1), rows(6)
    joint = integrated(model, x).detach()
    answer = query(model, "y", given={"x": x}, draws=10_000)
    assert answer["y"].dims == ("row", "class")
    assert answer.kind == "estimate"
    assert abs(answer["y"].values - joint.softmax(0).mT.numpy()).max() < 0.01
    assert abs(answer.log_evidence.values - joint.logsumexp(0).numpy()).max() < 0.05
    torch.testing.assert_close(model.classifier(x).probs, read_classes(model, x).exp())


def test_draws_follow_the_class_they_are_given() -> None:
    model, n = build(latent=1), 40_000
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4).view(-1, 2, 2)
    joint = integrated(model, every).detach()
    for y in (-1, 0, 2):
        drawn = model.sample(n, context=torch.tensor([y])).flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0]).double()
        seen = torch.bincount(drawn.long(), minlength=16) / n
        mass = joint.logsumexp(0).exp() if y < 0 else joint[y].softmax(0)
        assert (seen - mass).abs().max() < 5 * math.sqrt(0.25 / n)


def test_codes_of_rows_without_a_class_are_drawn_and_averaged_over_classes() -> None:
    model, x = build(), rows(3)
    q, each = read_classes(model, x).exp(), [proposal(model, x, torch.full((3,), y)) for y in range(CLASSES)]
    mean = sum(q[:, y, None] * each[y].mean for y in range(CLASSES)).detach()
    torch.testing.assert_close(model.encode(x, context=unknown(3)), mean)
    drawn = model.encoder(x, unknown(3)).sample((40_000,))
    assert (drawn.mean(0) - mean).abs().max() < 5 * float(drawn.std(0).max()) / 200
    known = model.encode(x, context=torch.tensor([1, 1, 1]))
    torch.testing.assert_close(known, each[1].mean.detach())


# ---- use


def test_labels_as_scikit_learn_has_them() -> None:
    model = SemiSupervisedVAE(4, classes=2, hidden=(8,))
    kind = torch.randint(2, (200,))
    x = (torch.rand(200, 4) < torch.where(kind[:, None] == 1, 0.9, 0.1)).float()
    y = np.where(np.arange(200) < 20, kind.numpy(), -1)
    assert isinstance(default_objective(model), SemiSupervised)
    done = fit(model, {"x": x, "context": y}, steps=200, lr=0.01, progress=False)
    assert {"loss", "bound", "classification"} <= set(done.history)
    right = model.classifier(x).probs.argmax(-1) == kind
    assert right.float().mean() > 0.93


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 3, 1], "context has 3 at row 1, but classes are 0 to 2"),
        ([0.0, 0.5, 1.0], "0.5 at row 1"),
        ([-2, 0, 0], "-2"),
    ],
)
def test_what_is_no_class_is_named(classes, message) -> None:
    with pytest.raises(ValueError, match=message):
        fit(build(), {"x": rows(3), "context": torch.tensor(classes)}, steps=1, progress=False)


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"context is a class a row, \[N\], of shape \[\], not 2"):
        SemiSupervisedVAE(4, context_shape=2)
    with pytest.raises(ValueError, match="classes must be at least 2, not 1"):
        SemiSupervisedVAE(4, classes=1)
    with pytest.raises(ValueError, match="classifier: Categorical is no model of 3 classes"):
        SemiSupervisedVAE(4, classes=3, classifier=partial(Categorical, levels=4))
    with pytest.raises(ValueError, match="alpha must not be negative"):
        SemiSupervised(-1)
    with pytest.raises(ValueError, match=r"for its latents \['z', 'y'\] given rows"):
        query(build(), "y")


def test_real_numbers_take_another_decoder() -> None:
    model = SemiSupervisedVAE(3, classes=2, latent=2, hidden=(4,), decoder=HomoscedasticGaussian)
    x, y = torch.randn(9, 3), torch.tensor([0, 1, -1] * 3)
    fit(model, {"x": x, "context": y}, steps=2, progress=False)
    assert log_likelihood(model, {"x": x, "context": y}).measure == "density"
    assert model.reconstruct(x, context=y).shape == (9, 3)


def test_a_class_left_out_or_written_as_one_hot_is_named() -> None:
    model = SemiSupervisedVAE(4, classes=3, latent=2, hidden=(8,))
    with pytest.raises(ValueError, match="is conditional on the class of each row: give context"):
        model.sample(3)
    with pytest.raises(ValueError, match=r"takes context of shape \[N\], but was given \[3, 3\]"):
        model.sample(3, context=torch.eye(3))
