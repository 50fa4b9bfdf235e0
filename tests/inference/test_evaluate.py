"""evaluate: every number against a direct computation, and no comparison of what can't be compared."""

import math

import numpy as np
import pytest
import torch

from inference.evaluate import View, evaluate
from inference.likelihood import ImportanceWeighted, log_likelihood
from inference.quality import Features, frechet_distance, kernel_mmd
from inference.results import Fit
from tests.inference.test_diagnostics import Coins, Shift, bits, history
from zoo.conditionals import Bernoulli, Gaussian, StandardGaussian
from zoo.datasets import load
from zoo.vae import VAE


def reals(n: int = 200) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(0))


def test_models_of_every_kind_on_one_board():
    torch.manual_seed(0)
    vae = VAE(6, latent=2, hidden=(8,))
    state = torch.get_rng_state()
    board = evaluate({"vae": vae, "coins": Coins(6), "bits": Bernoulli(6)}, bits(), samples=300)
    assert torch.equal(torch.get_rng_state(), state)
    table = board.table
    assert list(table.index) == ["vae", "coins", "bits"]
    assert table["kind"].to_list() == ["latent variable", "energy based", "explicit"]
    assert table["likelihood"].to_list() == ["lower bound", "exact", "exact"]
    assert set(table["measure"]) == {"mass"}
    assert table.loc["coins", "nats"] == pytest.approx(-6 * math.log(2))
    assert table.loc["coins", "bits_per_dim"] == pytest.approx(1)
    assert table.loc["vae", "nats"] == log_likelihood(vae, bits()).mean
    assert table.loc["vae", "parameters"] == sum(p.numel() for p in vae.parameters())
    assert board.compare("coins", "bits").mean == pytest.approx(0, abs=1e-6)
    assert board.compare("coins", "vae").mean > 0
    assert board.best("coins", "vae") == "coins"


def test_distances_are_those_of_samples_and_held_out_rows():
    x = reals()
    board = evaluate({"near": StandardGaussian(4), "far": Shift(4)}, x, samples=500)
    far = board.samples["far"]
    assert far.shape == (500, 4)
    assert board.table.loc["far", "frechet"] == pytest.approx(frechet_distance(far, x).value)
    for name in ("far", "near"):  # one kernel for the whole board, whose width no model's samples can change
        width = torch.pdist(x.double()).median().item()
        expected = kernel_mmd(board.samples[name], x, bandwidth=width)
        assert board.table.loc[name, "mmd"] == pytest.approx(expected.value, rel=1e-6)
        assert board.table.loc[name, "mmd_error"] == pytest.approx(expected.error, rel=1e-6)
    assert board.table.loc["far", "frechet"] == pytest.approx(36, rel=0.1)
    assert board.table.loc["near", "frechet"] < 0.2
    sums = Features("sum", lambda rows: rows.sum(1, keepdim=True))
    summed = evaluate({"far": Shift(4)}, x, features=sums, samples=2000)
    assert summed.table.loc["far", "frechet"] == pytest.approx(144, rel=0.1)
    assert "held-out rows, by sum;" in str(summed)


def test_an_implicit_model_has_no_likelihood():
    board = evaluate({"shift": Shift(4), "normal": StandardGaussian(4)}, reals())
    assert board.table.loc["shift", "likelihood"] == "none" and math.isnan(board.table.loc["shift", "nats"])
    assert board.best() == "normal"
    with pytest.raises(ValueError, match="shift offers no likelihood"):
        board.compare("normal", "shift")
    with pytest.raises(ValueError, match="no model 'norml'; there is normal"):
        board.compare("norml", "shift")
    with pytest.raises(ValueError, match="no model here offers a likelihood"):
        evaluate({"shift": Shift(4)}, reals()).best()


def test_a_density_is_never_compared_with_a_mass():
    board = evaluate({"bits": Bernoulli(6), "normal": StandardGaussian(6)}, bits())
    with pytest.raises(ValueError, match="mass can't be compared with a density"):
        board.compare("bits", "normal")
    with pytest.raises(ValueError, match="can't be compared"):
        board.best()
    other = evaluate({"a": StandardGaussian(4), "b": StandardGaussian(4)}, {"a": reals(), "b": reals() + 1})
    with pytest.raises(ValueError, match="different rows or views"):
        other.compare("a", "b")


def test_views_lead_back_to_the_raw_space():
    raw = load("digits")
    binary, smooth = raw.binarised().flat(), raw.dequantised().logit().flat()
    assert isinstance(binary, View)
    models = {"bits": Bernoulli(64), "normal": Gaussian(64)}
    board = evaluate(models, {"bits": binary, "normal": smooth}, samples=2000)
    x = smooth.test.x
    nats = torch.distributions.Normal(0, 1).log_prob(x).sum(1)
    expected = smooth.bits_per_dim(nats, x).mean().item()
    assert board.table.loc["normal", "bits_per_dim"] == pytest.approx(expected, rel=1e-5)
    assert board.table.loc["normal", "nats"] == pytest.approx(nats.mean().item(), rel=1e-5)
    assert board.table.loc["bits", "bits_per_dim"] == pytest.approx(1, rel=1e-5)
    drawn = board.samples["normal"]
    assert drawn.shape[1:] == raw.event_shape and drawn.min() >= 0 and drawn.max() <= 16
    real = smooth.restore(x).flatten(1)
    train = smooth.restore(smooth.train.x).flatten(1)
    floor = board.table.loc["normal", "frechet_train"]
    assert floor < board.table.loc["normal", "frechet"] / 5
    assert floor == pytest.approx(frechet_distance(train, real).value, rel=1e-6)
    assert "Frechet of train" in board.readable_quality()


def test_fits_bring_their_seconds_and_methods_can_be_named():
    torch.manual_seed(0)
    vae = VAE(6, latent=2, hidden=(8,))
    fitted = Fit(vae, "elbo", history(np.ones(3)), 3, 12.5, "steps done", 0)
    board = evaluate({"vae": fitted, "bits": Bernoulli(6)}, bits(), methods={"vae": ImportanceWeighted(7)})
    assert board.table.loc["vae", "seconds"] == 12.5 and math.isnan(board.table.loc["bits", "seconds"])
    assert "7 draws" in board.likelihoods["vae"].method


def test_conditional_models_draw_a_row_for_each_context():
    model = Gaussian(2, context_shape=1, hidden=())
    linear = model.parameters_of.network[0]
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0], [-1.0], [0.0], [0.0]]))
        linear.bias.copy_(torch.tensor([0.0, 0.0, -7.0, -7.0]))
    context = torch.arange(40.0)[:, None]
    x = torch.cat([context, -context], 1)
    board = evaluate({"model": model}, {"x": x, "context": context})
    assert board.table.loc["model", "frechet"] == pytest.approx(0, abs=1e-3)
    assert len(board.samples["model"]) == 40
    given = evaluate({"model": model}, x, context=context)
    assert given.table.loc["model", "nats"] == board.table.loc["model", "nats"]


def test_the_board_reads_well():
    board = evaluate({"normal": StandardGaussian(4), "shift": Shift(4)}, reals())
    likelihoods, samples = (table.splitlines() for table in board.to_markdown().split("\n\n"))
    assert len(likelihoods) == len(samples) == 4
    assert likelihoods[0].startswith("| model | kind | likelihood | measure | nats a row |")
    assert samples[0].startswith("| model | Frechet | p of MMD | told apart | precision | recall |")
    assert "memory" not in samples[0] and "1,000 samples beside 200 held-out rows" in str(board)
    assert "±" in str(board) and "<table" in board.to_html()
    assert repr(board) == str(board)


def test_what_can_not_be_evaluated_is_refused():
    with pytest.raises(ValueError, match="no model to evaluate"):
        evaluate({}, reals())
    with pytest.raises(ValueError, match="no rows for the model 'b'; it has 'a'"):
        evaluate({"a": StandardGaussian(4), "b": StandardGaussian(4)}, {"a": reals()})
    with pytest.raises(ValueError, match="bits: x has the value"):
        evaluate({"bits": Bernoulli(4)}, reals())


def test_models_need_names():
    with pytest.raises(TypeError, match="mapping of names"):
        evaluate([StandardGaussian(4)], reals())
