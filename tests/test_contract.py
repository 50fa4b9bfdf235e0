"""The contract, over every line of the registry: what holds for one family holds for all."""

import dataclasses

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor

import zoo
from inference.data import check_data
from inference.em import em
from inference.fit import fit
from inference.objectives import default_objective
from inference.protocols import ClosedForm, offers
from tests.zoo.autoregression import unrolled_log_prob
from zoo.base import VERBS, EnergyBased, Explicit, Implicit, LatentVariable, Model, Refusal
from zoo.registry import Family, families

KINDS = (Explicit, LatentVariable, EnergyBased, Implicit)
N = 12


def members() -> list[Family]:
    """Every family as its line says, and given a context too where it takes one."""
    found = []
    for member in families():
        found.append(member)
        if member.example.context_shape is None:
            conditional = dataclasses.replace(
                member,
                name=f"{member.name}-given-context",
                example=dataclasses.replace(member.example, context_shape=(2,)),
            )
            try:
                conditional.build_example()
            except ValueError:
                continue
            found.append(conditional)
    return found


MEMBERS = members()


@pytest.fixture(params=MEMBERS, ids=lambda member: member.name)
def member(request) -> Family:
    return request.param


@pytest.fixture
def model(member: Family) -> Model:
    return build(member)


def build(member: Family, seed: int = 0) -> Model:
    """The example, its parameters moved a little so that nothing sits at a special point such as zero."""
    torch.manual_seed(seed)
    model = member.build_example()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    if isinstance(model, EnergyBased):
        model.sweeps = 20
    return model


def rows(member: Family, model: Model, n: int = N) -> tuple[Tensor, Tensor | None]:
    return member.example.data(n, model=model), member.example.context(n)


def score(model: Model, x: Tensor, context: Tensor | None) -> Tensor:
    """Whatever the kind gives as a function of x, a number a row; a generator's noise stands in for x."""
    if "log_prob" in model.capabilities:
        return model.log_prob(x, context=context)
    if "free_energy" in model.capabilities:
        return model.free_energy(x)
    torch.manual_seed(1)
    if "encoder" in model.capabilities:
        z = model.encoder(x, context).sample()
        return model.decoder(z, context).log_prob(x) + model.prior(context).log_prob(z)
    return model.eval().generate(model.noise(len(x)), context).flatten(1).sum(1)


def test_is_of_one_kind_and_says_which(model: Model) -> None:
    assert sum(isinstance(model, kind) for kind in KINDS) == 1
    assert model.kind
    assert model.measure in ("density", "mass")
    assert type(model).__doc__


def test_capabilities_are_declared_and_the_rest_is_refused_in_a_sentence(model: Model) -> None:
    assert model.capabilities <= VERBS
    for verb in VERBS:
        if verb in model.capabilities:
            assert callable(getattr(model, verb)), verb
        elif not hasattr(model, verb):
            with pytest.raises(Refusal, match=f"{type(model).__name__} has no {verb}: .+"):
                getattr(model, verb)


def test_draws_have_the_models_shape_and_lie_in_its_support(member: Family, model: Model) -> None:
    draws = model.sample(5, context=member.example.context(5))
    assert draws.shape == (5, *model.event_shape)
    check_data(model, draws, member.example.context(5))
    with pytest.raises(ValueError, match="n must be at least 0, not -1"):
        model.sample(-1, context=member.example.context(1))


def test_one_context_serves_all_draws_and_another_number_is_refused(member: Family, model: Model) -> None:
    if model.context_shape is None:
        with pytest.raises(ValueError, match="takes no context"):
            model.sample(2, context=torch.zeros(2, 1))
        return
    assert len(model.sample(4, context=member.example.context(1))) == 4
    with pytest.raises(ValueError, match="1 or 4 rows, not 3"):
        model.sample(4, context=member.example.context(3))
    with pytest.raises(ValueError, match="give context"):
        model.sample(4)


def test_the_pair_generates_and_scores(member: Family, model: Model) -> None:
    x, context = rows(member, model)
    given = {} if context is None else {"context": context}
    trace = poutine.trace(model.model).get_trace(n=N, **given)
    assert trace.nodes["x"]["value"].shape == (N, *model.event_shape)
    assert "data" in trace.nodes
    if isinstance(model, Implicit):
        with pytest.raises(TypeError, match="cannot score x"):
            model.model(x, **given)
        return
    scored = poutine.trace(model.model).get_trace(x, **given)
    assert scored.nodes["x"]["is_observed"]
    assert torch.isfinite(scored.log_prob_sum())
    if isinstance(model, Explicit):
        torch.testing.assert_close(scored.log_prob_sum(), model.log_prob(x, context=context).sum())


def test_the_guide_covers_the_latents(member: Family, model: Model) -> None:
    x, context = rows(member, model)
    given = {} if context is None else {"context": context}
    if isinstance(model, Implicit):
        with pytest.raises(TypeError, match="no guide"):
            model.guide(x, **given)
        return
    guide = poutine.trace(model.guide).get_trace(x, **given)
    scored = poutine.trace(model.model).get_trace(x, **given)
    latents = {n for n, site in scored.nodes.items() if site["type"] == "sample" and not site["is_observed"]}
    assert latents - {"data"} == set(guide.stochastic_nodes) - {"data"}
    with poutine.replay(trace=guide):
        replayed = poutine.trace(model.model).get_trace(x, **given)
    assert torch.isfinite(replayed.log_prob_sum() - guide.log_prob_sum())


def test_loss_is_finite_and_every_parameter_gets_a_gradient(member: Family, model: Model) -> None:
    x, context = rows(member, model, 400)  # enough that every state of a network is met
    if not list(model.parameters()):
        return
    objective = default_objective(model)
    objective.prepare(model, x)
    players = objective.players(model)
    moved = {id(p) for player in players for p in player.parameters}
    assert moved == {id(p) for p in model.parameters()}
    for player in players:
        model.zero_grad()
        loss = player.loss(x, context)
        assert torch.isfinite(loss.value)
        player.backward(loss, player.parameters)
        for parameter in player.parameters:
            assert parameter.grad is not None
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.abs().sum() > 0


def test_same_seed_same_draws(member: Family) -> None:
    draws = []
    for _ in range(2):
        model = build(member, seed=3)
        torch.manual_seed(9)
        draws.append(model.sample(4, context=member.example.context(4)))
    assert torch.equal(*draws)


def test_saved_and_loaded_it_gives_the_same_numbers(member: Family, tmp_path) -> None:
    example = member.example
    spec = {"family": member.name.removesuffix("-given-context"), **example.kwargs}
    torch.manual_seed(0)
    model = zoo.build(spec, event_shape=example.event_shape, context_shape=example.context_shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    zoo.save(model, tmp_path / "saved")
    again = zoo.load(tmp_path / "saved")
    x, context = rows(member, model)
    assert type(again) is type(model)
    assert torch.equal(score(model.eval(), x, context), score(again, x, context))


@pytest.mark.parametrize("place", [torch.float64, torch.device("cuda")], ids=str)
def test_it_moves_whole(member: Family, model: Model, place) -> None:
    if isinstance(place, torch.device) and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    x, context = rows(member, model)
    model.to(place)
    x = x.to(place) if x.is_floating_point() or isinstance(place, torch.device) else x
    context = None if context is None else context.to(place)
    draws, values = model.sample(N, context=context), score(model, x, context)
    assert values.device == model.device
    assert values.dtype == model.dtype
    assert draws.device == model.device
    assert draws.dtype == model.dtype or not draws.is_floating_point()


def test_number_by_number_is_all_at_once(member: Family, model: Model) -> None:
    if "unroll" not in model.capabilities:
        return
    x, context = rows(member, model)
    model.double()
    context = None if context is None else context.double()
    steps = model.step_log_prob(x, context=context).detach()
    torch.testing.assert_close(steps.sum(-1), model.log_prob(x, context=context).detach())
    for told in (0, 1, model.features - 1):
        found = unrolled_log_prob(model, x, context, told)
        torch.testing.assert_close(found, steps[:, told:], atol=1e-9, rtol=1e-7)


def test_the_context_is_honoured(member: Family, model: Model) -> None:
    x, context = rows(member, model)
    if context is None or member.name == "standard_gaussian":
        return
    assert not torch.allclose(score(model, x, context), score(model, x, context + 1.0))


def test_each_row_has_its_own_context(member: Family, model: Model) -> None:
    x, context = rows(member, model)
    if context is None:
        return
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    straight = pinned(model, x, context, torch.arange(N))
    torch.testing.assert_close(pinned(model, x[order], context[order], order), straight[order])
    if member.name != "standard_gaussian":
        assert not torch.allclose(pinned(model, x, context[order], torch.arange(N)), straight)


def pinned(model: Model, x: Tensor, context: Tensor, order: Tensor) -> Tensor:
    """`score` in double precision, with the noise of each row (its code, its generator's input) moved by `order`."""
    model, x, context = model.eval().double(), x.double() if x.is_floating_point() else x, context.double()
    generator = torch.Generator().manual_seed(5)
    if "encoder" in model.capabilities and model.likelihood == "lower bound":
        z = torch.randn(N, *model.prior(context).event_shape, generator=generator).double()[order]
        terms = (model.decoder(z, context).log_prob(x), model.prior(context).log_prob(z))
        return sum(terms) + model.encoder(x, context).log_prob(z)
    if "generate" in model.capabilities:
        noise = torch.randn(model.noise(N).shape, generator=generator).double()[order]
        return model.generate(noise, context).flatten(1).sum(1)
    return score(model, x, context)


def test_the_same_seed_fits_the_same_parameters(member: Family) -> None:
    found = []
    for disturbance in range(2):
        model = build(member, seed=3)
        x, context = rows(member, model, 40)
        if not list(model.parameters()):
            return
        before = [p.detach().clone() for p in model.parameters()]
        torch.manual_seed(100 + disturbance)  # a fit draws from its own seed, whatever the caller's state
        data = {"x": x} if context is None else {"x": x, "context": context}
        if offers(model, ClosedForm):
            em(model, data, steps=3, tolerance=0, seed=7, progress=False)
        else:
            fit(model, data, steps=6, batch_size=16, seed=7, progress=False)
        assert any(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        found.append([p.detach() for p in model.parameters()])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_wrong_rows_are_refused_by_name(member: Family, model: Model) -> None:
    x, context = rows(member, model)
    with pytest.raises(ValueError, match=f"{type(model).__name__} models x of shape"):
        check_data(model, torch.cat([x, x], 1), context)
    if x.is_floating_point():
        broken = x.clone()
        broken[3].view(-1)[1] = float("nan")
        with pytest.raises(ValueError, match="not finite at row 3"):
            check_data(model, broken, context)
    if model.measure == "mass":
        with pytest.raises(ValueError, match=r"outside the support|whose codes are"):
            check_data(model, x - 1, context)
    else:
        with pytest.raises(TypeError, match="scale it to floats"):
            check_data(model, x.long(), context)


def test_the_parameter_store_stays_empty(member: Family, model: Model) -> None:
    x, context = rows(member, model)
    if not isinstance(model, Implicit):
        model.model(x, **({} if context is None else {"context": context}))
    assert not pyro.get_param_store().keys()
