"""Discrete codes: sums against loops over the values of z, the bound against Pyro's, the relaxed gradient's limit."""

import itertools
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor
from torch.nn import functional as F

import zoo
from inference import fit, query
from inference.data import check_data
from inference.importance import NUMBERS
from inference.likelihood import ElboBound, ImportanceWeighted, log_likelihood
from inference.objectives import Enumerated, Relaxed, cooling, default_objective
from inference.schedules import linear
from zoo.discrete_vae import DiscreteVAE
from zoo.made import MADE
from zoo.nodes import Node

CODES, LEVELS = 2, 3


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(context: int | None = None, **kwargs) -> DiscreteVAE:
    options = {"codes": CODES, "levels": LEVELS, "hidden": (6,), **kwargs}
    model = DiscreteVAE((2, 2), context_shape=context, **options).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model


def rows(n: int, context: int | None = None) -> tuple[Tensor, Tensor | None]:
    x = torch.rand(n, 2, 2).round().double()
    return x, None if context is None else torch.randn(n, context).double()


def by_hand(model: DiscreteVAE, x: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x, z) and q(z | x), and the values of z, [K, N] each, by a loop and torch's own densities."""
    joint, proposal, values = [], [], list(itertools.product(range(LEVELS), repeat=CODES))
    read = x if c is None else torch.cat([x.flatten(1), c], -1)
    q = model.encoder_model.parameters_of(read).unflatten(-1, (CODES, LEVELS)).log_softmax(-1)
    free = model.prior_model.parameters_of(c).unflatten(-1, (CODES, LEVELS)).log_softmax(-1)
    p = free.expand(len(x), CODES, LEVELS)
    for value in values:
        hot = torch.cat([torch.eye(LEVELS).double()[level] for level in value]).expand(len(x), -1)
        logits = model.decoder_model.parameters_of(hot if c is None else torch.cat([hot, c], -1))
        told = torch.distributions.Bernoulli(logits=logits).log_prob(x.flatten(1)).sum(-1)
        joint.append(told + sum(p[:, i, level] for i, level in enumerate(value)))
        proposal.append(sum(q[:, i, level] for i, level in enumerate(value)))
    return torch.stack(joint), torch.stack(proposal).exp(), torch.tensor(values)


@pytest.mark.parametrize("context", [None, 3])
def test_every_sum_is_that_of_a_loop_over_the_values(context) -> None:
    model, (x, c) = build(context), rows(7, context)
    joint, q, values = by_hand(model, x, c)
    exact = joint.logsumexp(0)
    assert torch.equal(model.codebook, values)
    torch.testing.assert_close(model.log_joint(x, c).mT, joint)
    torch.testing.assert_close(model.log_prob(x, context=c), exact)
    bound = (q * (joint - q.log())).sum(0)
    loss = Enumerated()(model, x, c)
    torch.testing.assert_close(loss.value, -bound.mean())
    torch.testing.assert_close(loss.terms["reconstruction"] + loss.terms["kl"], loss.terms["loss"])
    each = (torch.distributions.Categorical(logits=part.log_probs) for part in (model.encoder(x, c), model.prior(c)))
    torch.testing.assert_close(loss.terms["kl"], torch.distributions.kl_divergence(*each).sum(-1).mean())
    # the gap of bound and likelihood is the divergence from the posterior
    posterior = joint.softmax(0)
    torch.testing.assert_close(exact - bound, (q * (q / posterior).log()).sum(0))
    assert (exact - bound > 0).all()


def test_rows_are_summed_in_blocks_to_the_same_numbers(monkeypatch) -> None:
    for context in (None, 3):
        model, (x, c) = build(context), rows(7, context)
        whole = model.log_prob(x, context=c)
        monkeypatch.setattr("zoo.discrete_vae.NUMBERS", 100)  # two rows at a time
        torch.testing.assert_close(model.log_prob(x, context=c), whole)
        monkeypatch.undo()


def test_the_enumerated_bound_is_pyros() -> None:
    model, (x, _) = build(), rows(6)

    def pair(x: Tensor) -> None:
        p = model.prior_model.parameters_of(None).view(CODES, LEVELS)
        with pyro.plate("data", len(x)):
            z = [pyro.sample(f"z_{i}", dist.Categorical(logits=p[i])) for i in range(CODES)]
            hot = [F.one_hot(code, LEVELS).double() for code in z]
            batch = torch.broadcast_shapes(*[each.shape[:-1] for each in hot])
            logits = model.decoder_model.parameters_of(torch.cat([h.expand(*batch, LEVELS) for h in hot], -1))
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x.flatten(1))

    def guide(x: Tensor) -> None:
        q = model.encoder_model.parameters_of(x).unflatten(-1, (CODES, LEVELS))
        with pyro.plate("data", len(x)):
            for i in range(CODES):
                pyro.sample(f"z_{i}", dist.Categorical(logits=q[:, i]), infer={"enumerate": "parallel"})

    theirs = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(pair, guide, x) / len(x)
    ours = Enumerated()(model, x).value
    torch.testing.assert_close(ours, theirs)
    parameters = list(model.parameters())
    for mine, other in zip(torch.autograd.grad(ours, parameters), torch.autograd.grad(theirs, parameters), strict=True):
        torch.testing.assert_close(mine, other)


def test_the_pair_itself_has_the_same_bound_and_likelihood() -> None:
    model, (x, _) = build(), rows(5)
    exact = log_likelihood(model, x)
    assert exact.kind == "exact"
    assert exact.measure == "mass"
    elbo = log_likelihood(model, x, method=ElboBound(4000))
    assert abs(elbo.mean + Enumerated()(model, x).value.item()) < 4 * float(elbo.standard_error.mean())
    weighted = log_likelihood(model, x, method=ImportanceWeighted(4000))
    assert weighted.kind == "lower bound"
    assert ((weighted.values - exact.values).abs() < 5 * weighted.standard_error).all()


def test_mass_sums_to_one_over_all_rows_and_draws_follow_it() -> None:
    model = build()
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4).view(-1, 2, 2)
    mass = model.log_prob(every).exp().detach()
    torch.testing.assert_close(mass.sum(), torch.ones(()).double())
    drawn = model.sample(20_000).flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0]).double()
    seen = torch.bincount(drawn.long(), minlength=16) / 20_000
    assert (seen - mass).abs().max() < 5 * math.sqrt(0.25 / 20_000)


def test_one_code_is_a_mixture() -> None:
    model, (x, _) = build(codes=1), rows(6)
    components = torch.stack([model.decoder(torch.tensor([[k]])).log_prob(x) for k in range(LEVELS)])
    weights = model.prior_model.parameters_of(None).log_softmax(-1)
    torch.testing.assert_close(model.log_prob(x), (components + weights[:, None]).logsumexp(0))


def test_codes_may_hang_together() -> None:
    made = MADE(CODES, levels=LEVELS, hidden=8)
    model, (x, _) = build(prior=made, encoder=zoo.build({"family": "made", "levels": LEVELS, "hidden": 8},
                                                        event_shape=CODES, context_shape=(2, 2))), rows(6)  # fmt: skip
    exact = model.log_prob(x)
    each = [model.prior().log_prob(z[None]) + model.decoder(z[None]).log_prob(x) for z in model.codebook]
    torch.testing.assert_close(exact, torch.stack(each).logsumexp(0))
    q = torch.stack([model.encoder(x).log_prob(z.expand(6, -1)) for z in model.codebook])
    bound = (q.exp() * (torch.stack(each) - q)).sum(0).mean()
    torch.testing.assert_close(-Enumerated()(model, x).value, bound)
    assert model.encode(x).shape == (6, CODES)
    with pytest.raises(TypeError, match="its encoder is no product of independent codes"):
        Relaxed()(model, x)


@pytest.mark.parametrize("given", [False, True])
def test_the_posterior_of_each_code_is_bayes_rule(given) -> None:
    model, (x, c) = build(3 if given else None), rows(6, 3 if given else None)
    joint, _, values = by_hand(model, x, c)
    answer = query(model, "z", given={"x": x}, context=c)
    assert answer.kind == "exact"
    assert answer["z"].dims == ("row", "z_dim_0", "level")
    found = torch.tensor(answer["z"].values)
    for code, level in itertools.product(range(CODES), range(LEVELS)):
        wanted = joint.softmax(0)[values[:, code] == level].sum(0)
        torch.testing.assert_close(found[:, code, level], wanted.detach())


# ---- many codes


def many(codes: int = 9) -> DiscreteVAE:
    return DiscreteVAE(4, codes=codes, levels=4, hidden=(8,)).double()


def test_many_codes_are_not_summed_and_it_says_so() -> None:
    model, x = many(), torch.rand(5, 4).round().double()
    with pytest.raises(AttributeError, match=r"log_prob: its likelihood integrates over z; ask inference"):
        model.log_prob(x)
    assert "log_prob" not in model.capabilities
    assert log_likelihood(model, x, method=ImportanceWeighted(20)).kind == "lower bound"
    assert isinstance(default_objective(model), Relaxed)
    assert isinstance(default_objective(many(6)), Enumerated)
    assert not hasattr(many(7), "codebook")


def test_the_weighted_posterior_tends_to_the_exact_one(monkeypatch) -> None:
    model, (x, _) = build(), rows(4)
    exact = query(model, "z", given={"x": x})["z"].values
    monkeypatch.setattr("zoo.discrete_vae.LARGEST_SUM", 1)
    answer = query(model, "z", given={"x": x}, draws=20_000)
    assert answer.kind == "estimate"
    assert abs(answer["z"].values - exact).max() < 0.03


def test_the_weighted_posterior_takes_each_rows_own_context_in_blocks_too(monkeypatch) -> None:
    model, (x, c) = build(3), rows(6, 3)
    exact = query(model, "z", given={"x": x}, context=c)["z"].values
    monkeypatch.setattr("zoo.discrete_vae.LARGEST_SUM", 1)
    monkeypatch.setitem(NUMBERS, "cpu", 4 * 100_000 * 2)  # two rows at a time
    answer = query(model, "z", given={"x": x}, context=c, draws=100_000)
    assert abs(answer["z"].values - exact).max() < 0.03


# ---- relaxed


def gradient(objective, model: DiscreteVAE, x: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """Mean and standard error of the gradient by the encoder's logits, over draws; x is one row."""
    model.zero_grad()
    logits = model.encoder(x).log_probs.detach().expand(draws, -1, -1).clone().requires_grad_()

    class Same:
        levels, prior, soft_decoder = model.levels, model.prior, model.soft_decoder
        codebook, log_joint = model.codebook, model.log_joint

        def encoder(self, x, context=None):
            return type(model.encoder(x[:1]))(logits)

    value = objective(Same(), x.expand(draws, *x.shape[1:])).value * draws
    (each,) = torch.autograd.grad(value, logits)
    return each.mean(0), each.std(0) / math.sqrt(draws)


def test_the_relaxed_gradient_tends_to_the_bounds_own_as_it_cools() -> None:
    model, (x, _) = build(), rows(1)
    exact, _ = gradient(Enumerated(), model, x, 2)
    bias, noise = {}, {}
    for temperature in (5.0, 1.0, 0.05):
        mean, error = gradient(Relaxed(temperature), model, x, 100_000)
        bias[temperature], noise[temperature] = (mean - exact).norm(), error.norm()
    assert bias[5.0] > 2 * bias[1.0] > 20 * noise[1.0]  # a bias that is there, and shrinks
    assert bias[0.05] < 4 * noise[0.05] < 0.2 * bias[5.0]
    assert noise[0.05] > 2 * noise[1.0]  # what it costs


def test_the_relaxed_value_is_the_formula() -> None:
    model, (x, _) = build(), rows(5)
    torch.manual_seed(3)
    loss = Relaxed(0.7)(model, x)
    torch.manual_seed(3)
    q = model.encoder(x).log_probs
    noise = -torch.empty_like(q).exponential_().log()
    shares = torch.exp((q + noise) / 0.7) / torch.exp((q + noise) / 0.7).sum(-1, keepdim=True)
    logits = model.decoder_model.parameters_of(shares.flatten(1))
    told = torch.distributions.Bernoulli(logits=logits).log_prob(x.flatten(1)).sum(-1)
    p = model.prior_model.parameters_of(None).view(CODES, LEVELS)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=q), torch.distributions.Categorical(logits=p)
    ).sum(-1)
    torch.testing.assert_close(loss.value, (kl - told).mean())


def test_what_is_held_out_is_the_bound() -> None:
    model, (x, _) = build(), rows(5)
    torch.testing.assert_close(Relaxed(2.0).held_out(model, x), Enumerated()(model, x).value)
    model, x = many(), torch.rand(40, 4).round().double()
    with torch.no_grad():
        drawn = torch.stack([Relaxed(2.0).held_out(model, x) for _ in range(400)])
    bound = log_likelihood(model, x, method=ElboBound(400))
    assert abs(float(drawn.mean()) + bound.mean) < 0.05


def test_it_cools_with_the_steps_of_the_fit_and_resumes() -> None:
    schedule = cooling(100, 1.0, 0.25)
    assert [schedule(step) for step in (0, 50, 100, 900)] == pytest.approx([1.0, 0.5, 0.25, 0.25])
    objective = Relaxed(linear(10, 0.5))
    done = fit(many(), torch.rand(64, 4).round(), objective, steps=6, every=3, progress=False)
    assert list(done.history["temperature"]) == pytest.approx([0.9, 0.75])
    again = Relaxed(linear(10, 0.5))
    again.load_state_dict(objective.state_dict())
    assert again.step == 6


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"it answers for its latents \['z'\] given rows"):
        query(build(), "y", given={"x": rows(2)[0]})
    with pytest.raises(ValueError, match="codes must be at least 1, not 0"):
        DiscreteVAE(4, codes=0)
    with pytest.raises(ValueError, match="levels must be at least 2, not 1"):
        DiscreteVAE(4, levels=1)
    with pytest.raises(ValueError, match="prior: MADE is no model of codes of 16 levels"):
        DiscreteVAE(4, prior=MADE(2, levels=3))
    with pytest.raises(ValueError, match="temperature must be above 0, not 0"):
        Relaxed(0)
    with pytest.raises(ValueError, match="from a first to a last above 0"):
        cooling(10, 0.5, 1.0)


def test_a_fit_finds_what_made_the_rows() -> None:
    patterns = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]]).double()
    kind = torch.randint(3, (300,))
    flip = torch.rand(300, 4) < 0.05
    x = (patterns[kind].bool() ^ flip).double()
    model = DiscreteVAE(4, codes=1, levels=3, hidden=(16,)).double()
    fit(model, x, steps=400, lr=0.01, progress=False)
    kept = torch.full((4,), 0.95).double()
    truth = torch.stack([torch.where(x == p, kept, 1 - kept).log().sum(-1) for p in patterns]).logsumexp(0) - math.log(
        3
    )
    assert log_likelihood(model, x).mean > float(truth.mean()) - 0.02
    codes = model.encode(x)[:, 0]
    check_data(model, x)
    agree = [(codes[kind == k] == codes[kind == k].mode().values).double().mean() for k in range(3)]
    assert min(agree) > 0.8


def test_as_a_node_of_a_hybrid_network_it_stays_exact() -> None:
    image = DiscreteVAE(4, codes=1, levels=3, hidden=(6,), context_shape=2).double()
    node = Node("image", ["kind"], {"kind": 2}, [image], separate=False)
    x = torch.rand(5, 4).round().double()
    wanted = torch.stack([image.log_prob(x, context=torch.eye(2).double()[[k] * 5]) for k in range(2)], 1)
    torch.testing.assert_close(node.log_prob(x, {}), wanted)
    assert node.likelihood == "exact"
    image.train()
    torch.testing.assert_close(node.log_prob(x, {}), wanted)
