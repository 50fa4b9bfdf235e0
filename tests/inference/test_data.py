"""Data at the door: what becomes of dtypes, frames and names, and that every asker casts to the model."""

import numpy as np
import pandas as pd
import pytest
import torch

from inference.data import as_rows, check_data
from inference.diagnostics import diagnose
from inference.em import em
from inference.evaluate import evaluate
from inference.fit import fit
from inference.likelihood import log_likelihood
from inference.query import query
from zoo.bayesian_network import BayesianNetwork
from zoo.conditionals import Gaussian
from zoo.gaussian_mixture import GaussianMixture


def numbers(n: int = 60) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 3)) + 1 / 3


def test_float64_stays_until_a_model_says_otherwise() -> None:
    x = numbers()
    for data in (x, {"x": x, "context": x}, pd.DataFrame(x, columns=list("abc"))):
        rows = as_rows(data)
        assert rows.x.dtype == torch.float64 and np.array_equal(rows.x.numpy(), x)
        moved = rows.to(torch.device("cpu"), torch.float32)
        assert moved.x.dtype == torch.float32
    assert rows.columns == ["a", "b", "c"]
    assert as_rows(x.astype(np.float32)).x.dtype == torch.float32
    assert as_rows(np.arange(6).reshape(2, 3)).x.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("as_frame", [False, True])
def test_every_asker_casts_to_the_models_dtype(dtype: torch.dtype, as_frame: bool) -> None:
    x = numbers()
    data = pd.DataFrame(x, columns=list("abc")) if as_frame else x
    tensor = torch.from_numpy(x).to(dtype)
    torch.manual_seed(0)
    mixture = GaussianMixture(3, components=2).to(dtype)
    mixture.em_start(tensor, torch.Generator().manual_seed(0))
    found = log_likelihood(mixture, data)
    assert found.values.dtype == dtype
    assert torch.equal(found.values, mixture.log_prob(tensor).detach())
    assert evaluate({"m": mixture}, data).table.loc["m", "nats"] == found.mean
    measured = diagnose(mixture, data).table.loc["log-likelihood, nats a row", "value"]
    assert measured == pytest.approx(found.mean, rel=1e-6)
    answer = query(mixture, "component", {"x": data})
    assert np.array_equal(answer["component"].values, mixture.posterior(tensor).detach().numpy())
    models = [GaussianMixture(3, components=2).to(dtype) for _ in range(2)]
    ours, same = (em(m, rows, steps=3, seed=1, progress=False) for m, rows in zip(models, (data, tensor), strict=True))
    assert ours.history.equals(same.history)
    fits = [fit(Gaussian(3).to(dtype), rows, steps=3, progress=False) for rows in (data, tensor)]
    for mine, theirs in zip(*(f.model.parameters() for f in fits), strict=True):
        assert mine.dtype == dtype and torch.equal(mine, theirs)


def test_a_networks_frame_is_read_by_names_in_the_models_order() -> None:
    model = BayesianNetwork(network="cancer")
    torch.manual_seed(0)
    codes = model.sample(300)
    frame = model.decode(codes)
    turned = frame[frame.columns[::-1]].assign(unused=1.0)
    rows = as_rows(turned, model)
    assert torch.equal(rows.x, codes)
    assert rows.columns == model.variables
    by_names = em(BayesianNetwork(network="cancer"), turned, steps=2, progress=False)
    by_codes = em(BayesianNetwork(network="cancer"), codes, steps=2, progress=False)
    assert by_names.history.equals(by_codes.history)
    for mine, theirs in zip(by_names.model.parameters(), by_codes.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_em_names_the_column_of_a_missing_number() -> None:
    frame = pd.DataFrame(numbers(), columns=list("abc"))
    frame.loc[7, "b"] = float("nan")
    with pytest.raises(ValueError, match="row 7, column 'b'"):
        em(GaussianMixture(3, components=2), frame, progress=False)
    with pytest.raises(ValueError, match="row 7, column 'b'"):
        check_data(None, *as_rows({"x": frame.to_numpy()}).take(torch.arange(60)), columns=list("abc"))
