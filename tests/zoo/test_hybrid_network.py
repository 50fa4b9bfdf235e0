"""HybridNetwork against enumeration, closed forms, and EM written out by hand."""

from __future__ import annotations

import math
import warnings
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

import zoo
from inference import em, fit, log_likelihood, query
from zoo.app import cli
from zoo.base import LatentVariable, Refusal
from zoo.conditionals import Bernoulli, Categorical, Gaussian
from zoo.gan import GAN
from zoo.gaussian_mixture import GaussianMixture
from zoo.hybrid_network import HybridNetwork
from zoo.realnvp import RealNVP
from zoo.spec import SpecError
from zoo.vae import VAE

torch.set_num_threads(1)

STATES = {"a": 2, "b": ["low", "mid", "high"], "c": ["off", "on"]}
PARENTS = {"c": ["b", "a"], "b": ["a"], "y": ["c", "a"], "z": ["y", "b"], "w": ["z"]}


def network(seed: int = 0, scale: float = 0.4) -> HybridNetwork:
    """a -> b, (b, a) -> c tables; y | c, a; z | y, b; w | z linear normals."""
    torch.manual_seed(seed)
    made = HybridNetwork(
        states=STATES,
        parents=PARENTS,
        shapes={"y": 2, "z": [1, 2], "w": 1},
        densities={name: partial(Gaussian, hidden=()) for name in "yzw"},
    ).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return made


def by_hand(made: HybridNetwork, x: Tensor) -> Tensor:
    """log p of complete rows: a product of the tables' entries and torch's own normals, one-hot parents joined."""
    tables = dict(zip(made.discrete.variables, made.discrete.probabilities(), strict=True))
    order = {"a": ("a",), "b": ("a", "b"), "c": ("b", "a", "c")}
    values = []
    for row in x:
        code = {name: int(row[made.names.index(name)]) for name in "abc"}
        hot = {name: nn.functional.one_hot(torch.tensor(code[name]), len(made.discrete.states[name])) for name in "abc"}
        start = {name: part.start for name, part in made.columns.items()}
        y, z, w = row[start["y"] :][:2], row[start["z"] :][:2], row[start["w"] :][:1]
        contexts = {"y": torch.cat([hot["c"], hot["a"]]), "z": torch.cat([y, hot["b"]]), "w": z}
        total = sum(tables[name][tuple(code[p] for p in order[name])].log() for name in "abc")
        for name, value in (("y", y), ("z", z), ("w", w)):
            layer = made.densities[name].model.parameters_of.network[0]
            loc, log_scale = (layer.weight @ contexts[name].double() + layer.bias).chunk(2)
            total = total + Normal(loc, log_scale.exp()).log_prob(value).sum()
        values.append(total)
    return torch.stack(values)


def summed(made: HybridNetwork, x: Tensor) -> Tensor:
    """log p of rows with missing states: every completion of each row, added up."""
    counts = [len(made.discrete.states[name]) for name in made.names]
    values = []
    for row in x:
        choices = [range(count) if code < 0 else [int(code)] for code, count in zip(row, counts, strict=False)]
        full = torch.stack([torch.cat([torch.tensor(c).to(row), row[len(counts) :]]) for c in product(*choices)])
        values.append(by_hand(made, full).logsumexp(0))
    return torch.stack(values)


def with_gaps(made: HybridNetwork, n: int, seed: int) -> Tensor:
    torch.manual_seed(seed)
    x = made.sample(n)
    gone = torch.rand(n, 3) < 0.5
    x[:, :3] = torch.where(gone, -1.0, x[:, :3])
    return x


# ---- the likelihood


@pytest.mark.parametrize("seed", range(3))
def test_log_prob_is_the_product_of_tables_and_normals(seed: int) -> None:
    made = network(seed)
    x = made.sample(20)
    torch.testing.assert_close(made.log_prob(x), by_hand(made, x), atol=1e-11, rtol=0)
    assert log_likelihood(made, x).kind == "exact" and log_likelihood(made, x).measure == "density"


@pytest.mark.parametrize("seed", range(5))
def test_missing_states_are_summed_out(seed: int) -> None:
    made = network(seed)
    x = with_gaps(made, 12, seed)
    assert (x[:, :3] < 0).any()
    torch.testing.assert_close(made.log_prob(x), summed(made, x), atol=1e-11, rtol=0)


def test_its_gradient_is_that_of_the_sum_over_completions() -> None:
    made = network(1)
    x = with_gaps(made, 10, 3)
    ours = torch.autograd.grad(made.log_prob(x).sum(), list(made.parameters()))
    theirs = torch.autograd.grad(summed(made, x).sum(), list(made.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


def test_linear_normal_nodes_are_one_multivariate_normal_given_the_states() -> None:
    """y ~ N(m, S) given the state, z | y linear: (y, z) is jointly normal, with the textbook moments."""
    made = HybridNetwork(
        states={"k": 2}, parents={"y": ["k"], "z": ["y"]}, shapes={"y": 1, "z": 1},
        tables={"k": [0.3, 0.7]}, densities={name: partial(Gaussian, hidden=()) for name in "yz"},
    ).double()  # fmt: skip
    y, z = (made.densities[name].model.parameters_of.network[0] for name in "yz")
    with torch.no_grad():
        y.weight.copy_(
            torch.tensor([[1.0, -2.0], [0.3, -0.2]], dtype=torch.float64)
        )  # means and log-scales of the two states
        y.bias.zero_()
        z.weight.copy_(torch.tensor([[0.8], [0.0]], dtype=torch.float64))
        z.bias.copy_(torch.tensor([0.5, math.log(0.4)], dtype=torch.float64))
    parts = []
    for p, mean, log_scale in ((0.3, 1.0, 0.3), (0.7, -2.0, -0.2)):
        var = math.exp(2 * log_scale)
        loc = torch.tensor([mean, 0.8 * mean + 0.5], dtype=torch.float64)
        cov = torch.tensor([[var, 0.8 * var], [0.8 * var, 0.64 * var + 0.16]], dtype=torch.float64)
        parts.append((p, MultivariateNormal(loc, cov)))
    x = made.sample(50)
    x[:, 0] = -1
    expected = torch.stack([math.log(p) + normal.log_prob(x[:, 1:]) for p, normal in parts]).logsumexp(0)
    torch.testing.assert_close(made.log_prob(x), expected, atol=1e-11, rtol=0)
    draws = made.sample(100_000)[:, 1:]
    mean = sum(p * normal.mean for p, normal in parts)
    second = sum(p * (normal.covariance_matrix + torch.outer(normal.mean, normal.mean)) for p, normal in parts)
    torch.testing.assert_close(draws.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(draws.T.cov(), second - torch.outer(mean, mean), atol=0.1, rtol=0)


def test_states_are_drawn_as_the_tables_say() -> None:
    made = network(4)
    torch.manual_seed(0)
    x = made.sample(50_000)[:, :3]
    for codes in product(range(2), range(3), range(2)):
        p = made.discrete.log_prob(torch.tensor([codes])).exp().item()
        found = (x == torch.tensor(codes)).all(1).double().mean().item()
        assert found == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 50_000) + 1e-9)


def test_a_state_that_is_impossible_does_not_swallow_the_others() -> None:
    """The greatest likelihood lies at a state that another label rules out, by more nats than a double can hold."""
    made = HybridNetwork(
        states={"k": 3, "odd": 2}, parents={"odd": ["k"], "y": ["k"]}, shapes={"y": 1},
        tables={"odd": [[1, 0], [0, 1], [1, 0]]}, separate=["y"],
    ).double()  # fmt: skip
    with torch.no_grad():
        for mean, model in zip((-100.0, 0.0, 60.0), made.densities["y"].models, strict=True):
            model.parameters_of.free.copy_(torch.tensor([mean, 0.0]))
    x = made.rows({"odd": [0], "y": torch.zeros(1, 1)}).requires_grad_()
    expected = math.log(1 / 3) + Normal(60.0, 1.0).log_prob(torch.tensor(0.0, dtype=torch.float64)).item()
    value = made.log_prob(x)
    assert value.item() == pytest.approx(expected, abs=1e-9)
    gradients = torch.autograd.grad(value.sum(), list(made.parameters()))
    assert all(torch.isfinite(g).all() for g in gradients)


def test_densities_of_the_same_unknown_parents_are_added_before_they_leave_the_range_of_doubles() -> None:
    """y | k, u | c, k and v | k, c, each sure by hundreds of nats of another state; k and c are not known."""
    made = HybridNetwork(
        states={"k": 2, "c": 3}, parents={"y": ["k"], "u": ["c", "k"], "v": ["k", "c"]},
        shapes={"y": 1, "u": 1, "v": 1}, separate=["y", "u", "v"],
    ).double()  # fmt: skip
    torch.manual_seed(0)
    with torch.no_grad():
        for node in made.densities.values():
            for model in node.models:
                model.parameters_of.free.copy_(torch.tensor([60 * torch.randn(()).item(), 0.0]))
    values = {name: torch.zeros(1, 1, dtype=torch.float64) for name in "yuv"}
    log_joint = torch.empty(2, 3, dtype=torch.float64)
    for k, c in product(range(2), range(3)):
        means = [made.densities["y"].models[k], made.densities["u"].models[2 * c + k]]
        means.append(made.densities["v"].models[3 * k + c])
        parts = [Normal(model.parameters_of.free[0], 1.0).log_prob(values["y"]).sum() for model in means]
        log_joint[k, c] = sum(parts).detach() - math.log(6)
    x = made.rows(values)
    assert made.log_prob(x).item() == pytest.approx(log_joint.flatten().logsumexp(0).item(), rel=1e-12)
    answer = query(made, ("c", "k"), given=values)
    expected = log_joint.T.flatten().softmax(0).reshape(3, 2)
    np.testing.assert_allclose(answer["c", "k"][0], expected, atol=1e-12)


def test_two_densities_that_contradict_each_other_are_weighed() -> None:
    """y | k and u | k, c are each sure of another k by more than a double's range; their sum decides."""
    made = HybridNetwork(
        states={"k": 3, "c": 2}, parents={"y": ["k"], "u": ["k", "c"]}, shapes={"y": 1, "u": 1}, separate=["y", "u"]
    ).double()
    with torch.no_grad():
        for name, means in (("y", (70.0, 0.0, 40.0)), ("u", (0.0, 0.0, 70.0, 70.0, 41.0, 41.0))):
            for mean, model in zip(means, made.densities[name].models, strict=True):
                model.parameters_of.free.copy_(torch.tensor([mean, 0.0]))
    x = made.rows({"y": torch.zeros(1, 1), "u": torch.zeros(1, 1)})
    expected = -math.log(3) - 0.5 * (40.0**2 + 41.0**2) - math.log(2 * math.pi)
    assert made.log_prob(x).item() == pytest.approx(expected, rel=1e-12)


def test_a_model_for_each_state_is_the_one_of_that_state() -> None:
    torch.manual_seed(0)
    mixture = partial(GaussianMixture, components=2)
    made = HybridNetwork(
        states={"a": 2, "b": 3}, parents={"y": ["a", "b"]}, shapes={"y": 2}, densities={"y": mixture}, separate=["y"]
    ).double()
    node = made.densities["y"]
    assert len(node.models) == 6 and len({id(model) for model in node.models}) == 6
    x = made.sample(30)
    table = node.log_prob(x[:, 2:], {})
    assert table.shape == (30, 2, 3)
    for a, b in product(range(2), range(3)):
        torch.testing.assert_close(table[:, a, b], node.models[3 * a + b].log_prob(x[:, 2:]))
    chosen = table[torch.arange(30), x[:, 0].long(), x[:, 1].long()]
    torch.testing.assert_close(made.log_prob(x), chosen - math.log(6))


def test_a_flow_and_discrete_nodes_of_other_kinds_fit_too() -> None:
    torch.manual_seed(0)
    made = HybridNetwork(
        states={"k": 2}, parents={"image": ["k"], "label": ["image"], "bits": ["k"]},
        shapes={"image": 4, "label": 1, "bits": 3},
        densities={"image": partial(RealNVP, layers=2, hidden=8), "label": partial(Categorical, levels=3),
                   "bits": Bernoulli},
    )  # fmt: skip
    x = made.sample(9)
    values = made.values(x)
    expected = math.log(0.5) + made.densities["image"].log_prob(values["image"], values)
    hot = nn.functional.one_hot(values["k"], 2).float()
    direct = made.densities["image"].model.log_prob(values["image"].float(), context=hot)
    torch.testing.assert_close(made.densities["image"].log_prob(values["image"], values), direct)
    label, bits = made.densities["label"].model, made.densities["bits"].model
    expected = expected + label.log_prob(values["label"].long(), context=values["image"].float())
    expected = expected + bits.log_prob(values["bits"].float(), context=hot)
    torch.testing.assert_close(made.log_prob(x), expected.double(), atol=1e-5, rtol=1e-6)
    x[4, made.columns["bits"]] = 0.5
    with pytest.raises(ValueError, match="row 4 has a value of 'bits' outside its support"):
        made.log_prob(x)


class Factor(LatentVariable):
    """z ~ N(0, 1), x | z ~ N(z + mean[state], 1), and its exact posterior q(z | x) = N((x - mean) / 2, 1 / 2)."""

    def __init__(self, event_shape, *, context_shape=None) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.mean = nn.Parameter(torch.tensor([[-1.0], [2.0]], dtype=torch.float64))

    def prior(self, context=None):
        return dist.Normal(torch.zeros_like(self.mean[:1]).expand(len(context), 1), 1.0).to_event(1)

    def decoder(self, z, context=None):
        return dist.Normal(z + context @ self.mean, 1.0).to_event(1)

    def encoder(self, x, context=None):
        return dist.Normal((x - context @ self.mean) / 2, math.sqrt(0.5)).to_event(1)


def test_a_latent_variable_model_as_a_node_is_a_bound_and_says_so() -> None:
    """With the exact posterior as its encoder every weight is p(x): the bound is N(mean[state], 2) for any draws."""
    made = HybridNetwork(
        states={"k": 2, "c": 2}, parents={"y": ["k"], "c": ["k"]}, shapes={"y": 1}, densities={"y": Factor},
        tables={"k": [0.3, 0.7], "c": [[0.9, 0.1], [0.2, 0.8]]},
    )  # fmt: skip
    x = made.sample(9)
    marginal = Normal(torch.tensor([-1.0, 2.0], dtype=torch.float64), math.sqrt(2)).log_prob(x[:, 2:])
    joint = marginal + torch.tensor([0.3, 0.7], dtype=torch.float64).log()
    x[:, :2] = -1
    for model in (made.train(), made.eval()):
        torch.testing.assert_close(model.log_prob(x), joint.logsumexp(1), atol=1e-11, rtol=0)
    scored = log_likelihood(made, x)
    assert made.likelihood == scored.kind == "lower bound" and HybridNetwork.likelihood == "exact"
    answer = query(made, "k", given={"y": x[:, 2:]})
    np.testing.assert_allclose(answer["k"], joint.softmax(1), atol=1e-11)
    assert answer.kind == "estimate" and "y (lower bound)" in answer.warnings[0]


def test_a_vae_as_a_node_learns_by_its_elbo() -> None:
    torch.manual_seed(0)
    made = zoo.build(
        {"family": "hybrid_network", "states": {"k": 2}, "parents": {"y": ["k"]},
         "densities": {"y": {"family": "vae", "event_shape": [6], "latent": 2, "hidden": [16]}}}
    )  # fmt: skip
    k = torch.arange(200) % 2
    bits = (torch.rand(200, 6) < torch.where(k == 0, 0.1, 0.9)[:, None]).double()
    x = made.rows({"k": k, "y": bits})
    before = log_likelihood(made, x).mean
    fit(made, x, steps=200, lr=1e-2, progress=False)
    assert log_likelihood(made, x).mean > before + 1
    elbo = made.train().log_prob(x).mean().item()
    tighter = made.eval().log_prob(x).mean().item()
    assert tighter > elbo + 0.005  # many draws of the code, against the one that trains
    assert (query(made, "k", given={"y": bits})["k"].values.argmax(1) == k.numpy()).mean() > 0.95


# ---- fitting


def test_counting_is_em_in_one_step() -> None:
    made, x = network(0), network(7).sample(400)
    result = em(made, x, steps=5, progress=False)
    assert result.steps <= 2
    for i, name in enumerate(made.names):
        table = made.discrete.probabilities()[i]
        above = made.discrete.parents[i]
        counts = torch.zeros_like(table)
        for row in x[:, :3].long().tolist():
            counts[(*(row[p] for p in above), row[i])] += 1
        seen = counts.sum(-1) > 0
        torch.testing.assert_close(table[seen], (counts / counts.sum(-1, keepdim=True))[seen], msg=name)


def test_em_with_missing_labels_is_monotone_and_ends_where_the_gradient_does() -> None:
    made = network(2)
    x = with_gaps(made, 150, 5)
    result = em(made, x, steps=120, tolerance=0, seed=1, progress=False)
    assert result.extra["monotone"]
    tables = [table.detach().log_softmax(-1) for table in made.discrete.tables]
    made.log_prob(x).sum().backward()
    for table, log_p in zip(made.discrete.tables, tables, strict=True):
        moving = log_p.exp() > 1e-3  # a table entry that vanishes does so slowly
        assert table.grad[moving].abs().max() < 0.05


def test_expected_counts_are_those_of_enumeration() -> None:
    made = network(3)
    x = with_gaps(made, 6, 2)
    (counts,), likelihood = made.expect(made.prepare(x))
    assert float(likelihood) == pytest.approx(summed(made, x).sum().item())
    expected = [torch.zeros_like(table) for table in made.discrete.tables]
    for row in x:
        choices = [range(len(made.discrete.states[v])) if c < 0 else [int(c)] for v, c in zip("abc", row, strict=False)]
        cells = list(product(*choices))
        full = torch.stack([torch.cat([torch.tensor(c).to(row), row[3:]]) for c in cells])
        for cell, weight in zip(cells, by_hand(made, full).softmax(0), strict=True):
            for i, above in enumerate(made.discrete.parents):
                expected[i][(*(cell[p] for p in above), cell[i])] += weight.detach()
    torch.testing.assert_close(counts, torch.cat([each.flatten() for each in expected]), atol=1e-10, rtol=0)


def test_a_mixture_with_some_labels_is_fitted_as_by_em_written_out() -> None:
    """Two normals, a fifth of the labels known: gradients of the exact marginal against the textbook's EM."""
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, 300) * (rng.random(300) < 0.8)
    y = np.where(z == 1, 1.5, -1.0) + np.where(z == 1, 0.5, 1.0) * rng.normal(size=300)
    label = np.where(rng.random(300) < 0.2, z, -1)
    weight, mean, sd = np.array([0.5, 0.5]), np.array([-0.5, 0.5]), np.array([1.0, 1.0])
    for _ in range(3000):
        joint = weight * np.exp(-0.5 * ((y[:, None] - mean) / sd) ** 2) / sd
        joint = np.where(label[:, None] >= 0, joint * (np.arange(2) == label[:, None]), joint)
        r = joint / joint.sum(1, keepdims=True)
        weight, mean = r.mean(0), (r * y[:, None]).sum(0) / r.sum(0)
        sd = np.sqrt((r * (y[:, None] - mean) ** 2).sum(0) / r.sum(0))
    made = HybridNetwork(states={"k": 2}, parents={"y": ["k"]}, shapes={"y": 1}, separate=["y"]).double()
    x = made.rows({"k": label.tolist(), "y": torch.from_numpy(y)[:, None]})
    fit(made, x, steps=700, batch_size=None, lr=0.03, progress=False)
    found = torch.stack([model.parameters_of.free for model in made.densities["y"].models]).detach().numpy()
    np.testing.assert_allclose(made.discrete.probabilities()[0].detach().numpy(), weight, atol=1e-3)
    np.testing.assert_allclose(found[:, 0], mean, atol=1e-3)
    np.testing.assert_allclose(np.exp(found[:, 1]), sd, atol=1e-3)


# ---- rows, names, frames


def test_rows_and_values_are_each_others_way_back() -> None:
    made = network()
    x = made.sample(6)
    values = made.values(x)
    assert values["z"].shape == (6, 1, 2) and values["b"].dtype == torch.long
    assert torch.equal(made.rows(values), x)
    named = {**values, "b": [made.discrete.states["b"][code] for code in values["b"]]}
    assert torch.equal(made.rows(named), x)
    named["b"] = [None, float("nan"), *named["b"][2:]]
    assert made.rows(named)[:, made.names.index("b")].tolist()[:2] == [-1, -1]
    assert (made.rows({name: values[name] for name in "yzw"})[:, :3] == -1).all()


def test_frames_carry_state_names_and_gaps() -> None:
    made = network()
    x = made.sample(8)
    frame = made.decode(x)
    assert list(frame.columns) == [*made.names, "y_0", "y_1", "z_0", "z_1", "w"]
    assert set(frame["b"].unique()) <= {"low", "mid", "high"}
    torch.testing.assert_close(made.encode_frame(frame), x)
    gaps = frame.drop(columns="a").assign(b=[None, *frame["b"][1:]])
    x[:, made.names.index("a")] = -1
    x[0, made.names.index("b")] = -1
    torch.testing.assert_close(made.encode_frame(gaps), x)
    assert torch.isfinite(log_likelihood(made, gaps).values).all()
    with pytest.raises(ValueError, match=r"no column 'y_1'; did you mean .*y_0"):
        made.encode_frame(frame.drop(columns="y_1"))
    with pytest.raises(ValueError, match="'b' has no state 'hihg'; did you mean high"):
        made.encode_frame(pd.concat([frame[:1].astype({"b": object}).assign(b="hihg")]))


# ---- declared


SPEC = {
    "family": "hybrid_network",
    "states": {"digit": 3, "parity": ["even", "odd"]},
    "tables": {"parity": [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]},
    "parents": {"parity": ["digit"], "image": ["digit"]},
    "densities": {"image": {"family": "realnvp", "event_shape": [4], "layers": 2, "hidden": 8,
                            "base": {"family": "gaussian", "hidden": []}}},
}  # fmt: skip


def test_it_is_declared_as_a_table_and_comes_back_from_a_folder(tmp_path) -> None:
    torch.manual_seed(0)
    made = zoo.build(SPEC)
    assert made.event_shape == (6,) and made.densities["image"].model.context_shape == (3,)
    zoo.save(made, tmp_path / "run")
    again = zoo.load(tmp_path / "run")
    x = made.sample(5)
    assert torch.equal(made.log_prob(x), again.log_prob(x))
    codes = again.sample(50)[:, :2]
    assert torch.equal(codes[:, 0] % 2, codes[:, 1])


def test_a_csv_with_gaps_is_fitted_and_asked_from_the_command_line(tmp_path, capsys) -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 200)
    frame = pd.DataFrame({"kind": np.array(["low", "high"])[kind], "y": 4.0 * kind + rng.normal(size=200)})
    frame.loc[::3, "kind"] = None
    frame.to_csv(tmp_path / "my.csv", index=False)
    (tmp_path / "my.toml").write_text(
        f'data = "{tmp_path / "my.csv"}"\n[model]\nfamily = "hybrid_network"\nstates = {{kind = ["low", "high"]}}\n'
        'parents = {y = ["kind"]}\nseparate = ["y"]\ndensities = {y = {family = "gaussian", event_shape = [1]}}\n'
        "[fit]\nsteps = 300\nlr = 0.03\n[ask]\ndiagnose = false\n"
    )
    assert cli.main(["run", str(tmp_path / "my.toml"), "--out", str(tmp_path / "run")]) == 0
    made = zoo.load(tmp_path / "run")
    means = [float(model.parameters_of.free[0].detach()) for model in made.densities["y"].models]
    assert means == pytest.approx([0, 4], abs=0.5)
    assert cli.main(["query", str(tmp_path / "run"), "--find", "kind"]) == 0
    assert cli.main(["score", str(tmp_path / "run"), str(tmp_path / "my.csv")]) == 0
    assert "exact, by variable elimination" in capsys.readouterr().out


def test_a_wrong_table_is_named_by_its_path() -> None:
    wrong = {**SPEC, "densities": {"image": {**SPEC["densities"]["image"], "layer": 3}}}
    with pytest.raises(
        SpecError, match=r"model.densities.image.layer is not a parameter of realnvp; did you mean layers"
    ):
        zoo.build(wrong)
    with pytest.raises(SpecError, match=r"model.densities.image.family: there is no family 'realnpv'"):
        zoo.build({**SPEC, "densities": {"image": {"family": "realnpv"}}})
    with pytest.raises(SpecError, match=r"model.densities is 'realnvp', but a table of models by name"):
        zoo.build({**SPEC, "densities": "realnvp"})
    with pytest.raises(SpecError, match="density 'image' needs the shape of one value"):
        zoo.build({**SPEC, "densities": {"image": {"family": "realnvp"}}})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"context_shape": 2}, "takes no context"),
        ({"states": None}, "needs one of states="),
        ({"network": "asia"}, "needs one of states="),
        ({"event_shape": 9}, "a row of the network has 8 numbers"),
        ({"shapes": None}, "needs a density at least"),
        ({"states": {**STATES, "y": 2}}, "'y' has states and a density"),
        ({"states": {"a": 1}}, "'a' needs two states or more"),
        ({"states": {"a": ["x", "x"]}}, "'a' needs two states or more, all different"),
        ({"parents": {"b": ["y"]}}, "'b' is a table and can't have the parent 'y', a density"),
        ({"parents": {"b": ["aa"]}}, "'b' has the unknown parent 'aa'; did you mean a"),
        ({"parents": {"y": ["aa"]}}, "'y' has the unknown parent 'aa'"),
        ({"parents": {"yy": ["a"]}}, "there is no variable 'yy'; did you mean y"),
        ({"parents": {"y": ["z"], "z": ["y"]}}, "no cycles, but this one has"),
        ({"separate": ["q"]}, "separate: there is no variable 'q'"),
        ({"tables": {"a": [0.5, 0.6]}}, "tables: 'a' needs probabilities of shape"),
        ({"tables": {"y": [0.5, 0.5]}}, "tables: there is no discrete variable 'y'"),
        ({"densities": {"y": Gaussian(3)}}, "y: Gaussian has event_shape"),
        ({"densities": {"y": VAE(3, latent=1)}}, "y: VAE has event_shape"),
        ({"densities": {"y": partial(GAN, latent=1)}}, "y must be an explicit model"),
        ({"densities": {"v": RealNVP}}, "density 'v' needs the shape of one value"),
    ],
)
def test_what_is_no_network_is_refused_by_name(wrong: dict, message: str) -> None:
    given = {"states": STATES, "shapes": {"y": 2, "z": [1, 2], "w": 1}, **wrong}
    with pytest.raises((ValueError, TypeError), match=message):
        HybridNetwork(**given)


def test_a_built_model_can_not_stand_for_several() -> None:
    with pytest.raises(ValueError, match="'y' needs a model for each state"):
        HybridNetwork(states={"a": 2}, parents={"y": ["a"]}, densities={"y": Gaussian(1)}, separate=["y"])


def test_wrong_rows_are_named() -> None:
    made = network()
    x = made.sample(3)
    x[1, made.names.index("b")] = 3
    with pytest.raises(ValueError, match="row 1 has 3 for 'b', whose codes are 0 to 2, or -1"):
        made.log_prob(x)
    with pytest.raises(ValueError, match="no variable 'bb'; did you mean b"):
        made.rows({"bb": [0]})
    with pytest.raises(ValueError, match="rows need values of 'z'"):
        made.rows({"y": torch.zeros(1, 2)})
    with pytest.raises(ValueError, match=r"'y' has values of shape \[1, 3\], but \[1, 2\]"):
        made.rows({"y": torch.zeros(1, 3), "z": torch.zeros(1, 1, 2), "w": torch.zeros(1, 1)})
    with pytest.raises(Refusal, match="no latent code"):
        made.encode(x)


def test_it_is_whole_in_single_precision_and_draws_without_warnings() -> None:
    made = network().float()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = with_gaps(made, 5, 0)
    assert x.dtype == torch.float32 and made.log_prob(x).dtype == torch.float32
