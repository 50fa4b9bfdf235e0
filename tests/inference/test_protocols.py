"""What the layer takes a user's own model for, and what it refuses of one."""

import math
import timeit
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference.diagnostics import diagnose
from inference.evaluate import evaluate
from inference.likelihood import ElboBound, Exact, log_likelihood
from inference.objectives import Elbo, NegativeLogLikelihood
from inference.protocols import by_row, has_likelihood, measure_of

N, DIMS, LATENT = 6, 4, 2


class Normals(nn.Module):
    """A density whose log_prob forgets to_event where `event` is 0; it can also generate."""

    def __init__(self, event: int = 1) -> None:
        super().__init__()
        self.loc, self.event = nn.Parameter(torch.zeros(DIMS)), event

    def log_prob(self, x, *, context=None):
        return dist.Normal(self.loc, 1.0).to_event(self.event).log_prob(x)

    def generate(self, noise, context=None):
        return self.loc + noise

    def sample(self, n=1, *, context=None):
        return self.generate(torch.randn(n, DIMS)).detach()


class Parts(nn.Module):
    """p(z), p(x | z), q(z | x), of which one forgets to_event."""

    def __init__(self, forgets: str = "") -> None:
        super().__init__()
        self.weight, self.forgets = nn.Parameter(torch.ones(LATENT, DIMS)), forgets

    def _normal(self, name, loc):
        return dist.Normal(loc, 1.0).to_event(0 if name == self.forgets else 1)

    def prior(self, context=None):
        return self._normal("prior", torch.zeros(LATENT))

    def decoder(self, z, context=None):
        return self._normal("decoder", z @ self.weight)

    def encoder(self, x, context=None):
        return self._normal("encoder", x @ self.weight.T / DIMS)


class Coins:
    """A bare Pyro pair of bits, which says nothing of its measure."""

    def model(self, x=None, *, context=None, n=1):
        with pyro.plate("data", n if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Bernoulli(logits=z[:, None].expand(-1, DIMS)).to_event(1), obs=x)

    def guide(self, x, *, context=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.0, 1.0))


class Reals(Coins):
    def model(self, x=None, *, context=None, n=1):
        with pyro.plate("data", n if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Normal(z[:, None], 1.0).expand([len(z), DIMS]).to_event(1), obs=x)


def test_a_density_without_to_event_is_refused_by_name() -> None:
    x = torch.randn(N, DIMS)
    for ask in (
        lambda model: NegativeLogLikelihood()(model, x),
        lambda model: log_likelihood(model, x, method=Exact()),
    ):
        ask(Normals())
        with pytest.raises(ValueError, match=r"Normals: log_prob gives .*\[6, 4\], not \[6\].*to_event"):
            ask(Normals(event=0))
    loss = NegativeLogLikelihood()(Normals(), x).value
    assert loss.item() == pytest.approx((x.square().sum(1) / 2 + DIMS / 2 * math.log(2 * math.pi)).mean().item())


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("rows", [N, LATENT, 1])
def test_parts_without_to_event_are_refused_by_name(particles: int, rows: int) -> None:
    x = torch.randn(rows, DIMS)
    assert torch.isfinite(Elbo(particles)(Parts(), x).value)
    with pytest.raises(ValueError, match=r"Parts: the decoder's log_prob .*to_event"):
        Elbo(particles)(Parts("decoder"), x)
    for forgets in ("encoder", "prior"):
        with pytest.raises((ValueError, RuntimeError)):
            Elbo(particles)(Parts(forgets), x)


def test_the_check_of_shapes_costs_next_to_nothing() -> None:
    values, x, model = torch.zeros(128), torch.zeros(128, 3), Parts()
    best = min(timeit.repeat(lambda: by_row(values, (x.shape[0],), model, "log_prob"), number=2000, repeat=7)) / 2000
    assert best < 10e-6  # under 2 microseconds by itself; the tests share their cores


def test_a_pairs_measure_is_that_of_its_site_x() -> None:
    bits = torch.bernoulli(torch.full((N, DIMS), 0.5))
    method = ElboBound(5)
    mass, density = (log_likelihood(pair, bits, method=method) for pair in (Coins(), Reals()))
    assert (mass.measure, density.measure) == ("mass", "density")
    with pytest.raises(ValueError, match="can't be compared"):
        _ = mass - density
    assert evaluate({"coins": Coins()}, bits).table.loc["coins", "measure"] == "mass"
    assert diagnose(Coins(), bits, draws=30).idata.attrs["measure"] == "mass"
    said = SimpleNamespace(support=torch.distributions.constraints.boolean)
    assert measure_of(said) == "mass" and measure_of(object()) == "density"


def test_a_density_that_also_generates_keeps_its_likelihood() -> None:
    x = torch.randn(50, DIMS)
    model = Normals()
    expected = log_likelihood(model, x).mean
    assert has_likelihood(model)
    assert evaluate({"model": model}, x).table.loc["model", "nats"] == expected
    found = diagnose(model, x)
    assert found.table.loc["log-likelihood, nats a row", "value"] == pytest.approx(expected)
    pair = Coins()
    pair.generate = lambda noise: noise
    assert has_likelihood(pair)
    pair.noise = lambda n: torch.zeros(n)
    assert not has_likelihood(pair)
