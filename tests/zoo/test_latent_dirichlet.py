"""Latent Dirichlet allocation against sums over every topic of every word, Pyro's bound, and known topics."""

import itertools
import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor

from inference import fit, log_likelihood, query
from inference.likelihood import ElboBound, ImportanceWeighted
from inference.objectives import Elbo, sampled
from zoo.latent_dirichlet import LatentDirichlet


def tiny(vocabulary: int = 3, topics: int = 2, seed: int = 0) -> LatentDirichlet:
    torch.manual_seed(seed)
    model = LatentDirichlet(vocabulary, topics=topics, length=3.0, hidden=(4,)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def words_of(row: Tensor) -> list[int]:
    return [v for v, count in enumerate(row.long().tolist()) for _ in range(count)]


def by_enumeration(model: LatentDirichlet, row: Tensor) -> tuple[float, np.ndarray]:
    """log p(row) and E[z | row], by a sum over the topics of all its words, the shares integrated in closed form."""
    alpha, topics = model.log_concentration.exp().detach(), model.topics.detach()
    words, total, mean = words_of(row), 0.0, torch.zeros_like(alpha)
    for assigned in itertools.product(range(len(alpha)), repeat=len(words)):
        counts = torch.tensor([assigned.count(k) for k in range(len(alpha))])
        log_p = alpha.sum().lgamma() - (alpha.sum() + len(words)).lgamma()
        log_p = log_p + ((alpha + counts).lgamma() - alpha.lgamma()).sum()
        weight = log_p.exp() * math.prod(topics[k, w].item() for k, w in zip(assigned, words, strict=True))
        total += weight.item()
        mean += weight * (alpha + counts) / (alpha.sum() + len(words))
    length = dist.Poisson(model.log_length.exp().detach()).log_prob(torch.tensor(float(len(words)))).item()
    orders = math.lgamma(len(words) + 1) - sum(math.lgamma(count + 1) for count in row.tolist())
    return math.log(total) + length + orders, (mean / total).numpy()


DOCUMENTS = torch.tensor([[0, 0, 0], [1, 0, 0], [2, 1, 0], [0, 3, 2], [1, 1, 4.0]]).double()


def test_bound_and_posterior_meet_the_sum_over_all_words_topics():
    model = tiny()
    with torch.no_grad():
        model.network[-1].bias[-1] = -5.0  # a guide whose tails are no lighter than the posterior's
    exact, means = zip(*(by_enumeration(model, row) for row in DOCUMENTS), strict=True)
    found = log_likelihood(model, DOCUMENTS, method=ImportanceWeighted(20_000))
    assert found.kind == "lower bound" and found.measure == "mass"
    np.testing.assert_allclose(found.values.detach(), exact, atol=0.02)
    elbo = log_likelihood(model, DOCUMENTS, method=ElboBound(5000))
    assert (elbo.values.numpy() <= np.array(exact) + 0.01).all()
    assert elbo.values[0].item() == pytest.approx(exact[0], abs=1e-9)  # nothing seen: the guide is the posterior
    z = query(model, "z", given={"x": DOCUMENTS}, draws=20_000)["z"]
    np.testing.assert_allclose(z.sel(statistic="mean"), means, atol=0.015)


def test_counts_have_the_mass_of_one():
    model = tiny(vocabulary=2)
    rows = torch.cartesian_prod(torch.arange(25.0), torch.arange(25.0)).double()
    z = model.prior().sample((4,))
    for shares in z:
        mass = model.decoder(shares.expand(len(rows), -1)).log_prob(rows).exp().sum()
        assert mass.item() == pytest.approx(1, abs=1e-9)


def test_direct_bound_equals_pyros_on_the_same_draws():
    model = tiny()
    for seed in range(3):
        torch.manual_seed(seed)
        direct = Elbo(kl=sampled)(model, DOCUMENTS).value.item()
        torch.manual_seed(seed)
        assert Trace_ELBO().loss(model.model, model.guide, DOCUMENTS) / len(DOCUMENTS) == pytest.approx(direct)


def test_each_words_topic_summed_out_is_pyros_enumeration():
    """Blei's own program, a topic for each word, enumerated by Pyro, has the bound of the counts."""
    model, row = tiny(), DOCUMENTS[4:5]
    words = torch.tensor(words_of(row[0]))

    def program() -> None:
        shares = pyro.sample("shares", model.prior())
        with pyro.plate("words", len(words)):
            topic = pyro.sample("topic", dist.Categorical(shares), infer={"enumerate": "parallel"})
            pyro.sample("word", dist.Categorical(model.topics[topic]), obs=words)

    def guide() -> None:
        pyro.sample("shares", dist.Dirichlet(model.encoder(row).concentration[0]))

    torch.manual_seed(3)
    enumerated = -TraceEnum_ELBO(max_plate_nesting=1).loss(program, guide)
    torch.manual_seed(3)
    direct = -Trace_ELBO().loss(model.model, model.guide, row)
    outside = by_enumeration(model, row[0])[0] - math.log(plain_words(model, row[0]))
    assert enumerated + outside == pytest.approx(direct, abs=1e-8)
    values = torch.tensor([direct])
    assert model.perplexity(row, values) == pytest.approx(math.exp(-enumerated / len(words)), rel=1e-6)


def plain_words(model: LatentDirichlet, row: Tensor) -> float:
    """p(these words in this order | how many), by another road: expected powers of shares under the prior."""
    exact = by_enumeration(model, row)[0]
    mean, n = model.log_length.exp().item(), row.sum().item()
    multinomial = math.factorial(int(n)) / math.prod(math.factorial(int(c)) for c in row.tolist())
    return math.exp(exact) / (mean**n * math.exp(-mean) / math.factorial(int(n)) * multinomial)


def bars() -> Tensor:
    """Six topics: the rows and columns of a 3 x 3 grid of words (after Griffiths and Steyvers, 2004)."""
    lines = torch.eye(3)
    each = [line[:, None].expand(3, 3).flatten() for line in lines] + [line.expand(3, 3).flatten() for line in lines]
    return torch.stack(each) / 3


def documents(n: int, seed: int) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        shares = torch.distributions.Dirichlet(torch.full((6,), 0.3)).sample((n,))
        return torch.poisson(60 * shares @ bars())


def fitted(x: Tensor, seed: int) -> LatentDirichlet:
    torch.manual_seed(seed)
    model = LatentDirichlet(9, topics=6, concentration=0.3, length=60.0)
    fit(model, x, steps=300, batch_size=100, lr=0.05, seed=seed, progress=False)
    return model


def test_it_finds_the_bars():
    train, test = documents(600, 1), documents(200, 2)
    model = max((fitted(train, seed) for seed in range(4)), key=lambda model: log_likelihood(model, train).mean)
    gaps = 0.5 * (model.topics.detach()[:, None] - bars()).abs().sum(-1)
    assert sorted(gaps.argmin(1).tolist()) == list(range(6))
    assert gaps.min(1).values.max() < 0.06
    words = [f"{row}{column}" for row in "abc" for column in "123"]
    assert {"a1", "a2", "a3"} in [set(topic) for topic in model.top_words(words, 3)]
    perplexity = model.perplexity(test, log_likelihood(model, test).values)
    with torch.no_grad():
        model.logits.copy_((bars()[gaps.argmin(1)] + 1e-6).log())
    assert perplexity < 1.01 * model.perplexity(test, log_likelihood(model, test).values)


def test_what_does_not_fit_is_refused():
    for wrong, text in (
        ({"topics": 1}, "topics must be at least 2"),
        ({"sweeps": 0}, "sweeps must be"),
        ({"length": 0.0}, "length must be positive"),
        ({"concentration": -1.0}, "concentration must be positive"),
        ({"context_shape": 2}, "takes no context"),
    ):
        with pytest.raises(ValueError, match=text):
            LatentDirichlet(4, **wrong)
    with pytest.raises(ValueError, match="words in the vocabulary"):
        LatentDirichlet((2, 2))
    with pytest.raises(ValueError, match="x counts 4"):
        LatentDirichlet(4).top_words(["one"])
