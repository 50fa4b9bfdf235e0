"""Hidden Markov models against enumeration of every path, autograd through plain recursions, and EM by hand."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

import zoo
from inference.em import em
from inference.fit import fit
from inference.likelihood import log_likelihood
from zoo.base import Refusal
from zoo.conditionals import Bernoulli, Gaussian
from zoo.gaussian_mixture import GaussianMixture
from zoo.hidden_markov import HiddenMarkov
from zoo.hidden_states import best_path, evidence_of, filtered, log_evidence, smooth


def chain(rows: int, steps: int, states: int, seed: int = 0, spread: float = 2.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(shape, generator=generator).double() for shape in ((states,), (states,) * 2)]
    seen = spread * torch.randn(rows, steps, states, generator=generator).double()
    return draw[0].log_softmax(-1), draw[1].log_softmax(-1), seen


def enumerate_paths(start: Tensor, move: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Every path, [P, T], and log p(x, path), [N, P]: straight from the factorisation."""
    steps, states = seen.shape[1:]
    paths = torch.tensor(list(itertools.product(range(states), repeat=steps)))
    value = start[paths[:, 0]] + move[paths[:, :-1], paths[:, 1:]].sum(-1)
    return paths, value + seen[:, torch.arange(steps), paths].sum(-1)


def moved(model: HiddenMarkov, seed: int = 1) -> HiddenMarkov:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter))
    return model.double()


def coded(steps: int = 5, **options) -> HiddenMarkov:
    torch.manual_seed(0)
    return moved(HiddenMarkov(steps, states=3, levels=4, **options))


def seen_by_hand(model: HiddenMarkov, x: Tensor) -> Tensor:
    """log p(x_t | z_t) from the definition, what is missing left out, [N, T, K]."""
    emission = model.emission
    if hasattr(emission, "levels"):
        table = emission.logits.softmax(-1)[:, 0]
        known = table[:, x.clamp(min=0)].movedim(0, -1).log()
        return torch.where((x >= 0).unsqueeze(-1), known, torch.zeros_like(known))
    normal = torch.distributions.Normal(emission.means, emission.log_scales.exp())
    terms = normal.log_prob(x.nan_to_num().unsqueeze(-2))
    return torch.where(x.isnan().unsqueeze(-2), torch.zeros_like(terms), terms).sum(-1)


@pytest.mark.parametrize("blocks", [1, 2, 3, 6])
def test_sums_over_paths_are_enumerations(blocks: int) -> None:
    start, move, seen = chain(4, 6, 3)
    paths, joint = enumerate_paths(start, move, seen)
    torch.testing.assert_close(evidence_of(start, move, seen, blocks), joint.logsumexp(-1))
    weight = joint.softmax(-1)
    one_hot = torch.nn.functional.one_hot(paths, 3).double()
    smoothed, moves, evidence = smooth(start, move, seen, blocks)
    torch.testing.assert_close(evidence, joint.logsumexp(-1))
    torch.testing.assert_close(smoothed, torch.einsum("np,ptk->ntk", weight, one_hot))
    torch.testing.assert_close(moves, torch.einsum("np,pti,ptj->ij", weight, one_hot[:, :-1], one_hot[:, 1:]))
    path, value = best_path(start, move, seen)
    assert torch.equal(path, paths[joint.argmax(-1)])
    torch.testing.assert_close(value, joint.amax(-1))


def test_filtering_is_smoothing_of_what_came_before() -> None:
    start, move, seen = chain(3, 6, 3)
    for t in range(1, 7):
        torch.testing.assert_close(filtered(start, move, seen)[:, t - 1], smooth(start, move, seen[:, :t])[0][:, -1])


@pytest.mark.parametrize(("rows", "steps"), [(2, 5), (1, 70)])
def test_gradients_are_those_of_a_plain_recursion(rows: int, steps: int) -> None:
    parts = [p.requires_grad_() for p in chain(rows, steps, 3)]
    weight = torch.arange(1.0, rows + 1).double()
    if steps < 10:
        assert gradcheck(lambda *p: log_evidence(*p, None), parts)
    start, move, seen = parts
    ahead = start + seen[:, 0]
    for t in range(1, steps):
        ahead = (ahead.unsqueeze(-1) + move).logsumexp(-2) + seen[:, t]
    plain = torch.autograd.grad((ahead.logsumexp(-1) * weight).sum(), parts)
    for found, expected in zip(
        torch.autograd.grad((log_evidence(*parts, None) * weight).sum(), parts), plain, strict=True
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("blocks", [1, 7, None])
def test_long_rows_do_not_underflow(blocks: int | None) -> None:
    """Steps thousands of nats apart, and moves that can't be made: what no scaling can hold goes by logarithms."""
    start, move, seen = chain(2, 100, 4, spread=500.0)
    move = torch.where(torch.eye(4).roll(1, 1).bool() | torch.eye(4).bool(), move, -torch.inf).log_softmax(-1)
    start = torch.tensor([0.0, -torch.inf, -torch.inf, -torch.inf]).double()
    ahead = [start + seen[:, 0]]
    for t in range(1, 100):
        ahead.append((ahead[-1].unsqueeze(-1) + move).logsumexp(-2) + seen[:, t])
    smoothed, moves, evidence = smooth(start, move, seen, blocks)
    torch.testing.assert_close(evidence, ahead[-1].logsumexp(-1))
    torch.testing.assert_close(evidence_of(start, move, seen, blocks), evidence)
    torch.testing.assert_close(smoothed[:, -1], ahead[-1].softmax(-1))
    torch.testing.assert_close(smoothed.sum(-1), torch.ones(2, 100).double())
    torch.testing.assert_close(moves.sum(), torch.tensor(2 * 99.0).double())


def test_codes_are_scored_as_by_enumeration_and_sum_to_one() -> None:
    model = coded()
    x = torch.tensor(list(itertools.product(range(4), repeat=5)))
    torch.testing.assert_close(model.log_prob(x).exp().sum(), torch.ones(()).double())
    some = x[::101]
    args = model.initial.log(), model.transition.log(), seen_by_hand(model, some)
    torch.testing.assert_close(model.log_prob(some), enumerate_paths(*args)[1].logsumexp(-1))


def test_a_missing_code_is_summed_out() -> None:
    model = coded()
    x = torch.tensor([[1, -1, 3, -1, 0]])
    every = x.repeat(16, 1)
    every[:, [1, 3]] = torch.tensor(list(itertools.product(range(4), repeat=2)))
    torch.testing.assert_close(model.log_prob(x)[0], model.log_prob(every).logsumexp(-1))
    torch.testing.assert_close(model.log_prob(torch.full((1, 5), -1)), torch.zeros(1).double())
    start, move, seen = model.initial.log(), model.transition.log(), seen_by_hand(model, x)
    paths, joint = enumerate_paths(start, move, seen)
    posterior = torch.einsum("np,ptk->ntk", joint.softmax(-1), torch.nn.functional.one_hot(paths, 3).double())
    torch.testing.assert_close(model.posterior(x), posterior.detach())
    assert torch.equal(model.viterbi(x)[0], paths[joint.argmax(-1)])


def test_missing_numbers_are_integrated_out() -> None:
    model = moved(HiddenMarkov((4, 2), states=3))
    x = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0)).double()
    x[0, 1, 0] = x[1, 2] = x[2, 3] = float("nan")
    args = model.initial.log(), model.transition.log(), seen_by_hand(model, x)
    torch.testing.assert_close(model.log_prob(x), enumerate_paths(*args)[1].logsumexp(-1))
    grid = torch.linspace(-400, 400, 80_001, dtype=torch.float64)
    full = x[:1].repeat(80_001, 1, 1, 1)[:, 0]
    full[:, 1, 0] = grid
    integral = (model.log_prob(full).exp().sum() * (grid[1] - grid[0])).log()
    torch.testing.assert_close(integral, model.log_prob(x)[0], atol=1e-6, rtol=1e-6)


def test_the_rest_of_a_shorter_row_may_be_missing() -> None:
    model, x = coded(), torch.tensor([[1, 2, 3, -1, -1]])
    short = coded(steps=3)
    torch.testing.assert_close(model.log_prob(x), short.log_prob(x[:, :3]))


def em_by_enumeration(model: HiddenMarkov, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What one Baum-Welch step gives, by expected counts over every path."""
    args = model.initial.log(), model.transition.log(), seen_by_hand(model, x)
    paths, joint = enumerate_paths(*args)
    weight, one_hot = joint.softmax(-1), torch.nn.functional.one_hot(paths, model.states).double()
    first = torch.einsum("np,pk->k", weight, one_hot[:, 0])
    moves = torch.einsum("np,pti,ptj->ij", weight, one_hot[:, :-1], one_hot[:, 1:])
    return first, moves, torch.einsum("np,ptk->ntk", weight, one_hot)


def test_a_step_of_baum_welch_on_codes_is_that_of_enumeration() -> None:
    model = coded()
    x = torch.randint(0, 4, (30, 5), generator=torch.Generator().manual_seed(2))
    first, moves, each = (t.detach() for t in em_by_enumeration(model, x))
    table = torch.einsum("ntk,ntl->kl", each, torch.nn.functional.one_hot(x, 4).double())
    em(model, x, steps=1, tolerance=0, start=False, progress=False)
    torch.testing.assert_close(model.initial, first / first.sum())
    torch.testing.assert_close(model.transition, moves / moves.sum(-1, keepdim=True))
    torch.testing.assert_close(model.emission.logits.softmax(-1)[:, 0], table / table.sum(-1, keepdim=True))


def test_a_step_of_baum_welch_on_numbers_with_some_missing_is_that_of_enumeration() -> None:
    model = moved(HiddenMarkov((5, 2), states=2))
    x = torch.randn(20, 5, 2, generator=torch.Generator().manual_seed(2)).double()
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) < 0.3] = float("nan")
    x[:, -1, 0] = 0.5  # no row ends before the last step
    _, moves, each = (t.detach() for t in em_by_enumeration(model, x))
    known = (~x.isnan()).double()
    count = torch.einsum("ntk,ntd->kd", each, known)
    means = torch.einsum("ntk,ntd->kd", each, x.nan_to_num()) / count
    gaps = ((x.unsqueeze(-2) - means).square() * each.unsqueeze(-1)).nan_to_num()
    model.maximise(model.expect(model.prepare(x))[0])
    torch.testing.assert_close(model.transition, moves / moves.sum(-1, keepdim=True))
    torch.testing.assert_close(model.emission.means, means)
    torch.testing.assert_close((2 * model.emission.log_scales).exp(), gaps.sum((0, 1)) / count)


@pytest.mark.parametrize("levels", [None, 5])
def test_baum_welch_climbs_and_finds_what_made_the_rows(levels: int | None) -> None:
    torch.manual_seed(4)
    truth = HiddenMarkov((200,), states=2, levels=levels).double()
    with torch.no_grad():
        truth.move_logits.copy_(torch.tensor([[0.95, 0.05], [0.1, 0.9]]).log())
        if levels is None:
            truth.emission.means.copy_(torch.tensor([[-2.0], [2.0]]))
        else:
            truth.emission.logits.mul_(3)
    x = truth.sample(20)
    model = HiddenMarkov((200,), states=2, levels=levels).double()
    found = em(model, x, steps=60, tolerance=1e-6, restarts=2, seed=1, progress=False)
    assert found.extra["monotone"]
    assert model.log_prob(x).mean() > truth.log_prob(x).mean() - 1e-6
    order = [0, 1] if model.transition[0, 0] > model.transition[1, 1] else [1, 0]
    torch.testing.assert_close(model.transition[order][:, order], truth.transition, atol=0.04, rtol=0)


def sequences(levels: int | None, lengths: list[int]) -> tuple[list[Tensor], Tensor]:
    """Sequences of these lengths, and all of them as one tensor, filled up with the missing code."""
    generator = torch.Generator().manual_seed(5)
    if levels is None:
        each = [torch.randn(n, 2, generator=generator).double() for n in lengths]
        padded = torch.full((len(lengths), max(lengths), 2), float("nan"), dtype=torch.float64)
    else:
        each = [torch.randint(0, levels, (n,), generator=generator) for n in lengths]
        padded = torch.full((len(lengths), max(lengths)), -1)
    for row, x in zip(padded, each, strict=True):
        row[: len(x)] = x
    return each, padded


@pytest.mark.parametrize("levels", [None, 4])
def test_em_of_padded_sequences_is_that_of_each_at_its_own_length(levels: int | None) -> None:
    lengths = [3, 7, 1, 5, 2]
    each, padded = sequences(levels, lengths)
    tail = () if levels else (2,)
    model = moved(HiddenMarkov((7, *tail), states=3, levels=levels))
    sums, total = model.expect(model.prepare(padded))
    apart = []
    for x in each:
        own = HiddenMarkov((len(x), *tail), states=3, levels=levels).double()
        own.load_state_dict(model.state_dict())
        apart.append(own.expect(x[None]))
    torch.testing.assert_close(total, sum(value for _, value in apart))
    for found, *expected in zip(sums, *(statistics for statistics, _ in apart), strict=True):
        torch.testing.assert_close(found, sum(expected))
    torch.testing.assert_close(model.log_prob(padded).sum(), total)
    unknown = padded[:1].clone()
    unknown[:] = model.missing_code
    torch.testing.assert_close(model.expect(torch.cat([padded, unknown]))[0][0], sums[0])


@pytest.mark.parametrize("levels", [None, 4])
def test_rows_with_gaps_are_fitted_and_scored_by_the_layer(levels: int | None) -> None:
    _, x = sequences(levels, [9, 4, 6, 9, 7, 9, 5, 8])
    x[0, 3] = x[3, 5] = x[5, 0] = float("nan") if levels is None else -1
    model = HiddenMarkov(x.shape[1:], states=2, levels=levels).double()
    found = em(model, x, steps=20, tolerance=0, progress=False)
    assert found.extra["monotone"]
    history = found.history.log_likelihood
    assert history.iloc[-1] > history.iloc[0] + 0.1
    scored = log_likelihood(model, x.double().where(x != -1, torch.nan))
    assert scored.kind == "exact"
    torch.testing.assert_close(scored.values, model.log_prob(x))
    assert scored.mean == pytest.approx(history.iloc[-1])
    fresh = HiddenMarkov(x.shape[1:], states=2, levels=levels).double()
    before = fresh.log_prob(x).mean()
    fit(fresh, x, steps=30, batch_size=8, progress=False)
    assert fresh.log_prob(x).mean() > before


def test_sweeps_by_loops_are_those_by_blocks() -> None:
    start, move, seen = chain(3, 150, 5)
    lengths = torch.tensor([150, 60, 1])
    for loops, blocks in zip(
        smooth(start, move, seen, None, lengths), smooth(start, move, seen, 12, lengths), strict=True
    ):
        torch.testing.assert_close(loops, blocks)
    torch.testing.assert_close(evidence_of(start, move, seen), evidence_of(start, move, seen, 12))


def test_draws_have_the_moments_of_the_chain() -> None:
    model = coded(steps=4)
    x = torch.tensor(list(itertools.product(range(4), repeat=4)))
    expected = model.log_prob(x).exp().detach().reshape(4, 4, 4, 4)
    torch.manual_seed(0)
    drawn = model.sample(40_000)
    place = drawn @ torch.tensor([64, 16, 4, 1])
    share = place.bincount(minlength=256).double().reshape(4, 4, 4, 4) / 40_000
    assert (share - expected).abs().max() < 5 * math.sqrt(float(expected.max()) / 40_000)


def test_forecasts_are_conditionals() -> None:
    model, longer = coded(steps=3), coded(steps=5)
    x, future = torch.tensor([[1, 2, 0], [3, 3, 1]]), torch.tensor([[0, 2], [1, 1]])
    both = torch.cat([x, future], 1)
    torch.testing.assert_close(model.forecast_log_prob(x, future), longer.log_prob(both) - model.log_prob(x))
    unknown = torch.cat([x, torch.full((2, 2), -1)], 1)
    torch.testing.assert_close(model.forecast_states(x, 2), longer.posterior(unknown)[:, 3:])
    torch.manual_seed(0)
    drawn = model.forecast(x, 2, draws=20_000)
    assert drawn.shape == (20_000, 2, 2)
    share = (drawn == future).all(-1).double().mean(0)
    torch.testing.assert_close(share, model.forecast_log_prob(x, future).exp().detach(), atol=0.015, rtol=0)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        model.forecast(x, 0)
    with pytest.raises(ValueError, match="future must be"):
        model.forecast_log_prob(x, future[:1])


@pytest.mark.parametrize("each", [True, False])
def test_any_explicit_model_may_be_the_emission(each: bool) -> None:
    torch.manual_seed(0)
    emission = (
        [GaussianMixture(2, components=2), Gaussian(2), Gaussian(2)]
        if each
        else Gaussian(2, context_shape=3, hidden=(8,))
    )
    model = moved(HiddenMarkov((4, 2), states=3, emission=emission))
    x = model.sample(6)
    x[2, 1] = float("nan")
    eye = torch.eye(3).double()
    columns = [
        emission[k].log_prob(x.nan_to_num().reshape(-1, 2))
        if each
        else emission.log_prob(x.nan_to_num().reshape(-1, 2), context=eye[k].expand(24, -1))
        for k in range(3)
    ]
    seen = torch.stack(columns, -1).reshape(6, 4, 3).masked_fill(x.isnan().any(-1, keepdim=True), 0.0)
    joint = enumerate_paths(model.initial.log(), model.transition.log(), seen)[1]
    torch.testing.assert_close(model.log_prob(x), joint.logsumexp(-1))
    assert "expect" not in model.capabilities
    with pytest.raises(Refusal, match=r"inference\.fit"):
        em(model, model.sample(6), progress=False)
    x[3, 1, 0] = float("nan")
    with pytest.raises(ValueError, match="whole steps or none"):
        model.log_prob(x)


def test_gradients_climb_any_emission() -> None:
    torch.manual_seed(0)
    model = HiddenMarkov((6, 3), states=2, emission=Bernoulli(3, context_shape=2, hidden=(8,)))
    x = (torch.rand(200, 1, 3) < 0.8).float().expand(-1, 6, -1).contiguous()
    before = model.log_prob(x).mean()
    fit(model, x, steps=150, progress=False)
    assert model.log_prob(x).mean() > before + 2.0
    assert model.sample(3).shape == (3, 6, 3)


def test_it_is_written_as_a_table() -> None:
    spec = {"family": "hidden_markov", "states": 2, "emission": {"family": "gaussian", "hidden": [4]}}
    assert zoo.build(spec, event_shape=(3, 2)).sample(2).shape == (2, 3, 2)
    spec["emission"] = [{"family": "realnvp", "layers": 2}, {"family": "gaussian"}]
    assert zoo.build(spec, event_shape=(3, 2)).log_prob(torch.zeros(2, 3, 2)).shape == (2,)


def test_one_step_and_one_state_are_plain_densities() -> None:
    model = moved(HiddenMarkov((1, 2), states=1))
    x = torch.randn(5, 1, 2).double()
    normal = torch.distributions.Normal(model.emission.means[0], model.emission.log_scales[0].exp())
    torch.testing.assert_close(model.log_prob(x), normal.log_prob(x).sum((1, 2)))
    assert torch.equal(model.viterbi(x)[0], torch.zeros(5, 1).long())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"states": 0}, "states must be at least 1"),
        ({"levels": 1}, "levels must be at least 2"),
        ({"floor": 0.0}, "floor must be positive"),
        ({"levels": 3, "emission": Gaussian}, "levels or emission, not both"),
        ({"emission": [Gaussian]}, "lists 1 models, but there are 4 states"),
        ({"context_shape": 2}, "takes no context"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HiddenMarkov((3, 2), **options)


def test_wrong_rows_are_refused() -> None:
    model = coded()
    with pytest.raises(ValueError, match="its codes are"):
        model.log_prob(torch.full((1, 5), 4))
    with pytest.raises(ValueError, match="its codes are"):
        em(model, torch.full((1, 5), 4), progress=False)
    with pytest.raises(ValueError, match="its codes are"):
        em(model, torch.full((1, 5), -2), progress=False)
    for odd in (4.0, 2.5, -2.0):  # a level too many would else be taken for what is missing
        with pytest.raises(ValueError, match=f"was given {odd:g}, but its codes are"):
            model.log_prob(torch.full((1, 5), odd))
    with pytest.raises(ValueError, match="4 states need at least as many steps"):
        em(HiddenMarkov((3,)), torch.zeros(1, 3), progress=False)


def test_codes_that_fill_a_byte_are_read_as_wider_ones_are():
    x = torch.randint(0, 256, (20, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    fitted = [em(zoo.HiddenMarkov(12, states=2, levels=256), rows, steps=2).model for rows in (x, x.long())]
    torch.testing.assert_close(fitted[0].log_prob(x), fitted[1].log_prob(x.long()))
