"""Batches of rows: exact in the mean over all batches, by value and by slope; refusals by name."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference import variational
from inference.program import Program
from inference.sampling.density import LogDensity
from inference.variational import FullCovariance
from inference.variational.minibatch import Batched, ByCutting, ByIndexing

ROWS = 12


def by_cutting(x, y):
    w = pyro.sample("w", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    s = pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(x @ w, s), obs=y)


def by_indexing(x, y):
    w = pyro.sample("w", dist.Normal(0.0, 2.0).expand([2]).to_event(1))
    s = pyro.sample("s", dist.HalfNormal(1.0))
    with pyro.plate("rows", ROWS) as rows:
        pyro.sample("y", dist.Normal(x[rows] @ w, s), obs=y[rows])


def _data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 2, generator=generator, dtype=torch.float64)
    return x, x @ torch.tensor([1.0, -0.5]).double() + 0.3 * torch.randn(ROWS, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("anchored", ["alone", "anchored"])
@pytest.mark.parametrize("size", [1, 3, 6])
@pytest.mark.parametrize(("model", "way"), [(by_cutting, ByCutting), (by_indexing, ByIndexing)])
def test_the_mean_over_all_batches_is_the_whole(model, way, size, anchored):
    density = LogDensity.of(Program.of(model, _data()))
    torch.manual_seed(1)
    anchors = torch.randn(2, 3, dtype=torch.float64) if anchored == "anchored" else None
    batched = Batched(density, anchors=anchors)
    assert isinstance(batched.way, way) and batched.size == ROWS and batched.plate == "rows"
    q = torch.randn(4, 3, dtype=torch.float64)
    value, slope = density.value_and_grad(q)
    parts = [batched(q, rows) for rows in torch.randperm(ROWS).split(size)]
    torch.testing.assert_close(torch.stack([v for v, _ in parts]).mean(0), value)
    torch.testing.assert_close(torch.stack([g for _, g in parts]).mean(0), slope)
    assert torch.stack([v for v, _ in parts]).std(0).min() > 1e-3


def test_the_prior_counts_once_in_a_batch():
    """A batch of one row: prior + 12 times that row's likelihood, written out."""
    x, y = _data()
    batched = Batched(LogDensity.of(Program.of(by_cutting, (x, y))))
    q = torch.tensor([[0.3, -0.2, 0.1]]).double()
    w, s = q[0, :2], q[0, 2].exp()
    prior = dist.Normal(0.0, 2.0).log_prob(w).sum() + dist.HalfNormal(1.0).log_prob(s) + q[0, 2]
    row = dist.Normal(x[5] @ w, s).log_prob(y[5])
    value, _ = batched(q, torch.tensor([5]))
    torch.testing.assert_close(value[0], prior + ROWS * row)


def test_at_its_anchor_a_batch_is_the_whole():
    density = LogDensity.of(Program.of(by_cutting, _data()))
    anchors = torch.randn(2, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    value, slope = Batched(density, anchors=anchors)(anchors.repeat(3, 1), torch.tensor([4, 7]))
    torch.testing.assert_close(value, density(anchors).repeat(3))
    torch.testing.assert_close(slope, density.value_and_grad(anchors)[1].repeat(3, 1))


def test_a_guide_by_batches_is_the_guide_by_all_rows():
    whole, parts = (
        variational(
            by_cutting, _data(), FullCovariance, steps=600, starts=2, draws=3000, batch_size=size, progress=False
        )
        for size in (None, 4)
    )
    assert parts.extra["elbo"] == pytest.approx(whole.extra["elbo"], abs=0.05)
    gap = (parts.unconstrained.mean(1) - whole.unconstrained.mean(1)).abs() / whole.unconstrained.std(1)
    assert gap.max() < 0.15
    assert (parts.unconstrained.std(1) / whole.unconstrained.std(1) - 1).abs().max() < 0.1


def local(y):
    with pyro.plate("rows", len(y)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)


def fixed(x, y):
    w = pyro.sample("w", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with pyro.plate("rows", ROWS):
        pyro.sample("y", dist.Normal(x @ w, 1.0), obs=y)


def mixture(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0).expand([2]).to_event(1))
    with pyro.plate("rows", len(y)):
        k = pyro.sample("k", dist.Categorical(torch.ones(2) / 2), infer={"enumerate": "parallel"})
        pyro.sample("y", dist.Normal(mu[k], 1.0), obs=y)


def bare(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    pyro.sample("y", dist.Normal(mu, 1.0).expand([len(y)]).to_event(1), obs=y)


def two(x, y):
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y)
    with pyro.plate("others", len(x)):
        pyro.sample("x", dist.Normal(mu, 1.0), obs=x[:, 0])


@pytest.mark.parametrize(
    ("model", "plate", "said"),
    [
        (local, None, "all latents outside it; its latent 'z' is in it"),
        (fixed, None, "can't be run on some of the 12 rows of the plate 'rows'"),
        (mixture, None, r"minibatches of rows don't go with latents that are summed out \(k\)"),
        (bare, None, "none holds data"),
        (two, None, r"data in the plates \['rows', 'others'\]: say whose"),
        (two, "row", "has no plate 'row' over data; near: rows"),
    ],
)
def test_what_can_t_be_taken_in_batches_is_refused(model, plate, said):
    x, y = _data()
    data = (x, y) if model.__code__.co_argcount == 2 else y
    with pytest.raises(ValueError, match=said):
        variational(model, data, steps=5, batch_size=4, plate=plate, starts=1, progress=False)


def test_of_two_plates_the_named_one_is_taken():
    x, y = _data()
    density = LogDensity.of(Program.of(two, (torch.cat([x, x]), y)))
    batched = Batched(density, "others")
    assert batched.size == 2 * ROWS
    q = torch.randn(2, 1, dtype=torch.float64)
    parts = torch.stack([batched(q, rows)[0] for rows in torch.arange(2 * ROWS).split(8)])
    torch.testing.assert_close(parts.mean(0), density(q))
